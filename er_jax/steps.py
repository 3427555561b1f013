"""The compiled functions of training and evaluation, each written for one device (see `er_jax.sharding`).

    steps = Steps(parallel, method, builder, class_set, batch_size, optimizer, trainable, seed)
    state, metrics = steps.train(state, batch, classes, banks)
    embeddings = steps.encode_classes(params, classes, banks)
    logits = steps.score(params, batch, embeddings, banks)

A step is a pure function: randomness of step t is fold_in(seed, t), and dropout does not depend on the device.
"""

import functools
from collections.abc import Callable, Collection
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from er_jax import sharding
from er_jax.batches import BatchBuilder
from er_jax.inputs import ClassInputs, ClassSet, StepBatch, VideoInputs
from er_jax.methods import Method
from er_jax.sharding import REPLICATED, SHARDED, Parallel
from er_jax.text_bank import Capacity, TextBank, Texts, take

Params = dict
QUICKLY_COMPILED = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}   # it runs once


@flax.struct.dataclass
class TrainState:
  """What training changes: `step` () int32, the number of steps done, all parameters, and the optimiser's state."""
  step: Array
  params: Params
  opt_state: optax.OptState


@flax.struct.dataclass
class Banks:
  """The texts: those of classes and rehearsal concepts, and the videos' object sequences."""
  texts: TextBank | None
  sequences: TextBank | None


class Capacities(NamedTuple):
  """Room on one device for the texts of a class set, of a batch's objects, and of its rehearsal concepts."""
  classes: Capacity | None
  objects: Capacity | None
  concepts: Capacity | None


def init_params(method: Method, feature_dim: int, vector_dim: int | None, seed: int) -> Params:
  """Random first parameters, with the pretrained ones in their places."""
  init = jax.jit(_init(method, feature_dim, vector_dim), compiler_options=QUICKLY_COMPILED)
  return {**init(jax.random.key(seed)), **method.pretrained}


def params_like(method: Method, feature_dim: int, vector_dim: int | None) -> Params:
  """Shapes and dtypes of the parameters, without their values."""
  return jax.eval_shape(_init(method, feature_dim, vector_dim), jax.random.key(0))


def _init(method: Method, feature_dim: int, vector_dim: int | None) -> Callable[[Array], Params]:
  bank, ids = TextBank.build([np.zeros(1, np.int32)]), np.zeros(1, np.int32)
  texts = take(bank, ids, ids, Capacity(1, 1)) if method.tokenizer is not None else None
  videos = VideoInputs(jnp.zeros((1, feature_dim)), ids, texts if method.reads_objects else None)
  vectors = jnp.zeros((1, vector_dim)) if method.reads_vectors else None
  classes = ClassInputs(ids, np.ones(1, bool), texts, vectors)

  def whole(module):
    return module.score(module.encode_videos(videos, True), module.encode_classes(classes, True))

  return lambda key: method.module.init(key, method=whole)["params"]


def train_step(state: TrainState, batch: StepBatch, classes: ClassSet, banks: Banks, *, method: Method,
               optimizer: optax.GradientTransformation, trainable: Collection[str], seed: int,
               room: Capacities) -> tuple[TrainState, dict[str, Array]]:
  """One update, as one device sees it. Returns: the new state, and the batch's losses before the update."""
  flat = flatten_dict(state.params, sep="/")
  frozen = {name: value for name, value in flat.items() if name not in trainable}
  learned = {name: value for name, value in flat.items() if name in trainable}
  videos, class_inputs = video_inputs(batch, banks, room), class_inputs_of(classes, banks, room)
  concepts = None if batch.concepts is None else take(banks.texts, batch.concepts, batch.concepts, room.concepts)
  key = jax.random.fold_in(jax.random.key(seed), state.step)

  def loss(learned):
    parts = method.module.apply(
        {"params": unflatten_dict({**frozen, **learned}, sep="/")}, videos, class_inputs, concepts, batch.targets,
        sharding.gather, rngs={"dropout": key}, method="losses")
    return parts["loss"], parts

  (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(learned)
  grads, parts = sharding.total((grads, parts))
  updates, opt_state = optimizer.update(grads, state.opt_state, learned)
  params = unflatten_dict({**frozen, **optax.apply_updates(learned, updates)}, sep="/")
  return TrainState(state.step + 1, params, opt_state), parts


def encode_classes(params: Params, classes: ClassSet, banks: Banks, *, method: Method, room: Capacities) -> Array:
  """Embeddings of the whole class set (C, D), each device encoding its share."""
  inputs = class_inputs_of(classes, banks, room)
  return sharding.gather(method.module.apply({"params": params}, inputs, True, method="encode_classes"))


def score(params: Params, batch: StepBatch, embeddings: Array, banks: Banks, *, method: Method,
          room: Capacities) -> Array:
  """Logits (B, C) of the whole batch, each device scoring its share."""
  def whole(module):
    return module.score(module.encode_videos(video_inputs(batch, banks, room), True), embeddings)
  return sharding.gather(method.module.apply({"params": params}, method=whole))


def video_inputs(batch: StepBatch, banks: Banks, room: Capacities) -> VideoInputs:
  """The batch as a model sees it, with its object sequences laid out."""
  objects = None if batch.objects is None else take(banks.sequences, batch.objects, batch.rows, room.objects)
  return VideoInputs(batch.features, batch.rows, objects)


def class_inputs_of(classes: ClassSet, banks: Banks, room: Capacities) -> ClassInputs:
  """The classes as a model sees them, with their texts laid out."""
  texts = None if classes.ids is None else take(banks.texts, classes.ids, classes.rows, room.classes)
  return ClassInputs(classes.rows, classes.mask, texts, classes.vectors)


class Steps:
  """The functions above, compiled for all devices with everything static bound."""

  def __init__(self, parallel: Parallel, method: Method, builder: BatchBuilder, classes: ClassSet, batch_size: int,
               optimizer: optax.GradientTransformation | None = None, trainable: Collection[str] = (), seed: int = 0):
    room = Capacities(builder.class_capacity(classes), builder.object_capacity(batch_size), builder.concept_capacity)
    bind = functools.partial
    self.train = parallel.spmd(
        bind(train_step, method=method, optimizer=optimizer, trainable=frozenset(trainable), seed=seed, room=room),
        inputs=(REPLICATED, SHARDED, SHARDED, REPLICATED), outputs=(REPLICATED, REPLICATED), donate=(0,))
    self.encode_classes = parallel.spmd(
        bind(encode_classes, method=method, room=room), inputs=(REPLICATED, SHARDED, REPLICATED), outputs=REPLICATED)
    self.score = parallel.spmd(
        bind(score, method=method, room=room),
        inputs=(REPLICATED, SHARDED, REPLICATED, REPLICATED), outputs=REPLICATED)


def device_banks(builder: BatchBuilder, parallel: Parallel, method: Method, params: Params,
                 cache_bytes: int) -> Banks:
  """The builder's texts on the devices, with the frozen layers' output for them where there is one and it fits.

  Args:
    builder: holds the texts.
    parallel: the devices.
    method: the model whose frozen layers are run.
    params: on the host or one device.
    cache_bytes: the most that the frozen output of each bank may take; a bank that needs more keeps none, and its
      texts run their frozen layers in every step.
  """
  banks = Banks(builder.texts, builder.sequences)
  backbone = getattr(method.module, "backbone", None)
  if backbone is not None and backbone.can_be_cached:
    dtype = backbone.dtype

    @jax.jit
    def run(params: Params, texts: Texts) -> Array:
      return method.module.apply({"params": params}, texts, method="frozen_texts")

    frozen_params = jax.device_put(params, jax.local_devices()[0])

    def cached(bank: TextBank | None) -> TextBank | None:
      if bank is None or len(bank.tokens) * backbone.width * jnp.dtype(dtype).itemsize > cache_bytes:
        return bank
      return bank.with_hidden(functools.partial(run, frozen_params), backbone.width, dtype)

    banks = Banks(cached(banks.texts), cached(banks.sequences))
  return parallel.replicate(banks)
