"""Files whose owner or group has a number but no name here, as in containers and on shared disks: nobody needs the name.

    nameless_owners.allow()      # before TFDS or Orbax look at files: epath's `stat`, theirs, would raise KeyError
"""

import os
import stat as stat_lib
from typing import Any

from etils.epath import backend, stat_utils

_STAT = type(backend.os_backend).stat      # which looks both names up


def allow() -> None:
  """Lets epath's `stat` answer for every local file, with None for a name that there is not."""
  setattr(type(backend.os_backend), "stat", _stat)  # noqa: B010


def _stat(self: Any, path: str | os.PathLike) -> stat_utils.StatResult:
  try:
    return _STAT(self, path)
  except KeyError:
    status = os.stat(path)
    return stat_utils.StatResult(
        is_directory=stat_lib.S_ISDIR(status.st_mode), length=status.st_size, mtime=int(status.st_mtime), owner=None,
        group=None, mode=status.st_mode)
