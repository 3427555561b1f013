"""A dataset before its videos are read: the videos that should be there, and what is known about their classes.

    check(RawDataset(entries, classes, concepts, class_splits, extras))      # read by a dataset's `DatasetSpec.read`

The order of the videos is the order of the examples in the prepared dataset.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit, by_seen, check_splits
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass

PARTS: tuple[str, ...] = ("train", "val", "test")
SPLITS = (*PARTS, "all")


class VideoEntry(NamedTuple):
  """One video that the dataset expects.

  Attributes:
    name: its path below the source without the last extension, parts joined by "/"; unique in its split.
    path: where the file should be, of the video or of its feature.
    label: position of its class in `RawDataset.classes`.
    split: one of `SPLITS`; "all" where seen and unseen are not divided yet.
    num_frames: where the dataset lists it; None where only the video tells.
  """

  name: str
  path: Path
  label: int
  split: str
  num_frames: int | None = None


class RawDataset(NamedTuple):
  """A dataset before its videos are read.

  Attributes:
    entries: every expected video, whether its file is there or not.
    classes: in label order.
    concepts: in the order of BiT's outputs; none where the dataset has no vocabulary.
    class_splits: none where seen and unseen are not divided yet. Where they differ in their seen classes, a video's
      split is that which it has in the first of them, or "all".
    extras: files copied beside the prepared dataset, by the name they get there, e.g. "class_vectors.npy".
    split_seed: that the class splits were drawn from; None where they were given.
    unused: how many files beside the videos are neither videos nor read otherwise, by their suffix; most first.
  """

  entries: list[VideoEntry]
  classes: list[ActionClass]
  concepts: list[Concept]
  class_splits: tuple[ClassSplit, ...]
  extras: dict[str, Path]
  split_seed: int | None = None
  unused: Mapping[str, int] = {}

  @property
  def divides_videos(self) -> bool:
    """See the function."""
    return divides_videos({entry.split for entry in self.entries}, self.class_splits)


def divides_videos(stored: Iterable[str], class_splits: Sequence[ClassSplit]) -> bool:
  """Whether the videos of a class are divided among train, val and test as they are stored.

  They are not where the seen classes change from split to split, nor where no video is stored for train, val or test:
  then a video serves wherever its class does.

  Args:
    stored: the splits that videos are stored in.
    class_splits: of the dataset.
  """
  return len(by_seen(class_splits)) < 2 and not set(PARTS).isdisjoint(stored)


def entry_name(path: str | os.PathLike, source: str | os.PathLike) -> str:
  """Name of the video at `path` below `source`: "a/video.v2" for SOURCE/a/video.v2.mp4."""
  return PurePath(path).relative_to(source).with_suffix("").as_posix()


def check(raw_dataset: RawDataset) -> RawDataset:
  """Returns `raw_dataset` if its names are unique in each split, its labels and splits in range.

  Raises:
    UserError: naming the video or the class list at fault.
  """
  seen_at: dict[tuple[str, str], Path] = {}
  for entry in raw_dataset.entries:
    key = entry.split, entry.name
    if key in seen_at:
      raise UserError(f"Two videos of split {entry.split!r} are named {entry.name!r}: {seen_at[key]} and {entry.path}. "
                      "Names are paths without the extension and must differ.")
    seen_at[key] = entry.path
    if not 0 <= entry.label < len(raw_dataset.classes):
      raise UserError(f"{entry.path}: label is {entry.label}, but there are {len(raw_dataset.classes)} classes "
                      f"(0 to {len(raw_dataset.classes) - 1}).")
    if entry.split not in SPLITS:
      raise UserError(f"{entry.path}: split is {entry.split!r}, expected one of {', '.join(SPLITS)}.")
  check_splits(raw_dataset.class_splits, len(raw_dataset.classes), "The dataset's class splits")
  return raw_dataset
