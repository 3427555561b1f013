"""kinetics_zsar: the published zero-shot split of Kinetics-600, 400 classes seen and 220 unseen (Chen & Huang 2021).

    DATASETS.load("kinetics_zsar").raw_dataset(Path("/data/kinetics"), metadata=Path("data/metadata"))

The published lists say which videos there are; their files are found below the source however a copy of Kinetics has
arranged and named them. README.md here says where all this is to be had.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.datasets.kinetics_zsar.find_videos import VideoFinder, video_key
from input_pipeline.errors import UserError
from input_pipeline.metadata import published
from input_pipeline.metadata.class_names import ClassIndex, class_index, describe_unknown
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.metadata.published import ListedVideo
from input_pipeline.raw_dataset import RawDataset, VideoEntry, entry_name
from input_pipeline.videos.find_files import VIDEO_SUFFIXES, Tree, by_suffix, read_tree

FOLDER = "kinetics_zsl220"      # below the folder of published class lists
SHOWN = 20      # folders that a warning lists


class Lists(NamedTuple):
  """What is published of the dataset.

  Attributes:
    folder: of the files.
    classes: in label order.
    splits: the class splits.
    sets: those of "trn", "val" and "tst" whose videos are listed; "trn" may be missing.
    videos: of these sets, in the order of the lists.
  """

  folder: Path
  classes: list[ActionClass]
  splits: tuple[ClassSplit, ...]
  sets: tuple[str, ...]
  videos: list[ListedVideo]


def read_lists(metadata: Path) -> Lists:
  """Reads the published lists, those of training videos if they are there.

  Args:
    metadata: folder of published class lists, or the one of Kinetics-ZSAR itself.

  Raises:
    UserError: naming what is missing or wrong.
  """
  folder = published.find_folder(Path(metadata), FOLDER, published.CLASS_LISTS)
  has_training = any((folder / name).exists() for name in published.VIDEO_LISTS["trn"])
  sets = tuple(name for name in published.SETS if has_training or name != "trn")
  published.find_folder(folder, "", [file for name in sets for file in published.VIDEO_LISTS[name]])
  classes = published.read_classes(published.class_file(folder))
  splits = published.read_splits(folder, len(classes))
  return Lists(folder, classes, splits, sets, published.read_videos(folder, splits, len(classes), sets))


def read(source: Path, metadata: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> RawDataset:
  """The listed videos, in the order of the lists, each with the file that was found for it.

  A video without a file has the path that it would have if it lay in `source` as published. Without the lists of
  training videos, which not everybody has, there are validation and test videos only; that is said on stderr, and so
  are folders of videos that no list knows.

  Args:
    source: folder of the videos.
    metadata: folder of published class lists, or the one of Kinetics-ZSAR itself.
    suffixes: of the files that are videos, or {".npy"} for features of videos.

  Raises:
    UserError: a published file is missing or wrong; there are no videos, a download is not complete, or not one of the
      videos is listed.
  """
  folder, classes, splits, sets, listed = read_lists(metadata)
  if "trn" not in sets:
    print(f"warning: {folder} lacks {' and '.join(published.VIDEO_LISTS['trn'])}; going on without training videos. "
          "`bash scripts/download_metadata.sh` gets the lists.", file=sys.stderr)
  class_file = published.class_file(folder)
  index = class_index(published.read_published_names(class_file), str(class_file))
  tree = read_tree(source, suffixes)
  finder = VideoFinder(tree.files, index, listed)
  found = [finder.find(video) for video in listed]
  if not any(found):
    raise _none_found(tree, listed, folder)
  _warn_of_unlisted_folders(tree, {path.parent for path in found if path}, index)
  features = ".npy" in suffixes
  return RawDataset([_entry(tree.root, video, path, features) for video, path in zip(listed, found)],
                    classes, [], splits, published.find_extras(folder, classes), unused=by_suffix(tree.unused))


def read_listed(source: Path, metadata: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES) -> RawDataset | None:
  """All videos of the lists that are there, each at the path as published; None if `source` holds one of them.

  Raises:
    UserError: a published file is missing or wrong.
  """
  lists = read_lists(metadata)
  entries = [_entry(source, video, None, ".npy" in suffixes) for video in lists.videos]
  keys = {video_key(Path(entry.name).name) for entry in entries}
  wanted = keys | {key[0] for key in keys if isinstance(key, tuple)}
  if any(video_key(os.path.splitext(name)[0]) in wanted for _, _, names in os.walk(source) for name in names):
    return None
  return RawDataset(entries, lists.classes, [], lists.splits, published.find_extras(lists.folder, lists.classes))


def _entry(root: Path, video: ListedVideo, path: Path | None, features: bool) -> VideoEntry:
  """The published number of frames is kept for features only: the copy at hand may be cut in another way."""
  num_frames = video.num_frames if features else None
  name = entry_name(path, root) if path else video.name
  published_path = root / (f"{video.name}.npy" if features else video.file)
  return VideoEntry(name, path or published_path, video.label, video.split, num_frames)


def _none_found(tree: Tree, listed: list[ListedVideo], folder: Path) -> UserError:
  return UserError(
      f"Not one of the {len(listed)} videos that {folder} lists is among the {len(tree.files)} files below "
      f"{tree.root}. The first that is listed is {listed[0].file}, the first that is there "
      f"{tree.files[0].relative_to(tree.root)}. A file is known by YouTube id, start and end in seconds, as in "
      "ID_000010_000020.mp4, or by ID.mp4 (but not in the folder of another class). "
      "Give the folder of the videos with --source=DIR.")


def _warn_of_unlisted_folders(tree: Tree, with_listed: set[Path], index: ClassIndex) -> None:
  """Names folders that are called after no class, and hold no video of a list either, on stderr."""
  folders = dict.fromkeys(path.parent for path in tree.files)
  unlisted = [folder for folder in folders if folder not in with_listed and index.label(folder.name) is None]
  if unlisted:
    print("\n".join([
        f"warning: {len(unlisted)} folders hold no listed video and have the name of no class; their videos are not used:",
        *(describe_unknown(folder, index) for folder in unlisted[:SHOWN]), *["  ..."] * (len(unlisted) > SHOWN)]),
          file=sys.stderr)


DATASET = DatasetSpec(
    summary="400 classes of Kinetics-400 seen, 220 of Kinetics-600 unseen",
    readme=Path(__file__).with_name("README.md"),
    size="large",
    read=read,
    options={"metadata": None},
    features_from="videos",
    reads_features=True,
    listed=read_listed,
)
