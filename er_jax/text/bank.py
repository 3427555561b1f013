"""Every distinct text once: its tokens and, where the text backbone's first layers are frozen, their output for it.

    bank = TextBank.build(tokenizer.encode(texts, max_tokens))         # texts are referred to by id from here on
    references = TextReferences(ids, bank.capacity(ids, num_devices))
    texts = gather_texts(bank, references, rows)                       # inside a step: (S,) ids -> Texts

A step gathers the texts of its batch from the bank instead of tokenising, and starts from the frozen layers' output
where the bank has it (`hidden`) instead of running them again.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.struct import PyTreeNode, field

from er_jax.text import ragged as ragged_lib
from er_jax.text.ragged import Ragged
from er_jax.types import Array

TOKENS_A_CALL = 8192   # how many tokens the frozen layers see at once


class Capacity(NamedTuple):
  """How much room the texts of one device take: the number of token slots, and the longest text."""
  tokens: int
  length: int


class TextReferences(PyTreeNode):
  """Texts by their places in a bank.

  Attributes:
    ids: (S,) int32, -1 for no text; or (B, S), each video's.
    capacity: room for those of one device; static.
  """
  ids: Array
  capacity: Capacity = field(pytree_node=False)


class Texts(PyTreeNode):
  """Texts laid out for an encoder: S sequences in N token slots.

  Attributes:
    tokens: (N,) int32 vocabulary ids.
    ragged: where each sequence lies.
    hidden: (N, H) float, the frozen layers' output, or None if they are to be run.
  """
  tokens: Array
  ragged: Ragged
  hidden: Array | None


class TextBank(PyTreeNode):
  """T texts end to end.

  Attributes:
    tokens: (N,) int32.
    starts: (T,) int32.
    lengths: (T,) int32.
    hidden: (N, H) float, or None.
  """
  tokens: Array
  starts: Array
  lengths: Array
  hidden: Array | None = None

  @classmethod
  def build(cls, token_ids: Sequence[np.ndarray]) -> "TextBank":
    """A bank on the host, from each text's token ids."""
    lengths = np.array([len(ids) for ids in token_ids], np.int32)
    tokens = np.concatenate([np.zeros(0, np.int32), *token_ids]).astype(np.int32)
    return cls(tokens=tokens, starts=(np.cumsum(lengths) - lengths).astype(np.int32), lengths=lengths)

  def with_hidden(self, run_frozen: Callable[[Texts], Array], width: int, dtype: np.dtype) -> "TextBank":
    """The bank with the frozen layers' output, computed text by text once, longest texts together.

    Args:
      run_frozen: jitted; Texts of N slots -> (N, width).
      width: H.
      dtype: of the stored output.
    """
    hidden = np.zeros((len(self.tokens), width), dtype)
    order = np.argsort(self.lengths, kind="stable")[::-1]
    length = int(self.lengths.max(initial=1))
    texts_a_call = max(1, TOKENS_A_CALL // length)
    capacity = Capacity(texts_a_call * length, length)
    for first in range(0, len(order), texts_a_call):
      ids = order[first:first + texts_a_call]
      padded = np.full(texts_a_call, -1, np.int32)
      padded[:len(ids)] = ids
      computed = np.asarray(run_frozen(gather_texts(self, TextReferences(padded, capacity), np.zeros_like(padded))))
      source = 0
      for text in ids:
        start, size = self.starts[text], self.lengths[text]
        hidden[start:start + size] = computed[source:source + size]
        source += size
    return self.replace(hidden=hidden)

  def capacity(self, ids: np.ndarray, num_devices: int) -> Capacity:
    """Room for these texts, -1 for none, dealt to devices in equal consecutive parts. Host only."""
    lengths = np.where(ids >= 0, self.lengths[np.maximum(ids, 0)], 0).reshape(num_devices, -1)
    return Capacity(max(1, int(lengths.sum(axis=1).max())), max(1, int(lengths.max())))

  def largest_capacity(self, ids: np.ndarray, rows_a_device: int) -> Capacity:
    """Room for any `rows_a_device` rows of ids (R, S), -1 for none; a row that comes twice may be taken twice."""
    lengths = np.where(ids >= 0, self.lengths[np.maximum(ids, 0)], 0)
    largest = np.sort(lengths.sum(axis=1))[::-1][:rows_a_device]
    return Capacity(max(1, int(largest.sum())), max(1, int(lengths.max())))


def gather_texts(bank: TextBank, references: TextReferences, rows: Array) -> Texts:
  """Lays out the texts that are referred to. Can be jitted.

  Args:
    bank: the texts.
    references: S of them.
    rows: (S,) int, see `Ragged`.
  """
  ids, capacity = jnp.asarray(references.ids).reshape(-1), references.capacity
  lengths = jnp.where(ids >= 0, jnp.asarray(bank.lengths)[jnp.maximum(ids, 0)], 0)
  ragged = ragged_lib.layout(lengths, rows, capacity.tokens, capacity.length)
  first = jnp.asarray(bank.starts)[jnp.maximum(ids, 0)]
  source = jnp.where(ragged.valid, first[ragged.sequence] + ragged.position, 0)
  hidden = None if bank.hidden is None else jnp.take(jnp.asarray(bank.hidden), source, axis=0, mode="clip")
  return Texts(jnp.take(jnp.asarray(bank.tokens), source, mode="clip"), ragged, hidden)


def concatenate_texts(parts: Sequence[Texts]) -> Texts:
  """Several groups of texts as one, so that an encoder runs once: their sequences in order, all padded to the longest.

  Rows stay different across groups, so that no two texts share dropout.

  Raises:
    ValueError: if some groups have the frozen layers' output and others lack it.
  """
  hidden = [part.hidden for part in parts if part.hidden is not None]
  if 0 < len(hidden) < len(parts):
    raise ValueError("Either all groups of texts have the frozen layers' output, or none.")
  sizes = [len(part.tokens) for part in parts]
  first_slot = np.cumsum([0, *sizes[:-1]])
  first_sequence = np.cumsum([0, *(len(part.ragged.lengths) for part in parts[:-1])])

  def join(name: str, offsets: Sequence[int] = (0,) * len(parts)) -> Array:
    return jnp.concatenate([getattr(part.ragged, name) + offset if offset else getattr(part.ragged, name)
                            for part, offset in zip(parts, offsets)])

  ragged = Ragged(
      lengths=join("lengths"), starts=join("starts", first_slot.tolist()),
      sequence=join("sequence", first_sequence.tolist()), position=join("position"), valid=join("valid"),
      rows=jnp.concatenate([part.ragged.rows * len(parts) + group for group, part in enumerate(parts)]),
      max_length=max(part.ragged.max_length for part in parts))
  return Texts(jnp.concatenate([part.tokens for part in parts]), ragged, jnp.concatenate(hidden) if hidden else None)
