"""What is a file's own fault, and what ends the work because it is not."""

import errno
import os

import av
import pytest

from input_pipeline import faults
from input_pipeline.errors import Failure


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG])
def test_that_there_is_no_such_file_is_its_own_fault(code):
  faults.require_own("a.mp4", OSError(code, os.strerror(code)))


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.EACCES, errno.EMFILE, errno.ETIMEDOUT])
def test_any_other_error_of_the_system_ends_the_work_and_says_how_to_go_on(code):
  with pytest.raises(Failure, match=rf"Cannot read v/a.mp4: {os.strerror(code)}\..* give the same command again to go on"):
    faults.require_own("v/a.mp4", OSError(code, os.strerror(code)))


@pytest.mark.parametrize("code, is_own", [(errno.EMFILE, False), (errno.ENFILE, False), (errno.ENOMEM, False),
                                          (errno.EIO, True), (errno.EINVAL, True)])
def test_codes_of_ffmpeg_are_of_the_content_but_for_limits(code, is_own):
  error = av.FFmpegError(code, "what it says")
  if is_own:
    faults.require_own("a.mp4", error, of_ffmpeg=True)
  else:
    with pytest.raises(Failure, match="Cannot read a.mp4: what it says"):
      faults.require_own("a.mp4", error, of_ffmpeg=True)
