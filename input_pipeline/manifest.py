"""What a dataset's results rest on, in one file beside it: class lists, video lists, counts, and a hash of these.

    manifest.write(folder / "manifest.json", "ucf101_zsar", collection, written)
    manifest.cite(folder / "manifest.json")         # {"path": ..., "sha256": ...}, for results.json

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
from collections.abc import Collection as Container
from typing import Any

from input_pipeline import files
from input_pipeline.collection import Collection
from input_pipeline.errors import UserError
from input_pipeline.splits import ClassSplits

NAME = "manifest.json"


def write(path: str | os.PathLike, dataset: str, collection: Collection, written: Container[int]) -> None:
  """Writes the manifest of a prepared dataset, atomically.

  Args:
    path: of the file.
    dataset: its name.
    collection: what it was made from.
    written: positions in `collection.clips` of the videos that are in it.
  """
  content = _content(dataset, collection, written)
  files.write_json(path, {**content, "sha256": _hash(content)})


def cite(path: str | os.PathLike) -> dict[str, str]:
  """{"path", "sha256"} of a manifest, for a result to name what it rests on.

  Raises:
    UserError: it is not whole, or was changed: its hash is not that of its content.
  """
  content = files.read_json(path)
  claimed = content.pop("sha256", None) if isinstance(content, dict) else None
  if claimed is None or claimed != _hash(content):
    raise UserError(f"{path} is not as it was written: its sha256 is not that of its content. Prepare the dataset again.")
  return {"path": str(path), "sha256": claimed}


def _content(dataset: str, collection: Collection, written: Container[int]) -> dict[str, Any]:
  names = [action.name for action in collection.classes]
  videos: dict[str, dict[str, list[str]]] = {}
  stored: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)     # split -> label -> videos
  for index, clip in enumerate(collection.clips):
    if index in written:
      videos.setdefault(clip.split, {}).setdefault(names[clip.label], []).append(clip.name)
      stored[clip.split][clip.label] += 1
  seed = getattr(collection.splits, "seed", None)
  if seed is not None:     # a video belongs where its class does
    everywhere = sum(stored.values(), collections.Counter())
    stored = collections.defaultdict(lambda: everywhere)
  divisions = () if collection.splits is None else getattr(collection.splits, "divisions", (collection.splits,))
  return {"dataset": dataset, "seed": seed, "classes": names, "videos": videos,
          "splits": [entry for division in divisions for entry in _entries(division, names, stored)]}


def _entries(division: ClassSplits, names: list[str], stored: dict[str, collections.Counter]) -> list[dict[str, Any]]:
  """One entry for each of the division's splits."""
  entries = []
  for val, test in zip(division.val, division.test):
    parts = {"train": division.seen, "val": val, "test": test}
    entries.append({
        **{("seen" if part == "train" else part): [names[label] for label in labels] for part, labels in parts.items()},
        "num_videos": {part: sum(stored[part][label] for label in labels) for part, labels in parts.items()}})
  return entries


def _hash(content: dict[str, Any]) -> str:
  canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
  return hashlib.sha256(canonical.encode()).hexdigest()
