"""A prepared dataset and what it was made of, edited, replaced, moved or gone since."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from input_pipeline import prepare
from input_pipeline.dataset import open_dataset
from input_pipeline.errors import Failure, UserError
from input_pipeline.features.store import NO_STAMP, stamp
from input_pipeline.metadata.concepts import Concept, write_concepts
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.preparation import made_of, write
from input_pipeline.raw_dataset import RawDataset, VideoEntry
from input_pipeline.verification.count import verify
from input_pipeline.verification.expected import options_of
from tests.input_pipeline.published_layout import write_layout


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Path:
  """Features in the published layout, and a dataset made of them beside it, in data/."""
  folder = tmp_path_factory.mktemp("made_of")
  source = write_layout(folder / "source").source
  prepare.prepare("precomputed", folder / "data", source)
  return folder


@pytest.fixture
def copy(layout, tmp_path) -> Path:
  """The same for one test to change; it knows nothing of the other folder."""
  shutil.copytree(layout, tmp_path / "copy")
  told = tmp_path / "copy" / "data" / "precomputed" / "1.0.0" / "source.json"
  told.write_text(told.read_text().replace(str(layout), str(tmp_path / "copy")))
  return tmp_path / "copy"


def halve_scores(path: Path) -> None:
  predictions = json.loads(path.read_text())
  path.write_text(json.dumps({name: [ids, [score / 2 for score in scores]] for name, (ids, scores) in predictions.items()}))


def edit(path: Path, old: str, new: str) -> None:
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))


def change_array(path: Path) -> None:
  array = np.load(path)
  np.save(path, array + 1)


def reverse_splits(lists: Path) -> None:
  for path in lists.glob("*_class_idxs.json"):
    path.write_text(json.dumps(json.loads(path.read_text())[::-1]))


CHANGES = {
    "description": (lambda source: edit(source / "zsl220/classes620_label_defn.json", "with a", "with the"),
                    r"class '.*': its description is now 'to .* with the .*', was 'to .* with a"),
    "class": (lambda source: edit(source / "zsl220/classes620_label_defn.json", '"cleaned_word": "', '"cleaned_word": "X'),
              r"other classes than the lists, or in another order: number 0 is now 'X"),
    "class split": (lambda source: reverse_splits(source / "zsl220"), "other class splits"),
    "vocabulary": (lambda source: edit(source / "concepts.jsonl", "of kind 3", "of no kind"),
                   r"another vocabulary: number 3 is now .*of no kind"),
    "vectors": (lambda source: change_array(source / "zsl220/labels_glove42b.npy"), "its class_vectors.npy is not"),
    "rows": (lambda source: (source / "zsl220/KG/pretsm.k400.fc.weight.npy").unlink(), "it has classifier_rows.npy, for"),
    "words": (lambda source: (source / "zsl220/word.glove42b.npz").unlink(), "it has word_table.npz, for which"),
}
VIDEO_CHANGES = {
    "objects": (lambda source: halve_scores(source / "features/bit-m-r50x1_top20_preds.json"),
                "its object predictions are not"),
    "list": (lambda source: edit(source / "zsl220/tst_video_names.json", '"tst_1_1.avi", ', ""),
             r"1 videos are not there or listed any more, such as 'tst_1_1' \(test\)"),
    "size": (lambda source: np.save(source / "features/tsm_resnet50/tst_1_1.npy", np.arange(16.0)[None]),
             r"tst_1_1.npy has \d+ bytes, had \d+"),
    "features": (lambda source: change_array(source / "features/tsm_resnet50/tst_1_1.npy"),
                 "1 of 80 files have their size, but another time of change, such as .*tst_1_1.npy"),
}


@pytest.mark.parametrize("what", [*CHANGES, *VIDEO_CHANGES])
def test_a_dataset_of_what_has_changed_since_is_not_taken_for_it(copy, what):
  prepare.prepare("precomputed", copy / "data", copy / "source")
  change, message = {**CHANGES, **VIDEO_CHANGES}[what]
  change(copy / "source")
  for source in (copy / "source", None):
    with pytest.raises(UserError, match=f"(?s)prepared already, but.*changed since.*another --data_dir.*{message}"):
      prepare.prepare("precomputed", copy / "data", source)
  prepare.prepare("precomputed", copy / "other", copy / "source")


@pytest.mark.parametrize("what", CHANGES)
def test_verification_falls_short_where_lists_and_texts_have_changed(copy, what):
  change, message = CHANGES[what]
  assert verify(options_of("precomputed", copy / "data"), read="none").is_complete
  change(copy / "source")
  verification = verify(options_of("precomputed", copy / "data"), read="none")
  (remark,) = [remark for remark in verification.remarks if "is not of what there is now" in remark]
  assert not verification.is_complete
  with pytest.raises(UserError) as raised:
    prepare.prepare("precomputed", copy / "data")
  assert remark.split(": ", 1)[1].removesuffix(".") in str(raised.value)


@pytest.mark.parametrize("gone", ["source", "source/zsl220", "source/features"])
def test_a_dataset_whose_source_is_gone_stays_in_use_and_that_is_said(copy, capsys, gone):
  shutil.rmtree(copy / gone)
  for source in (copy / "source", None):
    assert prepare.prepare("precomputed", copy / "data", source) == copy / "data" / "precomputed" / "1.0.0"
    captured = capsys.readouterr()
    assert "already prepared" in captured.out and "warning: " in captured.err and str(copy / "source") in captured.err


def test_a_dataset_of_an_earlier_version_is_found(copy, capsys):
  path = copy / "data" / "precomputed" / "1.0.0"
  (path / "videos.jsonl").unlink()
  (path / "manifest.json").unlink()
  told = json.loads((path / "source.json").read_text())
  del told["concepts"]
  (path / "source.json").write_text(json.dumps(told))
  prepare.prepare("precomputed", copy / "data", copy / "source")
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("elsewhere", ["source", "all"])
def test_what_a_dataset_was_made_of_may_move(copy, tmp_path, elsewhere, capsys):
  data_dir = tmp_path / "moved" / "data"
  shutil.move(copy if elsewhere == "all" else copy / "source", tmp_path / "moved")
  source = tmp_path / "moved" / ("source" if elsewhere == "all" else "")
  data_dir = data_dir if elsewhere == "all" else copy / "data"
  prepare.prepare("precomputed", data_dir, source)
  assert "is already prepared" in capsys.readouterr().out
  assert open_dataset(data_dir, "precomputed").source["root"] == str(source)
  edit(source / "zsl220/classes620_label_defn.json", "with a", "with the")
  with pytest.raises(UserError, match="its description is now"):
    prepare.prepare("precomputed", data_dir)


def cut(path: Path) -> None:
  path.write_bytes(path.read_bytes()[:-20])


DAMAGES = {
    "information": (lambda path: (path / "dataset_info.json").unlink(), "lacks dataset_info.json"),
    "examples": (lambda path: (path / "precomputed-train.array_record-00000-of-00001").unlink(), "lacks precomputed-train"),
    "end of examples": (lambda path: cut(path / "precomputed-val.array_record-00000-of-00001"),
                        "the examples of split 'val' cannot be read"),
    "number of examples": (lambda path: edit(path / "source.json", '"written": 26', '"written": 27'),
                           "other numbers of examples than were written: of split 'test' 26, expected 27"),
    "source": (lambda path: cut(path / "source.json"), "source.json:.*not valid JSON"),
    "classes": (lambda path: cut(path / "classes.jsonl"), "classes.jsonl:12: not valid JSON"),
    "manifest": (lambda path: edit(path / "manifest.json", "tst_1_1", "tst_1_2"), "manifest.json is not as it was written"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_dataset_is_not_taken_for_a_prepared_one(copy, what):
  damage, message = DAMAGES[what]
  path = copy / "data" / "precomputed" / "1.0.0"
  damage(path)
  with pytest.raises(UserError, match=f"(?s){path} is there, but is damaged. Delete that folder and give.*{message}"):
    prepare.prepare("precomputed", copy / "data")


def test_what_was_extracted_is_kept_where_the_dataset_does_not_read_back(layout, tmp_path, monkeypatch):
  undisturbed = write._write

  def write_badly(options, *args):
    undisturbed(options, *args)
    cut(write.dataset_path(options) / "precomputed-val.array_record-00000-of-00001")

  monkeypatch.setattr(write, "_write", write_badly)
  with pytest.raises(Failure, match="(?s)is damaged.*split 'val' cannot be read.*What was extracted is kept in"):
    prepare.prepare("precomputed", tmp_path, layout / "source")
  assert list((tmp_path / "extraction").rglob("*.npz"))


def test_features_of_another_network_in_another_folder_are_not_taken_for_those_of_the_dataset(copy, tmp_path):
  shutil.copytree(copy / "source", tmp_path / "other")
  for path in (tmp_path / "other" / "features").rglob("*.npy"):
    change_array(path)
  with pytest.raises(UserError, match=f"(?s)its source is .*, asked for is {tmp_path / 'other'}.*80 of 80 files have"):
    prepare.prepare("precomputed", copy / "data", tmp_path / "other")


def test_objects_of_ones_own_are_compared_without_being_named_again(copy):
  own = [Concept(f"n{i}", f"mine {i}", "mine") for i in range(30)]
  write_concepts(copy / "own.jsonl", own)
  prepare.prepare("precomputed", copy / "other", copy / "source", concepts=copy / "own.jsonl")
  prepare.prepare("precomputed", copy / "other", copy / "source")
  assert verify(options_of("precomputed", copy / "other"), read="none").is_complete
  write_concepts(copy / "own.jsonl", own[::-1])
  with pytest.raises(UserError, match="another vocabulary: number 0"):
    prepare.prepare("precomputed", copy / "other", copy / "source")


def test_videos_that_were_missing_and_are_there_now_are_named(copy):
  feature = copy / "source/features/tsm_resnet50/tst_1_1.npy"
  os.replace(feature, copy / "away.npy")
  prepare.prepare("precomputed", copy / "other", copy / "source")
  os.replace(copy / "away.npy", feature)
  with pytest.raises(UserError, match="1 videos were missing and are there now, such as 'tst_1_1'"):
    prepare.prepare("precomputed", copy / "other", copy / "source")


def test_videos_that_were_damaged_and_have_been_put_right_are_named(tmp_path):
  names = ("repaired", "as it was", "touched", "removed", "of an earlier version")
  entries = [VideoEntry(name, tmp_path / f"{name}.mp4", 0, "train") for name in names]
  for entry in entries:
    entry.path.write_text("half a")
  made_of.write_skipped(tmp_path / "skipped.jsonl", [
      (entry, "cut off", NO_STAMP if entry.name == "of an earlier version" else stamp(entry.path)) for entry in entries])
  for index in (0, 4):
    entries[index].path.write_text("half a video, and the other half")
  os.utime(entries[2].path, ns=(1, 1))
  entries[3].path.unlink()
  found = made_of.video_differences(RawDataset(entries, [ActionClass("run", "")], [], (), {}), tmp_path)
  assert found.certain == ["1 videos could not be read, and have changed since, such as 'repaired'"]
  assert (found.gone, found.touched) == ([], [entries[2].path])
