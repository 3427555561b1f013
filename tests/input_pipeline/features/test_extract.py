"""Extraction against the two networks applied clip by clip; what becomes of bad videos and interruptions."""

import dataclasses
import functools
import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline.backbones import bit, tsm
from input_pipeline.errors import UserError
from input_pipeline.features import extract as extract_lib
from input_pipeline.features.extract import Extractor, extract
from input_pipeline.features.store import FeatureStore
from input_pipeline.raw_dataset import VideoEntry
from input_pipeline.videos import decode
from input_pipeline.videos.sampling import ViewSampling

TSM = tsm.TSMConfig(stage_sizes=(1,), width=8, num_classes=5, shorter_side=36, crop=32)
BIT = bit.BiTConfig(depths=(1,), base_width=8, num_groups=4, num_concepts=30, shorter_side=36, crop=32)
ONE = jax.local_devices()[:1]


def weights_of(network):
  """Random weights of a TSM or a BiT."""
  random = np.random.default_rng(7)
  frames = np.zeros((1, 8, 32, 32, 3), np.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), frames if isinstance(network, tsm.TSM) else frames[0])
  return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.5, 0.8, leaf.shape) if leaf.ndim == 1
                                               else random.normal(0, 0.2, leaf.shape), jnp.float32), shapes)


def variables(num_concepts: int = 30):
  """Configs and random weights of both networks, as the Extractor takes them."""
  bit_config = dataclasses.replace(BIT, num_concepts=num_concepts)
  return TSM, weights_of(tsm.TSM(TSM)), bit_config, weights_of(bit.BiT(bit_config))


@pytest.fixture(scope="module")
def weights():
  return variables()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[VideoEntry]:
  """Eleven clips of 1 to 20 frames; number 2 is missing, 5 no video, 8 cut off at its start."""
  folder = tmp_path_factory.mktemp("videos")
  clips = [VideoEntry(f"v{i}", folder / f"v{i}.mp4", 0, "train") for i in range(11)]
  for i, clip in enumerate(clips):
    frames = np.random.default_rng(i).integers(0, 256, (1 + 2 * i, 40, 48, 3), np.uint8)
    if i != 2:
      decode.write_video(clip.path, frames)
  clips[5].path.write_text("<html>404 not found</html>")
  clips[8].path.write_bytes(clips[8].path.read_bytes()[:50])
  return clips


def by_hand(weights, frames: decode.ClipFrames):
  """Features of the views, concepts and scores of one clip: each network on this clip alone, the rest in NumPy."""
  tsm_config, tsm_variables, bit_config, bit_variables = weights
  features, _ = apply_tsm(tsm_config, tsm_variables, frames.tsm)
  logits = apply_bit(bit_config, bit_variables, frames.bit)
  mean = np.asarray(logits, np.float64)[frames.bit_mask].mean(0)
  best = np.argsort(-mean, kind="stable")[:20]
  return np.asarray(features, np.float64).mean(1), best, 1 / (1 + np.exp(-mean[best]))


@functools.partial(jax.jit, static_argnums=0)
def apply_tsm(config, variables, frames):
  return tsm.TSM(config).apply(variables, tsm.normalize(frames))


@functools.partial(jax.jit, static_argnums=0)
def apply_bit(config, variables, frames):
  return bit.BiT(config).apply(variables, bit.normalize(frames))


@pytest.mark.parametrize("views", [ViewSampling(), ViewSampling(2, 3), ViewSampling(2, 5, 1)], ids=["one", "three crops", "dense"])
def test_features_and_concepts_are_those_of_each_clip_alone(weights, clips, tmp_path, views):
  store = FeatureStore(tmp_path / "work", clips)
  extract(clips, Extractor(*weights, batch_size=4, devices=ONE, views=views), store, num_workers=2)
  for index in (0, 1, 3, 10):
    frames = decode.read_clip(clips[index].path, 36, 32, views)
    features, concepts, scores = by_hand(weights, frames)
    got = store[index]
    assert got.views.shape == (views.count, TSM.feature_dim)
    np.testing.assert_allclose(got.views, features, atol=2e-5 * np.abs(features).max())
    np.testing.assert_array_equal(got.concept_ids, concepts)
    np.testing.assert_allclose(got.concept_scores, scores, atol=1e-5)
    assert got.num_frames == 1 + 2 * index
    assert [field.dtype for field in got[:3]] == [np.float32, np.int32, np.float32]


def test_vocabulary_smaller_than_twenty_leaves_slots_empty(clips):
  weights = variables(num_concepts=7)
  _, ids, scores = Extractor(*weights, batch_size=2, devices=ONE)([decode.read_clip(clips[3].path, 36, 32)])
  assert sorted(np.asarray(ids)[0, :7]) == list(range(7)) and (np.asarray(ids)[0, 7:] == -1).all()
  assert (np.asarray(scores)[0, 7:] == 0).all() and (np.diff(np.asarray(scores)[0, :7]) <= 0).all()


def test_bad_videos_are_skipped_with_their_reason_and_the_others_are_all_there(weights, clips, tmp_path):
  store = FeatureStore(tmp_path / "work", clips)
  skipped = extract(clips, Extractor(*weights, batch_size=4, devices=ONE), store, num_workers=3)
  assert list(skipped) == [2, 5, 8]
  assert skipped[2] == "no such file" and "web page" in skipped[5] and "cut off" in skipped[8]
  assert [i for i in range(11) if i in store] == [0, 1, 3, 4, 6, 7, 9, 10]


def test_result_does_not_depend_on_the_other_clips_of_the_batch(weights, clips, tmp_path):
  whole, parts = FeatureStore(tmp_path / "whole", clips), FeatureStore(tmp_path / "parts", clips)
  extractor = Extractor(*weights, batch_size=4, devices=ONE)
  extract(clips, extractor, whole, num_workers=2)
  for index in (9, 0, 4):      # leaves the others to batches of other composition
    parts.add(index, extract_lib.stamp(clips[index].path), whole[index])
  parts.flush()
  extract(clips, extractor, parts, num_workers=1)
  for index in (0, 1, 3, 4, 6, 7, 9, 10):
    for a, b in zip(whole[index], parts[index]):
      assert np.array_equal(a, b)


@pytest.mark.parametrize("width", [8, 12, 36, 64])
def test_place_in_the_batch_changes_no_bit(width):
  """Kernels round differently at other places of a batch, by the processor's kind: on one kind this shows, not on all."""
  tsm_config = dataclasses.replace(TSM, stage_sizes=(1, 1), width=width)
  bit_config = dataclasses.replace(BIT, depths=(1, 1), base_width=width)
  random = np.random.default_rng(width)
  frames = random.integers(0, 256, (8, 2, 8, 32, 32, 3), np.uint8)
  clips = [decode.ClipFrames(views, views[0], np.arange(8) < 5 + i % 4, 8) for i, views in enumerate(frames)]
  networks = (tsm_config, weights_of(tsm.TSM(tsm_config)), bit_config, weights_of(bit.BiT(bit_config)))

  for batch_size in (3, 8):
    extractor = Extractor(*networks, batch_size=batch_size, devices=ONE)
    alone = [[np.asarray(result)[0] for result in extractor([clip])] for clip in clips]      # the others are padding
    for seed in range(3):
      chosen = np.random.default_rng(seed).permutation(len(clips))[:batch_size]
      results = extractor([clips[index] for index in chosen])
      for row, index in enumerate(chosen):
        for result, reference in zip(results, alone[index]):
          assert np.array_equal(result[row], reference)


def test_only_what_is_not_stored_is_read_and_one_program_serves_all(weights, clips, tmp_path, monkeypatch):
  store = FeatureStore(tmp_path / "work", clips)
  extractor = Extractor(*weights, batch_size=4, devices=ONE)
  extract(clips[:7], extractor, store, num_workers=2)
  read = []
  monkeypatch.setattr(decode, "read_clip", lambda path, *sizes: read.append(path.stem) or real(path, *sizes))
  compiled = extract_lib.features_and_concepts._cache_size()
  extract(clips, extractor, FeatureStore(tmp_path / "work", clips), num_workers=1)
  assert read == ["v5", "v7", "v8", "v9", "v10"]      # 2 is missing; 5 may have been mended
  assert extract_lib.features_and_concepts._cache_size() == compiled


def test_number_of_decoded_clips_in_memory_is_bounded(weights, clips, tmp_path, monkeypatch):
  many = [clips[3]] * 60
  lock, decoded, consumed, most = threading.Lock(), 0, 0, 0

  def count(path, *sizes):
    nonlocal decoded, most
    with lock:
      decoded += 1
      most = max(most, decoded - consumed)
    return real(path, *sizes)

  class Counting(Extractor):

    def __call__(self, batch):
      nonlocal consumed
      with lock:
        consumed += len(batch)
      return super().__call__(batch)

  monkeypatch.setattr(decode, "read_clip", count)
  extractor = Counting(*weights, batch_size=4, devices=ONE)
  extract(many, extractor, FeatureStore(tmp_path / "work", many), num_workers=2)
  assert most <= (extract_lib.BATCHES_AHEAD + 1) * 4


def test_interruption_keeps_what_was_computed(weights, clips, tmp_path, monkeypatch):
  twice, reads = [*clips, *clips], itertools.count()

  def interrupted(path, *sizes):
    if next(reads) == 18:
      raise KeyboardInterrupt
    return real(path, *sizes)

  monkeypatch.setattr(decode, "read_clip", interrupted)
  extractor = Extractor(*weights, batch_size=4, devices=ONE)
  with pytest.raises(KeyboardInterrupt):
    extract(twice, extractor, FeatureStore(tmp_path / "work", twice), num_workers=1)
  assert [index for index in range(22) if index in FeatureStore(tmp_path / "work", twice)] == [
      0, 1, 3, 4, 6, 7, 9, 10]


def test_unforeseen_failure_names_the_video(weights, clips, tmp_path, monkeypatch):
  def fail(path, *sizes):
    raise MemoryError

  monkeypatch.setattr(decode, "read_clip", fail)
  extractor = Extractor(*weights, batch_size=4, devices=ONE)
  with pytest.raises(MemoryError) as raised:
    extract(clips, extractor, FeatureStore(tmp_path / "work", clips), num_workers=1)
  assert raised.value.__notes__ == [f"The video was {clips[0].path}."]


def test_fingerprint_tells_weights_and_views_apart(weights):
  tsm_config, tsm_variables, bit_config, bit_variables = weights
  same = Extractor(tsm_config, jax.tree.map(np.array, tsm_variables), bit_config, bit_variables, batch_size=2)
  other = Extractor(tsm_config, jax.tree.map(lambda x: x + 1e-6, tsm_variables), bit_config, bit_variables)
  assert Extractor(*weights).fingerprint() == same.fingerprint() != other.fingerprint()
  prints = {Extractor(*weights, views=views).fingerprint()
            for views in (ViewSampling(), ViewSampling(temporal_samples=3), ViewSampling(spatial_crops=3), ViewSampling(dense_stride=3))}
  assert len(prints) == 4


def test_backbones_of_different_crops_are_refused(weights):
  tsm_config, tsm_variables, bit_config, bit_variables = weights
  with pytest.raises(UserError, match="TSM takes frames of 32 pixels, BiT of 224"):
    Extractor(tsm_config, tsm_variables, bit.VARIANTS["bit_r50x1"], bit_variables)


@pytest.mark.skipif(jax.local_device_count() < 4, reason="needs four devices, e.g. simulated ones")
def test_batch_is_divided_over_the_devices(weights, clips):
  extractor = Extractor(*weights, batch_size=1, devices=jax.local_devices()[:4], views=ViewSampling(2))
  assert extractor.batch_size == 4
  batch = [decode.read_clip(clips[index].path, 36, 32, ViewSampling(2)) for index in (10, 0, 3)]
  features, ids, _ = extractor(batch)
  assert {shard.data.shape for shard in features.addressable_shards} == {(1, 2, extractor.feature_dim)}
  for i, frames in enumerate(batch):
    expected, best, _ = by_hand(weights, frames)
    np.testing.assert_allclose(features[i], expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(ids[i], best)


real = decode.read_clip
