"""Training of a backbone on two kinds of made-up examples that a small network can tell apart."""

import dataclasses

import numpy as np
import pytest

from configs import bit as bit_config
from configs import tsm as tsm_config
from input_pipeline.backbones import bit, tsm
from input_pipeline.datasets.toy_actions import train_backbones
from input_pipeline.errors import UserError


def clips(seed: int, start: int, count: int):
  """Label 0 grows brighter, label 1 darker: one frame does not tell."""
  frames, labels = np.zeros((count, 8, 16, 16, 3), np.uint8), np.zeros(count, np.int32)
  for row, index in enumerate(range(start, start + count)):
    random = np.random.default_rng([seed, index])
    labels[row] = random.integers(2)
    light = np.linspace(0, 200, 8)[::-1 if labels[row] else 1]
    frames[row] = light[:, None, None, None] + random.integers(0, 50, (16, 16, 3))
  return frames, labels


def pictures(seed: int, start: int, count: int):
  """Label 0 is bright, label 1 dark."""
  frames, labels = clips(seed, start, count)
  return frames[:, 0], labels


@pytest.fixture
def small(monkeypatch):
  """Configs of a small TSM and a small BiT."""
  monkeypatch.setitem(tsm.VARIANTS, "small", tsm.TSMConfig(stage_sizes=(1,), width=8, crop=16))
  monkeypatch.setitem(bit.VARIANTS, "small", bit.BiTConfig((1,), base_width=8, num_groups=4, crop=16))
  configs = {"tsm": tsm_config.get_config(), "bit": bit_config.get_config()}
  for config in configs.values():
    config.update({"variant": "small", "num_examples": 40, "num_heldout": 24, "num_epochs": 12})
    config.update({"batch_size": 8, "learning_rate": 3e-3})
  return configs


def test_tsm_learns_what_one_frame_does_not_tell_and_its_file_holds_the_variant(small, tmp_path):
  assert train_backbones.train(small["tsm"], clips, tmp_path / "tsm.npz") >= 90
  assert tsm.load(tmp_path / "tsm.npz").config == dataclasses.replace(tsm.VARIANTS["small"], num_classes=2)


def test_bit_learns_without_the_held_out_examples_and_gives_the_same_file_again(small, tmp_path):
  asked = []

  def examples(seed, start, count):
    asked.extend(range(start, start + count))
    return pictures(seed, start, count)

  path = tmp_path / "bit.npz"
  assert train_backbones.train(small["bit"], examples, path) >= 90
  assert asked == list(range(40 + 24))
  assert bit.load(path).config == dataclasses.replace(bit.VARIANTS["small"], num_concepts=2)
  first = path.read_bytes()
  train_backbones.train(small["bit"], pictures, path)
  assert path.read_bytes() == first


@pytest.mark.parametrize("field, value, message", [
    ("network", "bitt", "Did you mean bit"),
    ("variant", "bit_toi", "Did you mean bit_toy"),
    ("loss", "hinge", "softmax"),
    ("batch_size", 0, "config.batch_size is 0"),
    ("num_examples", 7, "less than one batch of 8"),
])
def test_config_that_cannot_be_is_refused_before_anything_is_drawn(small, tmp_path, field, value, message):
  small["bit"][field] = value
  with pytest.raises(UserError, match=message):
    train_backbones.train(small["bit"], None, tmp_path / "weights.npz")


def test_output_must_be_an_npz_file(small, tmp_path):
  with pytest.raises(UserError, match="ending in .npz"):
    train_backbones.train(small["bit"], None, tmp_path / "weights")
