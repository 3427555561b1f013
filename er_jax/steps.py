"""The compiled functions of training and evaluation, each written for one device (see `er_jax.sharding`).

    steps = Steps(parallel, method, learner)
    state, losses = steps.train(state, batch, classes, banks)
    embeddings = steps.encode_classes(params, classes, banks)
    logits = steps.score(params, batch, embeddings, banks)

A step is a pure function, and dropout does not depend on the device. What a training step does is the learner's.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from er_jax import sharding
from er_jax.inputs import UNUSED, Banks, ClassInputs, ClassSet, Graph, Params, StepBatch, VideoInputs
from er_jax.methods import Method
from er_jax.models.spec import GRAPH, OBJECTS, Sizes
from er_jax.sharding import REPLICATED, SHARDED, Parallel
from er_jax.text.bank import Capacity, TextBank, TextReferences, Texts, gather_texts
from er_jax.types import Array

FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}   # it runs once


def init_params(method: Method, seed: int) -> Params:
  """Random first parameters, with the pretrained ones in their places."""
  init = jax.jit(_init(method.module, method.needs, method.sizes), compiler_options=FAST_COMPILATION)
  flat = flatten_dict(init(jax.random.key(seed)), sep="/")
  return unflatten_dict({**flat, **method.pretrained}, sep="/")


def params_like(method: Method) -> Params:
  """Shapes and dtypes of the parameters, without their values; not to be changed."""
  return _params_like(method.module, method.needs, method.sizes)


@functools.lru_cache(maxsize=4)      # tracing takes up to a second
def _params_like(module: nn.Module, needs: frozenset[str], sizes: Sizes) -> Params:
  return jax.eval_shape(_init(module, needs, sizes), jax.random.key(0))


def _init(module: nn.Module, needs: frozenset[str], sizes: Sizes) -> Callable[[jax.Array], Any]:
  ids = np.zeros(1, np.int32)
  vectors = jnp.zeros((1, sizes.vector_dim)) if sizes.vector_dim else UNUSED
  texts = gather_texts(TextBank.build([ids]), TextReferences(ids, Capacity(1, 1)), ids)
  videos = VideoInputs(jnp.zeros((1, sizes.feature_dim)), ids, texts if OBJECTS in needs else UNUSED)
  graph = Graph(vectors, jnp.ones((1, 1))) if GRAPH in needs else UNUSED
  classes = ClassInputs(ids, np.ones(1, bool), texts, vectors, ids, graph)

  def whole(module):
    return module.score(module.encode_videos(videos, True), module.encode_classes(classes, True))

  return lambda key: module.init(key, method=whole)["params"]


def encode_classes(params: Params, classes: ClassSet, banks: Banks, *, method: Method) -> Float[Array, "c d"]:
  """Embeddings of the whole class set, each device encoding its share."""
  return sharding.gather(method.call("encode_classes", params, classes.inputs(banks), True))


def score(params: Params, batch: StepBatch, embeddings: Float[Array, "c d"], banks: Banks, *,
          method: Method) -> Float[Array, "b c"]:
  """Logits of the whole batch, each device scoring its share."""
  def whole(module):
    return module.score(module.encode_videos(batch.video_inputs(banks), True), embeddings)
  return sharding.gather(method.call(whole, params))


class Steps:
  """The functions above, and a learner's step, compiled for all devices."""

  def __init__(self, parallel: Parallel, method: Method, learner: Any = None):
    if learner is not None:
      self.train = parallel.spmd(learner.step, inputs=(REPLICATED, SHARDED, SHARDED, REPLICATED),
                                 outputs=(REPLICATED, REPLICATED), donate=(0,))
    self.encode_classes = parallel.spmd(functools.partial(encode_classes, method=method),
                                        inputs=(REPLICATED, SHARDED, REPLICATED), outputs=REPLICATED)
    self.score = parallel.spmd(functools.partial(score, method=method),
                               inputs=(REPLICATED, SHARDED, REPLICATED, REPLICATED), outputs=REPLICATED)


def device_banks(banks: Banks, parallel: Parallel, method: Method, params: Params, cache_bytes: int) -> Banks:
  """Texts on the devices, with the frozen layers' output for them where there is one and it fits.

  Args:
    banks: on the host.
    parallel: the devices.
    method: the model whose frozen layers are run.
    params: on the host or one device.
    cache_bytes: the most that the frozen output of each bank may take; a bank that needs more keeps none, and its
      texts run their frozen layers in every step.
  """
  if method.text is not None and method.text.module.can_be_cached:
    tower = method.text.module

    @jax.jit
    def run(params: Params, texts: Texts) -> Array:
      return method.call("frozen_texts", params, texts)

    frozen_params = jax.device_put(params, jax.local_devices()[0])

    def cached(bank: TextBank | None) -> TextBank | None:
      if bank is None or len(bank.tokens) * tower.width * jnp.dtype(tower.dtype).itemsize > cache_bytes:
        return bank
      return bank.with_hidden(functools.partial(run, frozen_params), tower.width, tower.dtype)

    banks = banks.replace(texts=cached(banks.texts), sequences=cached(banks.sequences))
  return parallel.replicate(banks)
