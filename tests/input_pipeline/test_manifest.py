"""The manifest: what a dataset's results rest on."""

import hashlib
import json

import pytest

from input_pipeline import manifest
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry

CLASSES = [ActionClass(name, "") for name in ("run", "jump", "sit", "wave")]


def raw_dataset_of(splits, parts, tmp_path, seed=None) -> RawDataset:
  """Two videos a class; those of class c are stored in split parts[c]."""
  entries = [VideoEntry(f"{action.name}/{i}", tmp_path / f"{action.name}{i}.mp4", label, parts[label])
           for label, action in enumerate(CLASSES) for i in range(2)]
  return RawDataset(entries, CLASSES, [], splits, {}, seed)


def test_manifest_of_given_splits_lists_classes_videos_and_counts(tmp_path):
  splits = (ClassSplit((1, 0), (2,), (3,)), ClassSplit((1, 0), (3,), (2,)))
  raw_dataset = raw_dataset_of(splits, ("train", "train", "test", "test"), tmp_path)
  manifest.write(tmp_path / "manifest.json", "mine", raw_dataset, written={0, 1, 3, 4, 6, 7})      # jump/0 and sit/1 are not
  content = json.loads((tmp_path / "manifest.json").read_text())
  assert content["dataset"] == "mine" and content["seed"] is None and content["classes"] == ["run", "jump", "sit", "wave"]
  assert content["videos"] == {"train": {"run": ["run/0", "run/1"], "jump": ["jump/1"]},
                               "test": {"sit": ["sit/0"], "wave": ["wave/0", "wave/1"]}}
  assert content["splits"] == [
      {"seen": ["jump", "run"], "val": ["sit"], "test": ["wave"], "num_videos": {"train": 3, "val": 0, "test": 2}},
      {"seen": ["jump", "run"], "val": ["wave"], "test": ["sit"], "num_videos": {"train": 3, "val": 0, "test": 1}}]


def test_manifest_of_random_splits_counts_videos_where_their_class_is(tmp_path):
  splits = (ClassSplit((0, 1), (), (2, 3)), ClassSplit((0, 3), (), (1, 2)))
  raw_dataset = raw_dataset_of(splits, ("train", "train", "test", "test"), tmp_path, seed=5)
  manifest.write(tmp_path / "manifest.json", "mine", raw_dataset, written=range(7))                # wave/1 is not
  content = json.loads((tmp_path / "manifest.json").read_text())
  assert content["seed"] == 5
  assert [split["num_videos"] for split in content["splits"]] == [
      {"train": 4, "val": 0, "test": 3}, {"train": 3, "val": 0, "test": 4}]
  assert content["splits"][1]["test"] == ["jump", "sit"]


def test_hash_is_that_of_the_content_and_is_checked_when_cited(tmp_path):
  path = tmp_path / "manifest.json"
  raw_dataset = raw_dataset_of((ClassSplit((0, 1), (), (2, 3)),), ("train", "train", "test", "test"), tmp_path)
  manifest.write(path, "mine", raw_dataset, written=range(8))
  content = json.loads(path.read_text())
  claimed = content.pop("sha256")
  canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
  in_use = raw_dataset.class_splits
  assert manifest.cite(path, CLASSES, in_use) == {"path": str(path), "sha256": hashlib.sha256(canonical).hexdigest()}
  assert claimed == hashlib.sha256(canonical).hexdigest()
  for classes, splits in ((CLASSES[::-1], in_use), (CLASSES, (ClassSplit((0, 2), (), (1, 3)),))):
    with pytest.raises(UserError, match="lists other classes or class splits"):
      manifest.cite(path, classes, splits)
  path.write_text(path.read_text().replace("wave/1", "wave/2"))
  with pytest.raises(UserError, match="not as it was written"):
    manifest.cite(path, CLASSES, in_use)


def test_all_splits_or_all_of_the_same_seen_classes_are_cited(tmp_path):
  path = tmp_path / "manifest.json"
  splits = (ClassSplit((0, 1), (2,), (3,)), ClassSplit((0, 1), (3,), (2,)), ClassSplit((0, 3), (), (1, 2)))
  manifest.write(path, "mine", raw_dataset_of(splits, ("train",) * 4, tmp_path, seed=5), written=range(8))
  for in_use in (splits, splits[:2], splits[2:]):      # the others are of another model
    manifest.cite(path, CLASSES, in_use)
  for in_use in ((), splits[:1], splits[1:]):
    with pytest.raises(UserError, match="lists other classes or class splits"):
      manifest.cite(path, CLASSES, in_use)
