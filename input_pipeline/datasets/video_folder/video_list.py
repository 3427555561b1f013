"""Lists of videos: which file shows which class, for videos that do not lie in a folder a class.

    video,class,split                           # videos.csv; or videos.jsonl, {"video", "class", "split"} a line
    2024/morning 1.mp4,playing guitar,
    2024/morning 2.mp4,"cutting fruit, vegetables",test

    read_video_list(Path("videos/videos.csv"), root=Path("/home/me/videos"))
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from input_pipeline import errors, files
from input_pipeline.errors import UserError

VIDEO_LISTS = ("videos.csv", "videos.jsonl")      # found below the source without being named
NEEDED, FIELDS = ("video", "class"), ("video", "class", "split")
SPLITS = ("train", "val", "test")


class ListedVideo(NamedTuple):
  """A line of a list.

  Attributes:
    path: of the file, below the root; it need not be there.
    class_name: as it is written.
    split: one of `SPLITS`, or None where the list gives none.
    where: "FILE:LINE".
  """

  path: Path
  class_name: str
  split: str | None
  where: str


def read_video_list(path: Path, root: Path) -> list[ListedVideo]:
  """The videos of a .csv (UTF-8, commas, a header) or .jsonl file, in its order; empty lines are skipped.

  Args:
    path: the list.
    root: folder of the videos, absolute; the list's paths are relative to it, or absolute and below it.

  Raises:
    UserError: naming file and line; the file cannot be read, has other columns, lists no video or one twice, one
      outside `root`, one without a class, or one with an unknown split.
  """
  readers = {".csv": _read_csv, ".jsonl": _read_jsonl}
  if path.suffix.lower() not in readers:
    raise UserError(f"{path} is not a list of videos that can be read; expected a file named {' or '.join(readers)}.")
  listed: dict[Path, ListedVideo] = {}
  for line, row in readers[path.suffix.lower()](path):
    where = f"{path}:{line}"
    for field in FIELDS:
      text = row.get(field)
      if text is None or text == "":
        if field in NEEDED:
          raise UserError(f"{where}: {field!r} is empty; expected the {field} of every video.")
      elif not isinstance(text, str):
        raise UserError(f"{where}: {field!r} is {text!r}, expected a text.")
    split = row.get("split") or None
    if split and split not in SPLITS:
      raise UserError(f"{where}: {errors.unknown('split', split, SPLITS)} It may also be empty.")
    video = ListedVideo(_below(root, row["video"], where), row["class"], split, where)
    if other := listed.get(video.path):
      classes = "" if video.class_name == other.class_name else f", under {other.class_name!r} and {video.class_name!r}"
      raise UserError(f"{where}: the video {row['video']!r} is listed twice{classes}: it is on line "
                      f"{other.where.rpartition(':')[2]} already. Remove one of the lines.")
    listed[video.path] = video
  if not listed:
    raise UserError(f"{path}: it lists no videos; expected one a line.")
  return list(listed.values())


def _below(root: Path, video: str, where: str) -> Path:
  """The path of a video, without "." and ".."; a list may also name it by where links on the way to `root` lead."""
  path = Path(os.path.normpath(root / video))
  for folder in (root, root.resolve()):
    if path.is_relative_to(folder) and path != folder:
      return root / path.relative_to(folder)
  raise UserError(f"{where}: the video {video!r} does not lie in {root}; expected a path relative to this folder, or "
                  "an absolute one below it. --source=DIR gives another folder.")


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
  records = csv.reader(io.StringIO(files.read_text(path), newline=""), strict=True, skipinitialspace=True)
  line = 1      # on which a record begins; a quoted field may hold line breaks
  try:
    columns = next(records, [])
    _require_columns(path, columns)
    line = records.line_num + 1
    for fields in records:
      if len(fields) > len(columns):
        raise UserError(f"{path}:{line}: {len(fields)} fields, but the header has {len(columns)}. A field that holds a "
                        "comma must be in double quotes.")
      if fields:
        yield line, dict(zip(columns, fields))
      line = records.line_num + 1
  except csv.Error as error:
    raise UserError(f"{path}:{line}: not valid CSV ({error}). Is a double quote left open?") from error


def _require_columns(path: Path, columns: Sequence[str]) -> None:
  expected = "expected video,class or video,class,split"
  if not columns:
    raise UserError(f"{path}: the first line is empty; {expected} there, then a line for each video.")
  if not set(columns) & set(FIELDS) and any(PurePath(column).suffix for column in columns):
    raise UserError(f"{path}:1: there is no header; the first line is {','.join(columns)!r}, {expected} above it.")
  if not set(NEEDED) <= set(columns) <= set(FIELDS) or len(set(columns)) < len(columns):
    raise UserError(f"{path}:1: the columns are {', '.join(map(repr, columns))}; {expected}, separated by commas.")


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
  for line, row in files.read_numbered_jsonl(path, fields=NEEDED):
    if unknown := row.keys() - set(FIELDS):
      raise UserError(f"{path}:{line}: unknown field {', '.join(map(repr, sorted(unknown)))}; expected "
                      f"{', '.join(map(repr, FIELDS))}.")
    yield line, row
