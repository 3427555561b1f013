"""Files of weights that are broken, foreign or absent are refused with a message that names them."""

import shutil
import sys

import numpy as np
import pytest

from input_pipeline import array_files
from input_pipeline.errors import UserError

ARRAYS = {"a": np.arange(600, dtype=np.float32).reshape(20, 30), "b": np.ones(3, np.float16)}


@pytest.mark.parametrize("read, name", [
    (array_files.read_npz, "absent.npz"),
    (array_files.read_pth, "absent.pth"),
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
    array_files.read_pth(path)


def test_pth_of_anything_but_a_state_dict_is_refused(tmp_path):
  torch = pytest.importorskip("torch")
  for content in ({"a": torch.zeros(3)}, [1, 2], {"state_dict": {"a": 3}}):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(UserError, match="'state_dict'"):
      array_files.read_pth(tmp_path / "other.pth")


def test_tensors_of_a_file_come_by_name_and_floats_as_float32(tmp_path):
  torch = pytest.importorskip("torch")
  matrix = torch.nn.Parameter(torch.arange(6, dtype=torch.float64).reshape(2, 3))
  torch.save({"a.weight": matrix, "ids": torch.arange(2), "epoch": 3}, tmp_path / "several.th")
  found = array_files.read_tensors(tmp_path / "several.th")
  assert found.keys() == {"a.weight", "ids"} and found["ids"].dtype == np.int64
  assert found["a.weight"].dtype == np.float32 and np.array_equal(found["a.weight"], np.arange(6).reshape(2, 3))
  torch.save(matrix.half(), tmp_path / "one.th")
  assert np.array_equal(array_files.read_tensors(tmp_path / "one.th")[""], np.arange(6).reshape(2, 3))


def test_pth_that_would_run_code_is_refused(tmp_path):
  torch = pytest.importorskip("torch")
  torch.save({"state_dict": {"a": torch.zeros(3)}, "hook": print}, tmp_path / "code.pth")
  with pytest.raises(UserError, match="Cannot read .*code.pth"):
    array_files.read_pth(tmp_path / "code.pth")


def test_without_torch_the_message_says_how_to_install_it(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(UserError, match="pip install torch"):
    array_files.read_pth(tmp_path / "weights.pth")


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
