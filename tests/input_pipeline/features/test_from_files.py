"""Features that lie in files: what is taken, what is skipped, what is refused, and going on after a stop."""

import errno
import json
import os
import pickle

import numpy as np
import pytest

from input_pipeline import numpy_files
from input_pipeline.errors import Failure, UserError
from input_pipeline.features import from_files
from input_pipeline.features import store as store_lib
from input_pipeline.features.from_files import FeatureFiles
from input_pipeline.features.store import FeatureStore
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry

NUM_VIDEOS, DIM = 6, 5


def feature(index: int) -> np.ndarray:
  return np.arange(DIM, dtype=np.float32) + 10 * index


@pytest.fixture
def raw_dataset(tmp_path) -> RawDataset:
  """Six videos with a feature file each, all but number 4 with concepts [index, 9]."""
  entries = [VideoEntry(f"c/v{i}", tmp_path / "c" / f"v{i}.npy", 0, "train", 100 + i) for i in range(NUM_VIDEOS)]
  (tmp_path / "c").mkdir()
  for index, entry in enumerate(entries):
    np.save(entry.path, feature(index)[None])
  (tmp_path / "preds.json").write_text(json.dumps(
      {f"c/v{i}": [[i, 9], [0.5, 0.25]] for i in range(NUM_VIDEOS) if i != 4}))
  concepts = [Concept(f"n{i}", f"thing {i}", "") for i in range(10)]
  return RawDataset(entries, [ActionClass("a", "")], concepts, None, {})


@pytest.fixture
def fill(raw_dataset, tmp_path):
  """Fills a store in the folder "work"; returns it and what was skipped."""

  def run(predictions="preds.json"):
    store = FeatureStore(tmp_path / "work", raw_dataset.entries)
    return store, FeatureFiles(predictions and tmp_path / predictions).fill(raw_dataset, store)

  return run


def test_features_and_concepts_are_those_of_the_files(fill):
  store, skipped = fill()
  assert skipped == {}
  for index in range(NUM_VIDEOS):
    got = store[index]
    np.testing.assert_array_equal(got.views, [feature(index)])
    ids, scores = ([], []) if index == 4 else ([index, 9], [0.5, 0.25])        # the fifth has no entry
    assert got.concept_ids.tolist() == ids + [-1] * (20 - len(ids))
    assert got.concept_scores.tolist() == scores + [0] * (20 - len(scores))
    assert got.num_frames == 100 + index
    assert [field.dtype for field in got[:3]] == [np.float32, np.int32, np.float32]


def test_without_a_file_of_concepts_no_video_has_any_and_none_is_skipped(fill):
  store, skipped = fill(None)
  assert skipped == {} and len(store) == NUM_VIDEOS
  for index in range(NUM_VIDEOS):
    assert (store[index].concept_ids == -1).all() and not store[index].concept_scores.any()


def test_missing_file_is_a_reason_to_skip_also_without_concepts(raw_dataset, fill):
  raw_dataset.entries[1].path.unlink()
  raw_dataset.entries[4].path.unlink()
  _, skipped = fill()
  assert skipped == {1: "no such file", 4: "no such file"}


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
@pytest.mark.parametrize("shape", [(DIM,), (1, DIM)])
def test_other_floats_and_shapes_come_as_float32(raw_dataset, fill, dtype, shape):
  np.save(raw_dataset.entries[0].path, feature(3).astype(dtype).reshape(shape))
  store, _ = fill()
  np.testing.assert_array_equal(store[0].views, [feature(3)])
  assert store[0].views.dtype == np.float32


def test_rows_of_a_file_are_views(raw_dataset, fill):
  for index, entry in enumerate(raw_dataset.entries):
    np.save(entry.path, [feature(index), feature(index + 1), feature(index + 2)])
  store, _ = fill()
  np.testing.assert_array_equal(store[2].views, [feature(2), feature(3), feature(4)])


def cut(path):
  path.write_bytes(path.read_bytes()[:-3])


BAD_FILES = {
    "cut": (cut, "cannot be read"),
    "cut in its head": (lambda path: path.write_bytes(path.read_bytes()[:30]), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "pickled": (lambda path: path.write_bytes(pickle.dumps(feature(0))), "cannot be read .*which no .npy file does"),
    "objects": (lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "cannot be read .*Python objects"),
    "damaged archive": (lambda path: path.write_bytes(b"PK\x03\x04 no archive"), "cannot be read"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    "archive": (lambda path: np.savez(open(path, "wb"), a=feature(0)), "cannot be read .*it is an archive of arrays"),
    "integers": (lambda path: np.save(path, np.arange(DIM)), "holds int64, expected floating-point numbers"),
    "texts": (lambda path: np.save(path, np.array(["a"])), "holds <U1, expected floating-point"),
    "NaN": (lambda path: np.save(path, [[0.0] * DIM, [0, 1, np.nan, 3, 4]]), "holds nan at position 2 of view 1"),
    "infinite": (lambda path: np.save(path, [0, -np.inf, 2, 3, 4]), "holds -inf at position 1"),
    "never filled": (lambda path: np.save(path, np.zeros(DIM)), "holds nothing but 0.0 in view 0, .* never filled"),
    "a view of one number": (lambda path: np.save(path, [feature(0), [7.0] * DIM]), "holds nothing but 7.0 in view 1"),
    "beyond float32": (lambda path: np.save(path, [1e200, 1, 2, 3, 4]), "holds inf at position 0"),
    "other number of views": (lambda path: np.save(path, [feature(1), feature(2)]),
                              "has 2 views of 5 numbers, most others have 1 view of 5 numbers"),
    "a column": (lambda path: np.save(path, feature(0)[:, None]), r"has shape \(5, 1\), rows of one number; .* transposed"),
    "one number a video": (lambda path: np.save(path, feature(0)[None, :1]), r"has shape \(1, 1\), one number"),
    "a vector of one number": (lambda path: np.save(path, feature(0)[:1]), r"has shape \(1,\), one number"),
    "transposed views": (lambda path: np.save(path, np.zeros((DIM, 3))),
                         r"has shape \(5, 3\), which would be 5 views of 3 numbers each; .* transposed, \(3, 5\)"),
    "as many views as numbers": (lambda path: np.save(path, np.zeros((DIM, DIM))), r"has shape \(5, 5\), .* fewer views"),
    "three axes": (lambda path: np.save(path, np.zeros((1, 1, DIM))), r"has shape \(1, 1, 5\)"),
    "nothing": (lambda path: np.save(path, np.zeros((1, 0))), r"has shape \(1, 0\)"),
    "one number": (lambda path: np.save(path, np.float32(3)), r"has shape \(\)"),
    "other length": (lambda path: np.save(path, np.arange(6.0)), "has 1 view of 6 numbers, most others have 1 view of 5"),
}


@pytest.mark.parametrize("spoil, reason", BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("index", [0, 3])
def test_bad_file_is_named_with_what_is_wrong(raw_dataset, fill, index, spoil, reason):
  spoil(raw_dataset.entries[index].path)
  with pytest.raises(UserError, match=rf"(?s)1 of 6 feature files are no good; they are\n  .*c/v{index}.npy: {reason}"):
    fill()


def test_a_file_that_the_machine_cannot_read_ends_the_work_and_the_next_run_goes_on(raw_dataset, fill, monkeypatch):
  read = numpy_files.read_npy

  def broken(path):
    if path.stem == "v3":
      raise OSError(errno.EIO, "Input/output error", str(path))
    return read(path)

  with monkeypatch.context() as patch, pytest.raises(Failure, match="Cannot read .*c/v3.npy: Input/output error"):
    patch.setattr(numpy_files, "read_npy", broken)
    fill()
  store, skipped = fill()
  assert skipped == {} and len(store) == NUM_VIDEOS


@pytest.mark.parametrize("shape", [(DIM, 1), (DIM, 2), (1, 1)])
def test_files_that_are_all_of_one_wrong_shape_are_refused_too(raw_dataset, fill, shape):
  for index, entry in enumerate(raw_dataset.entries):
    np.save(entry.path, np.resize(feature(index), shape))
  with pytest.raises(UserError, match=r"6 of 6 feature files are no good; they are\n  .*c/v0.npy: has shape \(\d, \d\)"):
    fill()


def test_first_bad_files_are_listed_and_all_are_counted(raw_dataset, fill, monkeypatch):
  monkeypatch.setattr(from_files, "BAD_SHOWN", 2)
  for index in (5, 1, 3):
    cut(raw_dataset.entries[index].path)
  with pytest.raises(UserError, match="3 of 6 feature files are no good; the first are") as raised:
    fill()
  assert [line.split(":")[0][-6:] for line in str(raised.value).split("\n")[1:-1]] == ["v1.npy", "v3.npy"]


def test_when_the_bad_file_is_mended_only_it_is_read_again(raw_dataset, fill, monkeypatch):
  cut(raw_dataset.entries[2].path)
  with pytest.raises(UserError):
    fill()
  np.save(raw_dataset.entries[2].path, feature(2))
  read, real = [], from_files.read_feature
  monkeypatch.setattr(from_files, "read_feature", lambda path: read.append(path.stem) or real(path))
  store, _ = fill()
  assert read == ["v2"] and len(store) == NUM_VIDEOS
  np.testing.assert_array_equal(store[2].views, [feature(2)])


@pytest.mark.parametrize("mended", ["first", "others"])
def test_first_file_being_the_odd_one_is_told_and_mended(raw_dataset, fill, mended):
  long = np.arange(DIM + 2, dtype=np.float32)
  np.save(raw_dataset.entries[0].path, long)
  with pytest.raises(UserError, match="v0.npy: has 1 view of 7 numbers, most others have 1 view of 5"):
    fill()
  for index in [0] if mended == "first" else range(1, NUM_VIDEOS):
    np.save(raw_dataset.entries[index].path, feature(index) if mended == "first" else long)
  store, _ = fill()
  assert {store[index].views.shape[1] for index in (0, 1, 2, 3, 5)} == {5 if mended == "first" else 7}


def test_stopped_run_goes_on_where_it_was(raw_dataset, fill, monkeypatch):
  real = from_files.read_feature
  monkeypatch.setattr(store_lib, "CHUNK_VIDEOS", 2)

  def stop(path):
    if path.stem == "v3":
      raise KeyboardInterrupt
    return real(path)

  monkeypatch.setattr(from_files, "read_feature", stop)
  with pytest.raises(KeyboardInterrupt):
    fill()
  read = []
  monkeypatch.setattr(from_files, "read_feature", lambda path: read.append(path.stem) or real(path))
  store, skipped = fill()
  assert read == ["v3", "v4", "v5"] and len(store) == NUM_VIDEOS and skipped == {}


def test_fingerprint_is_that_of_the_content_of_the_concepts_wherever_their_file_is(raw_dataset, tmp_path):
  path, copy = tmp_path / "preds.json", tmp_path / "copy.json"
  before = FeatureFiles(path).fingerprint()
  assert before != FeatureFiles(None).fingerprint()
  copy.write_bytes(path.read_bytes())
  os.utime(copy, ns=(1, 1))
  assert FeatureFiles(copy).fingerprint() == before
  copy.write_bytes(path.read_bytes().replace(b"9", b"8"))
  assert FeatureFiles(copy).fingerprint() != before
  with pytest.raises(UserError, match="Cannot read .*absent.json"):
    FeatureFiles(tmp_path / "absent.json").fingerprint()
