"""Weights in files, as flat dicts of NumPy arrays: .npz, .npy, .safetensors, PyTorch's files; and Orbax folders.

    arrays = read_arrays("BiT-M-R50x1.npz")                # {"resnet/head/conv2d/bias": float32 (21843,), ...}
    arrays = read_arrays("TSM_kinetics_RGB_resnet50.pth")  # {"module.new_fc.bias": float32 (400,), ...}
    arrays = read_arrays("word.glove42b.th")               # {"weight": float32 (13561, 300)}

Nothing that could run code is unpickled. A file that cannot be read is a `UserError` that says which and why.
"""

import contextlib
import os
import pickle
import re
import struct
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict

from input_pipeline import devices, nameless_owners, numpy_files, paths
from input_pipeline.errors import UserError

nameless_owners.allow()

Arrays = dict[str, np.ndarray]

STATE_DICTS = ("state_dict", "model_state_dict", "model", "resume_model", "net", "network", "module", "weights")
SAFETENSORS = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8}

_TORCH_NEEDED = """PyTorch is needed to read {path}, and it is not installed. Either
  pip install torch --index-url https://download.pytorch.org/whl/cpu
or, where PyTorch is, write the entries of the file's state_dict, under the same names, with numpy.savez."""
_ONLY_TENSORS = """{path} holds more than tensors and plain values ({what}), and to read that could run code; it is not read.
If you trust the file, write its tensors alone to another one with PyTorch, and give that:
  content = torch.{load}
  state = content.state_dict() if hasattr(content, "state_dict") else content.get("state_dict", content)
  torch.save({{name: tensor for name, tensor in state.items() if torch.is_tensor(tensor)}}, "tensors.pth")"""


def read_arrays(path: str | os.PathLike) -> Arrays:
  """The arrays of a file by name, floats of any width as float32.

  Args:
    path: an .npz or .safetensors file; an .npy file, whose array comes under the name ""; or any other, which is one of
      PyTorch's (this needs PyTorch): a tensor, which comes under the name "", or a dict of tensors by name. That may be
      an entry of what the file holds, as in training's own checkpoints: one of `STATE_DICTS`, or the only one. What
      else there is, such as numbers, texts and an optimiser's state, is passed over.

  Raises:
    UserError: it cannot be read, would need code to be run, or holds no arrays, or several dicts of them.
  """
  readers = {".npz": read_npz, ".npy": _read_npy, ".safetensors": _read_safetensors}
  return readers.get(Path(path).suffix.lower(), _read_torch)(path)


def read_npz(path: str | os.PathLike) -> Arrays:
  """The arrays of a NumPy archive, floats as float32."""
  with _readable(path, "a NumPy .npz archive"):
    return {name: _as_float32(array) for name, array in numpy_files.read_npz(path).items()}


def read_orbax(path: str | os.PathLike) -> dict[tuple[str, ...], np.ndarray]:
  """The leaves of a tree of arrays that `write_orbax` wrote, by their path in the tree; floats as float32."""
  return {key: _as_float32(leaf) for key, leaf in _read_leaves(path).items()}


def _read_leaves(path: str | os.PathLike) -> dict[tuple[str, ...], np.ndarray]:
  """Those leaves as they are."""
  devices.require()
  path = Path(path).absolute()
  with _readable(path, "a converted checkpoint", AttributeError, TypeError):
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
      if not _same(_read_leaves(written), flatten_dict(tree)):
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


def _read_npy(path: str | os.PathLike) -> Arrays:
  with _readable(path, "a NumPy .npy file"):
    return {"": _as_float32(numpy_files.read_npy(path))}


def _read_safetensors(path: str | os.PathLike) -> Arrays:
  import safetensors

  with _readable(path, "a .safetensors file", safetensors.SafetensorError):
    entries = safetensors.deserialize(Path(path).read_bytes())
  if strange := {entry["dtype"] for _, entry in entries} - SAFETENSORS.keys():
    raise UserError(f"{path} holds numbers of type {', '.join(sorted(strange))}; expected one of "
                    f"{', '.join(SAFETENSORS)}.")
  return {name: _as_float32(np.frombuffer(entry["data"], SAFETENSORS[entry["dtype"]]).reshape(entry["shape"]))
          for name, entry in entries}


def _read_torch(path: str | os.PathLike) -> Arrays:
  content = _load_torch(path)
  if _is_array(content):
    return {"": _from_torch(path, content)}
  return {str(name): _from_torch(path, value) for name, value in _state_dict(path, content).items() if _is_array(value)}


class _OfNumpy:
  """Stands for NumPy's scalars, arrays and dtypes in a PyTorch file: keeps what they are made of, and runs nothing."""

  def __init__(self, *made_of: Any):
    self.made_of: tuple = made_of
    self.state: Any = None

  def __setstate__(self, state: Any) -> None:
    self.state = state

  @property
  def is_array(self) -> bool:
    """Whether the state is that of an array: (version, shape, dtype, whether it lies in Fortran's order, bytes)."""
    return isinstance(self.state, tuple) and len(self.state) == 5 and isinstance(self.state[2], _OfNumpy)

  def array(self) -> np.ndarray:
    """Raises: ValueError if it is not one of numbers."""
    _, shape, dtype, transposed, content = self.state
    kind, order = str(dtype.made_of[0]), str(dtype.state[1])
    if not re.fullmatch(r"[fiub]\d+", kind):
      raise ValueError(f"an array of {kind!r}")
    return np.frombuffer(content, np.dtype(order + kind)).reshape(shape, order="F" if transposed else "C")


OF_NUMPY: Any = [(_OfNumpy, name) for name in (
    "numpy.dtype", "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{function}" for core in ("core", "_core") for function in ("scalar", "_reconstruct")))]

OF_DAMAGED_PICKLES = (pickle.UnpicklingError, RuntimeError, TypeError, AttributeError, IndexError, AssertionError,
                      OverflowError, MemoryError, struct.error)


def _load_torch(path: str | os.PathLike) -> Any:
  """What a PyTorch file of tensors holds, on the CPU. Raises: UserError if it cannot be read, or without PyTorch."""
  try:
    import torch  # an extra that only these files require
  except ModuleNotFoundError as error:
    raise UserError(_TORCH_NEEDED.format(path=path)) from error
  with _readable(path, "a PyTorch file of tensors", *OF_DAMAGED_PICKLES):
    try:
      with torch.serialization.safe_globals(OF_NUMPY), warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
      foreign = re.search(r"GLOBAL ([\w.]*\w) was|TorchScript", str(error))
      if not foreign:
        raise
      load = (f'load("{path}", map_location="cpu", weights_only=False)' if foreign[1] else
              f'jit.load("{path}", map_location="cpu")')
      raise UserError(_ONLY_TENSORS.format(path=path, what=foreign[1] or "a TorchScript program", load=load)) from error


def _is_array(value: Any) -> bool:
  """Whether it is a tensor, or an array of NumPy's."""
  return value.is_array if isinstance(value, _OfNumpy) else hasattr(value, "numpy")


def _from_torch(path: str | os.PathLike, value: Any) -> np.ndarray:
  with _readable(path, "a PyTorch file of tensors", RuntimeError, TypeError, AttributeError, IndexError):
    if isinstance(value, _OfNumpy):
      return _as_float32(value.array())
    tensor = value.detach().to_dense()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy(force=True)


def _state_dict(path: str | os.PathLike, content: Any) -> Mapping:
  """The dict of tensors that the content of a file is or holds."""
  while _holds_arrays(content):
    inner = [name for name, value in content.items() if _holds_arrays(value)]
    named = [name for name in inner if name in STATE_DICTS]
    if not named and any(map(_is_array, content.values())):
      return content
    if len(named or inner) > 1:
      raise UserError(f"{path} holds several dicts of tensors: {', '.join(map(repr, named or inner))}. Write the one that "
                      "is meant to a file of its own, with torch.save.")
    content = content[(named or inner)[0]]
  held = f"a dict of {', '.join(map(str, content)) or 'nothing'}" if isinstance(content, Mapping) else type(content).__name__
  raise UserError(f"{path} holds no tensors but {held[:200]}; expected a tensor, or a dict of tensors by name, which may "
                  f"be an entry {' or '.join(map(repr, STATE_DICTS))}.")


def _holds_arrays(value: Any) -> bool:
  """Whether it is a dict with a tensor somewhere in it; but not an optimiser's state."""
  return isinstance(value, Mapping) and "param_groups" not in value and any(
      _is_array(entry) or _holds_arrays(entry) for entry in value.values())


def _as_float32(array: np.ndarray) -> np.ndarray:
  """An array, its floats as float32; what is too large becomes infinite, and is refused like all that is not finite."""
  with np.errstate(over="ignore"):
    return array.astype(np.float32) if jnp.issubdtype(array.dtype, jnp.floating) else array


@contextlib.contextmanager
def _readable(path: str | os.PathLike, kind: str, *also: type[Exception]) -> Iterator[None]:
  """Turns what goes wrong when a file is read, these and `also`, into a UserError."""
  if not Path(path).exists():
    raise UserError(f"No such file: {path}.")
  try:
    yield
  except (OSError, EOFError, ValueError, KeyError, RecursionError, *also) as error:
    reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
    raise UserError(f"Cannot read {path} as {kind}: {reason}. Is it the right file, and whole?") from error
