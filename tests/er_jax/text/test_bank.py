"""Texts by id: what a step gathers is what was put in, alone or merged, with or without frozen output."""

import jax.numpy as jnp
import numpy as np
import pytest

from er_jax.text import ragged as ragged_lib
from er_jax.text.bank import Capacity, TextBank, TextReferences, concatenate_texts, gather_texts

TEXTS = [np.array(ids, np.int32) for ids in ([5, 6, 7], [8], [9, 10, 11, 12], [13, 14])]


def texts_of(texts, values=None) -> list[list]:
  """Each sequence's tokens (or other per-token values), by plain indexing."""
  values = np.asarray(texts.tokens if values is None else values)
  return [values[start:start + size].tolist()
          for start, size in zip(np.asarray(texts.ragged.starts), np.asarray(texts.ragged.lengths))]


def test_take_lays_out_the_texts_asked_for():
  texts = gather_texts(TextBank.build(TEXTS), TextReferences(np.array([2, -1, 0, 2]), Capacity(12, 4)), np.arange(4))
  assert texts_of(texts) == [[9, 10, 11, 12], [], [5, 6, 7], [9, 10, 11, 12]]
  assert int(texts.ragged.valid.sum()) == 11


def test_merged_groups_keep_their_texts_and_never_share_a_row():
  bank = TextBank.build(TEXTS)
  groups = [gather_texts(bank, TextReferences(np.array([3, 0]), Capacity(8, 3)), np.array([0, 1])),
            gather_texts(bank, TextReferences(np.array([1, 2]), Capacity(6, 4)), np.array([0, 1]))]
  texts = concatenate_texts(groups)
  assert texts_of(texts) == [[13, 14], [5, 6, 7], [8], [9, 10, 11, 12]]
  padded = ragged_lib.pad(texts.tokens[:, None], texts.ragged)[..., 0]
  assert padded.tolist() == [[13, 14, 0, 0], [5, 6, 7, 0], [8, 0, 0, 0], [9, 10, 11, 12]]
  back = ragged_lib.unpad(padded[..., None], texts.ragged)[..., 0]
  valid = np.asarray(texts.ragged.valid)
  np.testing.assert_array_equal(np.asarray(back)[valid], np.asarray(texts.tokens)[valid])
  assert len(set(texts.ragged.rows.tolist())) == 4


def test_frozen_output_is_computed_once_a_text_and_gathered():
  calls = []

  def run(texts):
    calls.append(int(texts.ragged.valid.sum()))
    return jnp.stack([texts.tokens, texts.ragged.position], axis=1).astype(jnp.float32)

  bank = TextBank.build(TEXTS).with_hidden(run, 2, np.float32)
  assert sum(calls) == 10
  texts = gather_texts(bank, TextReferences(np.array([2, 0]), Capacity(7, 4)), np.arange(2))
  assert texts_of(texts, texts.hidden) == [[[9, 0], [10, 1], [11, 2], [12, 3]], [[5, 0], [6, 1], [7, 2]]]


def test_capacities_by_hand():
  bank = TextBank.build(TEXTS)                                   # lengths 3, 1, 4, 2
  assert bank.capacity(np.array([0, 1, 2, -1]), num_devices=2) == Capacity(4, 4)
  assert bank.largest_capacity(np.array([[0], [1], [3]]), rows_a_device=2) == Capacity(5, 3)
  assert bank.largest_capacity(np.array([[2], [2], [1]]), rows_a_device=2) == Capacity(8, 4)
  assert bank.largest_capacity(np.array([[0, 1], [3, -1], [1, 1]]), rows_a_device=2) == Capacity(6, 3)


@pytest.mark.parametrize("missing", [0, 1])
def test_groups_of_which_one_lacks_its_frozen_output_cannot_be_merged_silently(missing):
  bank = TextBank.build(TEXTS)
  full = bank.with_hidden(lambda texts: jnp.ones((len(texts.tokens), 2)), 2, np.float32)
  groups = [gather_texts(b, TextReferences(np.array([1]), Capacity(2, 2)), np.array([0])) for b in (full, full)]
  groups[missing] = groups[missing].replace(hidden=None)
  with pytest.raises(ValueError, match="frozen"):
    concatenate_texts(groups)
