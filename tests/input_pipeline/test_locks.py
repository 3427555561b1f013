"""One process at a time in a folder, wherever that can be had."""

import errno
import fcntl

import filelock
import pytest

from input_pipeline import locks


def test_a_folder_is_locked_in_the_block_and_not_after_it(tmp_path):
  with locks.exclusive(tmp_path / "new"), open(tmp_path / "new" / ".lock") as other:
    with pytest.raises(BlockingIOError):
      fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
  with open(tmp_path / "new" / ".lock") as other:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("answer", ["ENOLCK", "ENOTSUP", "EINVAL", "ENOSYS", "EACCES", "EWOULDBLOCK", "EPERM", "EIO"])
@pytest.mark.parametrize("wait", [True, False])
def test_a_file_system_without_locks_is_pointed_out_and_used(tmp_path, monkeypatch, capsys, answer, wait):
  def refuse(*_):
    raise OSError(getattr(errno, answer), "no locks here")

  monkeypatch.setattr(fcntl, "flock", refuse)
  (tmp_path / ".lock").write_text("12345\na machine that is gone\n")      # left by a killed process
  with locks.exclusive(tmp_path, wait=wait):
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
  assert f"{tmp_path} cannot be locked" in capsys.readouterr().err


def test_a_folder_in_use_is_told_from_one_that_cannot_be_locked(tmp_path, capsys):
  with locks.exclusive(tmp_path):
    with pytest.raises(filelock.Timeout), locks.exclusive(tmp_path, wait=False):
      pass
  assert capsys.readouterr().err == "" and [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(OSError, match="file"), locks.exclusive(tmp_path / "file" / "folder"):
    pass
