"""Word vectors and a recurrent network as a text tower: word ids to token vectors.

    tower = RNNTower(13561, 300, cell="gru", hidden_dim=512, bidirectional=True, dropout_rate=0.1)
    hidden = tower.apply(params, texts, deterministic=True)      # Texts -> (N, H)

Shapes: S texts with N token slots in all (see ragged.py), L the longest, E width of the word vectors, H of the token
vectors, G gates a cell.
"""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from er_jax.dropout import Dropout
from er_jax.text import embedding
from er_jax.text.bank import Texts
from er_jax.text.ragged import Ragged, pad, token_mask, unpad
from er_jax.text.tower import TowerSpec
from er_jax.types import Array
from input_pipeline.errors import unknown


class RNNTower(nn.Module):
  """Word vectors, dropout on them, and a one-layer GRU or LSTM of PyTorch's equations; zeros on unused slots.

  A text is read by itself, from zeros; backwards from its last token. The two directions are averaged.

  Parameters: embedding/embedding (num_words, E), and of rnn/forward and rnn/backward each
    input_kernel (E, G*H), hidden_kernel (H, G*H), input_bias (G*H,), hidden_bias (G*H,),
  the transposes of PyTorch's weights, gates in its order; at first uniform in +-1/sqrt(H).

  Attributes:
    num_words: size of the vocabulary; ids are in [0, num_words).
    word_dim: E.
    cell: one of CELLS.
    hidden_dim: H.
    bidirectional: read each text backwards too.
    dropout_rate: of the word vectors; needs the "dropout" key unless it is 0 or `deterministic` is True.
    dtype: of word vectors, projections and what is returned; the recurrent state is float32.
  """
  num_words: int
  word_dim: int
  cell: str
  hidden_dim: int
  bidirectional: bool
  dropout_rate: float = 0.0
  dtype: jnp.dtype = jnp.float32

  @property
  def width(self) -> int:
    """H."""
    return self.hidden_dim

  @property
  def can_be_cached(self) -> bool:
    """Whether there is a frozen part whose output is worth keeping: a table is as fast as what would be kept."""
    return False

  @nn.compact
  def __call__(self, texts: Texts, deterministic: bool) -> Array:
    words = embedding.word_vectors(self.num_words, self.word_dim, self.dtype)(texts.tokens)
    words = Dropout(self.dropout_rate, name="dropout")(words, texts.ragged.token_rows, deterministic)
    return RNN(self.cell, self.hidden_dim, self.bidirectional, self.dtype, name="rnn")(words, texts.ragged)


class RNN(nn.Module):
  """One recurrent layer over ragged sequences, (N, E) to (N, H); see `RNNTower`."""
  cell: str
  hidden_dim: int
  bidirectional: bool
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, inputs: Array, ragged: Ragged) -> Array:
    cell, texts = CELLS[self.cell], len(ragged.lengths)
    names = ("forward", "backward") if self.bidirectional else ("forward",)
    weights = [Weights(inputs.shape[-1], cell.gates, self.hidden_dim, name=name)() for name in names]
    mask = token_mask(ragged).T[..., None]                         # (L, S, 1)

    def in_order(by_time: Array, name: str) -> Array:              # read backwards, padding comes first
      return by_time[::-1] if name == "backward" else by_time

    # What does not wait for the step before it is computed for all real tokens at once.
    kernel = jnp.concatenate([weight.input_kernel for weight in weights], axis=1).astype(self.dtype)
    projected = inputs.astype(self.dtype) @ kernel + jnp.concatenate(
        [weight.input_bias for weight in weights]).astype(self.dtype)
    by_time = jnp.split(pad(projected, ragged).transpose(1, 0, 2), len(names), axis=-1)      # (L, S, G*H) each
    kernels = [weight.hidden_kernel.astype(self.dtype) for weight in weights]

    def step(states, here):
      moved = []
      for state, (projection, real), kernel, weight in zip(states, here, kernels, weights):
        recurrent = jnp.dot(state[0].astype(self.dtype), kernel, preferred_element_type=jnp.float32)
        state = cell.step(state, projection.astype(jnp.float32), recurrent + weight.hidden_bias)
        moved.append(tuple(jnp.where(real, part, 0) for part in state))
      return moved, [state[0].astype(self.dtype) for state in moved]

    start = (jnp.zeros((texts, self.hidden_dim)),) * cell.parts
    steps = [(in_order(part, name), in_order(mask, name)) for part, name in zip(by_time, names)]
    _, outputs = jax.lax.scan(step, [start for _ in names], steps)
    mean = functools.reduce(operator.add, map(in_order, outputs, names)) / len(names)
    return unpad(mean.transpose(1, 0, 2), ragged)


class DirectionWeights(NamedTuple):
  """What reads texts in one direction; float32, shapes in `RNNTower`."""
  input_kernel: Array
  hidden_kernel: Array
  input_bias: Array
  hidden_bias: Array


class Weights(nn.Module):
  """Holds the `DirectionWeights` of one direction."""
  inputs: int
  gates: int
  hidden_dim: int

  @nn.compact
  def __call__(self) -> DirectionWeights:
    bound, outputs = self.hidden_dim ** -0.5, self.gates * self.hidden_dim

    def uniform(key: Array, shape: tuple[int, ...]) -> Array:
      return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

    return DirectionWeights(self.param("input_kernel", uniform, (self.inputs, outputs)),
                            self.param("hidden_kernel", uniform, (self.hidden_dim, outputs)),
                            self.param("input_bias", uniform, (outputs,)),
                            self.param("hidden_bias", uniform, (outputs,)))


class Cell(NamedTuple):
  """A recurrent cell: how many gates, how many (S, H) parts of its state, and
  step(state, input projection (S, G*H), hidden projection (S, G*H)) -> state, whose first part is the output."""
  gates: int
  parts: int
  step: Callable[[tuple[Array, ...], Array, Array], tuple[Array, ...]]


def _gru(state: tuple[Array, ...], inputs: Array, recurrent: Array) -> tuple[Array, ...]:
  """Gates in PyTorch's order: reset, update, new (whose hidden bias is inside the reset)."""
  hidden, = state
  reset_in, update_in, new_in = jnp.split(inputs, 3, axis=-1)
  reset_hidden, update_hidden, new_hidden = jnp.split(recurrent, 3, axis=-1)
  update = nn.sigmoid(update_in + update_hidden)
  new = jnp.tanh(new_in + nn.sigmoid(reset_in + reset_hidden) * new_hidden)
  return (new + update * (hidden - new),)


def _lstm(state: tuple[Array, ...], inputs: Array, recurrent: Array) -> tuple[Array, ...]:
  """Gates in PyTorch's order: input, forget, cell, output."""
  _, memory = state
  write, keep, new, show = jnp.split(inputs + recurrent, 4, axis=-1)
  memory = nn.sigmoid(keep) * memory + nn.sigmoid(write) * jnp.tanh(new)
  return nn.sigmoid(show) * jnp.tanh(memory), memory


CELLS = {"gru": Cell(3, 1, _gru), "lstm": Cell(4, 2, _lstm)}


def module(config: ConfigDict, num_words: int, word_dim: int, dtype: jnp.dtype) -> RNNTower:
  """The tower of `config.model.text_backbone` on so many word vectors. Raises: UserError for an unknown cell."""
  if config.cell not in CELLS:
    raise unknown("config.model.text_backbone.cell", config.cell, CELLS)
  return RNNTower(num_words, word_dim, config.cell, config.hidden_dim, config.bidirectional, config.dropout_rate, dtype)


_WEIGHTS = {"input_kernel": "weight_ih", "hidden_kernel": "weight_hh", "input_bias": "bias_ih", "hidden_bias": "bias_hh"}
TOWER: TowerSpec = embedding.word_tower(module, {
    f"rnn/{direction}/{ours}": f"rnn.{theirs}_l0{suffix}" for ours, theirs in _WEIGHTS.items()
    for direction, suffix in (("forward", ""), ("backward", "_reverse"))})
