"""The compiled functions of training and evaluation, each written for one device (see `er_jax.sharding`).

    steps = Steps(parallel, method, builder, class_set, batch_size, learner)
    state, losses = steps.train(state, batch, classes, banks)
    embeddings = steps.encode_classes(params, classes, banks)
    logits = steps.score(params, batch, embeddings, banks)

A step is a pure function, and dropout does not depend on the device. What a training step does is the learner's.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from er_jax import sharding
from er_jax.batch_builder import BatchBuilder
from er_jax.inputs import ClassInputs, ClassSet, Graph, StepBatch, VideoInputs
from er_jax.methods import Method
from er_jax.sharding import REPLICATED, SHARDED, Parallel
from er_jax.text.bank import Capacity, TextBank, Texts, gather_texts

Params = dict
FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}   # it runs once


@flax.struct.dataclass
class TrainState:
  """What training changes: `step` () int32, the number of steps done, all parameters, and the optimiser's state."""
  step: Array
  params: Params
  opt_state: optax.OptState


@flax.struct.dataclass
class Banks:
  """What steps refer to: texts of classes and rehearsal concepts, object texts of videos, the graph of classes."""
  texts: TextBank | None
  sequences: TextBank | None
  graph: Graph | None


class Capacities(NamedTuple):
  """Room on one device for the texts of a class set, of a batch's objects, and of its rehearsal concepts."""
  classes: Capacity | None
  objects: Capacity | None
  concepts: Capacity | None


def init_params(method: Method, feature_dim: int, vector_dim: int | None, seed: int) -> Params:
  """Random first parameters, with the pretrained ones in their places.

  Raises:
    UserError: if a pretrained one has another shape than the config describes.
  """
  init = jax.jit(_init(method, feature_dim, vector_dim), compiler_options=FAST_COMPILATION)
  flat = flatten_dict(init(jax.random.key(seed)), sep="/")
  return unflatten_dict({**flat, **method.pretrained}, sep="/")


def params_like(method: Method, feature_dim: int, vector_dim: int | None) -> Params:
  """Shapes and dtypes of the parameters, without their values."""
  return jax.eval_shape(_init(method, feature_dim, vector_dim), jax.random.key(0))


def _init(method: Method, feature_dim: int, vector_dim: int | None) -> Callable[[Array], Params]:
  bank, ids = TextBank.build([np.zeros(1, np.int32)]), np.zeros(1, np.int32)
  vectors = None if vector_dim is None else jnp.zeros((1, vector_dim))
  texts = gather_texts(bank, ids, ids, Capacity(1, 1))
  videos = VideoInputs(jnp.zeros((1, feature_dim)), ids, texts if method.reads_objects else None)
  graph = Graph(vectors, jnp.ones((1, 1))) if method.reads_graph else None
  classes = ClassInputs(ids, np.ones(1, bool), texts, vectors, ids, graph)

  def whole(module):
    return module.score(module.encode_videos(videos, True), module.encode_classes(classes, True))

  return lambda key: method.module.init(key, method=whole)["params"]


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
  """The batch as a model sees it, with its object texts laid out."""
  objects = None
  if batch.objects is not None:
    each = batch.objects.shape[1]
    rows = (batch.rows[:, None] * each + jnp.arange(each)).reshape(-1)
    objects = gather_texts(banks.sequences, batch.objects.reshape(-1), rows, room.objects)
  return VideoInputs(batch.features, batch.rows, objects)


def class_inputs_of(classes: ClassSet, banks: Banks, room: Capacities) -> ClassInputs:
  """The classes as a model sees them, with their texts laid out."""
  texts = None if classes.ids is None else gather_texts(banks.texts, classes.ids, classes.rows, room.classes)
  return ClassInputs(classes.rows, classes.mask, texts, classes.vectors, classes.nodes, banks.graph, classes.classifier)


def take_concepts(batch: StepBatch, banks: Banks, room: Capacities) -> Texts | None:
  """The texts of the batch's rehearsal set, laid out; None where nothing is rehearsed."""
  return None if batch.concepts is None else gather_texts(banks.texts, batch.concepts, batch.concepts, room.concepts)


class Steps:
  """The functions above, and a learner's step, compiled for all devices with everything static bound."""

  def __init__(self, parallel: Parallel, method: Method, builder: BatchBuilder, classes: ClassSet, batch_size: int,
               learner: Any = None):
    room = Capacities(builder.class_capacity(classes), builder.object_capacity(batch_size), builder.concept_capacity)
    bind = functools.partial
    if learner is not None:
      self.train = parallel.spmd(bind(learner.step, room=room), inputs=(REPLICATED, SHARDED, SHARDED, REPLICATED),
                                 outputs=(REPLICATED, REPLICATED), donate=(0,))
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
  banks = Banks(builder.texts, builder.sequences, builder.graph)
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

    banks = banks.replace(texts=cached(banks.texts), sequences=cached(banks.sequences))
  return parallel.replicate(banks)
