"""BERT on real tokens: the last hidden state of Hugging Face's `BertModel`, from its weights.

    config, params, folder = bert_weights.load_bert("bert-base-uncased")   # or a local folder
    bert = Bert(config, dropout_rate=0.1)
    hidden = bert.apply({"params": params}, tokens, ragged, True)  # tokens (N,) int32 -> (N, H)

    embeddings_frozen, first = bert_weights.num_frozen_layers(config, "encoder.layer.10")    # True, 10
    trunk = bert.apply({"params": params}, tokens, ragged, True, last=first)    # once per distinct text
    hidden = bert.apply({"params": params}, trunk, ragged, True, first=first, method="layers")   # each step

Shapes: S texts with N token slots in all (see ragged.py), L the longest, H hidden width, A attention heads.
Devlin et al. 2019; post-norm encoder, absolute positions, token types all 0. The pooler is left out.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from er_jax.dropout import Dropout
from er_jax.text.bert_weights import BertConfig
from er_jax.text.ragged import Ragged, pad, token_mask, unpad
from er_jax.types import Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: x * (0.5 + 0.5 * jax.lax.erf(x * np.sqrt(0.5).astype(x.dtype))),
    "gelu_new": functools.partial(nn.gelu, approximate=True),
    "relu": nn.relu,
}


class Bert(nn.Module):
  """The encoder. Parameters are float32; activations and what is returned have `dtype`.

  With a dropout rate above 0 and `deterministic` False it needs a "dropout" key. One rate serves in BERT's
  three places: after the embeddings, on attention weights, and after each dense layer that leads back to H.
  """

  config: BertConfig
  dropout_rate: float = 0.0
  dtype: Any = jnp.float32

  def setup(self):
    self.embeddings = Embeddings(self.config, self.dropout_rate, self.dtype)
    self.layer = [Layer(self.config, self.dropout_rate, self.dtype)
                  for _ in range(self.config.num_hidden_layers)]

  def __call__(self, tokens: Array, ragged: Ragged, deterministic: bool, last: int | None = None) -> Array:
    """tokens (N,) int32 to (N, H), through the embeddings and layers [0, last)."""
    return self.layers(self.embed(tokens, ragged, deterministic), ragged, deterministic, last=last)

  def embed(self, tokens: Array, ragged: Ragged, deterministic: bool) -> Array:
    """tokens (N,) int32 to (N, H): the embeddings alone."""
    return self.embeddings(tokens, ragged, deterministic)

  def layers(self, hidden: Array, ragged: Ragged, deterministic: bool, first: int = 0,
             last: int | None = None) -> Array:
    """(N, H) to (N, H), through layers [first, last); parameters of the others need not be there."""
    for layer in self.layer[first:last]:
      hidden = layer(hidden, ragged, deterministic)
    return hidden


class Embeddings(nn.Module):
  config: BertConfig
  dropout_rate: float
  dtype: Any

  @nn.compact
  def __call__(self, tokens: Array, ragged: Ragged, deterministic: bool) -> Array:
    config = self.config
    table = functools.partial(nn.Embed, features=config.hidden_size, dtype=self.dtype, embedding_init=_normal)
    hidden = (table(config.vocab_size, name="word")(tokens)
              + table(config.type_vocab_size, name="token_type")(jnp.zeros((), jnp.int32))
              + table(config.max_position_embeddings, name="position")(ragged.position))
    hidden = _norm(config, self.dtype, "norm")(hidden)
    return Dropout(self.dropout_rate, name="dropout")(hidden, ragged.token_rows, deterministic)


class Layer(nn.Module):
  config: BertConfig
  dropout_rate: float
  dtype: Any

  @nn.compact
  def __call__(self, hidden: Array, ragged: Ragged, deterministic: bool) -> Array:
    config, width = self.config, self.config.hidden_size
    dense = functools.partial(nn.Dense, dtype=self.dtype, kernel_init=_normal)
    attend = Attention(config, self.dropout_rate, self.dtype, name="attention")

    def drop(x: Array, name: str) -> Array:
      return Dropout(self.dropout_rate, name=name)(x, ragged.token_rows, deterministic)

    attention = drop(attend(hidden, ragged, deterministic), "attention_dropout")
    hidden = _norm(config, self.dtype, "attention_norm")(hidden + attention)
    inner = ACTIVATIONS[config.hidden_act](dense(config.intermediate_size, name="intermediate")(hidden))
    output = drop(dense(width, name="output")(inner), "output_dropout")
    return _norm(config, self.dtype, "output_norm")(hidden + output)


class Attention(nn.Module):
  """Multi-head self-attention within each text; the one place where texts are padded to L."""

  config: BertConfig
  dropout_rate: float
  dtype: Any

  @nn.compact
  def __call__(self, hidden: Array, ragged: Ragged, deterministic: bool) -> Array:
    width, heads = self.config.hidden_size, self.config.num_attention_heads
    dense = functools.partial(nn.Dense, width, dtype=self.dtype, kernel_init=_normal)

    def by_head(flat: Array) -> Array:   # (N, H) to (S, A, L, H / A), fastest for matrix products
      return pad(flat.reshape(-1, heads, width // heads), ragged).transpose(0, 2, 1, 3)

    query = by_head(dense(name="query")(hidden) / np.sqrt(width // heads).astype(self.dtype))
    key, value = by_head(dense(name="key")(hidden)), by_head(dense(name="value")(hidden))
    scores = jnp.einsum("saqd,sakd->saqk", query, key, preferred_element_type=jnp.float32)
    scores = jnp.where(token_mask(ragged)[:, None, None, :], scores, _NEVER)
    weights = jax.nn.softmax(scores, axis=-1).astype(self.dtype)
    weights = Dropout(self.dropout_rate, name="dropout")(weights, ragged.rows, deterministic)
    mixed = jnp.einsum("saqk,sakd->saqd", weights, value).transpose(0, 2, 1, 3)
    return dense(name="output")(unpad(mixed, ragged).reshape(-1, width))


_NEVER = np.float32(-1e30)   # finite, so that an empty text gives numbers that nothing uses instead of NaN
_normal = nn.initializers.normal(0.02)


def _norm(config: BertConfig, dtype: Any, name: str) -> nn.LayerNorm:
  return nn.LayerNorm(epsilon=config.layer_norm_eps, dtype=dtype, use_fast_variance=False, name=name)
