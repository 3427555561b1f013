"""Dropout whose numbers do not depend on where a row is computed.

    x = Dropout(0.1)(x, rows, deterministic=False)     # x (n, ...), rows (n,): an id of each row

The mask of row i is a function of the "dropout" key and rows[i] alone, so that a batch spread over any number
of devices, or laid out in any order, is trained with the same masks. Only each row's key comes from JAX's
generator, which is slow on CPUs; the row's entries are a hash of that key and the column.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from er_jax.types import Array


class Dropout(nn.Module):
  """Zeroes each entry with probability `rate` and divides the others by 1 - rate.

  Needs the "dropout" key, unless `deterministic` or the rate is 0.
  """

  rate: float

  def __call__(self, x: Array, rows: Array, deterministic: bool) -> Array:
    """x: (n, ...); rows: (n,) int32, an id of each row; returns x's shape and dtype."""
    if deterministic or self.rate == 0:
      return x
    if self.rate >= 1:
      return jnp.zeros_like(x)
    keep = row_bits(self.make_rng("dropout"), rows, x.shape[1:]) >= np.uint32(self.rate * 2**32)
    return jnp.where(keep, x / (1 - self.rate), 0)


def row_bits(key: Array, rows: Array, shape: tuple[int, ...]) -> Array:
  """Uniform 32-bit numbers, those of each row a function of the key and the row's id alone.

  Args:
    key: a JAX random key.
    rows: (n,) int32.
    shape: of one row's numbers.

  Returns:
    (n, *shape) uint32.
  """
  keys = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(key, rows))
  first, second = (keys[:, word].reshape(-1, *(1 for _ in shape)) for word in (0, 1))
  column = jnp.arange(np.prod(shape, dtype=int), dtype=jnp.uint32).reshape(1, *shape)
  return _mix(_mix(first ^ column * np.uint32(0x9e3779b9)) ^ second)


def _mix(bits: Array) -> Array:
  """A bijection of 32-bit words; each input bit flips half of the output (`lowbias32`, C. Wellons 2018)."""
  bits = (bits ^ (bits >> 16)) * np.uint32(0x7feb352d)
  bits = (bits ^ (bits >> 15)) * np.uint32(0x846ca68b)
  return bits ^ (bits >> 16)
