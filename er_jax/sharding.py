"""The only file that knows about devices: how one function runs on all of them.

    parallel = Parallel("jit")                       # every device of every process, on one axis called "data"
    step = parallel.spmd(train_step, inputs=(REPLICATED, SHARDED), outputs=REPLICATED, donate=(0,))
    state, metrics = step(parallel.replicate(state), parallel.shard(batch))

`train_step` is written for one device: it sees its part of every sharded array (split on the leading axis) and talks
to the others with `gather` and `total`. Under "jit" the arrays carry shardings over a mesh and the function runs in
shard_map; under "pmap" the arrays carry a leading device axis. Both run the same function.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from er_jax.types import Array
from input_pipeline.errors import unknown

AXIS = "data"
REPLICATED, SHARDED = PartitionSpec(), PartitionSpec(AXIS)


def gather(x: Array) -> jax.Array:
  """(n, ...) on each of D devices -> (D * n, ...) on all of them, in the order of the devices."""
  return jax.lax.all_gather(x, AXIS, tiled=True)


def total(tree: Any) -> Any:
  """The sum over devices of every array of a tree."""
  return jax.lax.psum(tree, AXIS)


class Parallel:
  """Runs per-device functions on all devices of all processes, under `jit` with shardings or under `pmap`."""

  def __init__(self, mode: str = "jit", devices: Sequence | None = None):
    """Args: mode: "jit" or "pmap"; devices: jax devices to use, all of all processes if None."""
    if mode not in ("jit", "pmap"):
      raise unknown("config.parallel", mode, ("jit", "pmap"))
    self.mode = mode
    self.devices = list(jax.devices() if devices is None else devices)
    self.num_devices = len(self.devices)
    self.mesh = Mesh(np.array(self.devices), (AXIS,))

  def spmd(self, function: Callable, inputs: Sequence[PartitionSpec], outputs: Any,
           donate: Sequence[int] = ()) -> Callable:
    """Compiles a per-device function of arrays for all devices.

    Args:
      function: positional arguments and results are pytrees of arrays, or None.
      inputs: REPLICATED or SHARDED for each argument.
      outputs: REPLICATED or SHARDED for the result, or a tuple of them for a tuple of results.
      donate: arguments whose memory may be reused.
    """
    if self.mode == "pmap":
      return jax.pmap(function, axis_name=AXIS, devices=self.devices, donate_argnums=tuple(donate))
    mapped = jax.shard_map(function, mesh=self.mesh, in_specs=tuple(inputs), out_specs=outputs, check_vma=False)
    return jax.jit(mapped, donate_argnums=tuple(donate))

  def shard(self, tree: Any) -> Any:
    """Splits host arrays, the same on every process, over devices on the leading axis (a multiple of num_devices)."""
    return jax.tree.map(self._shard, tree)

  def replicate(self, tree: Any) -> Any:
    """Puts a copy of host arrays, the same on every process, on every device."""
    return jax.tree.map(self._replicate, tree)

  def fetch(self, tree: Any) -> Any:
    """Replicated device arrays as NumPy arrays, on every process."""
    if self.mode == "pmap":
      return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)).reshape(x.shape[1:]), tree)
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)

  def _shard(self, x: np.ndarray) -> jax.Array:
    x = np.asarray(x)
    if self.mode == "pmap":
      x = x.reshape(self.num_devices, -1, *x.shape[1:])
    return self._put(x)

  def _replicate(self, x: np.ndarray) -> jax.Array:
    x = np.asarray(x)
    if self.mode == "pmap":
      return self._put(np.broadcast_to(x, (self.num_devices, *x.shape)))
    return jax.make_array_from_callback(x.shape, NamedSharding(self.mesh, REPLICATED), lambda index: x[index])

  def _put(self, x: np.ndarray) -> jax.Array:
    return jax.make_array_from_callback(x.shape, NamedSharding(self.mesh, SHARDED), lambda index: x[index])
