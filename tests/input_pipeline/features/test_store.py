"""Features waiting on disk: whole shards, found again, and given up when the video changed."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.errors import Failure, UserError
from input_pipeline.features import store as store_lib
from input_pipeline.features.store import NO_STAMP, FeatureStore, VideoFeatures, stamp
from input_pipeline.raw_dataset import VideoEntry


def features(index: int) -> VideoFeatures:
  concepts, scores = np.arange(20, dtype=np.int32), np.zeros(20, np.float32)
  return VideoFeatures(np.full((2, 3), index, np.float32), concepts, scores, index)


@pytest.fixture
def entries(tmp_path) -> list[VideoEntry]:
  entries = [VideoEntry(str(i), tmp_path / f"{i}.mp4", 0, "train") for i in range(10)]
  for i, entry in enumerate(entries):
    entry.path.write_text("video" * i)
  return entries


def filled(folder: Path, entries: list[VideoEntry], indices) -> FeatureStore:
  store = FeatureStore(folder, entries)
  for index in indices:
    store.add(index, stamp(entries[index].path), features(index))
  store.flush()
  return store


def test_flushed_features_are_found_again(tmp_path, entries):
  filled(tmp_path / "work", entries, (4, 0, 7))
  store = FeatureStore(tmp_path / "work", entries)
  assert [i for i in range(10) if i in store] == [0, 4, 7] and len(store) == 3
  for index in (0, 4, 7):
    for value, expected in zip(store[index], features(index)):
      assert np.array_equal(value, expected) and np.asarray(value).dtype == np.asarray(expected).dtype


def test_unflushed_features_are_not_there(tmp_path, entries):
  store = FeatureStore(tmp_path / "work", entries)
  store.add(0, stamp(entries[0].path), features(0))
  assert 0 not in store and len(FeatureStore(tmp_path / "work", entries)) == 0


def test_shards_are_written_after_a_number_of_videos(tmp_path, entries, monkeypatch):
  monkeypatch.setattr(store_lib, "CHUNK_VIDEOS", 3)
  store = FeatureStore(tmp_path / "work", entries)
  for index in range(8):
    store.add(index, stamp(entries[index].path), features(index))
  assert len(list((tmp_path / "work").iterdir())) == 2
  assert [index in store for index in range(8)] == [True] * 6 + [False] * 2


def test_shards_are_written_after_a_time(tmp_path, entries, monkeypatch):
  monkeypatch.setattr(store_lib, "CHUNK_SECONDS", 0.0)
  store = FeatureStore(tmp_path / "work", entries)
  store.add(1, stamp(entries[1].path), features(1))
  assert 1 in store


def test_video_that_changed_is_not_done_and_its_later_features_hold(tmp_path, entries):
  filled(tmp_path / "work", entries, (2, 3))
  entries[2].path.write_text("another video")
  os.utime(entries[3].path, ns=(1, 1))
  store = FeatureStore(tmp_path / "work", entries)
  assert 2 not in store and 3 not in store
  store.add(2, stamp(entries[2].path), features(9))
  store.flush()
  assert FeatureStore(tmp_path / "work", entries)[2].num_frames == 9


def test_stamp_of_a_missing_file_is_unlike_that_of_an_empty_one(tmp_path):
  (tmp_path / "empty").touch()
  assert stamp(tmp_path / "absent") == NO_STAMP != stamp(tmp_path / "empty")


def test_a_file_that_the_machine_cannot_look_at_is_not_missing(tmp_path, entries, monkeypatch):
  store = filled(tmp_path / "work", entries, (1,))
  (chunk,) = (tmp_path / "work").iterdir()
  look = Path.stat

  def stale(path, **options):
    if path == entries[1].path:
      raise OSError(errno.ESTALE, "Stale file handle", str(path))
    return look(path, **options)

  monkeypatch.setattr(Path, "stat", stale)
  with pytest.raises(Failure, match="Cannot read .*/1.mp4: Stale file handle"):
    FeatureStore(tmp_path / "work", entries)

  def broken(*_):
    raise OSError(errno.EIO, "Input/output error")

  monkeypatch.setattr(store_lib.numpy_files, "read_npz", broken)
  with pytest.raises(Failure, match=f"Cannot read {chunk}: Input/output error"):      # and does not ask to delete it
    _ = store[1]


def test_files_that_somebody_else_put_there_are_named_and_not_read(tmp_path, entries, capsys):
  filled(tmp_path / "work", entries, (1,))
  (chunk,) = (tmp_path / "work").iterdir()
  (tmp_path / "work" / "000000 (1).npz").write_bytes(chunk.read_bytes())
  store = filled(tmp_path / "work", entries, (2,))
  assert [index for index in range(10) if index in store] == [1, 2]
  assert "warning: " in (err := capsys.readouterr().err) and "such as '000000 (1).npz'; they are not read" in err


def test_damaged_videos_are_remembered_until_their_file_is_another(tmp_path, entries):
  store = FeatureStore(tmp_path / "work", entries)
  for index in (5, 2, 3):
    store.add(index, stamp(entries[index].path), features(index), damaged=index != 3)
  store.flush()
  assert store.damaged == FeatureStore(tmp_path / "work", entries).damaged == [2, 5]
  os.utime(entries[2].path, ns=(1, 1))
  again = filled(tmp_path / "work", entries, (2,))
  assert again.damaged == FeatureStore(tmp_path / "work", entries).damaged == [5]


def test_chunk_of_an_earlier_version_is_read(tmp_path, entries):
  filled(tmp_path / "work", entries, (4,))
  (chunk,) = (tmp_path / "work").iterdir()
  arrays = dict(np.load(chunk))
  np.savez(chunk, **{**arrays, "stamps": arrays["stamps"][:, :3]})
  store = FeatureStore(tmp_path / "work", entries)
  assert 4 in store and store.damaged == []


def test_failed_write_leaves_no_shard(tmp_path, entries, monkeypatch):
  store = FeatureStore(tmp_path / "work", entries)
  store.add(0, stamp(entries[0].path), features(0))

  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  with pytest.raises(OSError, match="No space left"):
    store.flush()
  assert list((tmp_path / "work").iterdir()) == []


def test_damaged_shard_is_named(tmp_path, entries):
  filled(tmp_path / "work", entries, (1,))
  (shard,) = (tmp_path / "work").iterdir()
  shard.write_bytes(shard.read_bytes()[:100])
  with pytest.raises(UserError, match="000000.npz.*Delete this file"):
    FeatureStore(tmp_path / "work", entries)
