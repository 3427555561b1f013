"""Whether features tell videos apart: a network with wrong weights gives all of them the same.

    require_varied(raw_dataset.entries, store, of_videos=True)
"""

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.features.store import VideoFeatures
from input_pipeline.raw_dataset import VideoEntry

OUTPUTS = (("feature", ("views",)), ("objects", ("concept_ids", "concept_scores")))


class Features(Protocol):
  """Features by position in a list of videos."""

  def __contains__(self, index: int) -> bool: ...

  def __getitem__(self, index: int) -> VideoFeatures: ...


def require_varied(entries: Sequence[VideoEntry], features: Features, of_videos: bool) -> None:
  """Asks that not all videos have the same features. Where they differ, as usual, only two videos are looked at.

  Args:
    entries: the videos.
    features: of those that have some.
    of_videos: whether a network saw the entries' files. Then its objects may not all be the same either, but files that
      are copies of each other may have the same of both. If not, the files are features.

  Raises:
    UserError: there are several, and all have the same.
  """
  indices = [index for index in range(len(entries)) if index in features]
  for what, fields in OUTPUTS if of_videos else OUTPUTS[:1]:
    if len(indices) > 1 and _all_same(indices, features, fields):
      paths = [entries[index].path for index in indices]
      if not of_videos:
        raise UserError(f"All {len(paths)} feature files hold the same numbers, such as {paths[0]} and {paths[1]}: they "
                        "tell no video from another. Extract them anew, with the network's trained weights.")
      if not all(_is_copy(path, paths[0]) for path in paths[1:]):
        raise UserError(
            f"The network gives the same {what} for all {len(paths)} videos, such as {paths[0]} and {paths[1]}: it tells no "
            "video from another. Its weights are not those of a trained network, or are damaged; give others. (If the "
            "pictures of all these videos are the same, leave out all but one.)")


def _all_same(indices: Sequence[int], features: Features, fields: Sequence[str]) -> bool:
  first = features[indices[0]]
  return all(np.array_equal(getattr(features[index], field), getattr(first, field))
             for index in indices[1:] for field in fields)


def _is_copy(path: Path, other: Path) -> bool:
  try:
    return filecmp.cmp(path, other, shallow=False)
  except OSError:      # it is not here, as where shards are put together
    return False
