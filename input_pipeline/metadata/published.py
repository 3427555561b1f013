"""The published files of classes, class splits and videos, and of vectors of their words.

    folder = find_folder(Path("data/metadata"), "kinetics_zsl220", FILES)
    classes = read_classes(class_file(folder))
    splits = read_splits(folder, len(classes))
    videos = read_videos(folder, splits, len(classes))
    extras = find_extras(folder, classes)

Split k of the protocol is list k of each of the files {trn,val,tst}_class_idxs.json. A set's videos are those whose
name is in its names file and whose label is in one of its lists, in the order of its metas file.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import files
from input_pipeline.errors import UserError
from input_pipeline.metadata import vectors
from input_pipeline.metadata.class_splits import ClassSplit, check_splits
from input_pipeline.metadata.descriptions import ActionClass

SETS = {"trn": "train", "val": "val", "tst": "test"}     # as published, and our name of the split
CLASS_FILES = ("classes620_label_defn.json", "classes_label_defn.json")
CLASS_LISTS = tuple(f"{name}_class_idxs.json" for name in SETS)
VIDEO_LISTS = {name: (f"{name}_video_names.json", f"{name}_video_metas.jsonl") for name in SETS}
CLASS_VECTORS = "labels_glove42b.npy"
CLASSIFIER_ROWS = "pretsm.k400.fc.weight.npy"
GIT_LFS = b"version https://git-lfs"      # how a file begins that stands for one that was not downloaded
WORD_TABLE = "word.glove42b"      # with a suffix of `vectors.TABLE_SUFFIXES`
VECTOR_NAMES = "labels_glove42b.classes.json"      # not published: the classes of vectors of one's own, by name
FILES = (*CLASS_LISTS, *(file for pair in VIDEO_LISTS.values() for file in pair))
SHOWN = 5      # names that a warning lists


class ListedVideo(NamedTuple):
  """A line of a metas file.

  Attributes:
    file: the video's file, as published; it may hold folders.
    label: position of its class in the class file.
    split: our name of the set.
    num_frames: of the video that the authors had.
  """

  file: str
  label: int
  split: str
  num_frames: int

  @property
  def name(self) -> str:
    """The file without its last extension."""
    return os.path.splitext(self.file)[0]


def class_file(folder: Path) -> Path:
  """The file of names and descriptions, which other datasets than Kinetics-ZSAR have under another name."""
  paths = [folder / name for name in CLASS_FILES]
  return next((path for path in paths if path.exists()), paths[0])


def find_folder(metadata: Path, name: str, wanted: Iterable[str] = ()) -> Path:
  """The folder of a dataset's published files: METADATA/NAME or, where there is none, METADATA itself.

  Args:
    metadata: what the user gave.
    name: of the folder.
    wanted: files that it must hold, besides that of the classes.

  Raises:
    UserError: naming the files that are not there.
  """
  folder = metadata / name if (metadata / name).is_dir() else metadata
  missing = [file for file in wanted if not (folder / file).exists()]
  if not class_file(folder).exists():
    missing.insert(0, " or ".join(CLASS_FILES))
  if missing:
    raise UserError(f"{metadata / name} lacks published files that this dataset needs: {', '.join(missing)}. "
                    "Get them with\n  bash scripts/download_metadata.sh\nor give the folder that holds them with --metadata=DIR.")
  return folder


def read_classes(path: Path) -> list[ActionClass]:
  """Names and descriptions, the cleaned ones where there are some, in label order.

  Raises:
    UserError: naming file and class, if one has no name, a field is not a text, or two have the same name.
  """
  rows = files.read_json(path)
  if not isinstance(rows, list) or not rows:
    raise UserError(f"{path}: expected a list of {{\"word\", \"defn\"}}, one a class, got {str(rows)[:60]}.")
  classes: list[ActionClass] = []
  index_of: dict[str, int] = {}
  for index, row in enumerate(rows):
    where = f"{path}: class {index}"
    if not isinstance(row, dict):
      raise UserError(f"{where} is {str(row)[:60]}, expected an object {{\"word\", \"defn\"}}.")
    name, description = (_text(row, f"cleaned_{field}", field, where) for field in ("word", "defn"))
    if not name.strip():
      raise UserError(f"{where} has no name; expected a text as 'word' or 'cleaned_word', it has {sorted(row)}.")
    if name in index_of:
      raise UserError(f"{where} and class {index_of[name]} are both named {name!r}; names must differ.")
    index_of[name] = index
    classes.append(ActionClass(name, description, where))
  return classes


def read_published_names(path: Path) -> list[str]:
  """The names of the classes before they were cleaned, after which folders of videos are called, in label order.

  The file is one that `read_classes` accepts.

  Raises:
    UserError: a name is not a text.
  """
  rows = files.read_json(path)
  return [_text(row, "word", "cleaned_word", f"{path}: class {index}") for index, row in enumerate(rows)]


def _text(row: dict[str, Any], field: str, otherwise: str, where: str) -> str:
  """The text of a field or, where it is absent or empty, of another; "" if there is neither."""
  value = row.get(field) or row.get(otherwise) or ""
  if not isinstance(value, str):
    raise UserError(f"{where}: {field!r} or {otherwise!r} is {value!r}, expected a text.")
  return value


def read_splits(folder: Path, num_classes: int) -> tuple[ClassSplit, ...]:
  """The class splits; the seen classes of all are in the order of the first list.

  Raises:
    UserError: naming file, list and class, if the three files do not divide the classes as the protocol wants.
  """
  seen, val, test = (_class_lists(folder / f"{name}_class_idxs.json", num_classes) for name in SETS)
  if not len(seen) == len(val) == len(test):
    raise UserError(f"{folder}: trn_class_idxs.json holds {len(seen)} lists, val_class_idxs.json {len(val)} and "
                    f"tst_class_idxs.json {len(test)}; expected as many in each, one a split.")
  for k, other in enumerate(seen):
    if set(other) != set(seen[0]):
      index = min(set(other) ^ set(seen[0]))
      raise UserError(f"{folder / 'trn_class_idxs.json'}: lists 0 and {k} differ, class {index} is in one of them "
                      "only; every split must train on the same classes.")
  splits = [ClassSplit(seen[0], *unseen) for unseen in zip(val, test)]
  return check_splits(splits, num_classes, f"{folder}/{{trn,val,tst}}_class_idxs.json")


def _class_lists(path: Path, num_classes: int) -> tuple[tuple[int, ...], ...]:
  """One list of class indices a split."""
  lists = files.read_json(path)
  if not isinstance(lists, list) or not lists or not all(isinstance(indices, list) for indices in lists):
    raise UserError(f"{path}: expected a list of lists of class indices, one a split, got {str(lists)[:60]}.")
  for k, indices in enumerate(lists):
    if not indices:
      raise UserError(f"{path}: list {k} is empty; expected the indices of its classes.")
    for index in indices:
      if type(index) is not int or not 0 <= index < num_classes:
        raise UserError(f"{path}: list {k} holds {index!r}, but there are {num_classes} classes "
                        f"(0 to {num_classes - 1}).")
  return tuple(map(tuple, lists))


def read_videos(
    folder: Path, splits: Sequence[ClassSplit], num_classes: int, sets: Iterable[str] = tuple(SETS)
) -> list[ListedVideo]:
  """The videos of these sets, in their order and that of their metas files.

  Names of which a metas file tells nothing are counted on stderr.

  Raises:
    UserError: naming file and line, if a line is not a video, a label out of range, or a video comes twice in a set.
  """
  labels = {name: set().union(*lists) for name, lists in zip(SETS, zip(*splits))}
  return [video for name in sets for video in _read_set(folder, name, labels[name], num_classes)]


def _read_set(folder: Path, name: str, labels: set[int], num_classes: int) -> list[ListedVideo]:
  """The videos of one set, in the order of its metas file."""
  names_path, path = (folder / file for file in VIDEO_LISTS[name])
  listed = _video_names(names_path)
  rows = files.read_numbered_jsonl(path, fields=("videoname", "nframes", "label"))
  line_of: dict[str, int] = {}
  videos = []
  for number, row in rows:
    where = f"{path}:{number}"
    video, num_frames, label = _video_name(row["videoname"], where), row["nframes"], row["label"]
    if type(num_frames) is not int or num_frames < 0:
      raise UserError(f"{where}: 'nframes' is {num_frames!r}, expected a number of frames.")
    if type(label) is not int or not 0 <= label < num_classes:
      raise UserError(f"{where}: 'label' is {label!r}, but there are {num_classes} classes (0 to {num_classes - 1}).")
    if video in line_of:
      raise UserError(f"{where}: video {video!r} is on line {line_of[video]} already; names must differ, also "
                      "without their extensions.")
    line_of[video] = number
    if video in listed and label in labels:
      videos.append(ListedVideo(row["videoname"], label, SETS[name], num_frames))
  if rows and not videos:
    raise UserError(f"{path}: not one of its {len(rows)} videos has a name in {name}_video_names.json "
                    f"({len(listed)} names) and a label in {name}_class_idxs.json ({len(labels)} classes).")
  if unknown := [video for video in listed if video not in line_of]:
    print(f"warning: {len(unknown)} of the {len(listed)} names in {names_path} have no line in {path.name}, which would "
          f"tell their classes; these videos are left out: {', '.join(unknown[:SHOWN])}{', ...' * (len(unknown) > SHOWN)}. "
          "Is it cut short, or of other names?", file=sys.stderr)
  return videos


def _video_names(path: Path) -> dict[str, int]:
  """The names in a names file, without extension, and where they are in it."""
  names = files.read_json(path)
  if not isinstance(names, list):
    raise UserError(f"{path}: expected a list of video names, got {str(names)[:60]}.")
  return {_video_name(name, f"{path}: entry {index}"): index for index, name in enumerate(names)}


def _video_name(value: Any, where: str) -> str:
  """A video's name, from that of its file: the last extension is removed. It may hold sub-folders."""
  if not isinstance(value, str) or not value:
    raise UserError(f"{where}: the video's name is {value!r}, expected a text such as \"folder/clip.mp4\".")
  if value.startswith("/") or ".." in value.split("/"):
    raise UserError(f"{where}: the video's name is {value!r}, expected a path below the folder of the features.")
  return os.path.splitext(value)[0]


def find_extras(folder: Path, classes: Sequence[ActionClass]) -> dict[str, Path]:
  """The optional files that are there, by the name that they get beside the dataset.

  All are read, but for a word table that only PyTorch reads: of that the beginning is looked at.

  Raises:
    UserError: naming the file and what is wrong with it; the word table is of another word list; or the class vectors
      are known to be of other classes than these, or of these in another order.
  """
  readers = {
      "class_vectors.npy": (CLASS_VECTORS, lambda path: _check_class_vectors(path, classes)),
      "word_list.json": ("label_word_list.json", vectors.read_word_list),
      "classifier_rows.npy": (f"KG/{CLASSIFIER_ROWS}", vectors.read_classifier_rows),
  }
  extras = {}
  for name, (published, read) in readers.items():
    path = folder / published
    if path.exists():
      read(path)
      extras[name] = path
  for suffix in vectors.TABLE_SUFFIXES:
    path = folder / f"{WORD_TABLE}{suffix}"
    if path.exists():
      _check_word_table(path, extras.get("word_list.json"))
      return {**extras, f"word_table{suffix}": path}
  return extras


def _check_word_table(path: Path, word_list: Path | None) -> None:
  """What can be said of it without PyTorch. Raises: UserError."""
  try:
    files.require_regular(path)
    with open(path, "rb") as file:
      beginning = file.read(len(GIT_LFS))
  except OSError as error:
    raise UserError(f"Cannot read {path}: {error}. Expected the file of a vector for each word.") from error
  if not beginning or beginning == GIT_LFS:
    raise UserError(f"{path} is {'a Git LFS pointer, not the file itself' if beginning else 'empty'}; get the file again.")
  if path.suffix in vectors.WITHOUT_TORCH:
    table = vectors.read_word_table(path)
    if word_list:
      vectors.require_rows(str(path), table, len(vectors.read_word_list(word_list)), "word",
                           f"{word_list} has so many words; they must be a pair.")


def _check_class_vectors(path: Path, classes: Sequence[ActionClass]) -> None:
  """Published vectors come without the names of their classes; of those only the number is compared."""
  names_path = path.with_name(VECTOR_NAMES)
  if names_path.exists():
    names, expected = files.read_json(names_path), [action.name for action in classes]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
      raise UserError(f"{names_path}: expected a list of the names of classes, got {str(names)[:60]}.")
    if names != expected:
      label = next((label for label, pair in enumerate(zip(names, expected)) if pair[0] != pair[1]), None)
      differ = (f"there are {len(names)} of them, the class list has {len(expected)}" if label is None else
                f"class {label} is {names[label]!r} there, {expected[label]!r} in the class list")
      raise UserError(f"{path} holds the vectors of other classes, listed in {names_path.name}: {differ}. Remove both "
                      "files, and label_word_list.json and the word table with them, and make them for the classes as "
                      "they are now, with scripts/build_word_vectors.py.")
  vectors.read_class_vectors(path, len(classes))
