"""Names that differ from the one that is looked for in nothing but how they are written, and in what.

    no_file(Path("/videos/run\\Clip.MP4"))    # "no such file; there is '/videos/run/clip.mp4', which differs in ..."
    differences("run\\Clip.MP4", "run/clip.mp4")      # "separators and case"
"""

import functools
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

NO_FILE = "no such file"     # how the reason begins for which a missing file is skipped
ASPECTS = {      # what a name may differ in, and the name without it
    "separators": lambda name: "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", ".")),
    "blanks": lambda name: re.sub(r" *(/|$) *", r"\1", re.sub(r"\s+", " ", name, flags=re.ASCII)).lstrip(" "),
    "Unicode form": lambda name: unicodedata.normalize("NFKC", name),      # NFC or NFD, no-break blanks, ...
    "case": str.casefold,
    "extension": lambda name: os.path.splitext(name)[0],
}
WRITING = tuple(ASPECTS)[:-1]


def fold(name: str, aspects: Iterable[str] = WRITING) -> str:
  """What names have in common that differ in these aspects only."""
  return functools.reduce(lambda name, aspect: ASPECTS[aspect](name), aspects, name)


def differences(name: str, other: str) -> str:
  """In which aspects two names differ whose `fold` is the same, also if only but for the extension of one."""
  aspects = WRITING if fold(name) == fold(other) else tuple(ASPECTS)
  needed = [aspect for aspect in aspects
            if fold(name, rest := [each for each in aspects if each != aspect]) != fold(other, rest)]
  return " and ".join(needed) or "how it is written"


def no_file(path: Path) -> str:
  """Why a file that is not there is skipped: `NO_FILE`, and what lies there instead."""
  if os.path.islink(path):
    return f"{NO_FILE}; it is a link to {os.readlink(path)!r}, which is not there"
  folder = path.parent
  while not os.path.isdir(folder) and folder != folder.parent:
    folder = folder.parent
  looked_for = str(path.relative_to(folder))
  near = _descend(str(folder), fold(looked_for).split("/"))
  if near is None:
    return NO_FILE
  return f"{NO_FILE}; there is {near!r}, which differs in {differences(looked_for, os.path.relpath(near, folder))}"


def _descend(folder: str, parts: list[str]) -> str | None:
  """The first path below `folder` whose parts are these but for their writing."""
  if not parts:
    return folder
  try:
    names = _names(folder, os.stat(folder).st_mtime_ns)
  except OSError:
    return None
  found = (_descend(os.path.join(folder, name), parts[1:]) for name in names.get(parts[0], ()))
  return next(filter(None, found), None)


@functools.lru_cache(16)      # as many files may be missing from one folder
def _names(folder: str, modified: int) -> dict[str, list[str]]:
  """The names in a folder, as it was at that time, by their `fold`."""
  names: dict[str, list[str]] = {}
  for name in sorted(os.listdir(folder)):
    names.setdefault(fold(name), []).append(name)
  return names
