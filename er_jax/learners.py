"""How a method learns: by gradients of its losses, or in closed form. What the training loop knows of it is this:

    learner = build(config, dataset, method, params)
    opt_state = learner.init(params)
    state, parts = learner.step(state, batch, classes, banks, room)     # one device's, to be compiled; see er_jax.steps
    state = learner.finalize(state, parallel)                             # before parameters are looked at

A state is changed by steps alone, so training can stop and go on after any of them.
"""

from typing import NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array
from ml_collections import ConfigDict

from er_jax import optimizer, sharding
from er_jax.inputs import ClassSet, StepBatch
from er_jax.methods import Method
from er_jax.sharding import Parallel
from er_jax.steps import Banks, Capacities, Params, TrainState, class_inputs_of, take_concepts, video_inputs
from input_pipeline.errors import UserError
from input_pipeline.loaders import Dataset


class Learner(Protocol):
  """What the training loop knows.

  Attributes:
    validate_at_start: whether the first parameters mean something, so that they are validated.
    single_epoch: whether it must see each video once, however many epochs the config says.
  """
  validate_at_start: bool
  single_epoch: bool

  def init(self, params: Params) -> optax.OptState:
    """What a step needs besides the parameters, as NumPy arrays."""

  def step(self, state: TrainState, batch: StepBatch, classes: ClassSet, banks: Banks,
           room: Capacities) -> tuple[TrainState, dict[str, Array]]:
    """One step, as one device sees it: the new state, and the batch's losses before it."""

  def finalize(self, state: TrainState, parallel: Parallel) -> TrainState:
    """The state, which is on the devices, its parameters made those that all steps so far lead to."""

  def learning_rate(self, step: int) -> float:
    """Of a step, 0-based; for the record."""


def build(config: ConfigDict, dataset: Dataset, method: Method, params: Params, num_steps: int = 0) -> Learner:
  """The learner of a method whose first parameters these are, for a training of `num_steps`.

  Raises:
    UserError: if nothing is left to learn.
  """
  if method.name == "eszsl":
    vectors = dataset.class_vectors[list(dataset.splits.seen)]
    return ClosedForm(vectors, config.model.feature_regularizer, config.model.class_regularizer)
  names = flatten_dict(params, sep="/")
  trainable = names.keys() - method.frozen - optimizer.frozen_submodules(config.optimizer, names)
  if not trainable:
    raise UserError("config.optimizer.freeze and the frozen text backbone leave no parameter to train.")
  return GradientDescent(method, config, frozenset(trainable), num_steps)


class GradientDescent:
  """Gradient descent on the method's losses."""

  validate_at_start, single_epoch = True, False

  def __init__(self, method: Method, config: ConfigDict, trainable: frozenset[str], num_steps: int):
    """Args: trainable: names ("video_encoder/dense/kernel") of the parameters that learn."""
    self._method, self._trainable, self._seed = method, trainable, config.seed
    self._schedule = optimizer.schedule(config.optimizer, config.batch_size, num_steps)
    self._optimizer = optimizer.build(config.optimizer, self._schedule, trainable)

  def init(self, params: Params) -> optax.OptState:
    """The optimiser's moments."""
    names = flatten_dict(params, sep="/")
    return jax.tree.map(np.asarray, self._optimizer.init({name: names[name] for name in sorted(self._trainable)}))

  def step(self, state: TrainState, batch: StepBatch, classes: ClassSet, banks: Banks,
           room: Capacities) -> tuple[TrainState, dict[str, Array]]:
    """One update; randomness of step t is fold_in(seed, t)."""
    flat = flatten_dict(state.params, sep="/")
    frozen = {name: value for name, value in flat.items() if name not in self._trainable}
    learned = {name: value for name, value in flat.items() if name in self._trainable}
    videos, class_inputs = video_inputs(batch, banks, room), class_inputs_of(classes, banks, room)
    concepts = take_concepts(batch, banks, room)
    key = jax.random.fold_in(jax.random.key(self._seed), state.step)

    def loss(learned):
      parts = self._method.module.apply(
          {"params": unflatten_dict({**frozen, **learned}, sep="/")}, videos, class_inputs, concepts, batch.targets,
          sharding.gather, rngs={"dropout": key}, method="losses")
      return parts["loss"], parts

    (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(learned)
    grads, parts = sharding.total((grads, parts))
    updates, opt_state = self._optimizer.update(grads, state.opt_state, learned)
    params = unflatten_dict({**frozen, **optax.apply_updates(learned, updates)}, sep="/")
    return TrainState(state.step + 1, params, opt_state), parts

  def finalize(self, state: TrainState, parallel: Parallel) -> TrainState:
    """The state as it is."""
    del parallel
    return state

  def learning_rate(self, step: int) -> float:
    """The schedule's."""
    return float(self._schedule(step))


@flax.struct.dataclass
class Sum:
  """A running sum of float32 arrays that loses no digits (Kahan 1965): `total`, and what is `missing` from it."""
  total: Array
  missing: Array

  @classmethod
  def zeros(cls, *shape: int) -> "Sum":
    """An empty sum."""
    return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

  def plus(self, value: Array) -> "Sum":
    """The sum with one more term."""
    value = value + self.missing
    total = jax.lax.optimization_barrier(self.total + value)      # no algebra: (a + b) - a is not b
    return Sum(total, value - (total - self.total))

  def float64(self) -> np.ndarray:
    """The value. Host only."""
    return np.asarray(self.total, np.float64) + np.asarray(self.missing, np.float64)


class Statistics(NamedTuple):
  """All that ESZSL needs to know of the videos: X Xt (F, F) and X Y (F, C)."""
  features: Sum
  by_class: Sum


class ClosedForm:
  """ESZSL (Romera-Paredes & Torr, ICML 2015): W = (X Xt + a I)^-1 X Y St (S St + b I)^-1, videos seen in one pass.

  X (F, N) are features, Y (N, C) one-hot classes, S (V, C) normalised class vectors. Steps add up X Xt and X Y;
  `finalize` solves, in double precision.
  """

  validate_at_start, single_epoch = False, True

  def __init__(self, vectors: np.ndarray, feature_regularizer: float, class_regularizer: float):
    """Args: vectors: (C, V) of the seen classes, as they are; the regularizers: a, b."""
    vectors = vectors.astype(np.float64)
    self._vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    self._regularizers = feature_regularizer, class_regularizer

  def init(self, params: Params) -> Statistics:
    """No videos yet."""
    features = params["eszsl"]["dense"]["kernel"].shape[0]
    return Statistics(Sum.zeros(features, features), Sum.zeros(features, len(self._vectors)))

  def step(self, state: TrainState, batch: StepBatch, classes: ClassSet, banks: Banks,
           room: Capacities) -> tuple[TrainState, dict[str, Array]]:
    """Adds the batch's videos. Its loss is the mean squared error of the scores by what was solved before."""
    del classes, banks, room
    one_hot = jax.nn.one_hot(batch.targets.classes, len(self._vectors)) * (batch.targets.weights > 0)[:, None]
    features = jnp.where((batch.targets.weights > 0)[:, None], batch.features, 0)
    exactly = jax.lax.Precision.HIGHEST
    features_squared, by_class = sharding.total((jnp.matmul(features.T, features, precision=exactly),
                                                 jnp.matmul(features.T, one_hot, precision=exactly)))
    statistics = Statistics(state.opt_state.features.plus(features_squared), state.opt_state.by_class.plus(by_class))
    scores = features @ state.params["eszsl"]["dense"]["kernel"] @ self._vectors.T.astype(np.float32)
    loss = sharding.total(jnp.sum(jnp.mean(jnp.square(scores - one_hot), axis=1) * batch.targets.weights))
    return TrainState(state.step + 1, state.params, statistics), {"loss": loss, "class_loss": loss}

  def finalize(self, state: TrainState, parallel: Parallel) -> TrainState:
    """The state with the W of all videos so far; solved on the host."""
    of_features, of_classes = self._regularizers
    statistics = parallel.fetch(state.opt_state)
    gram, by_class = statistics.features.float64(), statistics.by_class.float64()
    left = np.linalg.solve(gram + of_features * np.eye(len(gram)), by_class @ self._vectors)        # (F, V)
    similar = self._vectors.T @ self._vectors + of_classes * np.eye(self._vectors.shape[1])
    solution = np.linalg.solve(similar, left.T).T
    params = {"eszsl": {"dense": {"kernel": solution.astype(np.float32)}}}
    return state.replace(params=parallel.replicate(params))

  def learning_rate(self, step: int) -> float:
    """There is none."""
    del step
    return 0.0
