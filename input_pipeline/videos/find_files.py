"""The files of videos below a folder, however they are arranged, or an error that says what is there instead.

    tree = read_tree(Path("/data/UCF-101"))
    tree.files[0]       # Path("/data/UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi")
    describe(by_suffix(tree.unused))      # "12 .gif, 3 without extension, 1 .txt"

A video is known by its suffix or, where that is of no known kind, by how the file begins. A tree that is only partly
unpacked or downloaded is refused: it would make a smaller dataset without a word.
"""

import collections
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from input_pipeline import faults
from input_pipeline.errors import UserError
from input_pipeline.videos.content import looks_like_video

VIDEO_SUFFIXES = frozenset({
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg",
    ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".qt", ".rm", ".rmvb",
    ".ts", ".vob", ".webm", ".wmv", ".y4m"})
OTHER_SUFFIXES = frozenset(      # of files that lie beside videos, and are not opened to see whether they are some
    ".txt .md .json .jsonl .csv .tsv .xml .html .yaml .yml .log .pdf .py .sh .m .srt .vtt .ass .sub .idx .nfo "
    ".jpg .jpeg .png .bmp .tif .tiff .webp .heic .heif .avif .svg .ppm .wav .mp3 .m4a .m4b .mka .aac .flac .ogg .oga "
    ".opus .wma .npy .npz .pt .pth .pkl .h5 .hdf5 .zip .rar .7z .tar .gz .tgz .bz2 .xz .zst".split())
UNPACK = {".zip": "unzip", ".rar": "unrar x", ".tar": "tar xf", ".tar.gz": "tar xzf", ".tgz": "tar xzf", ".7z": "7z x",
          ".tar.xz": "tar xJf", ".txz": "tar xJf", ".tar.bz2": "tar xjf", ".tbz2": "tar xjf",
          ".tar.zst": "tar --zstd -xf"}
PARTIAL = re.compile(      # what browsers, aria2, yt-dlp and WinSCP leave of a download that did not end
    r"\.(part|part-frag\d+|crdownload|download|filepart|aria2|ytdl)$", re.IGNORECASE)
MOST_WAYS = 100      # by which a folder may be reached, through links
SHOWN = 10      # files or entries that an error lists


class Tree(NamedTuple):
  """A folder and the files that were looked for.

  Attributes:
    root: the folder, absolute; links in it are kept.
    files: in ascending order (by folder, then by name); at least one. A link to nothing is among them.
    unused: paths of the other files, in no order.
  """

  root: Path
  files: tuple[Path, ...]
  unused: tuple[str, ...] = ()


def read_tree(
    source: str | os.PathLike, suffixes: frozenset[str] = VIDEO_SUFFIXES, hints: Mapping[str, str] = {}
) -> Tree:
  """Finds the files of these suffixes below `source`.

  Links are followed, but not back into a folder that they lie in. Hidden files and folders are passed over, and
  `__MACOSX`. A file that can be reached by two paths is there twice. Where videos are looked for, those of unknown
  suffix, or none, are found too, but for one beside which there is a video of its name: v.gif beside v.mp4.

  Args:
    source: a folder.
    suffixes: lower-case with their dots; those of the files may be of any case.
    hints: what to say where there is no file of `suffixes`, but one of another, lower-case suffix.

  Raises:
    UserError: there is no such folder, it cannot be read, it holds no such file, a name in it is not UTF-8, links in it
      lead to a folder by more than `MOST_WAYS` paths, or it holds a partial download or an archive beside which there
      is no unpacked folder.
  """
  root = Path(os.path.abspath(source))
  _require_folder(root, suffixes)
  found, others, folders = [], [], {_key(root.name)}
  for path, is_folder in _walk(str(root), (), collections.Counter()):
    if is_folder:
      folders.add(_key(os.path.basename(path)))
      if PARTIAL.search(path):      # as Safari's a.mp4.download/
        others.append(path)
    else:
      (found if os.path.splitext(path)[1].lower() in suffixes else others).append(path)
  _require_whole(root, others, folders)
  if suffixes == VIDEO_SUFFIXES:
    found, others = _with_unnamed(found, others)
  if not found:
    raise _no_files(root, suffixes, others, hints)
  for path in found:
    if not path.isascii():
      _require_utf8(path)
  found.sort(key=lambda path: path.split(os.sep))
  return Tree(root, tuple(map(Path, found)), tuple(others))


def find_video(folder: Path, stem: str) -> Path | None:
  """The video of that name without extension in a folder; None if there is none. A .txt or .jpg beside it is not it."""
  if not folder.is_dir():
    return None
  paths = sorted(path for path in folder.iterdir() if path.stem == stem and path.is_file())
  named = (path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES)
  return next(named, None) or next(filter(looks_like_video, paths), None)


def by_suffix(paths: Iterable[str]) -> dict[str, int]:
  """How many files there are of each suffix, lower-case; most first."""
  return dict(collections.Counter(os.path.splitext(path)[1].lower() for path in paths).most_common())


def describe(counts: Mapping[str, int]) -> str:
  """Counts of `by_suffix`, in words; the first ones if there are many."""
  said = [f"{count} {_printable(suffix) or 'without extension'}" for suffix, count in list(counts.items())[:SHOWN]]
  return ", ".join(said) + ", ..." * (len(counts) > SHOWN)


def files_there(paths: Iterable[str]) -> str:
  """For an error, what files there are instead of those that are looked for: "12 of .gif, 3 of no suffix"."""
  counts = list(by_suffix(paths).items())[:SHOWN]
  return ", ".join(f"{count} of {_printable(suffix) or 'no suffix'}" for suffix, count in counts) or "none at all"


def _with_unnamed(found: list[str], others: list[str]) -> tuple[list[str], list[str]]:
  """The videos and the other files, now that those of unknown suffix were looked into."""
  names = {os.path.splitext(path)[0] for path in found}
  videos = {path for path in others if os.path.splitext(path)[1].lower() not in OTHER_SUFFIXES
            and os.path.splitext(path)[0] not in names and looks_like_video(path)}
  return [*found, *videos], [path for path in others if path not in videos]


def _walk(
    folder: str, above: tuple[tuple[int, int], ...], ways: collections.Counter[tuple[int, int]]
) -> Iterator[tuple[str, bool]]:
  """(path, whether it is a folder) of all that lies below `folder`.

  Args:
    folder: a path.
    above: the folders on the way to it.
    ways: how often each folder was reached so far.
  """
  try:
    stat = os.stat(folder)
    here = stat.st_dev, stat.st_ino
    if here in above:
      return
    ways[here] += 1
    if ways[here] > MOST_WAYS:
      raise UserError(f"Links lead to one folder by more than {MOST_WAYS} paths, one of them {folder}. Remove those that "
                      "lead to a folder which is below the source already.")
    with os.scandir(folder) as entries:
      entries = list(entries)
  except OSError as error:
    raise UserError(f"Cannot read the folder {folder}: {error.strerror}.") from error
  for entry in entries:
    if entry.name.startswith(".") or entry.name == "__MACOSX":
      continue
    if is_folder := _is_folder(entry):
      yield from _walk(entry.path, (*above, here), ways)
    yield entry.path, is_folder


def _is_folder(entry: os.DirEntry) -> bool:
  try:
    return entry.is_dir()
  except OSError as error:     # a link to itself
    faults.require_own(entry.path, error)
    return False


def _require_folder(root: Path, suffixes: frozenset[str]) -> None:
  if root.is_dir():
    return
  wanted = f"expected a folder with files {_listed(suffixes)} in it"
  if suffix := _archive_suffix(root.name) if root.exists() else "":
    command = f"{UNPACK[suffix]} {shlex.quote(str(root))}"
    raise UserError(f"{root} is an archive, {wanted}. Unpack it ({command}) and give the folder with --source=DIR.")
  if root.exists():
    raise UserError(f"{root} is a file, {wanted}. Give the folder with --source=DIR.")
  parent = next(parent for parent in root.parents if parent.exists())
  raise UserError(f"There is no folder {root}; {wanted}. {parent} holds {_entries(parent)}. "
                  "Give the folder with --source=DIR.")


def _require_whole(root: Path, others: list[str], folders: set[str]) -> None:
  """Raises: UserError naming archives that are not unpacked, and downloads that did not end."""
  others = sorted(others)
  if partial := [path for path in others if PARTIAL.search(path)]:
    raise UserError("\n".join([
        f"{root} holds {len(partial)} files whose download did not end:", *_first(partial),
        "Download them again to the end, or remove them."]))
  packed = []
  for path in others:
    suffix = _archive_suffix(path)
    if suffix and _key(os.path.basename(path)[:-len(suffix)]) not in folders:
      packed.append((path, UNPACK[suffix]))
  if packed:
    path, command = packed[0]
    command = f"cd {shlex.quote(os.path.dirname(path))} && {command} {shlex.quote(os.path.basename(path))}"
    raise UserError("\n".join([
        f"{root} is unpacked only in part: beside {len(packed)} archives there is no folder of their name:",
        *_first([path for path, _ in packed]),
        f"Unpack each, the first with: {command}",
        f"An archive that is unpacked already under another name has to leave {root}."]))


def _no_files(root: Path, suffixes: frozenset[str], others: list[str], hints: Mapping[str, str]) -> UserError:
  suffixes_there = by_suffix(others)
  advice = [hint for suffix, hint in hints.items() if suffix in suffixes_there]
  return UserError("\n".join([
      f"{root} holds no file {_listed(suffixes)}, at any depth. It holds {_entries(root)}. Files below it: "
      f"{files_there(others)}.",
      *(advice or ["Give the folder of the videos with --source=DIR."])]))


def _require_utf8(path: str) -> None:
  try:
    path.encode()
  except UnicodeEncodeError as error:
    raise UserError(f"The name of the file {os.fsencode(path)!r} is not UTF-8; rename it (convmv does so for a whole "
                    "tree).") from error


def _archive_suffix(name: str) -> str:
  """The suffix of an archive's name, as in `UNPACK` but for its case; "" if it is none."""
  return next((suffix for suffix in UNPACK if name.lower().endswith(suffix)), "")


def _key(name: str) -> str:
  """What the name of an archive and of its folder have in common: UCF101.rar holds UCF-101/."""
  return "".join(filter(str.isalnum, name.lower()))


def _listed(suffixes: frozenset[str]) -> str:
  return " ".join(sorted(suffixes))


def _entries(folder: Path) -> str:
  """The first names in a folder."""
  try:
    names = sorted(f"{entry.name}/" if _is_folder(entry) else entry.name for entry in os.scandir(folder))
  except OSError as error:
    return f"what cannot be listed ({error.strerror})"
  return ", ".join(map(_printable, names[:SHOWN])) + (f", ... ({len(names)} in all)" if len(names) > SHOWN else "") or (
      "nothing")


def _first(paths: list[str]) -> list[str]:
  """Lines for an error."""
  return [f"  {_printable(path)}" for path in paths[:SHOWN]] + ["  ..."] * (len(paths) > SHOWN)


def _printable(name: str) -> str:
  """The name with what is not UTF-8 in it replaced, so that printing it cannot fail."""
  return os.fsencode(name).decode(errors="replace")
