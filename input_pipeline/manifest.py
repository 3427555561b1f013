"""The manifest of a dataset, in one file beside it: class lists, video lists, counts, and a hash of these.

    manifest.write(folder / "manifest.json", "ucf101_zsar", raw_dataset, written)
    manifest.cite(folder / "manifest.json", classes, class_splits)   # {"path": ..., "sha256": ...}, for results.json

    {"dataset": "ucf101_zsar", "seed": 0, "classes": ["apply eye makeup", ...],
     "videos": {"train": {"archery": ["Archery/v_Archery_g01_c01", ...], ...}, "test": {...}},
     "splits": [{"seen": ["archery", ...], "val": [], "test": [...], "num_videos": {"train": 6700, "val": 0, "test": 6620}}],
     "sha256": "..."}

Videos are listed by the split that they are stored in, and by class. `seed` is that of random class splits, null for
given ones. The hash is that of everything else, as JSON with sorted keys and without spaces.
"""

import collections
import hashlib
import json
import os
from collections.abc import Container, Sequence
from typing import Any

from input_pipeline import files
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import PARTS, RawDataset

NAME = "manifest.json"


def write(path: str | os.PathLike, dataset: str, raw_dataset: RawDataset, written: Container[int]) -> None:
  """Writes the manifest of a prepared dataset, atomically.

  Args:
    path: of the file.
    dataset: its name.
    raw_dataset: what it was made from.
    written: positions in `raw_dataset.entries` of the videos that are in it.
  """
  content = _content(dataset, raw_dataset, written)
  files.write_json(path, {**content, "sha256": _hash(content)})


def cite(path: str | os.PathLike, classes: Sequence[ActionClass], class_splits: Sequence[ClassSplit]) -> dict[str, str]:
  """{"path", "sha256"} of a manifest, for a result to name what it rests on.

  Args:
    path: of the file.
    classes, class_splits: those that are in use: all splits, or all of the same seen classes.

  Raises:
    UserError: it was changed, so that its hash is not that of its content; or it lists other classes or splits.
  """
  content, claimed = _read(path)
  names = [action.name for action in classes]
  in_use = [_names(split, names) for split in class_splits]
  listed = [{part: split[part] for part in ClassSplit._fields} for split in content["splits"]]
  of_models = [[split for split in listed if split["seen"] == one["seen"]] for one in listed]
  if content["classes"] != names or in_use not in (listed, *of_models):
    raise UserError(f"{path} lists other classes or class splits than classes.jsonl and class_splits.json beside it. "
                    "Prepare the dataset again.")
  return {"path": str(path), "sha256": claimed}


def videos(path: str | os.PathLike) -> dict[tuple[str, str], str]:
  """The class of each video that a manifest lists, by (split, name). Raises: UserError if it was changed."""
  content, _ = _read(path)
  return {(split, name): class_name for split, classes in content["videos"].items()
          for class_name, names in classes.items() for name in names}


def _read(path: str | os.PathLike) -> tuple[dict[str, Any], str]:
  """Content and hash. Raises: UserError if they do not belong together."""
  content = files.read_json(path)
  claimed = content.pop("sha256", None) if isinstance(content, dict) else None
  if claimed is None or claimed != _hash(content):
    raise UserError(f"{path} is not as it was written: its sha256 is not that of its content. Prepare the dataset again.")
  return content, claimed


def _content(dataset: str, raw_dataset: RawDataset, written: Container[int]) -> dict[str, Any]:
  names = [action.name for action in raw_dataset.classes]
  videos: dict[str, dict[str, list[str]]] = {}
  stored: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)     # split -> label -> videos
  for index, entry in enumerate(raw_dataset.entries):
    if index in written:
      videos.setdefault(entry.split, {}).setdefault(names[entry.label], []).append(entry.name)
      stored[entry.split][entry.label] += 1
  if not raw_dataset.divides_videos:
    everywhere = sum(stored.values(), collections.Counter())
    stored = collections.defaultdict(lambda: everywhere)
  return {"dataset": dataset, "seed": raw_dataset.split_seed, "classes": names, "videos": videos,
          "splits": [{**_names(split, names), "num_videos": _num_videos(split, stored)}
                     for split in raw_dataset.class_splits]}


def _names(split: ClassSplit, names: list[str]) -> dict[str, list[str]]:
  return {part: [names[label] for label in labels] for part, labels in split._asdict().items()}


def _num_videos(split: ClassSplit, stored: dict[str, collections.Counter]) -> dict[str, int]:
  """Of seen classes those that are stored for training, of the others those stored for their part."""
  return {part: sum(stored[part][label] for label in labels) for part, labels in zip(PARTS, split)}


def _hash(content: dict[str, Any]) -> str:
  canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
  return hashlib.sha256(canonical.encode()).hexdigest()
