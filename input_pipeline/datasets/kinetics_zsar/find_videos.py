"""The files of the published videos in a copy of Kinetics, whatever the copy's names and folders.

    finder = VideoFinder(tree.files, class_index(names, where), listed)
    finder.find(listed[0])      # Path("/data/k600/val/juggling balls/-abc_DEF123_10_20.mp4"), or None

A video is known by its YouTube id, of 11 characters that may be "_" and "-", and the seconds at which it starts and
ends. A copy may have one video of each id, named after the id alone.
"""

import collections
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from input_pipeline import faults
from input_pipeline.metadata.class_names import ClassIndex
from input_pipeline.metadata.published import ListedVideo

TIMED = re.compile(r"([A-Za-z0-9_-]{11})_(\d+)_(\d+)", re.ASCII)
Key = tuple[str, int, int] | str


def video_key(stem: str) -> Key:
  """(id, start, end) of a file's name without its extension; the name itself if it is of another form."""
  match = TIMED.fullmatch(stem)
  return (match[1], int(match[2]), int(match[3])) if match else stem


class VideoFinder:
  """The files of a tree by what they are called."""

  def __init__(self, files: Iterable[Path], index: ClassIndex, listed: Sequence[ListedVideo]):
    """Args: files: in order of preference. index: of the names of class folders. listed: all published videos."""
    self._files: dict[Key, list[Path]] = collections.defaultdict(list)
    for path in files:
      self._files[video_key(path.stem)].append(path)
    self._index = index
    keys = {video_key(_stem(video)) for video in listed}
    self._clips_of_id = collections.Counter(key[0] for key in keys if isinstance(key, tuple))

  def find(self, video: ListedVideo) -> Path | None:
    """The video's file; None if there is none.

    Of several, it is the first in a folder called after the video's class, else the first; empty ones are passed over,
    unless all are. A file named after the id alone is the video's if no other published video has that id, and the file
    does not lie in the folder of another class: it may be another video of the id. Of several such files, only one in
    the folder of the class is taken.

    Raises: Failure if the machine cannot tell which are empty.
    """
    key = video_key(_stem(video))
    if timed := _filled(self._files.get(key, [])):
      return self._of_class(timed, video.label) or timed[0]
    if isinstance(key, str) or self._clips_of_id[key[0]] > 1:
      return None
    untimed = _filled(self._files.get(key[0], []))
    if len(untimed) == 1 and self._index.label(untimed[0].parent.name) is None:
      return untimed[0]
    return self._of_class(untimed, video.label)

  def _of_class(self, paths: Iterable[Path], label: int) -> Path | None:
    return next((path for path in paths if self._index.label(path.parent.name) == label), None)


def _filled(paths: list[Path]) -> list[Path]:
  """Of several files those that are not empty, if there are some."""
  return len(paths) > 1 and list(filter(_is_filled, paths)) or paths


def _is_filled(path: Path) -> bool:
  try:
    return path.stat().st_size > 0
  except OSError as error:      # a link to nothing
    faults.require_own(path, error)
    return False


def _stem(video: ListedVideo) -> str:
  return video.name.rpartition("/")[2]
