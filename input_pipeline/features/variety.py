"""Whether features tell videos apart: a network with wrong weights gives all the same, a wrong script files of the same.

    require_varied(raw_dataset.entries, store, of_videos=True)
"""

import collections
import filecmp
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.features.store import VideoFeatures
from input_pipeline.raw_dataset import VideoEntry

SHOWN = 10      # groups of equal files that a warning lists
OUTPUTS = (("feature", ("views",)), ("objects", ("concept_ids", "concept_scores")))


class Features(Protocol):
  """Features by position in a list of videos."""

  def __contains__(self, index: int) -> bool: ...

  def __getitem__(self, index: int) -> VideoFeatures: ...


def require_varied(entries: Sequence[VideoEntry], features: Features, of_videos: bool) -> None:
  """Asks that not all videos have the same features, and of files that they are not mostly the same; warns of equal files.

  Where a network saw the videos, usually only two are looked at. Of files, all are.

  Args:
    entries: the videos.
    features: of those that have some.
    of_videos: whether a network saw the entries' files. Then its objects may not all be the same either, but files that
      are copies of each other may have the same of both. If not, the files are features.

  Raises:
    UserError: there are several, and all have the same; or more than half of the files.
  """
  indices = [index for index in range(len(entries)) if index in features]
  if not of_videos:
    return _require_varied_files(entries, indices, features)
  for what, fields in OUTPUTS:
    if len(indices) > 1 and _all_same(indices, features, fields):
      paths = [entries[index].path for index in indices]
      if not all(_is_copy(path, paths[0]) for path in paths[1:]):
        raise UserError(
            f"The network gives the same {what} for all {len(paths)} videos, such as {paths[0]} and {paths[1]}: it tells no "
            "video from another. Its weights are not those of a trained network, or are damaged; give others. (If the "
            "pictures of all these videos are the same, leave out all but one.)")


def _require_varied_files(entries: Sequence[VideoEntry], indices: Sequence[int], features: Features) -> None:
  by_content: dict[bytes, dict[Path, None]] = collections.defaultdict(dict)      # paths in order; one may be of two splits
  for index in indices:
    by_content[hashlib.sha256(features[index].views.tobytes()).digest()][entries[index].path] = None
  count = len({entries[index].path for index in indices})
  same = sorted((list(paths) for paths in by_content.values() if len(paths) > 1), key=len, reverse=True)
  if not same:
    return
  if 2 * len(same[0]) > count:
    raise UserError(f"{len(same[0])} of {count} feature files hold the same numbers, such as {same[0][0]} and {same[0][1]}: "
                    "they tell no video from another. Extract them anew, with the network's trained weights, or remove "
                    "them (a video without a file is left out).")
  print("\n".join([f"warning: {sum(map(len, same))} of {count} feature files hold the same numbers as another one:",
                   *(f"  {paths[0]}: {len(paths)} files, also {paths[1]}" for paths in same[:SHOWN]),
                   *["  ..."] * (len(same) > SHOWN)]), file=sys.stderr)


def _all_same(indices: Sequence[int], features: Features, fields: Sequence[str]) -> bool:
  first = features[indices[0]]
  return all(np.array_equal(getattr(features[index], field), getattr(first, field))
             for index in indices[1:] for field in fields)


def _is_copy(path: Path, other: Path) -> bool:
  try:
    return filecmp.cmp(path, other, shallow=False)
  except OSError:      # it is not here, as where shards are put together
    return False
