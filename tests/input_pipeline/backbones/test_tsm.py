"""TSM against a PyTorch network of the same weights, read from files of the published naming."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline.backbones import tsm
from input_pipeline.backbones.convolution import convolve
from input_pipeline.backbones.tsm import TSM, TSMConfig

SMALL = TSMConfig(stage_sizes=(2, 1, 1), width=8, num_classes=5)


def torch_tsm(config: TSMConfig):
  """A TSM-ResNet of plain torch.nn layers with random weights; its state_dict has the published names."""
  torch = pytest.importorskip("torch")
  from scripts.benchmarking import torch_backbones

  torch.manual_seed(0)
  network = torch_backbones.TSM(config).eval()
  for module in network.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      module.running_mean.normal_(std=0.2)
      module.running_var.uniform_(0.5, 2)
      torch.nn.init.uniform_(module.weight, 0.5, 1.5)
      torch.nn.init.normal_(module.bias, std=0.2)
  return network


def write_pth(path, network, **options) -> None:
  torch = pytest.importorskip("torch")
  state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
  torch.save({"epoch": 50, "arch": "resnet50", "state_dict": state}, path, **options)


def assert_same_outputs(network, path, frames: np.ndarray, config: TSMConfig) -> None:
  torch = pytest.importorskip("torch")
  with torch.no_grad():
    expected = [tensor.numpy() for tensor in network(torch.tensor(frames))]
  found, variables, _ = tsm.load(path)
  assert found == config
  actual = jax.jit(TSM(found).apply)(variables, frames)
  for theirs, ours in zip(expected, actual):
    assert ours.shape == theirs.shape and ours.dtype == jnp.float32
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


def test_small_network_equals_torch_on_the_same_pth_file(tmp_path):
  network = torch_tsm(SMALL)
  write_pth(tmp_path / "tsm.pth", network)
  frames = np.random.default_rng(0).standard_normal((2, 8, 45, 51, 3), np.float32)
  assert_same_outputs(network, tmp_path / "tsm.pth", frames, SMALL)


def test_old_pth_files_and_npz_files_of_the_same_arrays_give_the_same_variables(tmp_path):
  network = torch_tsm(SMALL)
  write_pth(tmp_path / "new.pth", network)
  write_pth(tmp_path / "old.pth.tar", network, _use_new_zipfile_serialization=False)
  np.savez(tmp_path / "tsm.npz", **{f"module.{name}": x.numpy() for name, x in network.state_dict().items()})
  config, variables, _ = tsm.load(tmp_path / "new.pth")
  for name in ("old.pth.tar", "tsm.npz"):
    other_config, others, _ = tsm.load(tmp_path / name)
    assert other_config == config
    jax.tree.map(np.testing.assert_array_equal, others, variables)


def test_resnet50_equals_torch_on_a_full_size_clip(tmp_path):
  config = tsm.VARIANTS["tsm_resnet50"]
  network = torch_tsm(config)
  write_pth(tmp_path / "tsm.pth", network)
  frames = np.random.default_rng(0).standard_normal((1, 8, 224, 224, 3), np.float32)
  assert_same_outputs(network, tmp_path / "tsm.pth", frames, config)


def test_shift_moves_an_eighth_of_the_channels_each_way_and_fills_the_ends_with_zeros():
  random = np.random.default_rng(0)
  clips = random.standard_normal((2, 4, 3, 5, 17), np.float32)   # fold is 17 // 8 = 2
  kernel = random.standard_normal((17, 6), np.float32)
  shifted = clips.copy()
  for t in range(4):
    shifted[:, t, ..., 0:2] = clips[:, t + 1, ..., 0:2] if t < 3 else 0
    shifted[:, t, ..., 2:4] = clips[:, t - 1, ..., 2:4] if t > 0 else 0
  actual = tsm.shifted_product(jnp.asarray(clips.reshape(8, 3, 5, 17)), jnp.asarray(kernel), segments=4)
  np.testing.assert_allclose(actual, (shifted @ kernel).reshape(8, 3, 5, 6), atol=1e-5)


def test_normalize_gives_zero_at_the_mean_colour_and_one_a_standard_deviation_above():
  assert np.allclose(tsm.normalize(jnp.array([[0, 128, 255]], jnp.uint8)),
                     [[-0.485 / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]], atol=1e-6)


def resnet_parameters(config: TSMConfig) -> int:
  """Convolutions, batch norm's scales and biases, classifier; without batch norm's statistics."""
  total, inputs = 7 * 7 * 3 * config.width + 2 * config.width, config.width
  for stage, num_blocks in enumerate(config.stage_sizes):
    w = config.width * 2**stage
    for block in range(num_blocks):
      total += inputs * w + 9 * w * w + 4 * w * w + 2 * (w + w + 4 * w)
      total += inputs * 4 * w + 2 * 4 * w if block == 0 else 0
      inputs = 4 * w
  return total + inputs * config.num_classes + config.num_classes


@pytest.mark.parametrize("name, count", [
    ("tsm_resnet50", 23_508_032 + 2048 * 400 + 400),   # torchvision's without its classifier, and TSM's own
    ("tsm_toy", None),
])
def test_parameter_counts(name, count):
  config = tsm.VARIANTS[name]
  frames = jax.ShapeDtypeStruct((1, 8, config.crop, config.crop, 3), jnp.float32)
  shapes = jax.eval_shape(TSM(config).init, jax.random.key(0), frames)
  actual = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
  assert actual == resnet_parameters(config)
  assert count is None or actual == count


def test_every_variant_is_counted():
  assert set(tsm.VARIANTS) == {"tsm_resnet50", "tsm_toy"}


def test_bfloat16_activations_stay_close_to_float32(tmp_path):
  write_pth(tmp_path / "tsm.pth", torch_tsm(dataclasses.replace(SMALL, stage_sizes=(1,))))
  config, variables, _ = tsm.load(tmp_path / "tsm.pth")
  frames = np.random.default_rng(0).standard_normal((1, 8, 32, 32, 3), np.float32)
  exact, _ = jax.jit(TSM(config).apply)(variables, frames)
  rough, _ = jax.jit(TSM(config, jnp.bfloat16).apply)(variables, frames)
  assert rough.dtype == jnp.float32
  assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


def test_training_moves_the_running_statistics_a_tenth_of_the_way_to_the_batch(tmp_path):
  write_pth(tmp_path / "tsm.pth", torch_tsm(dataclasses.replace(SMALL, stage_sizes=(1,))))
  config, variables, _ = tsm.load(tmp_path / "tsm.pth")
  frames = np.random.default_rng(0).standard_normal((1, 8, 32, 32, 3), np.float32)
  step = jax.jit(lambda variables, x: TSM(config).apply(variables, x, train=True, mutable=["batch_stats"]))
  _, updated = step(variables, frames)
  first = convolve(jnp.asarray(frames[0]), jnp.asarray(variables["params"]["conv1"]["kernel"]), stride=2)
  before, after = variables["batch_stats"]["bn1"], updated["batch_stats"]["bn1"]
  mean, var = first.mean(axis=(0, 1, 2)), first.var(axis=(0, 1, 2))
  np.testing.assert_allclose(after["mean"], 0.9 * before["mean"] + 0.1 * mean, atol=1e-5)
  np.testing.assert_allclose(after["var"], 0.9 * before["var"] + 0.1 * var, atol=1e-5)


def test_clip_of_another_length_is_refused():
  with pytest.raises(ValueError, match="8 frames, got 4"):
    jax.eval_shape(TSM(dataclasses.replace(SMALL, stage_sizes=(1,))).init, jax.random.key(0),
                   jax.ShapeDtypeStruct((1, 4, 32, 32, 3), jnp.float32))
