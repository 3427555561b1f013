"""Features waiting on disk: whole shards, found again, and given up when the video changed."""

import os
from pathlib import Path

import numpy as np
import pytest

from input_pipeline import feature_store
from input_pipeline.collection import Clip
from input_pipeline.errors import UserError
from input_pipeline.feature_store import NO_STAMP, FeatureStore, VideoFeatures, stamp


def features(index: int) -> VideoFeatures:
  concepts, scores = np.arange(20, dtype=np.int32), np.zeros(20, np.float32)
  return VideoFeatures(np.full((2, 3), index, np.float32), concepts, scores, index)


@pytest.fixture
def clips(tmp_path) -> list[Clip]:
  clips = [Clip(str(i), tmp_path / f"{i}.mp4", 0, "train") for i in range(10)]
  for i, clip in enumerate(clips):
    clip.path.write_text("video" * i)
  return clips


def filled(folder: Path, clips: list[Clip], indices) -> FeatureStore:
  store = FeatureStore(folder, clips)
  for index in indices:
    store.add(index, stamp(clips[index].path), features(index))
  store.flush()
  return store


def test_flushed_features_are_found_again(tmp_path, clips):
  filled(tmp_path / "work", clips, (4, 0, 7))
  store = FeatureStore(tmp_path / "work", clips)
  assert [i for i in range(10) if i in store] == [0, 4, 7] and len(store) == 3
  for index in (0, 4, 7):
    for value, expected in zip(store[index], features(index)):
      assert np.array_equal(value, expected) and np.asarray(value).dtype == np.asarray(expected).dtype


def test_unflushed_features_are_not_there(tmp_path, clips):
  store = FeatureStore(tmp_path / "work", clips)
  store.add(0, stamp(clips[0].path), features(0))
  assert 0 not in store and len(FeatureStore(tmp_path / "work", clips)) == 0


def test_shards_are_written_after_a_number_of_videos(tmp_path, clips, monkeypatch):
  monkeypatch.setattr(feature_store, "CHUNK_VIDEOS", 3)
  store = FeatureStore(tmp_path / "work", clips)
  for index in range(8):
    store.add(index, stamp(clips[index].path), features(index))
  assert len(list((tmp_path / "work").iterdir())) == 2
  assert [index in store for index in range(8)] == [True] * 6 + [False] * 2


def test_shards_are_written_after_a_time(tmp_path, clips, monkeypatch):
  monkeypatch.setattr(feature_store, "CHUNK_SECONDS", 0.0)
  store = FeatureStore(tmp_path / "work", clips)
  store.add(1, stamp(clips[1].path), features(1))
  assert 1 in store


def test_video_that_changed_is_not_done_and_its_later_features_hold(tmp_path, clips):
  filled(tmp_path / "work", clips, (2, 3))
  clips[2].path.write_text("another video")
  os.utime(clips[3].path, ns=(1, 1))
  store = FeatureStore(tmp_path / "work", clips)
  assert 2 not in store and 3 not in store
  store.add(2, stamp(clips[2].path), features(9))
  store.flush()
  assert FeatureStore(tmp_path / "work", clips)[2].num_frames == 9


def test_stamp_of_a_missing_file_is_unlike_that_of_an_empty_one(tmp_path):
  (tmp_path / "empty").touch()
  assert stamp(tmp_path / "absent") == NO_STAMP != stamp(tmp_path / "empty")


def test_failed_write_leaves_no_shard(tmp_path, clips, monkeypatch):
  store = FeatureStore(tmp_path / "work", clips)
  store.add(0, stamp(clips[0].path), features(0))

  def full(*_, **__):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(np, "savez", full)
  with pytest.raises(OSError, match="No space left"):
    store.flush()
  assert list((tmp_path / "work").iterdir()) == []


def test_damaged_shard_is_named(tmp_path, clips):
  filled(tmp_path / "work", clips, (1,))
  (shard,) = (tmp_path / "work").iterdir()
  shard.write_bytes(shard.read_bytes()[:100])
  with pytest.raises(UserError, match="000000.npz.*Delete this file"):
    FeatureStore(tmp_path / "work", clips)
