"""BiT: which of 21,843 object concepts a picture shows (Kolesnikov et al. 2020, Big Transfer).

    config, variables = checkpoints.load_bit("BiT-M-R50x1.npz")
    logits = BiT(config).apply(variables, bit.normalize(images))   # uint8 (N, 224, 224, 3) -> (N, 21843)

A pre-activation ResNet v2 with group norm and weight-standardised convolutions. Shapes: N pictures, H x W
pixels, C channels last. `checkpoints.py` knows the names that the published .npz file has for the parameters.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from input_pipeline.backbones.convolution import convolve, max_pool


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


def normalize(frames: Array, dtype: DTypeLike = jnp.float32) -> Array:
  """uint8 RGB (..., 3) to [-1, 1]."""
  return (frames / jnp.float32(127.5) - 1).astype(dtype)


def standardize(kernel: Array) -> Array:
  """Weight standardisation: each filter (all but the last axis) to zero mean and unit (biased) variance."""
  mean = jnp.mean(kernel, axis=(0, 1, 2))
  variance = jnp.var(kernel, axis=(0, 1, 2))
  return (kernel - mean) / jnp.sqrt(variance + 1e-10)


class StandardizedConv(nn.Module):
  """A convolution without bias whose kernel (size, size, in, out) is standardised before it is used."""

  features: int
  size: int
  stride: int = 1
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """(N, H, W, C) to (N, H / stride, W / stride, features)."""
    shape = (self.size, self.size, x.shape[-1], self.features)
    kernel = standardize(self.param("kernel", nn.initializers.lecun_uniform(), shape)).astype(self.dtype)
    return convolve(x, kernel, self.stride)


class GroupNormRelu(nn.Module):
  """Group norm (eps 1e-5), then ReLU."""

  num_groups: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """(N, H, W, C) to the same shape."""
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
  def __call__(self, x: Array) -> Array:
    """(N, H, W, C) to (N, H / stride, W / stride, 4 * width)."""
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
  def __call__(self, x: Array) -> Array:
    """(N, C) to (N, num_concepts)."""
    kernel = self.param("kernel", nn.initializers.lecun_uniform(), (1, 1, x.shape[-1], self.num_concepts))
    bias = self.param("bias", nn.initializers.zeros, (self.num_concepts,))
    return x @ kernel[0, 0] + bias


class BiT(nn.Module):
  """The network. Variables: `params`."""

  config: BiTConfig
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, images: Array) -> Array:
    """Images (N, H, W, 3) from `normalize` to float32 logits (N, num_concepts)."""
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


def _by_group(x: Array, num_groups: int) -> Array:
  """(N, C) to (N, C): each channel's group's sum."""
  sums = jnp.sum(x.reshape(x.shape[0], num_groups, -1), axis=-1)
  return jnp.repeat(sums, x.shape[1] // num_groups, axis=1)
