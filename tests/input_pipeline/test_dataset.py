"""A prepared dataset as it lies on disk, and what is found in it again."""

import dataclasses
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds

from input_pipeline import dataset as dataset_lib
from input_pipeline.dataset import OPTIONAL_FILES, Dataset, Table, open_dataset, require
from input_pipeline.errors import UserError
from input_pipeline.loaders import class_means, examples
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from tests.input_pipeline import conftest
from tests.input_pipeline.conftest import made_up_features, made_up_raw_dataset, write_dataset


def test_what_lies_beside_the_examples_is_read_back(prepared):
  data_dir, raw_dataset = prepared.data_dir, prepared.raw_dataset
  dataset = open_dataset(data_dir, "toy_actions")
  assert [action[:2] for action in dataset.classes] == [action[:2] for action in raw_dataset.classes]
  assert dataset.concepts == raw_dataset.concepts
  assert dataset.class_splits == raw_dataset.class_splits
  assert dataset.feature_dim == 6
  assert np.array_equal(dataset.class_vectors, np.arange(28).reshape(7, 4))
  assert dataset.source["expected"] == 60 and dataset.source_root == data_dir / "videos"
  skipped = [json.loads(line) for line in (dataset.path / "skipped.jsonl").read_text().splitlines()]
  assert skipped == [{"name": raw_dataset.entries[3].name, "reason": "no such file"},
                     {"name": raw_dataset.entries[11].name, "reason": "no frames in it"}]


def test_counts_are_of_the_examples_written(prepared):
  data_dir = prepared.data_dir
  dataset = open_dataset(data_dir, "toy_actions")
  for split in ("train", "val", "test"):
    assert dataset.num_examples(split) == len(prepared.entries_in(split))
  assert dataset.num_examples("all") == 58 and dataset.num_examples("tests") == 0


def test_tfds_alone_reads_the_examples_in_the_order_of_the_clips(prepared):
  data_dir, raw_dataset = prepared.data_dir, prepared.raw_dataset
  builder = tfds.builder_from_directory(str(data_dir / "toy_actions" / "1.0.0"))
  for split in ("train", "val", "test"):
    indices = prepared.entries_in(split)
    source = builder.as_data_source(split)
    assert len(source) == len(indices)
    for index, example in zip(indices, source):
      assert example.keys() == {"name", "feature", "concept_ids", "concept_scores", "label", "num_frames"}
      assert example["name"].decode() == raw_dataset.entries[index].name
      assert example["label"] == raw_dataset.entries[index].label and isinstance(example["label"], int)
      expected = prepared.features[index]
      assert example["num_frames"] == expected.num_frames and isinstance(example["num_frames"], int)
      for field in ("feature", "concept_ids", "concept_scores"):
        assert example[field].dtype == (np.int32 if field == "concept_ids" else np.float32)
        assert np.array_equal(example[field], expected.views[0] if field == "feature" else getattr(expected, field))


def test_dataset_without_division_is_read_as_all(undivided):
  names = [entry.name for entry in undivided.raw_dataset.entries]
  dataset = open_dataset(undivided.data_dir, "toy_actions")
  assert dataset.class_splits == () and dataset.num_examples("all") == 20
  assert not dataset.divides_videos and dataset.table("test") is dataset.table("all")
  assert dataset.table("all").names.tolist() == names
  source = tfds.builder_from_directory(str(dataset.path)).as_data_source("all")
  assert [example["name"].decode() for example in source] == names


def test_splits_together_are_read_as_all(prepared):
  table = open_dataset(prepared.data_dir, "toy_actions").table("all")
  expected = {entry.name for i, entry in enumerate(prepared.raw_dataset.entries) if i not in prepared.skipped}
  assert len(table.names) == 58 and set(table.names) == expected


@pytest.mark.parametrize("seed", [9, None])
def test_with_other_seen_classes_in_each_split_the_class_alone_says_where_a_video_belongs(tmp_path, seed):
  splits = (ClassSplit((0, 1, 2, 3), (), (4, 5, 6)), ClassSplit((6, 5, 1), (), (0, 2, 3, 4)))
  raw_dataset = made_up_raw_dataset(20)._replace(class_splits=splits, split_seed=seed)
  write_dataset(tmp_path, raw_dataset, skipped={})
  dataset = open_dataset(tmp_path, "toy_actions")
  assert dataset.class_splits == splits and not dataset.divides_videos
  seen = examples(dataset, "train", splits[1].seen)
  assert sorted(seen.names) == sorted(entry.name for entry in raw_dataset.entries if entry.label in (6, 5, 1))
  index_of = {entry.name: index for index, entry in enumerate(raw_dataset.entries)}
  assert seen.features(np.arange(len(seen)))[:, 0].tolist() == [index_of[name] for name in seen.names]
  unseen = examples(dataset, "test", splits[1].test)
  assert sorted([*seen.names, *unseen.names]) == sorted(index_of)


def test_a_dataset_can_be_made_in_memory(tmp_path):
  features = np.arange(12, dtype=np.float32).reshape(4, 3)
  table = Table(np.array(list("abcd")), np.array([0, 1, 0, 1], np.int32), np.full((4, 20), -1, np.int32), features)
  dataset = Dataset(name="mine", path=tmp_path, classes=[ActionClass("run", ""), ActionClass("sit", "")], feature_dim=3,
                    tables={"train": table}, read_word_table=lambda: features)
  sitting = examples(dataset, "train", [1])
  assert sitting.names.tolist() == ["b", "d"] and sitting.features([1]).tolist() == [[9, 10, 11]]
  assert dataset.num_examples("train") == 4 and dataset.num_examples("test") == 0
  assert dataset.word_table is features and dataset.class_vectors is None and dataset.video_path("a") is None
  with pytest.raises(UserError, match=f"{tmp_path} has no split 'test'; it has train"):
    dataset.table("test")


def test_features_of_one_view_and_their_mean(tmp_path):
  raw_dataset = made_up_raw_dataset(20)
  write_dataset(tmp_path, raw_dataset, skipped={}, num_views=3)
  dataset = open_dataset(tmp_path, "toy_actions")
  assert (dataset.num_views, dataset.feature_dim) == (3, 6)
  indices = [index for index, entry in enumerate(raw_dataset.entries) if entry.split == "train"]
  first = np.stack([made_up_features(index).views[0] for index in indices])
  train, rows = examples(dataset, "train", range(4)), np.arange(len(indices))
  np.testing.assert_allclose(train.features(rows), first + 1, rtol=1e-6)
  for view in range(3):
    np.testing.assert_array_equal(train.of_view(view).features(rows), first + view)
  np.testing.assert_array_equal(train.of_view(2).features([3, 1]), first[[3, 1]] + 2)


def test_class_means_are_those_of_the_stored_features(prepared):
  dataset = open_dataset(prepared.data_dir, "toy_actions")
  expected = [np.mean([prepared.features[i].views[0] for i in prepared.entries_of(label)], axis=0) for label in (3, 0)]
  np.testing.assert_allclose(class_means(dataset, "train", [3, 0]), expected, rtol=1e-5)
  with pytest.raises(UserError, match="class 'action 5' has no video in 'train'"):
    class_means(dataset, "train", [3, 5])


def test_tensorflow_is_not_needed(prepared):
  assert "tensorflow" not in sys.modules


def test_folder_without_the_dataset_says_the_command_that_makes_it(tmp_path):
  command = f"python -m input_pipeline.prepare --dataset=toy_actions --data_dir={tmp_path}"
  with pytest.raises(UserError, match=command):
    open_dataset(tmp_path, "toy_actions")


def test_unknown_dataset_names_the_near_one(tmp_path):
  with pytest.raises(UserError, match="Unknown dataset 'toy_action'. Did you mean toy_actions?"):
    open_dataset(tmp_path, "toy_action")


def test_newest_version_is_opened_and_unfinished_ones_are_not(prepared, tmp_path):
  whole = prepared.data_dir / "toy_actions" / "1.0.0"
  for version in ("0.9.0", "0.10.0", "incomplete.XYZ_1.0.0"):
    shutil.copytree(whole, tmp_path / "toy_actions" / version)
  assert open_dataset(tmp_path, "toy_actions").path.name == "0.10.0"


@pytest.mark.parametrize("file, what", [("classes.jsonl", "label"), ("concepts.jsonl", "concept id")])
def test_lists_that_belong_to_another_dataset_are_noticed(prepared, tmp_path, file, what):
  folder = tmp_path / "toy_actions" / "1.0.0"
  shutil.copytree(prepared.data_dir / "toy_actions" / "1.0.0", folder)
  (folder / file).write_text("".join((folder / file).read_text().splitlines(keepends=True)[:2]))
  (folder / "class_splits.json").unlink()
  (folder / "class_vectors.npy").unlink()
  with pytest.raises(UserError, match=f"{what} outside"):
    open_dataset(tmp_path, "toy_actions").table("train")


def test_class_vectors_of_another_class_list_are_noticed(prepared, tmp_path):
  folder = tmp_path / "toy_actions" / "1.0.0"
  shutil.copytree(prepared.data_dir / "toy_actions" / "1.0.0", folder)
  np.save(folder / "class_vectors.npy", np.zeros((3, 4), np.float32))
  with pytest.raises(UserError, match="class_vectors.npy holds 3 rows .*expected float .7, V."):
    open_dataset(tmp_path, "toy_actions")
  (folder / "class_vectors.npy").write_bytes(b"cut")
  with pytest.raises(UserError, match="Cannot read .*class_vectors.npy"):
    open_dataset(tmp_path, "toy_actions")


@pytest.fixture
def copied(prepared, tmp_path):
  """A copy of the prepared dataset; `copied()` opens it."""
  folder = tmp_path / "toy_actions" / "1.0.0"
  shutil.copytree(prepared.data_dir / "toy_actions" / "1.0.0", folder)

  def opened():
    return open_dataset(tmp_path, "toy_actions")

  opened.folder = folder
  return opened


@pytest.mark.parametrize("file", ["dataset_info.json", "skipped.jsonl", "toy_actions-val.array_record-00000-of-00001"])
def test_dataset_that_was_deleted_in_part_is_not_taken_for_one_that_was_never_prepared(copied, file):
  (copied.folder / file).unlink()
  with pytest.raises(UserError, match=f"1.0.0 lacks {file}: .*Delete that folder and prepare the dataset again"):
    copied()


def test_without_a_vocabulary_there_are_no_concepts_and_ids_have_no_limit(prepared, copied):
  (copied.folder / "concepts.jsonl").unlink()
  dataset = copied()
  assert dataset.concepts == []
  first = prepared.features[prepared.entries_in("train")[0]]
  assert np.array_equal(dataset.table("train").concept_ids[0], first.concept_ids)


def test_pieces_that_are_not_there_are_none(copied):
  (copied.folder / "class_vectors.npy").unlink()
  dataset = copied()
  assert (dataset.class_vectors, dataset.word_list, dataset.word_table, dataset.classifier_rows) == (None,) * 4


def test_classifier_rows_are_read(copied):
  np.save(copied.folder / "classifier_rows.npy", np.arange(18.0).reshape(3, 6))
  rows = copied().classifier_rows
  assert rows.dtype == np.float32 and np.array_equal(rows, np.arange(18).reshape(3, 6))


def test_word_table_is_read_when_it_is_asked_for_and_fits_the_word_list(copied):
  (copied.folder / "word_list.json").write_text('["one", "two", "three"]')
  np.save(copied.folder / "word_table.npy", np.arange(12.0).reshape(3, 4))
  dataset = copied()
  assert dataset.word_list == ["one", "two", "three"]
  table = dataset.word_table
  assert table.dtype == np.float32 and np.array_equal(table, np.arange(12).reshape(3, 4))
  assert dataset.word_table is table
  (copied.folder / "word_list.json").write_text('["one", "two"]')
  with pytest.raises(UserError, match=r"word_table.npy holds 3 rows of 4 .* float \(2, V\).*word_list.json has so many words"):
    _ = copied().word_table
  (copied.folder / "word_table.npy").write_bytes(b"cut")
  with pytest.raises(UserError, match="Cannot read .*word_table.npy"):
    _ = copied().word_table


def test_needed_piece_is_returned():
  assert require(SimpleNamespace(path="data/x", concepts=["dog"]), "concepts", "method cpt") == ["dog"]
  vectors = np.zeros((2, 3))
  assert require(SimpleNamespace(path="data/x", class_vectors=vectors), "class_vectors", "method devise") is vectors


@pytest.mark.parametrize("piece, value, message", [
    ("class_vectors", None, r"a vector for each class \(class_vectors.npy; in .* zsl220/labels_glove42b.npy"),
    ("word_list", None, r"a word list \(word_list.json; in the published layout zsl220/label_word_list.json\)"),
    ("word_table", None, r"\(word_table.npy, .npz, .safetensors, .th, .pth or .pt; in the published layout zsl220/word.glove42b.th\)"),
    ("classifier_rows", None, r"\(classifier_rows.npy; in the published layout zsl220/KG/pretsm.k400.fc.weight.npy\)"),
    ("concepts", [], r"\(concepts.jsonl; in the published layout concepts.jsonl and features/bit-m-r50x1_top20"),
])
def test_needed_piece_that_is_lacking_is_named_with_its_files(piece, value, message):
  dataset = SimpleNamespace(path="data/x/1.0.0", **{piece: value})
  with pytest.raises(UserError, match=f"^method m needs .*{message}.*, which data/x/1.0.0 lacks. Add it"):
    require(dataset, piece, "method m")
  assert piece in OPTIONAL_FILES


def test_video_of_an_example_is_found_by_its_name(prepared, tmp_path):
  dataset = open_dataset(prepared.data_dir, "toy_actions")
  dataset = dataclasses.replace(dataset, source={"root": str(tmp_path)})
  (tmp_path / "a [b]").mkdir()
  for suffix in (".jpg", ".json", ".mp4", ".mp4.part"):
    (tmp_path / "a [b]" / f"clip.v2{suffix}").touch()
  assert dataset.video_path("a [b]/clip.v2") == tmp_path / "a [b]" / "clip.v2.mp4"
  assert dataset.video_path("a [b]/clip") is None


@pytest.mark.parametrize("spoil, message", [
    (lambda index, views: views + (np.nan if index == 7 else 0), "split 'all' holds features that are not finite, of 1 ex"),
    (lambda index, views: views * 0, "all examples of split 'all' have the same feature"),
])
def test_features_of_a_network_with_wrong_weights_are_refused(tmp_path, monkeypatch, spoil, message):
  def spoiled(index, num_views=1):
    made = made_up_features(index, num_views)
    return made._replace(views=spoil(index, made.views))

  monkeypatch.setattr(conftest, "made_up_features", spoiled)
  write_dataset(tmp_path, made_up_raw_dataset(20), {})
  dataset = open_dataset(tmp_path, "toy_actions")
  with pytest.raises(UserError, match=f"{message}.*(.|\n)*repare it again"):
    dataset.table("all")
  if "same" in message:      # of a split the others are looked at too
    with pytest.raises(UserError, match="split 'test' have the same feature"):
      dataset.table("test")
  else:
    monkeypatch.setattr(dataset_lib, "FEATURES_IN_MEMORY", 0)      # then features are looked at when they are read
    with pytest.raises(UserError, match="not finite, of 1 examples"):
      dataset.table("all").features(range(20))
