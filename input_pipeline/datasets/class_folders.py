"""Datasets whose videos lie in a folder a class, with a published class list and random halves of seen classes.

    read_collection("ucf101", source=Path("/data/UCF-101"), metadata=Path("data/metadata"), suffixes=VIDEO_SUFFIXES,
                    split_seed=0, num_splits=10)

The folders may lie at any depth, so that it does not matter whether `source` is their folder or one above it. A video
belongs to the class of the folder that it lies in.
"""

import collections
import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path

from input_pipeline.class_names import class_index, label_folders
from input_pipeline.collection import Clip, Collection, check, clip_name
from input_pipeline.datasets.precomputed import metadata as published
from input_pipeline.errors import UserError
from input_pipeline.splits import random_splits
from input_pipeline.video_tree import read_tree

SHOWN = 10      # files that an error lists


def read_collection(
    name: str, source: Path, metadata: Path, suffixes: frozenset[str], split_seed: int, num_splits: int,
    hints: Mapping[str, str] = {},
) -> Collection:
  """The videos below `source`, in the order of their paths, and what is published about their classes.

  Folders that differ only in case, signs or place are folders of the same class, and the videos of all are used.
  Classes without a folder stay in the class list; they are named on stderr.

  Args:
    name: folder of the class list below `metadata`, which may also be that folder itself.
    source: folder of the videos.
    metadata: folder of published class lists.
    suffixes: of the files that are videos, or features of videos.
    split_seed: that the class splits are drawn from.
    num_splits: how many.
    hints: as for `video_tree.read_tree`.

  Raises:
    UserError: the class list is missing or wrong; there are no videos, or a download is not complete; a folder of
      videos has the name of no class; or the same video lies in the folders of two classes.
  """
  folder = published.find_folder(Path(metadata), name)
  class_file = published.class_file(folder)
  classes = published.read_classes(class_file)
  splits = random_splits(len(classes), split_seed, num_splits)
  index = class_index(published.read_published_names(class_file), str(class_file))
  tree = read_tree(source, suffixes, hints)
  labels = label_folders(dict.fromkeys(path.parent for path in tree.files), index)
  refuse_shared_videos((path, labels[path.parent]) for path in tree.files)
  seen = set(splits.divisions[0].seen)
  clips = []
  for path in tree.files:
    label = labels[path.parent]
    clips.append(Clip(clip_name(path, tree.root), path, label, "train" if label in seen else "test"))
  return check(Collection(clips, classes, [], splits, published.find_extras(folder, len(classes))))


def refuse_shared_videos(labelled: Iterable[tuple[Path, int]]) -> None:
  """Compares files of the same name in folders of different classes.

  Args:
    labelled: files and their labels.

  Raises:
    UserError: listing pairs of files that have the same name and content, but two labels. Empty files don't count.
  """
  same = [pair for named in _alike(labelled, lambda path: path.name)
          for sized in _alike(named, _size)
          for equal in _alike(sized, _digest) for pair in _of_two_classes(equal)]
  if same:
    raise UserError("\n".join([
        f"{len(same)} files are duplicate videos in two classes, the same name and the same bytes:",
        *(f"  {first} and {second}" for first, second in same[:SHOWN]), *["  ..."] * (len(same) > SHOWN),
        "A video has one class: remove the wrong one of each pair."]))


def _alike(
    labelled: Iterable[tuple[Path, int]], look: Callable[[Path], Hashable]
) -> Iterator[list[tuple[Path, int]]]:
  """Groups of files that look the same, and are of several classes."""
  groups: dict[Hashable, list[tuple[Path, int]]] = collections.defaultdict(list)
  for path, label in labelled:
    groups[look(path)].append((path, label))
  groups.pop(None, None)
  return (group for group in groups.values() if len({label for _, label in group}) > 1)


def _of_two_classes(labelled: list[tuple[Path, int]]) -> Iterator[tuple[Path, Path]]:
  """The first file beside each that is of another class than it."""
  first, label_of_first = labelled[0]
  return ((first, path) for path, label in labelled if label != label_of_first)


def _size(path: Path) -> int | None:
  """In bytes; None for an empty file, and for one that cannot be read."""
  try:
    return path.stat().st_size or None
  except OSError:
    return None


def _digest(path: Path) -> bytes | None:
  """Of the content; None for a file that cannot be read."""
  try:
    with open(path, "rb") as file:
      return hashlib.file_digest(file, "blake2b").digest()
  except OSError:
    return None
