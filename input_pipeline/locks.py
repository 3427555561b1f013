"""One process at a time in a folder.

    with exclusive(folder):      # waits while another process is in it; a killed process lets go
      ...
"""

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"      # of the locked file in the folder


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
  """Makes the folder and lets one process at a time into the block, also of several machines that share the folder.

  Where the file system has no locks, it says so and goes on.

  Raises:
    OSError: if the folder cannot be made or written to.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / NAME, "w") as file:
    try:
      if not _try(file):
        print(f"Another process is preparing {folder}; waiting for it.", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
      print(f"{folder} cannot be locked ({error}); see to it that no other process prepares the same.", file=sys.stderr)
    yield


def _try(file) -> bool:
  """Locks the file until it is closed, or tells that another process has it."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  return True
