"""What may be asked of `prepare`: which dataset takes which flag, and the command that asks for the same."""

import dataclasses
import pickle
from pathlib import Path

import pytest

from input_pipeline.datasets import toy_actions
from input_pipeline.errors import UserError
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.raw_dataset import RawDataset
from input_pipeline.videos.sampling import ViewSampling
from tests.input_pipeline.small_preparation import small_raw_dataset


@pytest.fixture
def taken(monkeypatch) -> dict:
  """What toy_actions' `read`, which now takes some flags, was called with."""
  taken = {}

  def read(source: Path, metadata: Path, classes: Path | None, split_seed: int,
           suffixes: frozenset[str] = frozenset({".mp4"})) -> RawDataset:
    taken.update(source=source, metadata=metadata, classes=classes, split_seed=split_seed, suffixes=suffixes)
    return small_raw_dataset(source)

  monkeypatch.setattr(toy_actions, "DATASET", dataclasses.replace(
      toy_actions.DATASET, read=read, options={"split_seed": 0, "classes": None, "metadata": None}, reads_features=True))
  return taken


def test_a_collection_gets_the_flags_that_it_takes(taken, tmp_path):
  PrepareOptions("toy_actions", tmp_path, split_seed=3, classes=tmp_path / "classes.jsonl").raw_dataset()
  assert taken == {"source": tmp_path / "sources" / "toy_actions", "metadata": tmp_path / "metadata",
                   "classes": tmp_path / "classes.jsonl", "split_seed": 3, "suffixes": {".mp4"}}


def test_a_flag_that_the_dataset_does_not_take_names_those_that_do(taken, tmp_path):
  with pytest.raises(UserError, match="--split_seed=1 was given, but precomputed does not take it; .*toy_actions"):
    PrepareOptions("precomputed", tmp_path, split_seed=1)


def test_options_are_recorded_with_their_defaults(taken, tmp_path):
  options = PrepareOptions("toy_actions", tmp_path, spatial_crops=3)
  assert options.chosen() == {"metadata": str(tmp_path / "metadata"), "split_seed": 0}
  assert options.given() == {"spatial_crops": 3}
  assert PrepareOptions("toy_actions", tmp_path, split_seed=0).given() == {"split_seed": 0}


@pytest.mark.parametrize("name", ["data_dir", "source", "features"])
def test_path_that_is_not_utf8_is_refused_before_anything_is_done(taken, tmp_path, name):
  paths = {"data_dir": tmp_path} | {name: tmp_path / "caf\udce9"}
  with pytest.raises(UserError, match=rf"--{name}=.*caf\\xe9' is a path that is not UTF-8"):
    PrepareOptions("toy_actions", **paths)


def test_command_asks_for_the_same_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  options = PrepareOptions("toy_actions", "data", source="my videos", batch_size=4, num_shards=2)
  assert options.command(without=("batch_size",), shard_index=1) == (
      f"python -m input_pipeline.prepare --dataset=toy_actions --data_dir={tmp_path}/data "
      f"'--source={tmp_path}/my videos' --num_shards=2 --shard_index=1")


def test_features_without_videos_are_the_collection(taken, tmp_path):
  options = PrepareOptions("toy_actions", tmp_path / "data", features=tmp_path)
  raw_dataset = options.raw_dataset()
  assert taken["source"] == tmp_path and taken["suffixes"] == {".npy"}
  assert raw_dataset.entries[1].path == tmp_path / "v7.npy" and raw_dataset.entries[1].name == "v7"
  assert raw_dataset.concepts == []      # nothing says which are in the videos


def test_features_beside_videos_take_their_place(taken, tmp_path):
  options = PrepareOptions("toy_actions", tmp_path / "data", source=tmp_path / "videos", features=tmp_path / "clip")
  assert options.raw_dataset().entries[0].path == tmp_path / "clip" / "v0.npy"
  assert taken["source"] == tmp_path / "videos" and taken["suffixes"] == {".mp4"}


def test_views_are_made_of_three_flags(tmp_path):
  options = PrepareOptions("toy_actions", tmp_path, temporal_samples=2, spatial_crops=5, dense_stride=4)
  assert options.views == ViewSampling(2, 5, 4)


def test_weights_are_flags_of_their_own_in_the_command(tmp_path):
  options = PrepareOptions("toy_actions", tmp_path, weights={"tsm": tmp_path / "t.npz", "bit": None})
  assert options.weights == {"tsm": tmp_path / "t.npz"}
  assert options.command() == (f"python -m input_pipeline.prepare --dataset=toy_actions --data_dir={tmp_path} "
                               f"--tsm={tmp_path}/t.npz")
  assert "tsm" not in options.command(without=("weights",))
  assert pickle.loads(pickle.dumps(options)) == options and hash(options)      # travels to Beam's workers


def test_weights_of_an_unknown_backbone_name_the_near_one(tmp_path):
  with pytest.raises(UserError, match="Unknown backbone 'tsn'. Did you mean tsm?"):
    PrepareOptions("toy_actions", tmp_path, weights={"tsn": "t.npz"})


def test_empty_weights_are_not_the_current_folder(tmp_path):
  with pytest.raises(UserError, match="--tsm is empty, expected a path"):
    PrepareOptions("toy_actions", tmp_path, weights={"tsm": ""})


@pytest.mark.parametrize("field", ["data_dir", "source", "features", "metadata"])
def test_an_empty_path_is_not_the_current_folder(taken, tmp_path, field):
  with pytest.raises(UserError, match=f"--{field} is empty, expected a path"):
    PrepareOptions(**{"dataset": "toy_actions", "data_dir": tmp_path, field: ""})


def test_a_file_where_the_datasets_should_lie_is_named(tmp_path):
  (tmp_path / "data").write_text("a file")
  for data_dir in (tmp_path / "data", tmp_path / "data" / "below"):
    with pytest.raises(UserError, match=f"--data_dir={data_dir}: {tmp_path / 'data'} is a file, expected a folder"):
      PrepareOptions("toy_actions", data_dir)


@pytest.mark.parametrize("field, value, message", [
    ("batch_size", 0, "batch_size and num_workers must be at least 1, got 0"),
    ("num_shards", 0, "--num_shards=0 must be at least 1"),
    ("dataset", "toy_action", "Did you mean toy_actions"),
    ("spatial_crops", 2, "--spatial_crops is 2, expected 1"),
])
def test_a_value_that_cannot_be_is_refused(tmp_path, field, value, message):
  with pytest.raises(UserError, match=message):
    PrepareOptions(**{"dataset": "toy_actions", "data_dir": tmp_path, "split_seed": None, field: value}).raw_dataset()
