"""From tokens and features to points of the joint embedding space (Chen & Huang 2021, section 3).

    texts = TextEncoder(embed_dim=512, pooling="avg", ...)(hidden, ragged, deterministic=True)      # (s, d)
    videos = GlobalFeatureEncoder(embed_dim=512, ...)(features, rows, deterministic=True)           # (b, d)

Shapes: b videos, s texts in n token slots, h width of the token vectors, d embedding width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from er_jax.dropout import Dropout
from er_jax.text import ragged as ragged_lib
from er_jax.text.ragged import Ragged
from er_jax.types import Array

POOLINGS = ("first", "avg", "max", "last", "attn")


def l2_normalize(x: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
  """x / max(|x|, 1e-12) over the last axis."""
  return x / jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(x), axis=-1, keepdims=True), 1e-24))


def dense(inputs: int, outputs: int, *, use_bias: bool = True, dtype: DTypeLike = jnp.float32,
          name: str | None = None) -> nn.Dense:
  """A dense layer whose weights and biases start uniform in +-1/sqrt(inputs), as torch.nn.Linear's do."""
  bound = inputs ** -0.5

  def uniform(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return nn.Dense(outputs, use_bias=use_bias, dtype=dtype, kernel_init=uniform, bias_init=uniform, name=name)


class GlobalFeatureEncoder(nn.Module):
  """Video features to embeddings: dropout, dense, L2 normalisation."""
  embed_dim: int
  dropout_rate: float
  normalize: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, features: Float[Array, "b f"], rows: Int[Array, " b"], deterministic: bool) -> Float[Array, "b d"]:
    x = Dropout(self.dropout_rate)(features, rows, deterministic)
    x = dense(features.shape[-1], self.embed_dim, dtype=self.dtype, name="dense")(x).astype(jnp.float32)
    return l2_normalize(x) if self.normalize else x


class TextEncoder(nn.Module):
  """Token vectors of texts to embeddings: dropout, pooling, dense if h is not d, L2 normalisation.

  `pooling`: `first` or `last` token, `avg` or `max` over a text's tokens, or `attn`, a softmax-weighted sum.
  A text without tokens is embedded as zeros before the dense layer.
  """
  embed_dim: int
  pooling: str
  dropout_rate: float
  normalize: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, hidden: Float[Array, "n h"], ragged: Ragged, deterministic: bool) -> Float[Array, "s d"]:
    width = hidden.shape[-1]
    hidden = Dropout(self.dropout_rate, name="token_dropout")(hidden, ragged.token_rows, deterministic)
    tokens, mask = ragged_lib.pad(hidden, ragged), ragged_lib.token_mask(ragged)[..., None]
    if self.pooling == "first":
      pooled = tokens[:, 0]
    elif self.pooling == "last":
      last = jnp.maximum(ragged.lengths - 1, 0)[:, None, None]
      pooled = jnp.take_along_axis(tokens, last, axis=1)[:, 0]
    elif self.pooling == "avg":
      pooled = jnp.sum(tokens, axis=1) / jnp.maximum(ragged.lengths, 1)[:, None]
    elif self.pooling == "max":
      pooled = jnp.max(jnp.where(mask, tokens, -1e30), axis=1)
    else:
      score = dense(width, width // 2, dtype=self.dtype, name="attention_hidden")(hidden)
      score = nn.relu(Dropout(self.dropout_rate, name="attention_dropout")(score, ragged.token_rows, deterministic))
      score = dense(width // 2, 1, dtype=self.dtype, name="attention_score")(score)
      weights = nn.softmax(jnp.where(mask, ragged_lib.pad(score, ragged), -1e30).astype(jnp.float32), axis=1)
      pooled = jnp.sum(tokens * weights, axis=1)
    pooled = jnp.where(ragged.lengths[:, None] > 0, pooled, 0)
    if width != self.embed_dim:
      pooled = dense(width, self.embed_dim, dtype=self.dtype, name="dense")(pooled)
    pooled = pooled.astype(jnp.float32)
    return l2_normalize(pooled) if self.normalize else pooled
