"""The published feature layout: which videos belong to which split, what is kept beside them, what is refused."""

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from input_pipeline import loaders
from input_pipeline.dataset import open_dataset
from input_pipeline.datasets import precomputed
from input_pipeline.errors import UserError
from input_pipeline.metadata import published
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.prepare import prepare
from tests.input_pipeline import published_layout
from tests.input_pipeline.published_layout import SEEN, TEST, VAL, Layout, Video, write_json, write_layout, write_metas

SETS = {"train": "trn", "val": "val", "test": "tst"}


@pytest.fixture
def layout(tmp_path) -> Layout:
  return write_layout(tmp_path / "layout")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> tuple[Layout, Path]:
  """A layout, and the data_dir in which it is prepared."""
  folder = tmp_path_factory.mktemp("precomputed")
  layout = write_layout(folder / "layout")
  prepare("precomputed", folder / "data", layout.source)
  return layout, folder / "data"


def test_every_split_holds_the_videos_of_its_classes_in_the_order_of_the_metas(prepared):
  layout, data_dir = prepared
  builder = tfds.builder_from_directory(str(data_dir / "precomputed" / "1.0.0"))
  for split, published_set in SETS.items():
    examples, expected = list(builder.as_data_source(split)), layout.members(published_set)
    assert len(examples) == len(expected) == {"train": 30, "val": 24, "test": 26}[split]
    for example, video in zip(examples, expected):
      assert example["name"].decode() == video.name
      assert (example["label"], example["num_frames"]) == (video.label, video.num_frames)
      np.testing.assert_array_equal(example["feature"], layout.feature(video.name))
      ids, scores = layout.predictions[video.name]
      np.testing.assert_array_equal(example["concept_ids"], ids)
      np.testing.assert_array_equal(example["concept_scores"], np.float32(scores))


def test_targets_are_positions_in_the_class_list_of_the_split_in_its_own_order(prepared):
  layout, data_dir = prepared
  dataset = open_dataset(data_dir, "precomputed")
  assert dataset.class_splits == tuple((SEEN, val, test) for val, test in zip(VAL, TEST)) and dataset.divides_videos
  for split, published_set, lists in (("train", "trn", [SEEN]), ("val", "val", VAL), ("test", "tst", TEST)):
    for classes in lists:
      found = loaders.examples(dataset, split, classes)
      expected = [video for video in layout.videos[published_set] if video.label in classes]
      assert found.names.tolist() == [video.name for video in expected]
      assert found.targets.tolist() == [classes.index(video.label) for video in expected]


def test_what_lies_beside_is_that_of_the_layout(prepared):
  layout, data_dir = prepared
  dataset = open_dataset(data_dir, "precomputed")
  assert dataset.classes[3][:2] == ("with ing saddle", "to with with a water .")
  assert len(dataset.concepts) == 30 and dataset.concepts[4] == ("n00000004", "thing 4", "a thing of kind 4")
  assert dataset.word_list == list(published_layout.WORDS)
  np.testing.assert_array_equal(dataset.class_vectors, layout.class_vectors)
  np.testing.assert_array_equal(dataset.classifier_rows, layout.classifier_rows)
  np.testing.assert_array_equal(dataset.word_table, layout.word_table)
  assert dataset.source_root == layout.source
  assert (dataset.path / "word_table.npz").read_bytes() == layout.path("word.glove42b.npz").read_bytes()


def test_optional_files_may_all_be_absent(layout, tmp_path):
  for name in ("labels_glove42b.npy", "label_word_list.json", "word.glove42b.npz", "KG/pretsm.k400.fc.weight.npy"):
    layout.path(name).unlink()
  layout.predictions_path.unlink()
  path = prepare("precomputed", tmp_path / "data", layout.source)
  assert not {"concepts.jsonl", "class_vectors.npy", "word_list.json", "classifier_rows.npy"} & set(os.listdir(path))
  dataset = open_dataset(tmp_path / "data", "precomputed")
  assert dataset.concepts == [] and dataset.num_examples("all") == 80
  assert (dataset.class_vectors, dataset.word_list, dataset.word_table, dataset.classifier_rows) == (None,) * 4
  assert (dataset.table("test").concept_ids == -1).all()


def test_without_a_vocabulary_concepts_are_kept_as_ids(layout, tmp_path):
  (layout.source / "concepts.jsonl").unlink()
  path = prepare("precomputed", tmp_path / "data", layout.source)
  dataset = open_dataset(tmp_path / "data", "precomputed")
  assert dataset.concepts == [] and not (path / "concepts.jsonl").exists()
  first = layout.members("trn")[0].name
  assert dataset.table("train").concept_ids[0].tolist() == layout.predictions[first][0]


def test_videos_without_a_file_are_skipped_and_listed_and_those_without_concepts_counted(layout, tmp_path, capsys):
  without_file, without_concepts = layout.members("trn")[3], layout.members("val")[-1]
  layout.feature_path(without_file.name).unlink()
  del layout.predictions[without_concepts.name]
  write_json(layout.predictions_path, layout.predictions)
  path = prepare("precomputed", tmp_path / "data", layout.source)
  assert [json.loads(line) for line in (path / "skipped.jsonl").read_text().splitlines()] == [
      {"name": without_file.name, "reason": "no such file"}]
  dataset = open_dataset(tmp_path / "data", "precomputed")
  assert dataset.source["splits"]["train"] == {"expected": 30, "found": 29, "written": 29}
  assert dataset.source["splits"]["val"] == {"expected": 24, "found": 24, "written": 24}
  val = dataset.table("val")
  assert (val.concept_ids[val.names == without_concepts.name] == -1).all()
  printed = capsys.readouterr()
  assert "1 videos were skipped" in printed.out
  assert "1 videos have no entry in" in printed.err


def test_bad_feature_file_leaves_no_dataset_and_once_mended_the_run_goes_on(layout, tmp_path):
  path = layout.feature_path(layout.members("tst")[2].name)
  good = path.read_bytes()
  path.write_bytes(good[:-1])
  with pytest.raises(UserError, match=f"1 of 80 feature files .*\n  {path}: cannot be read"):
    prepare("precomputed", tmp_path / "data", layout.source)
  assert list((tmp_path / "data" / "precomputed").glob("[!.]*")) == []
  path.write_bytes(good)
  prepare("precomputed", tmp_path / "data", layout.source)
  assert open_dataset(tmp_path / "data", "precomputed").num_examples("all") == 80


def test_concept_beyond_the_vocabulary_is_refused(layout, tmp_path):
  name = layout.members("tst")[0].name
  layout.predictions[name][0][7] = 30
  write_json(layout.predictions_path, layout.predictions)
  with pytest.raises(UserError, match=f"preds.json: video '{name}' .*no concept 30"):
    prepare("precomputed", tmp_path / "data", layout.source)


def test_name_and_description_are_the_cleaned_ones_where_there_are_some(layout):
  rows = [{"word": "surfing (x)", "cleaned_word": "surf ( x )", "defn": "A.", "cleaned_defn": "a ."},
          {"word": "b", "defn": "Only this."}, {"word": "c", "cleaned_word": "", "defn": "same"},
          {"word": "d", "defn": "same"}]
  path = layout.path("classes_label_defn.json")
  write_json(path, rows)
  assert published.read_classes(path) == [
      ActionClass(*pair, f"{path}: class {index}") for index, pair in enumerate(
          [("surf ( x )", "a ."), ("b", "Only this."), ("c", "same"), ("d", "same")])]


def test_class_file_may_have_the_name_that_it_has_in_other_datasets(layout):
  layout.path("classes620_label_defn.json").rename(layout.path("classes_label_defn.json"))
  assert len(precomputed.DATASET.raw_dataset(layout.source).classes) == 12


@pytest.mark.parametrize("listed, in_metas, name", [
    ("v.mp4", "v.avi", "v"), ("clip.v2.mp4", "clip.v2.webm", "clip.v2"), ("clip", "clip.mp4", "clip"),
    ("some.folder/clip", "some.folder/clip.mp4", "some.folder/clip"), ("a/b/été.mkv", "a/b/été", "a/b/été")])
def test_only_the_last_extension_is_removed_and_names_match_without_it(layout, listed, in_metas, name):
  write_json(layout.path("val_video_names.json"), [listed])
  write_metas(layout.path("val_video_metas.jsonl"), [Video("", in_metas, 9, 1), Video("", "clip.v3.mp4", 9, 1)])
  entries = [entry for entry in precomputed.DATASET.raw_dataset(layout.source).entries if entry.split == "val"]
  assert entries == [(name, layout.feature_path(name), 1, "val", 9)]


def test_word_table_of_pytorch_is_copied_under_its_own_extension_without_being_read(layout):
  layout.path("word.glove42b.npz").rename(layout.path("word.glove42b.th"))
  assert precomputed.DATASET.raw_dataset(layout.source).extras["word_table.th"] == layout.path("word.glove42b.th")


VIDEO = {"videoname": "x.mp4", "nframes": 30, "label": 7}


@pytest.mark.parametrize("line, message", [
    ({**VIDEO, "label": 12}, r"'label' is 12, but there are 12 classes \(0 to 11\)"),
    ({**VIDEO, "label": -1}, "'label' is -1"),
    ({**VIDEO, "label": "7"}, "'label' is '7'"),
    ({**VIDEO, "label": True}, "'label' is True"),
    ({**VIDEO, "nframes": 30.5}, "'nframes' is 30.5"),
    ({**VIDEO, "nframes": None}, "'nframes' is None"),
    ({**VIDEO, "videoname": 3}, "name is 3, expected a text"),
    ({**VIDEO, "videoname": ""}, "name is '', expected a text"),
    ({**VIDEO, "videoname": "../x.mp4"}, "name is '../x.mp4', expected a path below"),
    ({**VIDEO, "videoname": "/x.mp4"}, "name is '/x.mp4', expected a path below"),
    ({"videoname": "x.mp4", "label": 7}, "missing field 'nframes'"),
    ([1], "expected an object"),
])
def test_bad_line_of_a_metas_file_is_named(layout, line, message):
  path = layout.path("trn_video_metas.jsonl")
  path.write_text(path.read_text() + "\n" + json.dumps(line) + "\n")      # line 31 is empty
  with pytest.raises(UserError, match=f"trn_video_metas.jsonl:32: .*{message}"):
    precomputed.DATASET.raw_dataset(layout.source)


def test_video_twice_in_a_set_is_named_by_both_lines(layout):
  path = layout.path("val_video_metas.jsonl")
  write_metas(path, [*layout.videos["val"], layout.videos["val"][2]._replace(file="some class 4/val.v0.avi")])
  with pytest.raises(UserError, match="val_video_metas.jsonl:29: video 'some class 4/val.v0' is on line 3 already"):
    precomputed.DATASET.raw_dataset(layout.source)


def cut(layout: Layout, name: str) -> None:
  layout.path(name).write_text(layout.path(name).read_text()[:-20])


def lists(name: str, value):
  return lambda layout: write_json(layout.path(f"{name}_class_idxs.json"), value)


def classes(rows):
  return lambda layout: write_json(layout.path("classes620_label_defn.json"), rows)


def test_names_without_a_line_of_their_own_are_counted(layout, capsys):
  names = [video.name for video in layout.videos["val"]]
  precomputed.DATASET.raw_dataset(layout.source)
  assert capsys.readouterr().err == ""
  write_metas(layout.path("val_video_metas.jsonl"), layout.videos["val"][:10])
  entries = precomputed.DATASET.raw_dataset(layout.source).entries
  assert {entry.name for entry in entries if entry.split == "val"} <= set(names[:10])
  assert re.search(rf"warning: {len(names) - 10} of the {len(names)} names in .*val_video_names.json have no line in "
                   rf"val_video_metas.jsonl, .* left out: {names[-1]}, .*, \.\.\.", capsys.readouterr().err)


def names_of_other_videos(layout: Layout) -> None:
  write_json(layout.path("tst_video_names.json"), ["a.mp4"])


def table(name: str, content: bytes | None):
  """Puts a file in the place of the word table, or a folder."""
  def replace(layout: Layout) -> None:
    layout.path("word.glove42b.npz").unlink()
    path = layout.path(name)
    path.mkdir() if content is None else path.write_bytes(content)
  return replace


BAD_FILES = {
    "cut names": (lambda l: cut(l, "trn_video_names.json"), r"trn_video_names.json:1: not valid JSON.*cut short"),
    "cut metas": (lambda l: cut(l, "tst_video_metas.jsonl"), r"tst_video_metas.jsonl:30: not valid JSON"),
    "cut class lists": (lambda l: cut(l, "val_class_idxs.json"), r"val_class_idxs.json:1: not valid JSON"),
    "cut classes": (lambda l: cut(l, "classes620_label_defn.json"), "classes620_label_defn.json:1: not valid JSON"),
    "cut words": (lambda l: cut(l, "label_word_list.json"), "label_word_list.json:1: not valid JSON"),
    "names no list": (lambda l: write_json(l.path("val_video_names.json"), {"a": 1}), "names.json: expected a list"),
    "name no text": (lambda l: write_json(l.path("val_video_names.json"), ["a.mp4", 5]), "entry 1: .* is 5, expected"),
    "no video of the set": (names_of_other_videos, r"tst_video_metas.jsonl: not one of its 30 videos .*\(1 names\)"),
    "class in seen and test": (lists("tst", [[4, 7], [10], [1]]), r"class 7 of 'test\[0\]' is in 'seen' already"),
    "class in val and test": (lists("tst", [[4, 3], [10], [1]]), r"class 3 of 'test\[0\]' is in 'val\[0\]' already"),
    "class twice": (lists("val", [[1, 1], [8], [6]]), r"class 1 of 'val\[0\]' is in 'val\[0\]' already"),
    "empty list": (lists("val", [[1, 3], [], [10, 6]]), "val_class_idxs.json: list 1 is empty"),
    "no lists": (lists("val", []), "val_class_idxs.json: expected a list of lists"),
    "flat list": (lists("val", [1, 3]), r"val_class_idxs.json: expected a list of lists .* got \[1, 3\]"),
    "class out of range": (lists("val", [[1], [12], [6]]), r"val_class_idxs.json: list 1 holds 12, but there are 12"),
    "class no number": (lists("val", [[1], ["3"], [6]]), "list 1 holds '3'"),
    "numbers of lists": (lists("val", VAL[:2]), "holds 3 lists, val_class_idxs.json 2 and tst_class_idxs.json 3"),
    "seen classes differ": (lists("trn", [SEEN, SEEN, SEEN[1:]]), "lists 0 and 2 differ, class 7 is in one of them"),
    "same class name": (classes([{"word": "run", "defn": "x"}] * 12), "class 1 and class 0 are both named 'run'"),
    "class without name": (classes([{"defn": "x"}]), "class 0 has no name"),
    "class no object": (classes(["run"]), "class 0 is run, expected"),
    "class name no text": (classes([{"word": 3}]), "is 3, expected a text"),
    "vectors of other classes": (lambda l: np.save(l.path("labels_glove42b.npy"), np.zeros((11, 8))), "holds 11 rows"),
    "vectors with NaN": (lambda l: np.save(l.path("labels_glove42b.npy"), np.full((12, 8), np.nan)), "column 0 is nan"),
    "rows of integers": (lambda l: np.save(l.path("KG/pretsm.k400.fc.weight.npy"), np.eye(6, dtype=int)), "int64"),
    "word twice": (lambda l: write_json(l.path("label_word_list.json"), ["a", "b", "a"]), "'a' is entry 0 and entry 2"),
    "word no text": (lambda l: write_json(l.path("label_word_list.json"), ["a", None]), "entry 1 is None"),
    "table of other words": (lambda l: np.savez(l.path("word.glove42b.npz"), a=np.ones((13, 8))),
                             r"word.glove42b.npz holds 13 rows .*\(14, V\).*label_word_list.json has so many words"),
    "table cut": (table("word.glove42b.npy", b"\x93NUMPY"), "Cannot read .*word.glove42b.npy"),
    "table a folder": (table("word.glove42b.th", None), "Cannot read .*word.glove42b.th.*Is a directory"),
    "table empty": (table("word.glove42b.pth", b""), "word.glove42b.pth is empty; get the file again"),
    "table a pointer": (table("word.glove42b.th", b"version https://git-lfs.github.com/spec/v1\n"),
                        "word.glove42b.th is a Git LFS pointer"),
    "vocabulary empty": (lambda l: (l.source / "concepts.jsonl").write_text(""), "concepts.jsonl: no concepts in it"),
}


@pytest.mark.parametrize("spoil, message", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_refused_by_name(layout, spoil, message):
  spoil(layout)
  with pytest.raises(UserError, match=message):
    precomputed.DATASET.raw_dataset(layout.source)


def test_folder_that_is_no_such_layout_says_what_is_missing_and_what_is_there(layout, tmp_path):
  with pytest.raises(UserError, match="(?s)absent is no folder .*there is no such folder.*zsl220/trn_class_idxs.json"):
    precomputed.DATASET.raw_dataset(tmp_path / "absent")
  with pytest.raises(UserError, match=r"(?s)it holds KG/, classes620_label_defn.json.*It lacks\n  zsl220/trn"):
    precomputed.DATASET.raw_dataset(layout.source / "zsl220")
  layout.path("val_video_names.json").unlink()
  shutil.rmtree(layout.source / "features")
  with pytest.raises(UserError) as raised:
    precomputed.DATASET.raw_dataset(layout.source)
  assert "it holds concepts.jsonl, zsl220/, zsl220/KG/" in str(raised.value)
  assert "It lacks\n  zsl220/val_video_names.json\n  features/tsm_resnet50\nGive the folder" in str(raised.value)


def test_published_metadata_gives_the_published_numbers_of_videos(tmp_path):
  """The train lists are not among the copies: ten made-up train videos stand in for them."""
  shared = os.environ.get("ER_JAX_SHARED")
  if not shared:
    pytest.skip("set ER_JAX_SHARED to the folder that holds zsar_metadata/")
  published = Path(shared) / "zsar_metadata" / "kinetics_zsl220"
  shutil.copytree(published, tmp_path / "zsl220", copy_function=os.symlink)
  (tmp_path / "features" / "tsm_resnet50").mkdir(parents=True)
  (tmp_path / "zsl220").chmod(0o755)
  write_json(tmp_path / "zsl220" / "trn_video_names.json", [f"{i}.mp4" for i in range(10)])
  write_metas(tmp_path / "zsl220" / "trn_video_metas.jsonl", [Video("", f"{i}.mp4", 300, i) for i in range(10)])
  raw_dataset = precomputed.DATASET.raw_dataset(tmp_path)
  assert (len(raw_dataset.classes), len(raw_dataset.class_splits[0].seen)) == (620, 400)
  assert sorted(raw_dataset.extras) == ["class_vectors.npy", "classifier_rows.npy", "word_list.json"]

  counts = Counter((entry.split, entry.label) for entry in raw_dataset.entries)
  for name, split, expected in (("val", "val", [2670, 2712, 2663]), ("tst", "test", [14131, 14078, 14167])):
    lists = [getattr(class_split, split) for class_split in raw_dataset.class_splits]
    rows = [json.loads(line) for line in (published / f"{name}_video_metas.jsonl").read_text().splitlines()]
    names = set(json.loads((published / f"{name}_video_names.json").read_text()))
    for k, indices in enumerate(json.loads((published / f"{name}_class_idxs.json").read_text())):
      assert list(lists[k]) == indices
      assert sum(row["videoname"] in names and row["label"] in indices for row in rows) == expected[k]
      assert sum(counts[split, label] for label in indices) == expected[k]
