"""Extraction against the two networks applied clip by clip; what becomes of bad videos and interruptions."""

import dataclasses
import errno
import functools
import itertools
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline.backbones import bit, load_network, tsm
from input_pipeline.backbones.declaration import FEATURE, OBJECTS, Backbone, Network
from input_pipeline.datasets import toy_actions
from input_pipeline.errors import Failure, UserError
from input_pipeline.features import extract as extract_lib
from input_pipeline.features import store as store_lib
from input_pipeline.features.extract import Extractor, extract
from input_pipeline.features.store import FeatureStore
from input_pipeline.raw_dataset import VideoEntry
from input_pipeline.videos import decode
from input_pipeline.videos.sampling import ClipSampling, ViewSampling

TSM = tsm.TSMConfig(stage_sizes=(1,), width=8, num_classes=5, shorter_side=36, crop=32)
BIT = bit.BiTConfig(depths=(1,), base_width=8, num_groups=4, num_concepts=30, shorter_side=36, crop=32)
ONE = jax.local_devices()[:1]


def network_of(name: str, backbone: Backbone, config) -> Network:
  """With random weights."""
  random = np.random.default_rng(7)
  variables = jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.5, 0.8, leaf.shape) if leaf.ndim == 1
                                                    else random.normal(0, 0.2, leaf.shape), jnp.float32),
                           backbone.shapes(config))
  return Network(name, backbone, config, variables)


def networks_of(tsm_config=TSM, bit_config=BIT) -> tuple[Network, Network]:
  """Both, as the Extractor takes them."""
  return network_of("tsm", tsm.BACKBONE, tsm_config), network_of("bit", bit.BACKBONE, bit_config)


@pytest.fixture(scope="module")
def weights() -> tuple[Network, Network]:
  return networks_of()


def read(path, views=ViewSampling()) -> decode.ClipFrames:
  """What the two see of a video."""
  return decode.read_clip(path, [tsm.sampling(TSM, views), bit.sampling(BIT, views)])


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
  feature, objects = weights
  features, _ = apply_tsm(feature.config, feature.variables, frames.frames[0])
  logits = apply_bit(objects.config, objects.variables, frames.frames[1][0])
  mean = np.asarray(logits, np.float64)[frames.masks[1][0]].mean(0)
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
    frames = read(clips[index].path, views)
    features, concepts, scores = by_hand(weights, frames)
    got = store[index]
    assert got.views.shape == (views.count, TSM.feature_dim)
    np.testing.assert_allclose(got.views, features, atol=2e-5 * np.abs(features).max())
    np.testing.assert_array_equal(got.concept_ids, concepts)
    np.testing.assert_allclose(got.concept_scores, scores, atol=1e-5)
    assert got.num_frames == 1 + 2 * index
    assert [field.dtype for field in got[:3]] == [np.float32, np.int32, np.float32]


def test_vocabulary_smaller_than_twenty_leaves_slots_empty(clips):
  weights = networks_of(bit_config=dataclasses.replace(BIT, num_concepts=7))
  _, ids, scores = Extractor(*weights, batch_size=2, devices=ONE)([read(clips[3].path)])
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
  clips = [decode.ClipFrames((views, views[:1]), (np.ones((2, 8), bool), np.arange(8)[None] < 5 + i % 4), 8)
           for i, views in enumerate(frames)]
  networks = networks_of(tsm_config, bit_config)

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


def test_a_fault_of_the_machine_ends_the_work_and_the_next_run_goes_on(weights, clips, tmp_path, monkeypatch):
  look, extractor = Path.stat, Extractor(*weights, batch_size=2, devices=ONE)

  def stale(path, **options):
    if path == clips[9].path:
      raise OSError(errno.ESTALE, "Stale file handle", str(path))
    return look(path, **options)

  with monkeypatch.context() as patch, pytest.raises(Failure, match="Cannot read .*v9.mp4: Stale file handle"):
    patch.setattr(Path, "stat", stale)
    extract(clips, extractor, FeatureStore(tmp_path / "work", clips), num_workers=1)
  store = FeatureStore(tmp_path / "work", clips)
  assert 0 in store and 9 not in store
  assert list(extract(clips, extractor, store, num_workers=1)) == [2, 5, 8] and 9 in store


def test_damaged_videos_are_used_and_named_at_the_end_of_each_run(weights, clips, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(decode, "read_clip", lambda path, *sizes: real(path, *sizes)._replace(damaged=path.stem in ("v3", "v9")))
  monkeypatch.setattr(decode, "DAMAGED_SHOWN", 1)
  extractor = Extractor(*weights, batch_size=4, devices=ONE)
  for _ in range(2):      # the second time nothing is left to read
    store = FeatureStore(tmp_path / "work", clips)
    extract(clips, extractor, store, num_workers=1)
    warning = f"warning: 2 videos break off, or are damaged inside; what can be decoded of them is used:\n  {clips[3].path}\n  ...\n"
    assert 3 in store and capsys.readouterr().err.endswith(warning)


def test_fingerprint_tells_weights_and_views_apart(weights):
  feature, objects = weights
  same = Extractor(feature._replace(variables=jax.tree.map(np.array, feature.variables)), objects, batch_size=2)
  other = Extractor(feature._replace(variables=jax.tree.map(lambda x: x + 1e-6, feature.variables)), objects)
  assert Extractor(*weights).fingerprint() == same.fingerprint() != other.fingerprint()
  prints = {Extractor(*weights, views=views).fingerprint()
            for views in (ViewSampling(), ViewSampling(temporal_samples=3), ViewSampling(spatial_crops=3), ViewSampling(dense_stride=3))}
  assert len(prints) == 4


def test_fingerprint_of_the_toys_weights_is_that_of_the_first_version():
  """Prepared datasets hold it; with another, they would have to be prepared anew."""
  networks = [load_network(*weights) for weights in toy_actions.DATASET.weights.items()]      # of TSM, of BiT
  assert Extractor(*networks, devices=ONE).fingerprint() == (
      "c84ac69fae297f7680b854c5e36a9beaa0f3bfbe23b194a116d55a1ef4066db9")


def test_backbones_of_different_crops_go_together(weights, clips, tmp_path):
  feature, objects = weights
  small = objects._replace(config=dataclasses.replace(BIT, shorter_side=24, crop=20))
  stores = [FeatureStore(tmp_path / name, clips) for name in ("same", "other")]
  for store, network in zip(stores, (objects, small)):
    extract(clips, Extractor(feature, network, batch_size=2, devices=ONE), store, num_workers=1)
  logits = apply_bit(small.config, small.variables, decode.read_clip(
      clips[10].path, [bit.sampling(small.config, ViewSampling())]).frames[0][0])
  assert np.array_equal(stores[0][10].views, stores[1][10].views)
  assert stores[1][10].concept_ids[0] == np.argmax(np.mean(logits, axis=0))


def test_one_backbone_with_both_roles_gives_both_of_the_same_views(clips, tmp_path):
  """The brightness of a view is its feature, and twice that its only logit."""
  def light(config, variables, frames, mask):
    return variables["scale"] * jnp.mean(frames, axis=(1, 2, 3, 4))[:, None]

  both = Backbone(
      title="light meter", variants={"light": TSM}, shapes=bit.shapes, load=bit.load,     # not asked for
      apply={FEATURE: light, OBJECTS: lambda *inputs: 2 * light(*inputs) - 150},
      sampling=lambda config, views: ClipSampling(
          36, lambda n: np.array([[0], [n - 1]]), lambda width, height: [(0, 0, 32, 32)]))
  network = Network("light", both, bit.BiTConfig((1,), num_concepts=1), {"scale": np.float32(0.5)})
  store = FeatureStore(tmp_path / "work", clips)
  extract(clips, Extractor(network, network, batch_size=2, devices=ONE), store, num_workers=1)
  for index in (0, 10):
    shown = decode.read_frames(clips[index].path, [0, 2 * index])
    means = [np.asarray(decode.resize(frame, 36))[:32, :32].mean() for frame in shown]
    np.testing.assert_allclose(store[index].views[:, 0], np.divide(means, 2), rtol=1e-5)
    assert store[index].concept_ids[:2].tolist() == [0, -1]
    np.testing.assert_allclose(store[index].concept_scores[0], 1 / (1 + np.exp(150 - np.mean(means))), rtol=1e-3)


@pytest.mark.skipif(jax.local_device_count() < 4, reason="needs four devices, e.g. simulated ones")
def test_batch_is_divided_over_the_devices(weights, clips):
  extractor = Extractor(*weights, batch_size=1, devices=jax.local_devices()[:4], views=ViewSampling(2))
  assert extractor.batch_size == 4
  batch = [read(clips[index].path, ViewSampling(2)) for index in (10, 0, 3)]
  features, ids, _ = extractor(batch)
  assert {shard.data.shape for shard in features.addressable_shards} == {(1, 2, TSM.feature_dim)}
  for i, frames in enumerate(batch):
    expected, best, _ = by_hand(weights, frames)
    np.testing.assert_allclose(features[i], expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(ids[i], best)


real = decode.read_clip


@pytest.mark.parametrize("spoilt, what", [(0, "TSM-ResNet gives feature"), (1, "BiT gives objects")])
def test_network_whose_output_is_not_finite_is_named_with_the_video(weights, clips, tmp_path, spoilt, what):
  networks = list(weights)
  huge = jax.tree.map(lambda leaf: jnp.full_like(leaf, 3e38), networks[spoilt].variables)     # finite, but overflows
  networks[spoilt] = networks[spoilt]._replace(variables=huge)
  with pytest.raises(UserError, match=f"The {what} for .*v0.mp4 that are not finite"):
    extract(clips[:2], Extractor(*networks, batch_size=2, devices=ONE), FeatureStore(tmp_path, clips[:2]), num_workers=1)


def test_constant_network_is_refused_while_videos_are_still_to_come(weights, clips, tmp_path, monkeypatch):
  feature, objects = weights
  monkeypatch.setattr(extract_lib, "ENOUGH_TO_DIFFER", 2)
  monkeypatch.setattr(store_lib, "CHUNK_VIDEOS", 2)
  nothing = feature._replace(variables=jax.tree.map(jnp.zeros_like, feature.variables))
  store = FeatureStore(tmp_path, clips)
  with pytest.raises(UserError, match="The network gives the same feature for all 2 videos"):
    extract(clips, Extractor(nothing, objects, batch_size=2, devices=ONE), store, num_workers=1)
  assert len(store) == 2
