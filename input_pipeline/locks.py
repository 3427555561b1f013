"""One process at a time in a folder.

    with exclusive(folder):                   # waits while another process is in it; a killed process lets go
      ...
    with exclusive(folder, wait=False):       # raises filelock.Timeout instead of waiting
      ...
"""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

NAME = ".lock"      # of the locked file in the folder
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)     # what file systems without locks answer


@contextlib.contextmanager
def exclusive(folder: Path, wait: bool = True) -> Iterator[None]:
  """Makes the folder and lets one process at a time into the block, also of several machines that share the folder.

  Where the file system has no locks, it says so and goes on.

  Raises:
    filelock.Timeout: another process is in it, and `wait` is False.
    OSError: if the folder cannot be made or written to.
  """
  folder.mkdir(parents=True, exist_ok=True)
  lock = FileLock(folder / NAME)
  try:
    try:
      lock.acquire(timeout=0)
    except Timeout:
      if not wait:
        raise
      print(f"Another process is preparing {folder}; waiting for it.", file=sys.stderr, flush=True)
      lock.acquire()
  except OSError as error:
    if error.errno not in NO_LOCKS:
      raise
    print(f"{folder} cannot be locked ({error}); see to it that no other process prepares the same.", file=sys.stderr)
  try:
    yield
  finally:
    lock.release()
