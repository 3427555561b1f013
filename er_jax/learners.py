"""Learners: how a method learns, by gradients of its losses or in a way of its own. The training loop knows this of them:

    learner = build(config, dataset, method, params, num_steps)
    opt_state = learner.init(params)
    state, parts = learner.step(state, batch, classes, banks)     # one device's, to be compiled; see er_jax.steps
    state = learner.finalize(state, parallel)                     # before parameters are looked at

A state is changed by steps alone, so training can stop and go on after any of them.
"""

from typing import Any, Protocol, cast

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from er_jax import optimizer, sharding
from er_jax.inputs import Banks, ClassSet, Params, StepBatch, TrainState
from er_jax.methods import Method
from er_jax.sharding import Parallel
from er_jax.types import Array
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError


class Learner(Protocol):
  """What the training loop knows.

  Attributes:
    validate_at_start: whether the first parameters mean something, so that they are validated.
  """
  validate_at_start: bool

  def init(self, params: Params) -> Any:
    """What a step needs besides the parameters, as NumPy arrays."""
    ...

  def step(self, state: TrainState, batch: StepBatch, classes: ClassSet,
           banks: Banks) -> tuple[TrainState, dict[str, Array]]:
    """One step, as one device sees it: the new state, and the batch's losses before it."""
    ...

  def finalize(self, state: TrainState, parallel: Parallel) -> TrainState:
    """The state, which is on the devices, its parameters made those that all steps so far lead to."""
    ...

  def learning_rate(self, step: int) -> float:
    """Of a step, 0-based; for the record."""
    ...


def build(config: ConfigDict, dataset: Dataset, method: Method, params: Params, num_steps: int = 0) -> Learner:
  """The learner of a method whose first parameters these are, for a training of `num_steps`.

  Raises:
    UserError: if nothing is left to learn.
  """
  if method.spec.learner:
    return method.spec.learner(config, dataset)
  names = flatten_dict(params, sep="/")
  trainable = names.keys() - method.frozen - optimizer.frozen_submodules(config.optimizer, names)
  if not trainable:
    raise UserError("config.optimizer.freeze and the frozen text backbone leave no parameter to train.")
  return GradientDescent(method, config, frozenset(trainable), num_steps)


class GradientDescent:
  """Gradient descent on the method's losses."""

  validate_at_start = True

  def __init__(self, method: Method, config: ConfigDict, trainable: frozenset[str], num_steps: int):
    """Args: trainable: names ("video_encoder/dense/kernel") of the parameters that learn."""
    self._method, self._trainable, self._seed = method, trainable, config.seed
    self._schedule = optimizer.schedule(config.optimizer, config.batch_size, num_steps)
    self._optimizer = optimizer.build(config.optimizer, self._schedule, trainable)

  def init(self, params: Params) -> optax.OptState:
    """The optimiser's moments."""
    names = flatten_dict(params, sep="/")
    return jax.tree.map(np.asarray, self._optimizer.init({name: names[name] for name in sorted(self._trainable)}))

  def step(self, state: TrainState, batch: StepBatch, classes: ClassSet,
           banks: Banks) -> tuple[TrainState, dict[str, Array]]:
    """One update; randomness of step t is fold_in(seed, t)."""
    flat = flatten_dict(state.params, sep="/")
    frozen = {name: value for name, value in flat.items() if name not in self._trainable}
    learned = {name: value for name, value in flat.items() if name in self._trainable}
    videos, class_inputs, concepts = batch.video_inputs(banks), classes.inputs(banks), batch.concept_texts(banks)
    key = jax.random.fold_in(jax.random.key(self._seed), state.step)

    def loss(learned):
      params = unflatten_dict({**frozen, **learned}, sep="/")
      parts = self._method.call("losses", params, videos, class_inputs, concepts, batch.targets, sharding.gather,
                                rngs={"dropout": key})
      return parts["loss"], parts

    (_, parts), grads = jax.value_and_grad(loss, has_aux=True)(learned)
    grads, parts = sharding.total((grads, parts))
    updates, opt_state = self._optimizer.update(grads, state.opt_state, learned)
    learned = cast(dict, optax.apply_updates(learned, updates))
    return TrainState(state.step + 1, unflatten_dict({**frozen, **learned}, sep="/"), opt_state), parts

  def finalize(self, state: TrainState, parallel: Parallel) -> TrainState:
    """The state as it is."""
    del parallel
    return state

  def learning_rate(self, step: int) -> float:
    """The schedule's."""
    return float(np.asarray(self._schedule(step)))
