"""Weights in files, as flat dicts of NumPy arrays: .npz, PyTorch's .pth, and Orbax folders of Flax variables.

    arrays = read_npz("BiT-M-R50x1.npz")               # {"resnet/head/conv2d/bias": float32 (21843,), ...}
    arrays = read_pth("TSM_kinetics_RGB_resnet50.pth")  # {"module.new_fc.bias": float32 (400,), ...}
    arrays = read_tensors("word.glove42b.th")           # {"weight": float32 (13561, 300)}

Nothing that could run code is unpickled. A file that cannot be read is a `UserError` that says which and why.
"""

import contextlib
import os
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict

from input_pipeline import devices, nameless_owners, paths
from input_pipeline.errors import UserError

nameless_owners.allow()

Arrays = dict[str, np.ndarray]

_TORCH_NEEDED = """PyTorch is needed to read {path}, and it is not installed. Either
  pip install torch --index-url https://download.pytorch.org/whl/cpu
or, where PyTorch is, write the entries of the file's state_dict, under the same names, with numpy.savez."""


def read_npz(path: str | os.PathLike) -> Arrays:
  """The arrays of a NumPy archive, floats as float32."""
  with _readable(path, "a NumPy .npz archive", (zlib.error, zipfile.BadZipFile, NotImplementedError)):
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
      raise ValueError("it holds a single array")
    with archive:
      return {name: _as_float32(archive[name]) for name in archive.files}


def read_pth(path: str | os.PathLike) -> Arrays:
  """The tensors of the `state_dict` entry of a PyTorch file, floats as float32. Needs PyTorch."""
  content = _load_torch(path)
  state = content.get("state_dict") if isinstance(content, dict) else None
  if not isinstance(state, dict) or not all(hasattr(tensor, "numpy") for tensor in state.values()):
    raise UserError(f"{path}: expected a dict with the entry 'state_dict', a dict of tensors.")
  return {name: tensor.float().numpy() for name, tensor in state.items()}


def read_tensors(path: str | os.PathLike) -> Arrays:
  """The tensors of a PyTorch file that holds one tensor, here under the name "", or a dict of them by name.

  The dict may also be the entry "state_dict" or "resume_model" of what the file holds, as in training's own
  checkpoints. Floats come as float32; what else a dict holds is passed over. Needs PyTorch.
  """
  content = _load_torch(path)
  entries = content if isinstance(content, dict) else {"": content}
  for inner in ("state_dict", "resume_model"):
    entries = entries[inner] if isinstance(entries.get(inner), dict) else entries
  return {str(name): (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
          for name, tensor in entries.items() if hasattr(tensor, "numpy")}


def read_arrays(path: str | os.PathLike) -> Arrays:
  """What `read_npz` reads of an .npz, `read_tensors` of another file; of an .npy its array, under the name ""."""
  suffix = Path(path).suffix
  if suffix == ".npy":
    with _readable(path, "a NumPy .npy file", ()):
      return {"": _as_float32(np.load(path, allow_pickle=False))}
  return read_npz(path) if suffix == ".npz" else read_tensors(path)


def read_orbax(path: str | os.PathLike) -> dict[tuple[str, ...], np.ndarray]:
  """The leaves of a tree of arrays that `write_orbax` wrote, by their path in the tree."""
  devices.require()
  path = Path(path).absolute()
  with _readable(path, "a converted checkpoint", (AttributeError, TypeError)):
    with paths.Alias(path) as folder, ocp.PyTreeCheckpointer() as checkpointer:
      tree = checkpointer.metadata(folder).item_metadata.tree
      as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
      return flatten_dict(checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy)))


def write_orbax(path: str | os.PathLike, tree: dict) -> None:
  """Writes a tree of arrays to a new folder, which appears whole, after it was read back, or not at all.

  Raises:
    UserError: if `path` exists, or cannot be written.
  """
  path = Path(path).absolute()
  if os.path.lexists(path):
    raise UserError(f"{path} is there already; remove it or choose another folder.")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing_", dir=path.parent) as temporary:
      written = Path(temporary) / "weights"
      with paths.Alias(written.parent) as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / written.name, tree)
      if not _same(read_orbax(written), flatten_dict(tree)):
        raise OSError("what was written does not read back the same; is the disk sound?")
      written.rename(path)
  except (OSError, ValueError) as error:
    raise UserError(f"Cannot write {path}: {error}.") from error


def _same(arrays: Mapping[Any, Any], others: Mapping[Any, Any]) -> bool:
  """Whether both have the same names, and under each the same bits."""
  def content(array: Any) -> tuple:
    return np.shape(array), np.asarray(array).dtype, np.asarray(array).tobytes()

  return arrays.keys() == others.keys() and all(content(arrays[name]) == content(others[name]) for name in arrays)


def axis_length(arrays: Arrays, name: str, axis: int, otherwise: int) -> int:
  """Length of an axis of an array, if it is there to tell."""
  return arrays[name].shape[axis] if name in arrays and arrays[name].ndim > axis else otherwise


def _load_torch(path: str | os.PathLike) -> Any:
  """What a PyTorch file of tensors holds, on the CPU. Raises: UserError if it cannot be read, or without PyTorch."""
  try:
    import torch  # an extra that only these files require
  except ModuleNotFoundError as error:
    raise UserError(_TORCH_NEEDED.format(path=path)) from error
  with _readable(path, "a PyTorch file of tensors", (pickle.UnpicklingError, RuntimeError)):
    return torch.load(path, map_location="cpu", weights_only=True)


def _as_float32(array: np.ndarray) -> np.ndarray:
  return array.astype(np.float32) if array.dtype.kind == "f" else array


@contextlib.contextmanager
def _readable(path: str | os.PathLike, kind: str, also: tuple[type[Exception], ...]) -> Iterator[None]:
  """Turns what goes wrong when a file is read, these and `also`, into a UserError."""
  if not Path(path).exists():
    raise UserError(f"No such file: {path}.")
  try:
    yield
  except (OSError, EOFError, ValueError, KeyError, *also) as error:
    reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
    raise UserError(f"Cannot read {path} as {kind}: {reason}. Is it the right file, and whole?") from error
