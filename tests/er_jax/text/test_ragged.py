"""Ragged layout and its pad and unpad against plain loops, and their gradients against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from er_jax.text.ragged import Ragged, layout, pad, token_mask, unpad

LENGTHS = {"mixed": [3, 1, 4, 2], "with empty texts": [0, 3, 0, 0, 2, 0], "one text": [5], "nothing": [0, 0]}


def lay(lengths: list[int], capacity: int = 13, max_length: int = 5) -> Ragged:
  rows = 7 * np.arange(len(lengths)) + 2
  return jax.jit(layout, static_argnums=(2, 3))(np.array(lengths), rows, capacity, max_length)


def pad_with_loops(flat: np.ndarray, lengths: list[int], max_length: int) -> np.ndarray:
  padded = np.zeros((len(lengths), max_length, *flat.shape[1:]), flat.dtype)
  slot = 0
  for i, length in enumerate(lengths):
    for position in range(length):
      padded[i, position] = flat[slot]
      slot += 1
  return padded


def test_layout_of_a_hand_worked_example():
  ragged = lay([2, 0, 3], capacity=7)
  np.testing.assert_array_equal(ragged.starts, [0, 2, 2])
  np.testing.assert_array_equal(ragged.sequence[:5], [0, 0, 2, 2, 2])
  np.testing.assert_array_equal(ragged.position[:5], [0, 1, 0, 1, 2])
  np.testing.assert_array_equal(ragged.valid, [True] * 5 + [False] * 2)
  np.testing.assert_array_equal(ragged.lengths, [2, 0, 3])
  np.testing.assert_array_equal(ragged.rows, [2, 9, 16])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_indices_of_unused_slots_stay_in_range(lengths):
  ragged = lay(lengths)
  assert ragged.sequence.min() >= 0 and ragged.sequence.max() < len(lengths)
  assert ragged.position.min() >= 0 and ragged.position.max() < 5
  assert int(ragged.valid.sum()) == sum(lengths)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_pad_puts_each_token_in_its_place_and_zeros_elsewhere(lengths):
  flat = np.random.default_rng(0).normal(size=(13, 2, 3)).astype(np.float32)
  ragged = lay(lengths)
  np.testing.assert_array_equal(pad(flat, ragged), pad_with_loops(flat, lengths, 5))
  np.testing.assert_array_equal(token_mask(ragged), pad_with_loops(np.ones(13, bool), lengths, 5))


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_unpad_takes_tokens_back_and_leaves_unused_slots_zero(lengths):
  flat = np.random.default_rng(0).normal(size=(13, 3)).astype(np.float32)
  flat[sum(lengths):] = 0
  padded = pad_with_loops(flat, lengths, 5)
  padded[pad_with_loops(np.ones(13, bool), lengths, 5) == 0] = 9   # what is at padding must not matter
  np.testing.assert_array_equal(unpad(padded, lay(lengths)), flat)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_gradients_are_those_jax_works_out(lengths):
  rng = np.random.default_rng(0)
  flat = rng.normal(size=(13, 3)).astype(np.float32)
  padded = rng.normal(size=(len(lengths), 5, 3)).astype(np.float32)
  ragged = lay(lengths)
  place = np.zeros((len(lengths), 5, 13), np.float32)   # the 0/1 matrix that pad is
  np.put_along_axis(place, pad_with_loops(np.arange(13), lengths, 5)[..., None], 1, axis=-1)
  place *= np.asarray(token_mask(ragged))[..., None]

  ours, ours_back = jax.vjp(lambda x: pad(x, ragged), flat)
  plain, plain_back = jax.vjp(lambda x: jnp.einsum("sln,nh->slh", place, x), flat)
  np.testing.assert_allclose(ours, plain)
  np.testing.assert_allclose(ours_back(padded)[0], plain_back(padded)[0])

  ours, ours_back = jax.vjp(lambda x: unpad(x, ragged), padded)
  plain, plain_back = jax.vjp(lambda x: jnp.einsum("sln,slh->nh", place, x), padded)
  np.testing.assert_allclose(ours, plain)
  np.testing.assert_allclose(ours_back(flat)[0], plain_back(flat)[0])


def test_neither_direction_scatters():
  ragged = lay([3, 1, 4, 2])
  flat, padded = jnp.ones((13, 3)), jnp.ones((4, 5, 3))
  for function, argument, cotangent in ((pad, flat, padded), (unpad, padded, flat)):
    def both(x, gradient, function=function):
      value, back = jax.vjp(lambda x: function(x, ragged), x)
      return value, back(gradient)

    assert "scatter" not in jax.jit(both).lower(argument, cotangent).as_text()


def test_tokens_beyond_the_capacity_are_left_out():
  ragged = lay([3, 4], capacity=5)
  flat = np.arange(1., 6, dtype=np.float32)
  np.testing.assert_array_equal(pad(flat, ragged), [[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])


def test_token_rows_follow_the_text_wherever_it_lies():
  first = layout([2, 3], [10, 20], 6, 5)
  second = layout([3, 2], [20, 10], 6, 5)
  np.testing.assert_array_equal(first.token_rows[:5], [50, 51, 100, 101, 102])
  np.testing.assert_array_equal(second.token_rows[:5], [100, 101, 102, 50, 51])
