"""BiT: which of 21,843 object concepts a picture shows (Kolesnikov et al. 2020, Big Transfer).

    config, variables, _ = load("BiT-M-R50x1.npz")
    logits = BiT(config).apply(variables, normalize(images))   # uint8 (n, 224, 224, 3) -> (n, 21843)

A pre-activation ResNet v2 with group norm and weight-standardised convolutions. Shapes: n pictures, h x w
pixels, c channels last. Weights are the published .npz file.
"""

import dataclasses
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
from input_pipeline.backbones.declaration import OBJECTS, Backbone, Loaded
from input_pipeline.errors import UserError
from input_pipeline.state_dicts import as_they_are, unwrapped
from input_pipeline.videos.sampling import SEGMENTS, ClipSampling, ViewSampling, bit_indices, centre_box


@dataclasses.dataclass(frozen=True)
class BiTConfig:
  """A BiT's size and its input's: `shorter_side` and `crop` are pixels."""

  depths: tuple[int, ...]
  width_factor: int = 1
  num_concepts: int = 21843
  base_width: int = 64
  num_groups: int = 32
  shorter_side: int = 256
  crop: int = 224

  @property
  def width(self) -> int:
    """Channels of the root convolution."""
    return self.base_width * self.width_factor


VARIANTS = {
    "bit_r50x1": BiTConfig((3, 4, 6, 3), 1),
    "bit_r50x3": BiTConfig((3, 4, 6, 3), 3),
    "bit_r101x1": BiTConfig((3, 4, 23, 3), 1),
    "bit_r101x3": BiTConfig((3, 4, 23, 3), 3),
    "bit_r152x2": BiTConfig((3, 8, 36, 3), 2),
    "bit_r152x4": BiTConfig((3, 8, 36, 3), 4),
    "bit_toy": BiTConfig((1, 1, 1, 1), 1, base_width=8, num_groups=4, shorter_side=72, crop=64),
}


def normalize(
    frames: UInt8[Array | np.ndarray, "*frames 3"], dtype: DTypeLike = jnp.float32
) -> Float[Array, "*frames 3"]:
  """RGB to [-1, 1]."""
  return (frames / jnp.float32(127.5) - 1).astype(dtype)


def standardize(kernel: Float[Array, "size size c d"]) -> Float[Array, "size size c d"]:
  """Weight standardisation: each filter (all but the last axis) to zero mean and unit (biased) variance."""
  mean = jnp.mean(kernel, axis=(0, 1, 2))
  variance = jnp.var(kernel, axis=(0, 1, 2))
  return (kernel - mean) / jnp.sqrt(variance + 1e-10)


class StandardizedConv(nn.Module):
  """A convolution without bias whose kernel is standardised before it is used."""

  features: int
  size: int
  stride: int = 1
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out {self.features}"]:
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = standardize(self.param("kernel", nn.initializers.lecun_uniform(), shape)).astype(self.dtype)
    return convolve(x, kernel, self.stride)


class GroupNormRelu(nn.Module):
  """Group norm (eps 1e-5), then ReLU."""

  num_groups: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    channels = x.shape[-1]
    gamma = self.param("gamma", nn.initializers.ones, (channels,))
    beta = self.param("beta", nn.initializers.zeros, (channels,))
    values = x.shape[1] * x.shape[2] * (channels // self.num_groups)   # that share a mean and a variance
    x = x.astype(jnp.float32)
    mean = _by_group(jnp.sum(x, axis=(1, 2)), self.num_groups) / values
    variance = _by_group(jnp.sum(jnp.square(x), axis=(1, 2)), self.num_groups) / values - jnp.square(mean)
    scale = gamma * jax.lax.rsqrt(variance + 1e-5)
    shift = beta - mean * scale
    return nn.relu(x * scale[:, None, None] + shift[:, None, None]).astype(self.dtype)


class Unit(nn.Module):
  """Three convolutions a, b, c, each after group norm and ReLU, beside a shortcut."""

  width: int
  stride: int
  num_groups: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h_out w_out 4*{self.width}"]:
    y = GroupNormRelu(self.num_groups, self.dtype, name="norm_a")(x)
    shortcut = x
    if self.stride > 1 or x.shape[-1] != 4 * self.width:
      shortcut = StandardizedConv(4 * self.width, 1, self.stride, self.dtype, name="proj")(y)
    y = StandardizedConv(self.width, 1, 1, self.dtype, name="conv_a")(y)
    y = GroupNormRelu(self.num_groups, self.dtype, name="norm_b")(y)
    y = StandardizedConv(self.width, 3, self.stride, self.dtype, name="conv_b")(y)
    y = GroupNormRelu(self.num_groups, self.dtype, name="norm_c")(y)
    y = StandardizedConv(4 * self.width, 1, 1, self.dtype, name="conv_c")(y)
    return shortcut + y


class Head(nn.Module):
  """The 1x1 convolution with bias that turns a pooled picture into logits."""

  num_concepts: int

  @nn.compact
  def __call__(self, x: Float[Array, "n c"]) -> Float[Array, "n {self.num_concepts}"]:
    kernel = self.param("kernel", nn.initializers.lecun_uniform(), (1, 1, x.shape[-1], self.num_concepts))
    bias = self.param("bias", nn.initializers.zeros, (self.num_concepts,))
    return x @ kernel[0, 0] + bias


class BiT(nn.Module):
  """The network. Variables: `params`."""

  config: BiTConfig
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, images: Float[Array, "n h w 3"]) -> Float32[Array, "n {self.config.num_concepts}"]:
    """Logits of images from `normalize`."""
    config = self.config
    x = StandardizedConv(config.width, 7, 2, self.dtype, name="root")(images.astype(self.dtype))
    x = max_pool(x, fill=0)   # the border's zeros take part in the max
    for block, depth in enumerate(config.depths, start=1):
      width = config.width * 2 ** (block - 1)
      for unit in range(1, depth + 1):
        stride = 2 if block > 1 and unit == 1 else 1
        x = Unit(width, stride, config.num_groups, self.dtype, name=f"block{block}_unit{unit:02d}")(x)
    x = GroupNormRelu(config.num_groups, self.dtype, name="norm")(x)
    return Head(config.num_concepts, name="head")(jnp.mean(x, axis=(1, 2), dtype=jnp.float32))


def _by_group(x: Float[Array, "n c"], num_groups: int) -> Float[Array, "n c"]:
  """Each channel's group's sum."""
  sums = jnp.sum(x.reshape(x.shape[0], num_groups, -1), axis=-1)
  return jnp.repeat(sums, x.shape[1] // num_groups, axis=1)


def shapes(config: BiTConfig) -> dict:
  """The variables' shapes and dtypes."""
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  return jax.eval_shape(BiT(config).init, jax.random.key(0), image)


def logits(
    config: BiTConfig, variables: Any, frames: UInt8[Array, "n t s s 3"], mask: Bool[Array, "n t"]
) -> Float32[Array, "n {config.num_concepts}"]:
  """The mean over the real frames of each clip."""
  of_images: Any = BiT(config).apply(variables, normalize(frames.reshape(-1, *frames.shape[2:])))
  of_frames = of_images.reshape(*mask.shape, -1)
  count = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
  return jnp.sum(of_frames, axis=1, where=mask[..., None]) / count


def sampling(config: BiTConfig, views: ViewSampling) -> ClipSampling:
  """The centre squares of up to 8 frames, whatever the views are."""
  del views

  def frames(num_frames: int) -> np.ndarray:
    indices = bit_indices(num_frames)
    return np.pad(indices, (0, SEGMENTS - len(indices)), constant_values=-1)[None]

  return ClipSampling(config.shorter_side, frames, lambda width, height: [centre_box(width, height, config.crop)])


def load(path: str | os.PathLike) -> Loaded:
  """Config and variables (`params`); see `checkpoints.load`."""
  return checkpoints.load(path, FORMAT)


def _config(arrays: Arrays) -> BiTConfig | None:
  depths = checkpoints.block_counts(arrays, r"resnet/block(\d+)/unit(\d+)/", first=1)
  if not depths:
    return None
  width = axis_length(arrays, "resnet/root_block/standardized_conv2d/kernel", axis=3, otherwise=64)
  same = [known for known in VARIANTS.values() if (known.depths, known.width) == (depths, width)]
  like = same[0] if same else BiTConfig(depths, base_width=width)
  num_concepts = axis_length(arrays, "resnet/head/conv2d/bias", axis=0, otherwise=like.num_concepts)
  if width % like.num_groups:
    raise UserError(
        f"A BiT of depths {depths} and root width {width} is not one of {', '.join(VARIANTS)}, and its "
        f"{width} channels cannot be normalised in {like.num_groups} groups.")
  return dataclasses.replace(like, num_concepts=num_concepts)


def _name(key: Key) -> str:
  """("params", "block1_unit01", "norm_a", "gamma") -> "resnet/block1/unit01/a/group_norm/gamma"."""
  *modules, leaf = key[1:]
  name = "/".join(modules)
  name = re.sub(r"^(block\d+)_(unit\d+)", r"\1/\2", name)
  name = re.sub(r"\bconv_([abc])$", r"\1/standardized_conv2d", name)
  name = re.sub(r"\bnorm_([abc])$", r"\1/group_norm", name)
  name = re.sub(r"\bproj$", "a/proj/standardized_conv2d", name)
  whole = {"root": "root_block/standardized_conv2d", "norm": "group_norm", "head": "head/conv2d"}
  return f"resnet/{whole.get(name, name)}/{leaf}"


TITLE = "BiT"
FORMAT = Format(TITLE, shapes, lambda arrays: unwrapped(arrays, "resnet"), _config, _name, as_they_are, unneeded=())
BACKBONE = Backbone(TITLE, VARIANTS, shapes, apply={OBJECTS: logits}, sampling=sampling, load=load)
