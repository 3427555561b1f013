"""Whether an error of the system is the fault of the file that it is about, or of the machine.

    try:
      status = path.stat()
    except OSError as error:
      faults.require_own(path, error)      # a Failure, if the disk, the network, a permission or a limit is to blame
      return NO_STAMP

What is skipped for its own fault is left out of the dataset for good. So what may be otherwise in an hour, or once the
file can be reached, ends the work instead, and the same command goes on from there.
"""

import errno
import os
from typing import Protocol

from input_pipeline.errors import Failure

OWN = frozenset({      # there is no such file, or no regular one; EINVAL is what `files.require_regular` says
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL})
LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE})
READ_BYTES = 1 << 20


class CodedError(Protocol):
  """An OSError, or an error of FFmpeg."""

  errno: int | None
  strerror: str | None


def require_own(path: str | os.PathLike, error: CodedError, of_ffmpeg: bool = False) -> None:
  """Returns if it is the file's own fault that it cannot be read.

  Args:
    path: the file.
    error: what was raised when it was opened or read.
    of_ffmpeg: whether it comes from FFmpeg. Its codes are about the content, but for `LIMITS`; also EIO, which is how it
      says that a file ends too early, so that `require_readable` has to tell.

  Raises:
    Failure: it is not; names the file and the reason.
  """
  if error.errno in LIMITS if of_ffmpeg else error.errno not in OWN:
    raise Failure(f"Cannot read {path}: {error.strerror}. That is no fault of the file's content, so it is not left out. "
                  "Put that right, or remove the file, then give the same command again to go on.")


def require_readable(path: str | os.PathLike) -> None:
  """Reads through a file that seems damaged. Raises: Failure if the machine cannot read it."""
  try:
    with open(path, "rb") as file:
      while file.read(READ_BYTES):
        pass
  except OSError as error:
    require_own(path, error)
