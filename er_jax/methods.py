"""Methods by name, made real by a config and a dataset. A method declares itself in er_jax/models/NAME.py (models/spec.py).

    method = build(config, dataset)
    method.module, method.needs, method.text      # the Flax module, what it must be given, its text tower
"""

import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from er_jax.inputs import Params
from er_jax.models import METHODS
from er_jax.models.spec import DTYPES, GRAPH, OBJECTS, REHEARSAL, TEXTS, VECTORS, MethodSpec, Sizes
from er_jax.text.tower import TOWERS, TextTower
from input_pipeline.dataset import Dataset, require
from input_pipeline.errors import UserError, unknown
from input_pipeline.metadata import descriptions
from input_pipeline.metadata.concepts import TOP_CONCEPTS

REDUCTIONS = ("sum", "mean", "weighted")
LEAST = {"batch_size": 1, "eval_batch_size": 1, "log_every_steps": 1, "num_epochs": 0, "eval_every_steps": 0, "seed": 0,
         "data.max_tokens": 1, "data.max_splits": 0, "loss.topk": 1, "loss.rehearsal_topk": 1,
         "loss.num_negative_concepts": 0, "loss.margin": 0, "loss.rehearsal_weight": 0, "model.topk_concepts": 1,
         "model.embed_dim": 1, "model.hidden_dim": 1, "model.num_neighbors": 1, "model.text_backbone.hidden_dim": 1,
         "model.text_backbone.word_dim": 1, "optimizer.learning_rate": 0, "optimizer.clip_norm": 0,
         "optimizer.warmup_steps": 0, "optimizer.decay_steps": 0, "optimizer.momentum": 0,
         "model.text_backbone.cache_gigabytes": 0}
MOST = {"seed": 2**32 - 1, "optimizer.momentum": 1, "model.topk_concepts": TOP_CONCEPTS,
        "loss.rehearsal_topk": TOP_CONCEPTS, "optimizer.decay_rate": 1}
NOT_NEGATIVE = ("optimizer.weight_decay.", "optimizer.lr_multiplier.")      # and whatever follows
POSITIVE = ("optimizer.decay_rate", "loss.temperature", "model.feature_regularizer", "model.class_regularizer")


class Method(NamedTuple):
  """A method, and what it must be given.

  Attributes:
    name: of its file.
    spec: what that declares.
    module: see `er_jax.models.spec`.
    needs: what the spec names; and REHEARSAL, where it trains on rehearsal concepts.
    sizes: of a video's feature and of the class vectors.
    text: the tower that reads its texts; None if it reads none.
  """
  name: str
  spec: MethodSpec
  module: nn.Module
  needs: frozenset[str]
  sizes: Sizes
  text: TextTower | None = None

  def call(self, function: str | Callable, params: Params, *inputs: Any, **options: Any) -> Any:
    """What a function of the module, given by its name or as (module) -> result, gives for these parameters."""
    return self.module.apply({"params": params}, *inputs, method=function, **options)

  @property
  def pretrained(self) -> dict[str, np.ndarray]:
    """{"text_backbone/...": array}, parameters that training does not start at random."""
    return {} if self.text is None else {f"text_backbone/{name}": array for name, array in self.text.pretrained.items()}

  @property
  def frozen(self) -> frozenset[str]:
    """Names of parameters that never train."""
    return frozenset() if self.text is None else frozenset(f"text_backbone/{name}" for name in self.text.frozen)


def build(config: ConfigDict, dataset: Dataset) -> Method:
  """The method that a config describes, for a dataset.

  Raises:
    UserError: for a value that names nothing, or a dataset that lacks what the method needs.
  """
  spec = check_values(config)
  text, vector_dim = None, 0
  if TEXTS in spec.needs:
    backbone = config.model.text_backbone
    tower = TOWERS.load(backbone.kind)
    text = tower.build(backbone, DTYPES[config.dtype], dataset, config.optimizer.freeze.get("text_backbone", False))
  if spec.needs & {VECTORS, GRAPH}:
    require(dataset, "class_vectors", f"method {config.method}")
  if dataset.class_vectors is not None:
    vector_dim = dataset.class_vectors.shape[1]
  return of_sizes(config, Sizes(dataset.feature_dim, vector_dim), text and text.module)._replace(text=text)


def of_sizes(config: ConfigDict, sizes: Sizes, text: nn.Module | None) -> Method:
  """The method of a config that `check_values` accepts, of these sizes, with this module of a text tower alone."""
  spec = METHODS.load(config.method)
  rehearses = OBJECTS in spec.needs and config.loss.rehearsal_weight > 0
  needs = spec.needs | ({REHEARSAL} if rehearses else frozenset())
  return Method(config.method, spec, spec.build(config, sizes, text), needs, sizes)


def check_trainable(config: ConfigDict, dataset: Dataset) -> None:
  """Raises: UserError if the dataset lacks what the method needs to be trained, though not to be evaluated."""
  if TEXTS in METHODS.load(config.method).needs and not config.init_from:
    backbone = config.model.text_backbone
    TOWERS.load(backbone.kind).require_trainable(backbone, dataset)


def check_values(config: ConfigDict) -> MethodSpec:
  """Returns the method's declaration. Raises: UserError naming the field, for a value that is unknown or cannot be."""
  spec = METHODS.load(config.method)
  check("config.dtype", config.dtype, DTYPES)
  check("config.loss.kind", config.loss.kind, {kind for name in METHODS.names() for kind in METHODS.load(name).losses})
  if config.loss.kind not in spec.losses:
    raise UserError(f"config.loss.kind is {config.loss.kind!r}, but method {config.method} trains with "
                    f"{' or '.join(spec.losses)}.")
  check("config.data.class_text", config.data.class_text, descriptions.MODES)
  check("config.data.average_views", config.data.average_views, ("features", "scores"))
  if config.loss.kind == "rank":
    check("config.loss.reduction", config.loss.reduction, REDUCTIONS)
  for field, known in spec.choices.items():
    check(f"config.model.{field}", config.model[field], known)
  _check_numbers(flatten_dict(config.to_dict(), sep="."))
  return spec


def _check_numbers(flat: dict[str, Any]) -> None:
  for field, value in flat.items():
    if isinstance(value, (tuple, list)):
      if any(number < 1 for number in value):
        raise UserError(f"config.{field} is {value}; expected numbers of 1 or more.")
      continue
    if isinstance(value, float) and not math.isfinite(value):
      raise UserError(f"config.{field} is {value}; expected a finite number.")
    if field in MOST and value > MOST[field]:
      raise UserError(f"config.{field} is {value}; expected {MOST[field]} or less.")
    if field.startswith(NOT_NEGATIVE) and value < 0:
      raise UserError(f"config.{field} is {value}; expected 0 or more.")
    if field in LEAST and value < LEAST[field]:
      raise UserError(f"config.{field} is {value}; expected {LEAST[field]} or more.")
    if field.endswith("dropout_rate") and not 0 <= value < 1:
      raise UserError(f"config.{field} is {value}; expected at least 0 and below 1.")
    if field in POSITIVE and value <= 0:
      raise UserError(f"config.{field} is {value}; expected a number above 0.")


def check(field: str, value: object, known: Collection[Any]) -> None:
  """Raises: UserError naming the near matches if a config field's value is not a known one."""
  if value not in known:
    raise unknown(field, value, known)
