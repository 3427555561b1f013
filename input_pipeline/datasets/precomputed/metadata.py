"""The published files of classes, class splits and videos.

    classes = read_classes("zsl220/classes620_label_defn.json")
    splits = read_splits("zsl220", len(classes))
    clips = read_clips("zsl220", splits, len(classes), features="features/tsm_resnet50")

Split k of the protocol is list k of each of the files {trn,val,tst}_class_idxs.json. A set's videos are those whose
name is in its names file and whose label is in one of its lists, in the order of its metas file.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Any

from input_pipeline import files
from input_pipeline.collection import Clip
from input_pipeline.descriptions import ActionClass
from input_pipeline.errors import UserError
from input_pipeline.splits import ClassSplits, check_splits

SETS = {"trn": "train", "val": "val", "tst": "test"}     # as published, and our name of the split
CLASS_FILES = ("classes620_label_defn.json", "classes_label_defn.json")
FILES = tuple(f"{name}_{what}" for name in SETS for what in (
    "class_idxs.json", "video_names.json", "video_metas.jsonl"))


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


def _text(row: dict[str, Any], field: str, otherwise: str, where: str) -> str:
  """The text of a field or, where it is absent or empty, of another; "" if there is neither."""
  value = row.get(field) or row.get(otherwise) or ""
  if not isinstance(value, str):
    raise UserError(f"{where}: {field!r} or {otherwise!r} is {value!r}, expected a text.")
  return value


def read_splits(folder: Path, num_classes: int) -> ClassSplits:
  """The class splits; the seen classes are in the order of the first list.

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
  return check_splits(ClassSplits(seen[0], val, test), num_classes, f"{folder}/{{trn,val,tst}}_class_idxs.json")


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


def read_clips(folder: Path, splits: ClassSplits, num_classes: int, features: Path) -> list[Clip]:
  """The videos of all three sets; a clip's path is that of its feature below `features`.

  Raises:
    UserError: naming file and line, if a line is not a video, a label out of range, or a video comes twice in a set.
  """
  members = (set(splits.seen), {index for part in splits.val for index in part},
             {index for part in splits.test for index in part})
  return [clip for name, labels in zip(SETS, members)
          for clip in _read_set(folder, name, labels, num_classes, features)]


def _read_set(folder: Path, name: str, labels: set[int], num_classes: int, features: Path) -> list[Clip]:
  """The videos of one set, in the order of its metas file."""
  path = folder / f"{name}_video_metas.jsonl"
  listed = _video_names(folder / f"{name}_video_names.json")
  rows = files.read_jsonl(path, fields=("videoname", "nframes", "label"))
  numbers = (number for number, line in enumerate(files.read_text(path).split("\n"), start=1) if line.strip())
  line_of: dict[str, int] = {}
  clips = []
  for number, row in zip(numbers, rows):
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
      clips.append(Clip(video, features / f"{video}.npy", label, SETS[name], num_frames))
  if rows and not clips:
    raise UserError(f"{path}: not one of its {len(rows)} videos has a name in {name}_video_names.json "
                    f"({len(listed)} names) and a label in {name}_class_idxs.json ({len(labels)} classes).")
  return clips


def _video_names(path: Path) -> set[str]:
  """The names in a names file, without extension."""
  names = files.read_json(path)
  if not isinstance(names, list):
    raise UserError(f"{path}: expected a list of video names, got {str(names)[:60]}.")
  return {_video_name(name, f"{path}: entry {index}") for index, name in enumerate(names)}


def _video_name(value: Any, where: str) -> str:
  """A video's name, from that of its file: the last extension is removed. It may hold sub-folders."""
  if not isinstance(value, str) or not value:
    raise UserError(f"{where}: the video's name is {value!r}, expected a text such as \"folder/clip.mp4\".")
  if value.startswith("/") or ".." in PurePosixPath(value).parts:
    raise UserError(f"{where}: the video's name is {value!r}, expected a path below the folder of the features.")
  return os.path.splitext(value)[0]
