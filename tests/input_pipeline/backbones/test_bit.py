"""BiT against a PyTorch computation with the same weights, read from a file of the published naming."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline.backbones import bit
from input_pipeline.backbones.bit import BiT, BiTConfig

SMALL = BiTConfig(depths=(2, 1, 1), base_width=32, num_concepts=7)


def random_weights(config: BiTConfig) -> dict[str, np.ndarray]:
  """Arrays with the published names and shapes."""
  random = np.random.default_rng(0)

  def normal(*shape: int) -> np.ndarray:
    return random.standard_normal(shape, np.float32)

  weights = {}

  def group_norm(name: str, channels: int) -> None:
    weights[f"{name}/group_norm/gamma"] = 1 + 0.3 * normal(channels)
    weights[f"{name}/group_norm/beta"] = 0.3 * normal(channels)

  width = inputs = config.base_width * config.width_factor
  weights["resnet/root_block/standardized_conv2d/kernel"] = normal(7, 7, 3, width)
  for block, depth in enumerate(config.depths, start=1):
    for number in range(1, depth + 1):
      unit = f"resnet/block{block}/unit{number:02d}"
      parts = ("a", 1, inputs, width), ("b", 3, width, width), ("c", 1, width, 4 * width)
      for part, size, channels, outputs in parts:
        group_norm(f"{unit}/{part}", channels)
        weights[f"{unit}/{part}/standardized_conv2d/kernel"] = 0.1 + 2 * normal(size, size, channels, outputs)
      if number == 1:
        weights[f"{unit}/a/proj/standardized_conv2d/kernel"] = normal(1, 1, inputs, 4 * width)
      inputs = 4 * width
    width *= 2
  group_norm("resnet", inputs)
  weights["resnet/head/conv2d/kernel"] = normal(1, 1, inputs, config.num_concepts)
  weights["resnet/head/conv2d/bias"] = normal(config.num_concepts)
  return weights


def torch_logits(weights: dict[str, np.ndarray], config: BiTConfig, images: np.ndarray) -> np.ndarray:
  """What a network of plain torch.nn layers gives with the published arrays."""
  torch = pytest.importorskip("torch")
  from scripts.benchmarking import torch_backbones

  network = torch_backbones.BiT(config).eval()
  torch_backbones.load_bit(network, weights)
  with torch.no_grad():
    return network(torch.tensor(images)).numpy()


def test_small_network_equals_torch_on_the_same_npz_file(tmp_path):
  weights = random_weights(SMALL)
  np.savez(tmp_path / "bit.npz", **weights)
  images = np.random.default_rng(1).standard_normal((2, 45, 51, 3), np.float32)
  config, variables, _ = bit.load(tmp_path / "bit.npz")
  assert config == SMALL
  actual = jax.jit(BiT(config).apply)(variables, images)
  expected = torch_logits(weights, SMALL, images)
  assert actual.shape == expected.shape and actual.dtype == jnp.float32
  assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_normalize_maps_black_and_white_to_minus_one_and_one():
  assert np.allclose(bit.normalize(jnp.array([0, 127, 255], jnp.uint8)), [-1, -1 / 255, 1], atol=1e-6)


@pytest.mark.parametrize("name, count", [
    ("bit_r50x1", 68_256_659),
    ("bit_r50x3", None),
    ("bit_r101x1", None),
    ("bit_r101x3", None),
    ("bit_r152x2", None),
    ("bit_r152x4", None),
    ("bit_toy", None),
])
def test_parameter_counts(name, count):
  config = bit.VARIANTS[name]
  images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(BiT(config).init, jax.random.key(0), images)
  actual = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  width = inputs = 64 * config.width_factor if name != "bit_toy" else config.width
  expected = 7 * 7 * 3 * width
  for depth in config.depths:
    expected += inputs * 4 * width   # the projection
    for _ in range(depth):
      expected += inputs * width + 9 * width * width + 4 * width * width + 2 * (inputs + width + width)
      inputs = 4 * width
    width *= 2
  expected += 2 * inputs + inputs * config.num_concepts + config.num_concepts
  assert actual == expected
  assert count is None or actual == count


def test_published_sizes_are_all_there():
  sizes = {(3, 4, 6, 3): (1, 3), (3, 4, 23, 3): (1, 3), (3, 8, 36, 3): (2, 4)}
  published = {name: config for name, config in bit.VARIANTS.items() if name != "bit_toy"}
  assert sorted((c.depths, c.width_factor) for c in published.values()) == sorted(
      (depths, factor) for depths, factors in sizes.items() for factor in factors)
  assert all(c.num_concepts == 21843 and c.num_groups == 32 and c.crop == 224 for c in published.values())


def test_bfloat16_activations_stay_close_to_float32(tmp_path):
  np.savez(tmp_path / "bit.npz", **random_weights(BiTConfig(depths=(1,), base_width=32, num_concepts=7)))
  config, variables, _ = bit.load(tmp_path / "bit.npz")
  images = np.random.default_rng(1).standard_normal((2, 32, 32, 3), np.float32)
  exact = jax.jit(BiT(config).apply)(variables, images)
  rough = jax.jit(BiT(config, jnp.bfloat16).apply)(variables, images)
  assert rough.dtype == jnp.float32
  assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()
