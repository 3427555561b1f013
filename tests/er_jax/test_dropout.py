"""Dropout: the right share of zeros, unrelated to each other, and the same wherever a row is computed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from er_jax.dropout import Dropout, row_bits

ROWS = np.arange(64) * 3 + 1000


@functools.partial(jax.jit, static_argnames=("seed", "rate"))
def drop(x, rows, seed=0, rate=0.3):
  return Dropout(rate).apply({}, x, rows, False, rngs={"dropout": jax.random.key(seed)})


@pytest.mark.parametrize("rate, deterministic", [(0.0, False), (0.3, True)])
def test_without_randomness_it_is_the_identity_and_needs_no_key(rate, deterministic):
  x = jnp.arange(6.).reshape(2, 3)
  np.testing.assert_array_equal(Dropout(rate).apply({}, x, jnp.arange(2), deterministic), x)


def test_rate_one_drops_everything():
  assert not drop(jnp.ones((2, 3)), jnp.arange(2), rate=1.0).any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_of_zeros_is_the_rate_and_the_mean_stays(rate):
  kept = np.asarray(drop(jnp.ones((64, 4096)), ROWS, rate=rate))
  deviation = np.sqrt(rate * (1 - rate) / kept.size)
  assert abs((kept == 0).mean() - rate) < 4 * deviation
  np.testing.assert_allclose(kept[kept != 0], 1 / (1 - rate), rtol=1e-6)
  by_row, by_column = (kept == 0).mean(axis=1), (kept == 0).mean(axis=0)
  assert np.abs(by_row - rate).max() < 5 * np.sqrt(rate * (1 - rate) / 4096)
  assert np.abs(by_column - rate).max() < 5 * np.sqrt(rate * (1 - rate) / 64)


def test_masks_of_different_entries_rows_and_keys_are_unrelated():
  def zeros(seed, rows):
    return np.asarray(drop(jnp.ones((64, 4096)), rows, seed) == 0, np.float64)

  def correlation(a, b):
    return abs(np.corrcoef(a.ravel(), b.ravel())[0, 1])

  mask, limit = zeros(0, ROWS), 4 / np.sqrt(64 * 4096)
  assert correlation(mask, zeros(1, ROWS)) < limit
  assert correlation(mask, zeros(0, ROWS + 1)) < limit
  for shift in (1, 2, 16):
    assert correlation(mask[:, shift:], mask[:, :-shift]) < limit
    assert correlation(mask[shift:], mask[:-shift]) < limit * 1.2   # of fewer rows


def test_every_bit_of_the_numbers_is_as_often_set_as_not():
  bits = np.asarray(jax.jit(row_bits, static_argnums=2)(jax.random.key(0), ROWS, (4096,)))
  share = (bits[..., None] >> np.arange(32, dtype=np.uint32) & 1).mean(axis=(0, 1))
  np.testing.assert_allclose(share, 0.5, atol=4 * 0.5 / np.sqrt(bits.size))


def test_the_mask_of_a_row_depends_on_its_id_alone():
  x = jnp.ones((64, 2, 5))
  whole = drop(x, ROWS)
  order = np.random.default_rng(0).permutation(64)
  np.testing.assert_array_equal(drop(x, ROWS[order]), whole[order])
  np.testing.assert_array_equal(drop(x[:7], ROWS[:7]), whole[:7])


def test_the_mask_is_the_same_on_eight_devices_as_on_one():
  mesh = Mesh(np.array(jax.devices()), ("data",))
  split = NamedSharding(mesh, PartitionSpec("data"))
  x = np.ones((64, 33), np.float32)
  on_eight = drop(jax.device_put(x, split), jax.device_put(ROWS, split))
  assert len(on_eight.sharding.device_set) == 8
  np.testing.assert_array_equal(on_eight, drop(x, ROWS))
  rows = PartitionSpec("data")
  by_hand = jax.jit(jax.shard_map(drop, mesh=mesh, in_specs=rows, out_specs=rows))(x, ROWS)
  np.testing.assert_array_equal(by_hand, drop(x, ROWS))


def test_gradient_passes_kept_entries_only():
  x = jnp.ones((64, 8))
  grad = jax.jit(jax.grad(lambda x: drop(x, ROWS).sum()))(x)
  np.testing.assert_array_equal(grad, drop(x, ROWS))


def test_half_precision_stays_half_precision():
  assert drop(jnp.ones((64, 3), jnp.bfloat16), ROWS).dtype == jnp.bfloat16
