"""One process at a time in a folder, wherever that can be had."""

import errno
import fcntl

import pytest

from input_pipeline import locks


def test_a_folder_is_locked_in_the_block_and_not_after_it(tmp_path):
  with locks.exclusive(tmp_path / "new"), open(tmp_path / "new" / ".lock") as other:
    with pytest.raises(BlockingIOError):
      fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
  with open(tmp_path / "new" / ".lock") as other:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_system_without_locks_is_pointed_out_and_used(tmp_path, monkeypatch, capsys):
  def refuse(*_):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", refuse)
  with locks.exclusive(tmp_path):
    pass
  assert "cannot be locked" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(OSError, match="file"), locks.exclusive(tmp_path / "file" / "folder"):
    pass
