"""Paths as people give them, in flags and configs; and names for folders that libraries cannot misread.

    paths.absolute("~/data", "--data_dir")        # Path("/home/me/data")
    with paths.Alias(Path("runs/[lr=1]")) as folder:
      folder                                      # Path("/tmp/er_jax_x1y2/folder"), a link to it
"""

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any, overload

from input_pipeline.errors import UserError

LONGEST_NAME, LONGEST_PATH = 255, 4095     # bytes, on the file systems of Linux and macOS
HARMLESS = re.compile(      # to Orbax, TensorStore, TFDS and etils; they read the others as patterns, addresses or marks
    r"(?!/(gs|s3|az|hf)(/|$))(?!.*/\.\.(/|$))(?!.*orbax)[\w.,+=@~ /-]*", re.ASCII | re.DOTALL)


@overload
def absolute(path: str | os.PathLike, what: str) -> Path: ...
@overload
def absolute(path: None, what: str) -> None: ...
def absolute(path: str | os.PathLike | None, what: str) -> Path | None:
  """The absolute path that a person means; every path of a flag or a config goes through here.

  A `~` or `~user` at the beginning is the home folder, as in a shell. A folder that is really called so is `./~`; of a
  `Path`, which drops the `./`, only its absolute path. What does not begin with `/` or `~` lies in the current folder.
  Links and `..` stay as they are, for the system to follow. Variables ($HOME) and patterns (*) are plain characters.

  Args:
    path: as given; None, where nothing was, stays None.
    what: the flag or config field, "--data_dir", for messages.

  Raises:
    UserError: it is empty or blank, holds a NUL character or one that is not UTF-8, or has a name that no file system
      takes; or begins with `~` and the name of nobody.
  """
  if path is None:
    return None
  text = os.fspath(path)
  if not text.strip():      # would be the current folder
    raise UserError(f"{what} is empty, expected a path. Give one, or leave {what} out; is a variable in your command "
                    "not set?")
  if "\0" in text:
    raise UserError(f"{what}={text!r} holds a NUL character, which no path can. Give another path.")
  expanded = os.path.expanduser(text)
  if expanded.startswith("~"):
    raise UserError(f"{what}={text}: there is no home folder of {text.split('/')[0]}. Give the folder itself; one that "
                    f"is called so is ./{text}.")
  found = Path(expanded).absolute()
  try:
    lengths = [len(name.encode()) for name in found.parts]
  except UnicodeEncodeError as error:
    raise UserError(f"{what}={os.fsencode(found)!r} is a path that is not UTF-8, and could not be written down; rename the "
                    "folder or file.") from error
  if max(lengths) > LONGEST_NAME or len(str(found).encode()) > LONGEST_PATH:
    raise UserError(f"{what}={text[:60]}...: too long; a name can have {LONGEST_NAME} bytes, a path {LONGEST_PATH}. Give "
                    "a shorter one.")
  return found


def of_flags(values: Any, *names: str) -> tuple[Any, ...]:
  """The absolute path that each flag of `values` (absl's FLAGS) gives, or None. Raises: UserError as `absolute`."""
  return tuple(absolute(getattr(values, name), f"--{name}") for name in names)


def flag(name: str, path: Path) -> str:
  """`--name=path`, to be pasted into a shell."""
  return shlex.quote(f"--{name}={path}")


class Alias:
  """A path to a folder without characters that a library takes for something else.

  Orbax finds the parts of a checkpoint by a pattern that begins with its folder; TensorStore takes a backslash for a
  slash; /s3/ and /gs/ are read as addresses. Given the alias, they get along with any folder.

  Attributes:
    path: the folder itself where its path is harmless; else a link to it, which is there until `close`, or until
      nothing holds the alias any more.
  """

  def __init__(self, folder: Path):
    """Args: folder: absolute, and there."""
    self.path, self._holder = folder, None
    if not HARMLESS.fullmatch(str(folder)):
      here = tempfile.gettempdir()
      self._holder = tempfile.TemporaryDirectory(prefix="er_jax_", dir=here if HARMLESS.fullmatch(here) else "/tmp")
      self.path = Path(self._holder.name) / "folder"
      self.path.symlink_to(folder, target_is_directory=True)

  def close(self) -> None:
    """Removes the link."""
    if self._holder is not None:
      self._holder.cleanup()

  def __enter__(self) -> Path:
    return self.path

  def __exit__(self, *_: object) -> None:
    self.close()
