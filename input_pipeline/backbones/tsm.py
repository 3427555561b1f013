"""TSM-ResNet: what moves in a clip, as one vector a frame (Lin et al. 2019, Temporal Shift Module).

    config, variables, _ = load("TSM_kinetics_RGB_resnet50_shift8_[...]_dense.pth")
    features, logits = TSM(config).apply(variables, normalize(frames))   # uint8 (n, 8, 224, 224, 3)
    features.mean(axis=1)                                                    # (n, 2048), what datasets hold

A ResNet-50 v1.5 (stride on the 3x3 convolution) whose bottlenecks see a few channels of the neighbouring
frames. Shapes: n clips, t frames (segments), h x w pixels, c channels last. Weights are the published .pth file, or
its state_dict in another (see `array_files.read_arrays`).
"""

import dataclasses
import functools
import os
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Float32, UInt8

from input_pipeline.array_files import Arrays, axis_length
from input_pipeline.backbones import checkpoints
from input_pipeline.backbones.checkpoints import Format, Key
from input_pipeline.backbones.convolution import convolve, max_pool
from input_pipeline.backbones.declaration import FEATURE, Backbone, Loaded
from input_pipeline.state_dicts import Unneeded, unwrapped
from input_pipeline.videos.sampling import ClipSampling, ViewSampling

MEAN = (0.485, 0.456, 0.406)   # of ImageNet, for pixels in [0, 1]
STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class TSMConfig:
  """A TSM-ResNet's size and its input's: `shorter_side` and `crop` are pixels, `segments` frames a clip."""

  stage_sizes: tuple[int, ...] = (3, 4, 6, 3)
  width: int = 64
  segments: int = 8
  num_classes: int = 400
  shorter_side: int = 256
  crop: int = 224

  @property
  def feature_dim(self) -> int:
    """Length of a frame's feature vector: 2048 for ResNet-50."""
    return 4 * self.width * 2 ** (len(self.stage_sizes) - 1)


VARIANTS = {
    "tsm_resnet50": TSMConfig(),
    "tsm_toy": TSMConfig(stage_sizes=(1, 1, 1, 1), width=12, shorter_side=72, crop=64),
}


def normalize(
    frames: UInt8[Array | np.ndarray, "*frames 3"], dtype: DTypeLike = jnp.float32
) -> Float[Array, "*frames 3"]:
  """RGB to what the network was trained on: per colour, mean 0 and variance 1 on ImageNet."""
  scale = jnp.asarray(STD, jnp.float32) * 255
  return (jnp.subtract(frames, jnp.asarray(MEAN, jnp.float32) * 255) / scale).astype(dtype)


def shifted_product(
    x: Float[Array, "frames h w c"], kernel: Float[Array, "c d"], segments: int
) -> Float[Array, "frames h w d"]:
  """The temporal shift and the 1x1 convolution behind it, as one: shift(x) @ kernel.

  With fold = c // 8, the shift gives channels [0, fold) the next frame's values and [fold, 2 fold) the
  previous frame's; the rest stay, and zeros come in at a clip's ends. As the product is a sum over channels,
  the two shifted parts are multiplied first, and their (fewer) results moved to the neighbouring frame.
  The frames of a clip, `segments` of them, are one after the other.
  """
  fold = x.shape[-1] // 8
  same = x @ kernel.at[:2 * fold].set(0)   # cheaper than to copy the other channels
  by_clip = (-1, segments, *same.shape[1:])
  from_next = (x[..., :fold] @ kernel[:fold]).reshape(by_clip)[:, 1:]
  from_previous = (x[..., fold:2 * fold] @ kernel[fold:2 * fold]).reshape(by_clip)[:, :-1]
  moved = _pad_frames(from_next, 0, 1) + _pad_frames(from_previous, 1, 0)
  return same + moved.reshape(same.shape)


class Conv(nn.Module):
  """A convolution without bias; with `segments`, of size 1 and on temporally shifted frames."""

  features: int
  size: int
  stride: int = 1
  segments: int | None = None
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "frames h w c"]) -> Float[Array, "frames h_out w_out {self.features}"]:
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = self.param("kernel", nn.initializers.he_uniform(), shape).astype(self.dtype)
    if self.segments:
      return shifted_product(x, kernel[0, 0], self.segments)
    return convolve(x, kernel, self.stride)


class Bottleneck(nn.Module):
  """1x1, 3x3 and 1x1 convolution beside a shortcut; only the convolutions see the shifted frames."""

  width: int
  stride: int
  segments: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "frames h w c"], train: bool) -> Float[Array, "frames h_out w_out 4*{self.width}"]:
    y = Conv(self.width, 1, segments=self.segments, dtype=self.dtype, name="conv1")(x)
    y = nn.relu(_norm(self, "bn1", train)(y))
    y = Conv(self.width, 3, self.stride, dtype=self.dtype, name="conv2")(y)
    y = nn.relu(_norm(self, "bn2", train)(y))
    y = Conv(4 * self.width, 1, dtype=self.dtype, name="conv3")(y)
    y = _norm(self, "bn3", train)(y)
    if self.stride > 1 or x.shape[-1] != y.shape[-1]:
      x = Conv(4 * self.width, 1, self.stride, dtype=self.dtype, name="downsample_conv")(x)
      x = _norm(self, "downsample_bn", train)(x)
    return nn.relu(x + y)


class TSM(nn.Module):
  """The network. Variables: `params`, and `batch_stats` for batch norm's running mean and variance."""

  config: TSMConfig
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, frames: Float[Array, "n t h w 3"], train: bool = False) -> tuple[
      Float32[Array, "n t {self.config.feature_dim}"], Float32[Array, "n {self.config.num_classes}"]]:
    """Features of frames, and class scores of clips: the logits' mean over frames.

    Args:
      frames: from `normalize`, t being `config.segments`.
      train: batch norm uses the batch's statistics and updates the running ones (`mutable=["batch_stats"]`).
    """
    config = self.config
    if frames.shape[1] != config.segments:
      raise ValueError(f"TSM was made for clips of {config.segments} frames, got {frames.shape[1]}.")
    x = frames.reshape(-1, *frames.shape[2:]).astype(self.dtype)
    x = Conv(config.width, 7, 2, dtype=self.dtype, name="conv1")(x)
    x = nn.relu(_norm(self, "bn1", train)(x))
    x = max_pool(x, fill=-jnp.inf)
    for stage, num_blocks in enumerate(config.stage_sizes):
      for block in range(num_blocks):
        stride = 2 if stage > 0 and block == 0 else 1
        name = f"layer{stage + 1}_{block}"
        x = Bottleneck(config.width * 2**stage, stride, config.segments, self.dtype, name=name)(x, train)
    features = jnp.mean(x, axis=(1, 2), dtype=jnp.float32).reshape(-1, config.segments, config.feature_dim)
    logits = nn.Dense(config.num_classes, name="new_fc")(features)
    return features, logits.mean(axis=1)


def _norm(module: nn.Module, name: str, train: bool) -> nn.BatchNorm:
  return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=module.dtype, name=name)


def _pad_frames(x: Float[Array, "n t h w c"], before: int, after: int) -> Float[Array, "n t+{before}+{after} h w c"]:
  """Zeros before and after the second axis."""
  return jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))


def shapes(config: TSMConfig) -> dict:
  """The variables' shapes and dtypes."""
  clip = jax.ShapeDtypeStruct((1, config.segments, 32, 32, 3), jnp.float32)
  return jax.eval_shape(TSM(config).init, jax.random.key(0), clip)


def feature(
    config: TSMConfig, variables: Any, frames: UInt8[Array, "n t s s 3"], mask: Bool[Array, "n t"]
) -> Float32[Array, "n {config.feature_dim}"]:
  """The mean over the frames, of which short videos repeat some."""
  del mask
  return jnp.mean(TSM(config).apply(variables, normalize(frames))[0], axis=1)


def sampling(config: TSMConfig, views: ViewSampling) -> ClipSampling:
  """The views, as they are asked for."""
  return ClipSampling(config.shorter_side, views.frames, functools.partial(views.boxes, crop=config.crop))


def load(path: str | os.PathLike) -> Loaded:
  """Config and variables (`params`, `batch_stats`); see `checkpoints.load`."""
  return checkpoints.load(path, FORMAT)


def _plain(arrays: Arrays) -> Arrays:
  trunk = unwrapped(arrays, r"conv1|bn1|layer\d+", as_="module.base_model.")
  return unwrapped(trunk, "new_fc", as_="module.")


def _config(arrays: Arrays) -> TSMConfig | None:
  stages = checkpoints.block_counts(arrays, r"module\.base_model\.layer(\d+)\.(\d+)\.", first=0)
  if not stages:
    return None
  width = axis_length(arrays, "module.base_model.conv1.weight", axis=0, otherwise=64)
  same = [known for known in VARIANTS.values() if (known.stage_sizes, known.width) == (stages, width)]
  like = same[0] if same else TSMConfig()
  num_classes = axis_length(arrays, "module.new_fc.bias", axis=0, otherwise=like.num_classes)
  return dataclasses.replace(like, stage_sizes=stages, width=width, num_classes=num_classes)


def _name(key: Key) -> str:
  """("params", "layer1_0", "conv1", "kernel") -> "module.base_model.layer1.0.conv1.net.weight"."""
  *modules, leaf = key[1:]
  leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
  if modules == ["new_fc"]:
    return f"module.new_fc.{leaf}"
  name = ".".join(modules)
  name = re.sub(r"^(layer\d+)_(\d+)", r"\1.\2", name)
  name = re.sub(r"^(layer\d+\.\d+\.conv1)$", r"\1.net", name)   # the published shift wraps this convolution
  name = name.replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")
  return f"module.base_model.{name}.{leaf}"


def _axes(key: Key, ndim: int) -> tuple[int, ...] | None:
  """Where PyTorch has the axes of a convolution, (out, in, height, width), and of a dense layer, (out, in)."""
  del key
  return {4: (2, 3, 1, 0), 2: (1, 0)}.get(ndim)


TITLE = "TSM-ResNet"
FORMAT = Format(TITLE, shapes, _plain, _config, _name, _axes, unneeded=(
    Unneeded(r".*\.num_batches_tracked", "counts training steps, which batch norm does not need to run"),))
BACKBONE = Backbone(TITLE, VARIANTS, shapes, apply={FEATURE: feature}, sampling=sampling, load=load)
