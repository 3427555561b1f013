"""The videos that a dataset should have, whether it is prepared already, about to be, or not even downloaded.

    options = options_of("ucf101_zsar", "data", source="/data/UCF-101")      # what is not given, as it was prepared
    raw_dataset = expected(options)
    for split in class_splits(raw_dataset):
      split.videos["test"]      # (N,) bool, the videos that its accuracy should rest on
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from input_pipeline import paths
from input_pipeline.dataset import dataset_path
from input_pipeline.errors import UserError
from input_pipeline.preparation import made_of
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.raw_dataset import PARTS, RawDataset


class SplitVideos(NamedTuple):
  """One split of the classes, and its expected videos.

  Attributes:
    classes: {"train" | "val" | "test": labels}.
    videos: {"train" | "val" | "test": (N,) bool, the videos that serve there}.
  """

  classes: dict[str, tuple[int, ...]]
  videos: dict[str, np.ndarray]


def options_of(dataset: str, data_dir: str | Path, **given: Any) -> PrepareOptions:
  """The options for a dataset; where it is prepared already, what was not given is as it was then.

  Args:
    dataset, data_dir: as for `PrepareOptions`.
    given: its other fields; None where not given. With a source or features given, neither is taken from what was.

  Raises:
    UserError: a value cannot be, or there is no such dataset.
  """
  data_dir = paths.absolute(data_dir, "--data_dir")
  given = {name: value for name, value in given.items() if value is not None}
  path = dataset_path(data_dir, dataset)
  if path is None:
    return PrepareOptions(dataset, data_dir, **given)
  return made_of.options_as_made(dataset, data_dir, made_of.read(path), **given)


def expected(options: PrepareOptions) -> RawDataset:
  """What the dataset expects, also where published lists name its videos and none of them is there yet.

  Raises:
    UserError: as `PrepareOptions.raw_dataset`, but for a folder that holds no listed video: that is a warning, and all
      listed videos are expected.
  """
  try:
    return options.raw_dataset()
  except UserError as error:
    listed = options.listed() if options.root.is_dir() else None
    if listed is None:
      raise
    print(f"warning: {error}\nAll listed videos count as missing.", file=sys.stderr)
    return listed


def class_splits(raw_dataset: RawDataset) -> list[SplitVideos]:
  """All class splits, given or random; none where seen and unseen are not divided."""
  labels = np.array([entry.label for entry in raw_dataset.entries], np.int64)
  stored = np.array([entry.split for entry in raw_dataset.entries], object)
  anywhere = not raw_dataset.divides_videos

  def videos(classes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {part: np.isin(labels, wanted) & (anywhere | (stored == part)) for part, wanted in classes.items()}

  return [SplitVideos(classes, videos(classes))
          for classes in (dict(zip(PARTS, split)) for split in raw_dataset.class_splits)]
