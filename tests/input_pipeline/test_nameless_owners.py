"""A user and a group without names, as in a container that is started with a number for its user."""

import grp
import pwd

import numpy as np
import pytest
from etils import epath

from input_pipeline import array_files
from input_pipeline.dataset import open_dataset
from tests.input_pipeline.conftest import made_up_raw_dataset, write_dataset


@pytest.fixture
def nameless(monkeypatch) -> None:
  def there_is_none(number: int):
    raise KeyError(f"not found: {number}")

  monkeypatch.setattr(pwd, "getpwuid", there_is_none)
  monkeypatch.setattr(grp, "getgrgid", there_is_none)


def test_files_of_nobody_can_be_looked_at(tmp_path, nameless):
  (tmp_path / "file").write_bytes(b"12345")
  file, folder = epath.Path(tmp_path / "file").stat(), epath.Path(tmp_path).stat()
  assert (file.length, file.is_directory, file.owner, file.group) == (5, False, None, None)
  assert folder.is_directory and file.mtime == int((tmp_path / "file").stat().st_mtime)


def test_files_of_somebody_are_still_theirs(tmp_path):
  assert epath.Path(tmp_path).stat().owner == tmp_path.owner()


def test_dataset_and_checkpoint_are_written_and_read_without_names(tmp_path, nameless):
  write_dataset(tmp_path, made_up_raw_dataset(20), skipped={})
  assert sum(map(open_dataset(tmp_path, "toy_actions").num_examples, ("train", "val", "test"))) == 20
  array_files.write_orbax(tmp_path / "checkpoint", {"kernel": np.arange(3)})
  np.testing.assert_array_equal(array_files.read_orbax(tmp_path / "checkpoint")["kernel",], np.arange(3))
