"""One process at a time in a folder.

    with exclusive(folder):                   # waits while another process is in it; a killed process lets go
      ...
    with exclusive(folder, wait=False):       # raises filelock.Timeout instead of waiting
      ...

The lock is the operating system's, on a file in the folder: it ends with the process that holds it, and what a killed
process leaves is a file without meaning. Some file systems have no locks, and answer as if all files were in use or
with one error or another; so what cannot be locked is told from what is in use by a file that nobody else knows.
"""

import contextlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

NAME = ".lock"      # of the locked file in the folder


@contextlib.contextmanager
def exclusive(folder: Path, wait: bool = True) -> Iterator[None]:
  """Makes the folder and lets one process at a time into the block, also of several machines that share the folder.

  Where the file system has no locks, it says so and goes on.

  Raises:
    filelock.Timeout: another process is in it, and `wait` is False.
    OSError: if the folder cannot be made or written to.
  """
  folder.mkdir(parents=True, exist_ok=True)
  lock = _lock(folder / NAME)
  try:
    lock.acquire(timeout=0)
  except (Timeout, OSError) as error:
    if reason := _why_without_locks(folder):
      print(f"{folder} cannot be locked ({reason}); see to it that no other process uses it meanwhile.",
            file=sys.stderr, flush=True)
    elif isinstance(error, Timeout) and wait:
      print(f"Another process is preparing {folder}; waiting for it. {advice(folder)}", file=sys.stderr, flush=True)
      lock.acquire()
    else:
      raise
  try:
    yield
  finally:
    lock.release()


def advice(folder: Path) -> str:
  """What to do if a folder is locked by a process that there is no more, as a file server may believe."""
  return f"(If there is no such process, on any machine, delete {folder / NAME}.)"


def _lock(path: Path) -> FileLock:
  return FileLock(path, fallback_to_soft=False)      # which another machine's killed process would hold for ever


def _why_without_locks(folder: Path) -> str | None:
  """Why no file in the folder can be locked; None if one can, or there cannot be one."""
  path = folder / f"{NAME}.{secrets.token_hex(8)}"
  try:
    path.touch(exist_ok=False)
  except OSError:
    return None
  try:
    with _lock(path).acquire(timeout=0):
      return None
  except Timeout:
    return "its file system says of a new file that it is in use"
  except OSError as error:
    return str(error)
  finally:
    path.unlink(missing_ok=True)
