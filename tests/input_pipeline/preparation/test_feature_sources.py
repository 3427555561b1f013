"""Features of one's own in place of TSM's, and several views of a video, by the command that prepares a dataset."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from input_pipeline import prepare
from input_pipeline.backbones import checkpoints
from input_pipeline.backbones.declaration import FEATURE, OBJECTS, Backbone
from input_pipeline.dataset import open_dataset
from input_pipeline.datasets import toy_actions
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import write_concepts
from input_pipeline.preparation.feature_sources import choose_weights
from input_pipeline.registry import Registry
from tests.input_pipeline.published_layout import write_layout
from tests.input_pipeline.small_preparation import examples, inputs, run, small, small_raw_dataset, whole

__all__ = ["inputs", "small", "whole"]     # the fixtures

WIDTH = 5


@pytest.fixture
def features(small, tmp_path) -> Path:
  """A folder of features of all videos but v2, and a raw dataset that takes them for videos."""
  folder = tmp_path / "features"
  folder.mkdir()
  for i in range(12):
    if i != 2:
      np.save(folder / f"v{i}.npy", np.arange(i, i + WIDTH, dtype=np.float16))
  return folder


def test_features_of_any_width_take_the_place_of_tsms(features, tmp_path, monkeypatch):
  monkeypatch.setattr(checkpoints, "load", None)
  path = prepare.prepare("toy_actions", tmp_path, tmp_path / "videos", features=features)
  train = examples(tmp_path)["train"]
  assert [row["name"] for row in train] == [b"v0", b"v7", b"v9", b"v4", b"v11"]
  assert [row["feature"].tolist() for row in train] == [[*range(i, i + WIDTH)] for i in (0, 7, 9, 4, 11)]
  assert (train[0]["concept_ids"] == -1).all()
  assert [json.loads(line) for line in (path / "skipped.jsonl").open()] == [{"name": "v2", "reason": "no such file"}]
  dataset = open_dataset(tmp_path, "toy_actions")
  assert dataset.source["options"]["features"] == str(features) and dataset.concepts == []
  with pytest.raises(UserError, match="from something else: its --features is "):
    prepare.prepare("toy_actions", tmp_path, features=tmp_path)


def test_objects_of_such_videos_are_predicted_by_a_file(features, tmp_path):
  vocabulary = small_raw_dataset(features).concepts[:7]
  write_concepts(tmp_path / "concepts.jsonl", vocabulary)
  (tmp_path / "predictions.json").write_text(json.dumps({"v7": [[3, 1], [0.5, 0.25]]}))
  prepare.prepare("toy_actions", tmp_path, features=features, concepts=tmp_path / "concepts.jsonl",
                  concept_predictions=tmp_path / "predictions.json")
  row = examples(tmp_path)["train"][1]
  assert row["name"] == b"v7" and row["concept_ids"][:3].tolist() == [3, 1, -1]
  assert open_dataset(tmp_path, "toy_actions").concepts == vocabulary


def test_shards_of_features_are_merged(features, tmp_path):
  for index in range(2):
    prepare.prepare("toy_actions", tmp_path / "two", features=features, shard_index=index, num_shards=2)
  prepare.prepare("toy_actions", tmp_path / "two", features=features, merge=True, num_shards=2)
  assert len(examples(tmp_path / "two")["train"]) == 5


def test_shards_of_two_folders_of_features_are_not_mixed(features, tmp_path):
  shutil.copytree(features, tmp_path / "others")      # with the same sizes and times
  np.save(tmp_path / "others" / "v0.npy", np.arange(99, 99 + WIDTH, dtype=np.float16))
  for name in ("features", "others"):
    status = (features / "v0.npy").stat()
    os.utime(tmp_path / name / "v0.npy", ns=(status.st_atime_ns, status.st_mtime_ns))
  both = {"num_shards": 2, "features": tmp_path / "others"}
  prepare.prepare("toy_actions", tmp_path, features=features, shard_index=0, num_shards=2)
  prepare.prepare("toy_actions", tmp_path, **both, shard_index=1)
  with pytest.raises(UserError, match=f"(?s)1 of 2 shards .* are not finished.* read from {features}: is everything"):
    prepare.prepare("toy_actions", tmp_path, **both, merge=True)
  prepare.prepare("toy_actions", tmp_path, **both, shard_index=0)
  prepare.prepare("toy_actions", tmp_path, **both, merge=True)
  assert examples(tmp_path)["train"][0]["feature"].tolist() == [*range(99, 99 + WIDTH)]


@pytest.fixture
def objects(features, tmp_path) -> dict[str, Path]:
  """The flags of features with objects; the vocabulary is that of the videos."""
  write_concepts(tmp_path / "concepts.jsonl", small_raw_dataset(features).concepts)
  (tmp_path / "predictions.json").write_text(json.dumps({f"v{i}": [[3, 1], [0.5, 0.25]] for i in range(12)}))
  return {"features": features, "concepts": tmp_path / "concepts.jsonl",
          "concept_predictions": tmp_path / "predictions.json"}


def test_shards_are_merged_wherever_a_copy_of_the_predictions_is(objects, tmp_path):
  shutil.copyfile(objects["concept_predictions"], tmp_path / "copy.json")
  os.utime(tmp_path / "copy.json", ns=(1, 1))
  for index, name in enumerate(["predictions.json", "copy.json"]):
    prepare.prepare("toy_actions", tmp_path, shard_index=index, num_shards=2,
                    **{**objects, "concept_predictions": tmp_path / name})
  prepare.prepare("toy_actions", tmp_path, merge=True, num_shards=2, **objects)
  assert len(examples(tmp_path)["train"]) == 5


def test_shards_of_videos_and_of_features_are_not_taken_for_each_other(inputs, objects, tmp_path):
  for index in range(2):
    run(inputs, tmp_path / "videos", shard_index=index, num_shards=2)
    prepare.prepare("toy_actions", tmp_path / "files", shard_index=index, num_shards=2, **objects)
  with pytest.raises(UserError, match="2 of 2 shards of toy_actions are not finished"):
    prepare.prepare("toy_actions", tmp_path / "videos", merge=True, num_shards=2, **objects)
  with pytest.raises(UserError, match=f"its --features is {objects['features']}, none is asked for"):
    prepare.prepare("toy_actions", tmp_path / "files", merge=True, num_shards=2)


def test_shards_of_two_published_layouts_are_not_mixed(tmp_path):
  first, second = (write_layout(tmp_path / name).source for name in ("first", "second"))
  prepare.prepare("precomputed", tmp_path, first, shard_index=0, num_shards=2)
  prepare.prepare("precomputed", tmp_path, second, shard_index=1, num_shards=2)
  with pytest.raises(UserError, match="1 of 2 shards of precomputed are not finished"):
    prepare.prepare("precomputed", tmp_path, second, merge=True, num_shards=2)


def test_several_views_are_stored_beside_their_mean(inputs, small, whole, tmp_path):
  run(inputs, tmp_path, temporal_samples=2, spatial_crops=3)
  dataset = open_dataset(tmp_path, "toy_actions")
  assert dataset.source["views"] == {"temporal_samples": 2, "spatial_crops": 3, "dense_stride": 0}
  row = examples(tmp_path)["train"][0]
  assert row["views"].shape == (6, len(row["feature"]))
  np.testing.assert_allclose(row["views"].mean(0), row["feature"], rtol=1e-6)
  prepare.prepare("toy_actions", tmp_path, spatial_crops=3)
  with pytest.raises(UserError, match="from something else: its --spatial_crops is 1, asked for is 3"):
    prepare.prepare("toy_actions", whole, spatial_crops=3)


@pytest.mark.parametrize("flags, message", [
    ({"tsm": "t.npz"}, "--tsm=.*t.npz was given, but with --features they are read from files"),
    ({"temporal_samples": 2}, "--temporal_samples=2 was given, but with --features"),
    ({"concepts": "c.jsonl"}, "--concepts=.*c.jsonl names objects, but with --features nothing says which"),
    ({"features": "absent"}, "--features=.*absent is no folder"),
])
def test_flags_that_do_not_go_with_features_are_refused(features, tmp_path, flags, message):
  with pytest.raises(UserError, match=message):
    prepare.prepare("toy_actions", tmp_path, **{"features": features, **flags})


def test_a_folder_of_features_in_other_files_is_told_what_it_holds(tmp_path):
  folder = tmp_path / "others"
  (folder / "a").mkdir(parents=True)
  for name in ("a/1.npz", "a/2.npz", "a/3.pt", "labels_glove42b.npy"):
    (folder / name).touch()
  (folder / "a" / "back").symlink_to(folder)
  with pytest.raises(UserError, match=r"others holds no file .npy of a video, at any depth; files in it: 2 of .npz, 1 of .*, "
                                      r"1 of .*\. Expected is one NAME.npy .*np.save\("):
    prepare.prepare("toy_actions", tmp_path, features=folder)


def test_predictions_without_features_or_names_are_refused(features, tmp_path, monkeypatch):
  with pytest.raises(UserError, match="--concept_predictions=.* goes with --features=FOLDER only"):
    prepare.prepare("toy_actions", tmp_path, concept_predictions=tmp_path / "p.json")
  monkeypatch.setattr(toy_actions, "DATASET", dataclasses.replace(toy_actions.DATASET, has_vocabulary=False))
  with pytest.raises(UserError, match="needs the names of its objects: give --concepts"):
    prepare.prepare("toy_actions", tmp_path, features=features, concept_predictions=tmp_path / "p.json")


def test_features_are_refused_where_the_dataset_has_its_own(features, tmp_path):
  with pytest.raises(UserError, match="--features=.* was given, but precomputed has its features below --source"):
    prepare.prepare("precomputed", tmp_path, features=features)


@pytest.fixture
def four(monkeypatch) -> None:
  """Backbones of each kind: two for the feature, one for the objects, one for both."""
  def uncalled(*inputs):
    raise AssertionError(inputs)

  roles = {"bit": {OBJECTS}, "flow": {FEATURE}, "tower": {FEATURE, OBJECTS}, "tsm": {FEATURE}}
  backbones = {name: Backbone(name, {}, uncalled, dict.fromkeys(its, uncalled), uncalled, uncalled)
               for name, its in roles.items()}
  monkeypatch.setattr(Registry, "names", lambda registry: list(backbones))
  monkeypatch.setattr(Registry, "load", lambda registry, name: backbones[name])


OWN = {"tsm": Path("own/tsm"), "bit": Path("own/bit")}


@pytest.mark.parametrize("given, own, feature, objects", [
    ([], OWN, "own/tsm", "own/bit"),
    (["tsm"], OWN, "tsm", "own/bit"),
    (["flow"], OWN, "flow", "own/bit"),
    (["tsm", "bit"], {}, "tsm", "bit"),
    (["tower"], OWN, "tower", "tower"),
    (["tower", "bit"], {}, "tower", "bit"),
    (["tower", "tsm"], {}, "tsm", "tower"),
])
def test_each_role_has_the_weights_that_were_given_or_else_the_datasets_own(four, given, own, feature, objects):
  chosen = choose_weights({name: Path(name) for name in given}, own)
  assert {role: str(path) for role, (_, path) in chosen.items()} == {FEATURE: feature, OBJECTS: objects}


@pytest.mark.parametrize("given, own, message", [
    ([], {}, "comes without weights: give --flow=WEIGHTS or --tower=WEIGHTS or --tsm=WEIGHTS, a published file"),
    (["tsm"], {}, "comes without weights: give --bit=WEIGHTS or --tower=WEIGHTS"),
    (["flow", "tsm"], OWN, "--flow=flow and --tsm=tsm were given, but each of them gives the feature of a video"),
    (["tsm", "bit", "tower"], {}, "--tower=tower was given, but has nothing to do: --tsm gives the feature and --bit"),
])
def test_roles_without_weights_or_with_too_many_are_refused(four, given, own, message):
  with pytest.raises(UserError, match=message):
    choose_weights({name: Path(name) for name in given}, own)
