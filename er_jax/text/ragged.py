"""Texts of different length, end to end without padding: what is computed is real tokens.

    ragged = layout(lengths, rows, capacity=4608, max_length=100)
    hidden = dense(hidden)                   # (N, H): dense layers and norms see N token slots
    padded = pad(hidden, ragged)             # (S, L, H): attention and pooling see each text by itself
    hidden = unpad(padded, ragged)           # (N, H)

Shapes: S sequences, L their largest length, N token slots. Sequence i takes the slots
starts[i] .. starts[i] + lengths[i] - 1; slots of no sequence (from `layout`, those at the end) are unused.
`pad` and `unpad` are each other's transpose, and gathers both ways: scatters are slow on CPUs.
"""

import jax
import jax.numpy as jnp
from flax.struct import PyTreeNode, field

from er_jax.types import Array


class Ragged(PyTreeNode):
  """Where the tokens of S sequences lie in N slots.

  Attributes:
    lengths: (S,) int32, 0 to max_length; a sequence of length 0 takes no slot.
    rows: (S,) int32, an id of each sequence that does not depend on how sequences are spread over devices.
    starts: (S,) int32, the first slot of each sequence.
    sequence: (N,) int32 in [0, S), the sequence that a slot belongs to; on unused slots any.
    position: (N,) int32 in [0, max_length), the place of a slot's token in its sequence; on unused slots any.
    valid: (N,) bool, False on unused slots.
    max_length: L, static.
  """

  lengths: Array
  rows: Array
  starts: Array
  sequence: Array
  position: Array
  valid: Array
  max_length: int = field(pytree_node=False)

  @property
  def token_rows(self) -> Array:
    """(N,) int32: an id of each token that does not depend on where it lies, for per-token dropout."""
    return jnp.take(self.rows, self.sequence) * self.max_length + self.position


def layout(lengths: Array, rows: Array, capacity: int, max_length: int) -> Ragged:
  """Lays sequences end to end.

  Args:
    lengths: (S,) int, at most `max_length` each and at most `capacity` together; tokens beyond are left out.
    rows: (S,) int, see `Ragged`; at most 2**31 / max_length.
    capacity: N, the number of token slots.
    max_length: L, the length that `pad` pads to.
  """
  lengths = jnp.asarray(lengths, jnp.int32)
  ends = jnp.cumsum(lengths, dtype=jnp.int32)
  starts = ends - lengths
  slots = jnp.arange(capacity, dtype=jnp.int32)
  sequence = jnp.searchsorted(ends, slots, side="right").astype(jnp.int32)
  sequence = jnp.minimum(sequence, lengths.shape[0] - 1)
  position = jnp.clip(slots - starts[sequence], 0, max_length - 1)
  return Ragged(lengths=lengths, rows=jnp.asarray(rows, jnp.int32), starts=starts, sequence=sequence,
                position=position, valid=slots < ends[-1], max_length=max_length)


def token_mask(ragged: Ragged) -> Array:
  """(S, L) bool: True where `pad` puts a token, False on padding."""
  index = jnp.arange(ragged.max_length, dtype=jnp.int32)
  capacity = ragged.valid.shape[0]
  return (index < ragged.lengths[:, None]) & (index + ragged.starts[:, None] < capacity)


@jax.custom_vjp
def pad(flat: Array, ragged: Ragged) -> Array:
  """(N, ...) token slots to (S, L, ...) sequences, zeros at padding."""
  slots = ragged.starts[:, None] + jnp.arange(ragged.max_length, dtype=jnp.int32)
  padded = jnp.take(flat, slots, axis=0, mode="clip")
  return jnp.where(_expand(token_mask(ragged), padded), padded, 0)


@jax.custom_vjp
def unpad(padded: Array, ragged: Ragged) -> Array:
  """(S, L, ...) sequences to (N, ...) token slots, zeros on unused slots."""
  merged = padded.reshape(-1, *padded.shape[2:])
  flat = jnp.take(merged, ragged.sequence * ragged.max_length + ragged.position, axis=0, mode="clip")
  return jnp.where(_expand(ragged.valid, flat), flat, 0)


def _expand(mask: Array, values: Array) -> Array:
  return mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))


pad.defvjp(lambda flat, ragged: (pad(flat, ragged), ragged),
           lambda ragged, gradient: (unpad(gradient, ragged), None))
unpad.defvjp(lambda padded, ragged: (unpad(padded, ragged), ragged),
             lambda ragged, gradient: (pad(gradient, ragged), None))
