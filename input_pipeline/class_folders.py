"""Datasets whose videos lie in a folder a class, with a published class list and random halves of seen classes.

    read("ucf101", source=Path("/data/UCF-101"), metadata=Path("data/metadata"), split_seed=0, num_splits=10)
    DatasetSpec(read=functools.partial(class_folders.read, "ucf101"), options=class_folders.OPTIONS, ...)

The folders may lie at any depth, so that it does not matter whether `source` is their folder or one above it. A video
belongs to the class of the folder that it lies in.
"""

import collections
import hashlib
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.metadata import published
from input_pipeline.metadata.class_names import class_index, label_folders
from input_pipeline.metadata.class_splits import random_splits
from input_pipeline.raw_dataset import RawDataset, VideoEntry, entry_name
from input_pipeline.videos.find_files import VIDEO_SUFFIXES, by_suffix, read_tree

OPTIONS = {"metadata": None, "split_seed": 0, "num_splits": 10}      # of `read`, for a DatasetSpec
SHOWN = 10      # files that an error lists


def read(
    name: str, source: Path, metadata: Path, split_seed: int, num_splits: int,
    suffixes: frozenset[str] = VIDEO_SUFFIXES, hints: Mapping[str, str] = {},
) -> RawDataset:
  """The videos below `source`, in the order of their paths, and what is published about their classes.

  Folders that differ only in case, signs or place are folders of the same class, and the videos of all are used.
  Classes without a folder stay in the class list; they are named on stderr, and so are copies of a video in its class.

  Args:
    name: folder of the class list below `metadata`, which may also be that folder itself.
    source: folder of the videos.
    metadata: folder of published class lists.
    split_seed: that the class splits are drawn from.
    num_splits: how many.
    suffixes: of the files that are videos, or features of videos.
    hints: as for `find_files.read_tree`.

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
  look_for_copies(((path, labels[path.parent]) for path in tree.files), renamed_are_mistakes=False)
  seen = set(splits[0].seen)
  entries = []
  for path in tree.files:
    label = labels[path.parent]
    entries.append(VideoEntry(entry_name(path, tree.root), path, label, "train" if label in seen else "test"))
  return RawDataset(entries, classes, [], splits, published.find_extras(folder, classes), split_seed,
                    by_suffix(tree.unused))


def look_for_copies(labelled: Iterable[tuple[Path, int]], renamed_are_mistakes: bool = True) -> None:
  """Compares the content of videos, whatever they are called, and of files of features that have the same name.

  Copies of a video in its own class are named on stderr. Empty files and files that cannot be read are passed over.

  Args:
    labelled: files and their labels.
    renamed_are_mistakes: whether a copy of another name in another class is one; if not, it is named on stderr, as a
      published dataset may hold some.

  Raises:
    UserError: listing pairs of files that have the same content, but two labels.
  """
  in_two_classes, renamed, in_one = [], [], []
  for alike in _groups(labelled, _outline):
    for (first, label), *others in _groups(alike, _digest):
      for path, its_label in others:
        is_mistake = renamed_are_mistakes or path.name == first.name
        (in_one if its_label == label else in_two_classes if is_mistake else renamed).append((first, path))
  if in_two_classes:
    raise UserError("\n".join([
        f"{len(in_two_classes)} files are duplicate videos in two classes, the same bytes:", *_listed(in_two_classes),
        "A video has one class: remove the wrong one of each pair."]))
  if renamed:
    print("\n".join([f"warning: {len(renamed)} files are the same video as one in another class, under another name; both "
                     "are kept:", *_listed(renamed)]), file=sys.stderr)
  if in_one:
    print("\n".join([
        f"warning: {len(in_one)} files are copies of another one of their class, and each counts as a video:",
        *_listed(in_one), "Remove the copies if that is not meant, such as a second copy of the whole folder."]),
          file=sys.stderr)


def _groups(
    labelled: Iterable[tuple[Path, int]], look: Callable[[Path], Hashable]
) -> Iterator[list[tuple[Path, int]]]:
  """Groups of several files that look the same; those that look like None are in none."""
  groups: dict[Hashable, list[tuple[Path, int]]] = collections.defaultdict(list)
  for path, label in labelled:
    groups[look(path)].append((path, label))
  groups.pop(None, None)
  return (group for group in groups.values() if len(group) > 1)


def _listed(pairs: list[tuple[Path, Path]]) -> list[str]:
  return [f"  {first} and {second}" for first, second in pairs[:SHOWN]] + ["  ..."] * (len(pairs) > SHOWN)


def _outline(path: Path) -> tuple[int, str] | None:
  """What files of the same content have in common without being read: features are all of one size, videos hardly."""
  size = _size(path)
  return (size, path.name if path.suffix.lower() == ".npy" else "") if size else None


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
