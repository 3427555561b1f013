"""Files of weights that are broken, foreign or absent are refused with a message that names them."""

import argparse
import collections
import contextlib
import shutil
import sys

import numpy as np
import pytest

from input_pipeline import array_files
from input_pipeline.errors import UserError

ARRAYS = {"a": np.arange(600, dtype=np.float32).reshape(20, 30), "b": np.ones(3, np.float16)}


@pytest.mark.parametrize("read, name", [
    (array_files.read_npz, "absent.npz"),
    (array_files.read_arrays, "absent.pth"),
    (array_files.read_orbax, "absent"),
])
def test_absent_file_is_named(tmp_path, read, name):
  with pytest.raises(UserError, match=f"No such file: .*{name}"):
    read(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 10, 100, 0.5, 0.99])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_cut_short_is_refused(tmp_path, save, keep):
  path = tmp_path / "weights.npz"
  save(path, **ARRAYS)
  content = path.read_bytes()
  path.write_bytes(content[:int(keep * len(content)) if keep < 1 else keep])
  with pytest.raises(UserError, match="Cannot read .*weights.npz"):
    array_files.read_npz(path)


def test_npz_with_a_flipped_byte_is_refused(tmp_path):
  path = tmp_path / "weights.npz"
  np.savez(path, **ARRAYS)
  content = bytearray(path.read_bytes())
  content[400] ^= 1
  path.write_bytes(content)
  with pytest.raises(UserError, match="Cannot read .*weights.npz"):
    array_files.read_npz(path)


def test_npz_that_would_need_pickle_is_refused(tmp_path):
  np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
  with pytest.raises(UserError, match="objects.npz"):
    array_files.read_npz(tmp_path / "objects.npz")


def test_single_array_is_no_archive(tmp_path):
  np.save(tmp_path / "one.npy", np.zeros(3))
  with pytest.raises(UserError, match="single array"):
    array_files.read_npz(tmp_path / "one.npy")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0, 10, 100, 0.5, 0.99])
def test_pth_cut_short_is_refused(tmp_path, zipped, keep):
  torch = pytest.importorskip("torch")
  path = tmp_path / "weights.pth"
  torch.save({"state_dict": {"a": torch.zeros(50, 50)}}, path, _use_new_zipfile_serialization=zipped)
  content = path.read_bytes()
  path.write_bytes(content[:int(keep * len(content)) if keep < 1 else keep])
  with pytest.raises(UserError, match="Cannot read .*weights.pth"):
    array_files.read_arrays(path)


def state_dict(torch) -> dict:
  """Tensors as a training leaves them: parameters, views of every kind, and of all widths of floats."""
  base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
  return {"a.weight": torch.nn.Parameter(base), "a.bias": base[:, 1], "half": base.half(), "brain": base.bfloat16(),
          "double": base.double().T, "strided": base[::2, ::3], "expanded": base[:1].expand(3, 6), "steps": torch.tensor(7),
          "sparse": base.to_sparse(), "with grad": (torch.nn.Parameter(base) * 1)}


def expected() -> dict[str, np.ndarray]:
  base = np.arange(24, dtype=np.float32).reshape(4, 6)
  return {"a.weight": base, "a.bias": base[:, 1], "half": base, "brain": base, "double": base.T, "strided": base[::2, ::3],
          "expanded": np.repeat(base[:1], 3, axis=0), "steps": np.array(7), "sparse": base, "with grad": base}


def optimizer_state(torch) -> dict:
  return {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


FORMS = {
    "bare": lambda torch, state: state,
    "ordered": lambda torch, state: collections.OrderedDict(state),
    **{name: lambda torch, state, name=name: {name: state, "epoch": 3} for name in array_files.STATE_DICTS},
    "of another name, alone": lambda torch, state: {"my_net": state, "epoch": 3, "note": "best"},
    "beside all that a training keeps": lambda torch, state: {
        "optimizer": optimizer_state(torch), "best": np.float64(73.2), "seen": np.int64(4), "history": np.arange(3.0),
        "top": torch.tensor(0.5), "args": {"lr": 0.1, "name": None}, "sizes": [1, (2, 3)], "ema": dict(state), "state_dict": state},
    "with plain values in it": lambda torch, state: {**state, "version": 2, "arch": "net", "scale": np.float32(3)},
    "nested": lambda torch, state: {"model": {"state_dict": state}, "optimizer": optimizer_state(torch)},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_form_of_a_pytorch_file_gives_the_same_numbers(tmp_path, form, zipped):
  torch = pytest.importorskip("torch")
  state = state_dict(torch)
  torch.save(form(torch, state), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
  found = array_files.read_arrays(tmp_path / "w.pth")
  assert found.keys() == expected().keys()
  for name, array in expected().items():
    assert found[name].dtype == array.dtype, name
    np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_numpy_arrays_in_a_pytorch_file_are_read_by_their_bytes(tmp_path):
  torch = pytest.importorskip("torch")
  matrix = np.arange(6, dtype=np.float64).reshape(2, 3)
  torch.save({"c": matrix, "fortran": np.asfortranarray(matrix), "big": matrix.astype(">f4"), "ids": np.arange(3)},
             tmp_path / "w.pth")
  found = array_files.read_arrays(tmp_path / "w.pth")
  for name in ("c", "fortran", "big"):
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], matrix)
  assert found["ids"].tolist() == [0, 1, 2]
  torch.save({"a": np.array([{}], object)}, tmp_path / "objects.pth")
  with pytest.raises(UserError, match="objects.pth"):
    array_files.read_arrays(tmp_path / "objects.pth")


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "th"])
def test_safetensors_and_archives_give_what_a_pytorch_file_does(tmp_path, suffix):
  torch = pytest.importorskip("torch")
  base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
  tensors = {"a": base, "half": base.half(), "double": base.double(), "ids": torch.arange(2)}
  path = tmp_path / f"w.{suffix}"
  if suffix == "safetensors":
    pytest.importorskip("safetensors.torch").save_file({**tensors, "brain": base.bfloat16()}, path)
  elif suffix == "npz":
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
  else:
    torch.save({**tensors, "brain": base.bfloat16()}, path)
  found = array_files.read_arrays(path)
  assert found.pop("ids").tolist() == [0, 1] and len(found) >= 3
  for array in found.values():
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, base.numpy())


def test_safetensors_cut_short_is_refused(tmp_path):
  from safetensors.numpy import save_file
  save_file({"a": np.ones((20, 30), np.float32)}, tmp_path / "w.safetensors")
  content = (tmp_path / "w.safetensors").read_bytes()
  for keep in (0, 5, 40, len(content) - 1):
    (tmp_path / "w.safetensors").write_bytes(content[:keep])
    with pytest.raises(UserError, match="Cannot read .*w.safetensors"):
      array_files.read_arrays(tmp_path / "w.safetensors")


def test_one_tensor_alone_has_no_name(tmp_path):
  torch = pytest.importorskip("torch")
  torch.save(torch.nn.Parameter(torch.arange(6, dtype=torch.float16)), tmp_path / "one.th")
  assert array_files.read_arrays(tmp_path / "one.th")[""].tolist() == list(range(6))


def test_pth_of_no_or_several_state_dicts_is_refused(tmp_path):
  torch = pytest.importorskip("torch")
  one = {"a": torch.zeros(3)}
  for content, message in [
      ([1, 2], "holds no tensors but list"), ({"epoch": 3}, "holds no tensors but a dict of epoch; .*'state_dict'"),
      ({"state_dict": {"a": 3}}, "a dict of state_dict"), ({"optimizer": optimizer_state(torch)}, "a dict of optimizer"),
      ({"state_dict": one, "model": one}, "holds several dicts of tensors: 'state_dict', 'model'"),
      ({"teacher": one, "student": one}, "several dicts of tensors: 'teacher', 'student'")]:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match=message):
      array_files.read_arrays(tmp_path / "other.pth")


@pytest.mark.parametrize("content, what", [
    (lambda torch: {"state_dict": {"a": torch.zeros(3)}, "hook": print}, "print"),
    (lambda torch: {"state_dict": {"a": torch.zeros(3)}, "args": argparse.Namespace(lr=0.1)}, "argparse.Namespace"),
    (lambda torch: torch.nn.Linear(2, 3), "torch.nn.modules.linear.Linear"),
])
def test_pth_that_would_run_code_is_refused_and_what_to_do_gives_a_file_that_is_read(tmp_path, content, what):
  torch = pytest.importorskip("torch")
  torch.save(content(torch), tmp_path / "code.pth")
  with pytest.raises(UserError, match=f"code.pth holds more than tensors .*{what}.* could run code") as raised:
    array_files.read_arrays(tmp_path / "code.pth")
  commands = [line.strip() for line in str(raised.value).splitlines()[2:]]
  with contextlib.chdir(tmp_path):
    exec("\n".join(commands), {"torch": torch})
  assert array_files.read_arrays(tmp_path / "tensors.pth").keys() <= {"a", "weight", "bias"}


def test_torchscript_is_refused_with_what_to_do(tmp_path):
  torch = pytest.importorskip("torch")
  torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), tmp_path / "script.pt")
  with pytest.raises(UserError, match="(?s)a TorchScript program.*torch.jit.load"):
    array_files.read_arrays(tmp_path / "script.pt")


def test_without_torch_the_message_says_how_to_install_it(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(UserError, match="pip install torch"):
    array_files.read_arrays(tmp_path / "weights.pth")


def test_orbax_folder_keeps_the_tree_and_is_never_overwritten(tmp_path):
  tree = {"params": {"layer": {"kernel": ARRAYS["a"], "bias": np.ones(3, np.float32)}}}
  array_files.write_orbax(tmp_path / "converted", tree)
  found = array_files.read_orbax(tmp_path / "converted")
  assert found.keys() == {("params", "layer", "kernel"), ("params", "layer", "bias")}
  np.testing.assert_array_equal(found["params", "layer", "kernel"], ARRAYS["a"])
  with pytest.raises(UserError, match="is there already"):
    array_files.write_orbax(tmp_path / "converted", tree)


def test_folder_that_is_no_checkpoint_or_a_damaged_one_is_refused(tmp_path):
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match="Cannot read .*empty"):
    array_files.read_orbax(tmp_path / "empty")
  array_files.write_orbax(tmp_path / "damaged", {"params": {"kernel": ARRAYS["a"]}})
  shutil.rmtree(tmp_path / "damaged" / "d")
  with pytest.raises(UserError, match="Cannot read .*damaged"):
    array_files.read_orbax(tmp_path / "damaged")
