"""The first thing that a command does, before it imports anything that takes time.

    if __name__ == "__main__":
      from input_pipeline import startup
      startup.begin()

From then on Ctrl-C ends the program with one line and status 130, whatever it is doing; what it prints never fails for
a character that the terminal cannot show, nor once nobody reads it; and names of files are UTF-8, whatever the locale.
"""

import codecs
import contextlib
import errno
import io
import os
import signal
import stat
import sys
import threading
from types import FrameType
from typing import Any

INTERRUPTED = 130      # exit status, as shells have it for SIGINT
PLAIN = {"±": "+-", "–": "-", "—": "-", "−": "-", "×": "x", "…": "...", "’": "'", "“": '"', "”": '"'}
READABLE = "er_jax_readable"      # how what cannot be encoded is written


def begin() -> None:
  """Does what the module says; a second call changes nothing. A notebook or another's program need not call it."""
  if threading.current_thread() is threading.main_thread() and signal.getsignal(
      signal.SIGINT) is signal.default_int_handler:      # not if it is ignored, as behind nohup
    signal.signal(signal.SIGINT, interrupt)
  sys.excepthook, sys.unraisablehook = _report, _report_unraisable
  if sys.getfilesystemencoding() != "utf-8" and sys.executable and not sys.flags.utf8_mode:
    _restart_in_utf8()
  codecs.register_error(READABLE, readable)
  for name in ("stdout", "stderr"):
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOWrapper):      # not what a test or a program put in its place
      if stream is getattr(sys, f"__{name}__"):
        setattr(sys, name, Stream(stream))
      else:
        stream.reconfigure(errors=READABLE)


class Stream(io.TextIOWrapper):
  """Takes the place of stdout or stderr: writes any character, and what nobody can read any more to nowhere."""

  def __init__(self, stream: io.TextIOWrapper):
    """Args: stream: what Python made of the file descriptor."""
    stream.flush()
    raw = _Raw(stream.fileno(), "w", closefd=False)
    is_buffered = isinstance(stream.buffer, io.BufferedIOBase)      # not so in python -u
    super().__init__(io.BufferedWriter(raw) if is_buffered else raw,      # pyright: ignore[reportArgumentType]
                     stream.encoding, READABLE, "\n", stream.line_buffering, stream.write_through)


class _Raw(io.FileIO):

  def write(self, data: Any, /) -> int:
    try:
      return super().write(data)
    except OSError as error:
      is_terminal = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)      # also one that is closed
      if error.errno != errno.EPIPE and not (error.errno == errno.EIO and is_terminal):
        raise
      return memoryview(data).nbytes


def end() -> None:
  """After the work: there is nothing left to be put right, so that Ctrl-C ends the program at once."""
  if signal.getsignal(signal.SIGINT) is interrupt:
    signal.signal(signal.SIGINT, lambda *_: leave())


def interrupt(number: int, frame: FrameType | None) -> None:
  """Handles a signal that asks to stop. Raises: KeyboardInterrupt, for what is being done to be left as it should be.

  While a module is imported there is nothing to be put right, and libraries catch what their imports raise; then the
  program ends here.
  """
  del number
  while frame is not None:
    if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
      leave()
    frame = frame.f_back
  raise KeyboardInterrupt


def leave(message: str = "Interrupted.") -> None:
  """Ends the process at once, with a line on stderr and the status of an interrupted program."""
  with contextlib.suppress(Exception):      # the signal may have come while just this was written
    sys.stdout.flush()
  with contextlib.suppress(OSError):
    os.write(2, f"{message}\n".encode())
  os._exit(INTERRUPTED)


def readable(error: UnicodeError) -> tuple[str, int]:
  """An error handler of `codecs`: signs that have a likeness in ASCII as that, other characters as escapes."""
  if not isinstance(error, UnicodeEncodeError):
    raise error
  characters = error.object[error.start:error.end]
  return "".join(PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in characters), error.end


def _restart_in_utf8() -> None:
  """Python's UTF-8 mode, as from Python 3.15 on; what is printed stays in the terminal's encoding."""
  environment = {**os.environ, "PYTHONUTF8": "1"}      # for processes that this one starts
  if sys.stdout is not None:
    environment["PYTHONIOENCODING"] = sys.stdout.encoding
  os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)


def _report(kind, error, trace) -> None:
  if issubclass(kind, KeyboardInterrupt):
    leave()
  sys.__excepthook__(kind, error, trace)


def _report_unraisable(unraisable) -> None:
  """Of what nobody can catch, as it was raised in a destructor or at garbage collection: Ctrl-C is given once more."""
  if not issubclass(unraisable.exc_type, KeyboardInterrupt):
    sys.__unraisablehook__(unraisable)
    return
  again = threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
  again.daemon = True
  again.start()
