"""video_folder: your own videos, in a folder a class or listed in a file, of classes that you describe.

    video_folder = DATASETS.load("video_folder")
    video_folder.raw_dataset(Path("videos"))     # videos/classes.jsonl, videos/CLASS/**.mp4
    video_folder.raw_dataset(Path("videos"), classes=Path("classes.jsonl"), videos=Path("videos.csv"))

README.md here shows how to go from such a folder to an accuracy.
"""

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import errors, files
from input_pipeline.class_folders import look_for_copies
from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.datasets.video_folder.video_list import VIDEO_LISTS, read_video_list
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_names import ClassIndex, class_index, label_folders, warn_of_classes_without
from input_pipeline.metadata.class_splits import ClassSplit, random_splits
from input_pipeline.metadata.descriptions import ActionClass, read_classes
from input_pipeline.metadata.published import VECTOR_NAMES, find_extras
from input_pipeline.raw_dataset import RawDataset, VideoEntry, entry_name
from input_pipeline.videos.find_files import VIDEO_SUFFIXES, Tree, by_suffix, read_tree

CLASSES = "classes.jsonl"
SPLIT_OF_VIDEOS = {"seen": "train", "val": "val", "test": "test", "unseen": "test"}     # by the split of their class
SPLIT_SEED, NUM_SPLITS = 0, 1      # of random class splits, where nothing else is asked for
SHOWN = 10      # entries that an error lists


class _Video(NamedTuple):
  """A file, its class, and what the list of videos says of it: a split, and where it says so."""

  path: Path
  label: int
  split: str | None = None
  where: str = ""


def read(
    source: Path, classes: Path | None, videos: Path | None, split_seed: int, num_splits: int,
    suffixes: frozenset[str] = VIDEO_SUFFIXES,
) -> RawDataset:
  """The user's videos, in the order of their paths or of their list, and their classes.

  A listed file that is not there is a video all the same. Where the class list does not say which classes are seen,
  halves are drawn at random and every video is in split "all". That is said on stderr, and so is what a list that was
  not asked for leaves out, and which classes have no video. Vectors of classes and words may lie in `source`, under
  their published names (see `metadata.find_extras`).

  Args:
    source: folder of the videos.
    classes: {"name", "description", "split"} a line; default `source`/classes.jsonl.
    videos: the list of videos; default `source`/videos.csv or videos.jsonl, or else the folders below `source`.
    split_seed: that random class splits are drawn from. Only where the class list gives none, as `num_splits`.
    num_splits: how many are drawn.
    suffixes: of the files that are videos, or features of videos. Where it is one alone, listed files are looked for
      with this suffix instead of their own.

  Raises:
    UserError: naming the file and line, folder or class that is wrong.
  """
  if not Path(source).is_dir():
    read_tree(source, suffixes)      # raises, and says what is there instead
  root = Path(os.path.abspath(source))
  video_list = videos or _default_list(root)
  tree = Tree(root, ()) if video_list else read_tree(root, suffixes)
  class_file = Path(classes or root / CLASSES)
  _require_class_file(class_file, tree)
  actions = read_classes(class_file)
  class_splits = _read_class_splits(class_file, actions)
  if class_splits and (split_seed, num_splits) != (SPLIT_SEED, NUM_SPLITS):
    raise UserError(f"--split_seed={split_seed} and --num_splits={num_splits} are of random class splits, but "
                    f'{class_file} gives each class its "split". Leave the two out, or take "split" out of every line '
                    "there.")
  index = class_index([action.name for action in actions], str(class_file))
  extras = find_extras(root, actions)
  # Where the files of features are looked for, class vectors look like one.
  tree = tree._replace(files=tuple(path for path in tree.files if path not in extras.values()))
  found = _videos_in_list(Path(video_list), root, suffixes, index) if video_list else _videos_in_folders(tree, index)
  if video_list and not videos:
    _warn_of_unlisted(video_list, root, suffixes, {*extras.values(), *(video.path for video in found)})
  look_for_copies((video.path, video.label) for video in found)
  if class_splits and "val" not in class_splits:
    _warn_of_unused([video for video in found if video.split == "val"], class_file)
  read_too = {str(path) for path in (class_file, root / VECTOR_NAMES, *extras.values())}
  unused = by_suffix(path for path in tree.unused if path not in read_too)
  entries = []
  for video in found:
    split = _split_of(video, actions, class_splits, class_file)
    entries.append(VideoEntry(entry_name(video.path, root), video.path, video.label, split))
  if class_splits:
    return RawDataset(entries, actions, [], (_divide(class_splits),), extras, unused=unused)
  drawn = random_splits(len(actions), split_seed, num_splits)
  print(f'No class in {class_file} has a "split": halves, seen and unseen, are drawn at random '
        f"(--num_splits={num_splits}, --split_seed={split_seed}).", file=sys.stderr)
  return RawDataset(entries, actions, [], drawn, extras, split_seed, unused)


def _default_list(root: Path) -> Path | None:
  """The list of videos in `root`, if there is one."""
  there = [root / name for name in VIDEO_LISTS if (root / name).exists()]
  if len(there) > 1:
    raise UserError(f"{root} holds {' and '.join(VIDEO_LISTS)}; which is the list of videos? Remove one, or give "
                    "--videos=FILE.")
  return there[0] if there else None


def _require_class_file(path: Path, tree: Tree) -> None:
  if path.exists():
    return
  name = next((file.relative_to(tree.root).parts[0] for file in tree.files if file.parent != tree.root), "playing guitar")
  raise UserError(
      f"There is no class list {path}. Write one, a line for each class, such as\n"
      f'  {{"name": "{name}", "description": "what is done, with what, by moving what"}}\n'
      "or say where it is with --classes=FILE.")


def _read_class_splits(path: Path, classes: Sequence[ActionClass]) -> list[str] | None:
  """The split of the videos of each class; None where no class has a split."""
  given: list[Any] = [row.get("split") for row in files.read_jsonl(path)]
  if given.count(None) == len(given):
    return None
  if without := [action for action, split in zip(classes, given) if split is None]:
    lines = [f"  {action.where}: {action.name!r}" for action in without[:SHOWN]] + ["  ..."] * (len(without) > SHOWN)
    raise UserError("\n".join([
        f"{path}: {len(without)} of {len(classes)} classes have no 'split', though others do:", *lines,
        f"Write one of {', '.join(SPLIT_OF_VIDEOS)} for every class, or for none (then halves are drawn at random)."]))
  for action, split in zip(classes, given):
    if not isinstance(split, str) or split not in SPLIT_OF_VIDEOS:
      raise UserError(f"{action.where}: class {action.name!r}: {errors.unknown('split', split, SPLIT_OF_VIDEOS)}")
  splits = [SPLIT_OF_VIDEOS[split] for split in given]
  for split, name in (("train", "seen"), ("test", "test")):
    if split not in splits:
      raise UserError(f"{path}: no class has the split {name!r}. A model learns from the videos of the seen classes "
                      "and is tested on those of the test classes: at least one of each is needed.")
  return splits


def _divide(class_splits: Sequence[str]) -> ClassSplit:
  def labels(split: str) -> tuple[int, ...]:
    return tuple(label for label, its_split in enumerate(class_splits) if its_split == split)

  return ClassSplit(labels("train"), labels("val"), labels("test"))


def _videos_in_folders(tree: Tree, index: ClassIndex) -> list[_Video]:
  """A video's class is the folder directly below the root that it lies in, at any depth."""
  if loose := [path.name for path in tree.files if path.parent == tree.root]:
    raise UserError(
        f"{len(loose)} videos lie in {tree.root} itself, not in the folder of a class: {', '.join(loose[:SHOWN])}"
        f"{', ...' * (len(loose) > SHOWN)}. Move each to {tree.root}/CLASS/, or list all videos in "
        f"{tree.root / VIDEO_LISTS[0]}.")
  folders = [tree.root / path.relative_to(tree.root).parts[0] for path in tree.files]
  labels = label_folders(dict.fromkeys(folders), index)
  return [_Video(path, labels[folder]) for path, folder in zip(tree.files, folders)]


def _videos_in_list(path: Path, root: Path, suffixes: frozenset[str], index: ClassIndex) -> list[_Video]:
  listed = read_video_list(path, root)
  labels = {name: label for name in {video.class_name for video in listed} if (label := index.label(name)) is not None}
  unknown = {video.class_name: video.where for video in reversed(listed) if video.class_name not in labels}
  if unknown:
    raise UserError("\n".join([
        f"{path} names {len(unknown)} classes that are not in {index.where}:",
        *(f"  {where}: {name!r}{_or_near(name, index)}" for name, where in reversed(unknown.items())),
        "Correct these names, or add the classes to the class list."]))
  warn_of_classes_without(f"video in {path}", labels.values(), index)
  only = suffixes if len(suffixes) == 1 else ()
  return [_Video(video.path.with_suffix(*only) if only else video.path, labels[video.class_name], video.split,
                 video.where) for video in listed]


def _or_near(name: str, index: ClassIndex) -> str:
  near = " or ".join(map(repr, index.near(name)))
  return f" (did you mean {near}?)" if near else ""


def _split_of(video: _Video, classes: Sequence[ActionClass], class_splits: Sequence[str] | None, path: Path) -> str:
  """The split that a video belongs to: its class's, or, where its class is seen, the one that the list gives it."""
  if class_splits is None:
    if video.split:
      raise UserError(f"{video.where}: the video is given the split {video.split!r}, but the classes in {path} are not "
                      "divided. Give each class a \"split\" there, or no video one.")
    return "all"
  of_class = class_splits[video.label]
  if video.split and of_class not in ("train", video.split):
    raise UserError(f"{video.where}: the video is given the split {video.split!r}, but its class, "
                    f"{classes[video.label].name!r}, is a {of_class} class ({classes[video.label].where}). Only videos "
                    "of seen classes may be held out for another split; leave this one's empty.")
  return video.split or of_class


def _warn_of_unlisted(path: Path, root: Path, suffixes: frozenset[str], known: Collection[Path]) -> None:
  """Says on stderr how many videos below `root` its list leaves out, unless something else is wrong with the folder."""
  try:
    unlisted = [file for file in read_tree(root, suffixes).files if file not in known]
  except UserError:      # which does not matter to a list
    return
  if unlisted:
    print(f"warning: taking the videos of {path}; {len(unlisted)} videos below {root} are not in it; the first is "
          f"{unlisted[0].relative_to(root)}. Add them; or remove the list, to take all videos by the folders they lie in.",
          file=sys.stderr)


def _warn_of_unused(videos: Sequence[_Video], path: Path) -> None:
  """Says on stderr that these videos, held out for validation with no class to validate on, serve nothing."""
  if videos:
    print(f"warning: {len(videos)} videos of seen classes are given the split 'val' ({videos[0].where} is the first), "
          f"but no class in {path} has it: they are not trained on, nor used otherwise. Leave their split empty to "
          "train on them.", file=sys.stderr)


DATASET = DatasetSpec(
    summary="the user's own videos and classes",
    readme=Path(__file__).with_name("README.md"),
    size="small",
    read=read,
    options={"classes": None, "videos": None, "split_seed": SPLIT_SEED, "num_splits": NUM_SPLITS},
    features_from="videos",
    reads_features=True,
)
