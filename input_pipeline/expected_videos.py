"""Which videos a dataset should have, whether it is prepared already, about to be, or not even downloaded.

    request = request_of("ucf101_zsar", "data", source="/data/UCF-101")      # what is not given, as it was prepared
    collection = expected(request)
    for split in class_splits(collection):
      split.videos["test"]      # (N,) bool, the clips that its accuracy should rest on
"""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from input_pipeline import files, prepared
from input_pipeline.collection import Clip, Collection, check
from input_pipeline.datasets import kinetics_zsar
from input_pipeline.datasets.kinetics_zsar.find_videos import video_key
from input_pipeline.datasets.precomputed.metadata import ListedVideo
from input_pipeline.errors import UserError
from input_pipeline.request import OF_COLLECTIONS, Request
from input_pipeline.splits import divisions_of


class ClassSplit(NamedTuple):
  """One split of the classes, and its expected videos.

  Attributes:
    classes: {"train" | "val" | "test": labels}.
    videos: {"train" | "val" | "test": (N,) bool, the clips that serve there}.
  """

  classes: dict[str, tuple[int, ...]]
  videos: dict[str, np.ndarray]


def request_of(dataset: str, data_dir: str | Path, **given: Any) -> Request:
  """The request for a dataset; where it is prepared already, what was not given is as it was then.

  Args:
    dataset, data_dir: as for `Request`.
    given: its other fields; None where not given. With a source or features given, neither is taken from what was.

  Raises:
    UserError: a value cannot be, or there is no such dataset.
  """
  given = {name: value for name, value in given.items() if value is not None}
  path = prepared.dataset_path(data_dir, dataset)
  if path is None:
    return Request(dataset, Path(data_dir), **given)
  made_of = files.read_json(path / "source.json")
  if not isinstance(made_of, dict) or "root" not in made_of:
    raise UserError(f"{path / 'source.json'} does not say what the dataset was made from; prepare it again.")
  options = made_of.get("options", {})
  recorded = {name: options[name] for name in OF_COLLECTIONS if name in options} | made_of.get("views", {})
  if not {"source", "features"} & given.keys():
    features = options.get("features")
    recorded |= {"features": features} if features else {}
    recorded |= {"source": made_of["root"]} if made_of["root"] != features else {}
  return Request(dataset, Path(data_dir), **{**recorded, **given})


def expected(request: Request) -> Collection:
  """What the dataset expects, also where published lists name its videos and none of them is there yet.

  Raises:
    UserError: as `Request.collection`, but for a folder that holds no listed video of Kinetics: that is a warning, and
      all listed videos are expected.
  """
  try:
    return request.collection()
  except UserError as error:
    if request.dataset != "kinetics_zsar" or not request.root.is_dir():
      raise
    listed = _listed_kinetics(request)
    keys = {video_key(Path(clip.name).name) for clip in listed.clips}
    wanted = keys | {key[0] for key in keys if isinstance(key, tuple)}
    if any(video_key(os.path.splitext(name)[0]) in wanted for _, _, names in os.walk(request.root) for name in names):
      raise
    print(f"warning: {error}\nAll listed videos count as missing.", file=sys.stderr)
    return listed


def _listed_kinetics(request: Request) -> Collection:
  """All videos of the lists that are there, each at the path as published."""
  lists = kinetics_zsar.read_lists(request.metadata or request.data_dir / "metadata")

  def path(video: ListedVideo) -> Path:
    return request.features / f"{video.name}.npy" if request.features else request.root / video.file

  clips = [Clip(video.name, path(video), video.label, video.split) for video in lists.videos]
  return check(Collection(clips, lists.classes, [], lists.splits, {}))


def class_splits(collection: Collection) -> list[ClassSplit]:
  """All class splits, given or random; none where seen and unseen are not divided."""
  labels = np.array([clip.label for clip in collection.clips], np.int64)
  stored = np.array([clip.split for clip in collection.clips], object)
  is_random = hasattr(collection.splits, "divisions")     # a video serves where its class does, wherever it is stored

  def of(**classes: tuple[int, ...]) -> ClassSplit:
    return ClassSplit(classes, {part: np.isin(labels, wanted) & (is_random | (stored == part))
                                for part, wanted in classes.items()})

  return [of(train=division.seen, val=val, test=test)
          for division in divisions_of(collection.splits) for val, test in zip(division.val, division.test)]
