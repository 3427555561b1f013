"""ESZSL (Romera-Paredes & Torr, ICML 2015): bilinear compatibility in closed form, in one pass over the videos.

    W = (X Xt + a I)^-1 X Y St (S St + b I)^-1

X (F, N) are features, Y (N, C) one-hot classes, S (V, C) normalised class vectors; a video's score for a class is
x W s (bilinear.py). N may be large: steps add up X Xt and X Y, and the rest is solved, in double precision.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from er_jax import sharding
from er_jax.inputs import Banks, ClassSet, Params, StepBatch, TrainState
from er_jax.models import bilinear
from er_jax.models.spec import FEATURES, VECTORS, MethodSpec, read_sizes
from er_jax.sharding import Parallel
from er_jax.types import Array
from input_pipeline.dataset import Dataset, require


class Sum(NamedTuple):
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
  """Learns by adding up: steps see the videos, `finalize` solves for W."""

  validate_at_start = False

  def __init__(self, vectors: Float[np.ndarray, "c v"], feature_regularizer: float, class_regularizer: float):
    """Args: vectors: of the seen classes, as they are; the regularizers: a, b."""
    vectors = vectors.astype(np.float64)
    self._vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    self._regularizers = feature_regularizer, class_regularizer

  def init(self, params: Params) -> Statistics:
    """No videos yet."""
    features = params["eszsl"]["dense"]["kernel"].shape[0]
    return Statistics(Sum.zeros(features, features), Sum.zeros(features, len(self._vectors)))

  def step(self, state: TrainState, batch: StepBatch, classes: ClassSet,
           banks: Banks) -> tuple[TrainState, dict[str, Array]]:
    """Adds the batch's videos. Its loss is the mean squared error of the scores by what was solved before."""
    del classes, banks
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


def _learner(config: ConfigDict, dataset: Dataset) -> ClosedForm:
  vectors = require(dataset, "class_vectors", "method eszsl")[list(dataset.class_splits[0].seen)]
  return ClosedForm(vectors, config.model.feature_regularizer, config.model.class_regularizer)


METHOD: MethodSpec = MethodSpec(
    title="ESZSL", paper="Romera-Paredes & Torr, ICML 2015", year=2015, losses=("mse",),
    needs=frozenset({FEATURES, VECTORS}), build=bilinear.build, learner=_learner, single_epoch=True,
    published_names={"eszsl/dense/kernel": "W"}, published_sizes=read_sizes(("W", 0), ("W", 1)), published_alone="W")
