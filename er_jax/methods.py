"""The methods, by name. What training and evaluation know of a method is this:

    method = build(config, dataset)
    method.module.encode_classes(classes: ClassInputs, deterministic)  -> class embeddings, leading axis c
    method.module.encode_videos(videos: VideoInputs, deterministic)    -> video embeddings, leading axis b
    method.module.score(video embeddings, class embeddings)            -> logits (b, C)
    method.module.losses(videos, classes, concepts, targets, gather)   -> {"loss": scalar, "class_loss": ..., ...}

`losses` sees one device's videos, classes and rehearsal concepts; `gather` brings arrays of all devices together on
the leading axis, and what is returned adds up over devices to the losses of the batch. How a method learns from its
losses, or without them, is in `er_jax.learners`.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, FrozenConfigDict

from er_jax.models.bilinear import Bilinear
from er_jax.models.cpt import CPT
from er_jax.models.dem import DEM
from er_jax.models.encoders import POOLINGS
from er_jax.models.ervse import ERVSE, FUSIONS
from er_jax.models.gcn import GCN
from er_jax.models.vse import VSE
from er_jax.text import backbone as text_backbone
from er_jax.text.tokenizers import Tokenizer
from input_pipeline.dataset import Dataset, require
from input_pipeline.errors import UserError, unknown
from input_pipeline.metadata import descriptions

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
REDUCTIONS = ("sum", "mean", "weighted")
TEXT_MODELS = {"ervse": ERVSE, "vse": VSE, "vse_wordembed": VSE, "cpt": CPT}
LOSSES = {"ervse": ("ce", "rank"), "vse": ("ce", "l2", "rank"), "vse_wordembed": ("ce", "l2", "rank"),
          "cpt": ("ce", "rank"), "devise": ("rank", "ce"), "ale": ("rank", "ce"), "sje": ("rank", "ce"),
          "dem": ("mse",), "eszsl": ("mse",), "gcn": ("mse",)}
METHODS = tuple(LOSSES)
GCN_TARGETS = ("classifier", "class_means")


class Method(NamedTuple):
  """A method, and what it must be given.

  Attributes:
    name: as in METHODS.
    module: see above.
    tokenizer: for its texts; None if it reads none.
    max_tokens: the longest text that it can read.
    pretrained: {"text_backbone/...": array}, parameters that training does not start at random.
    frozen: names of parameters that never train.
    reads_objects: its video embedding needs the objects' texts.
    rehearses: it trains on rehearsal concepts.
    reads_vectors: its class embedding needs the class vectors.
    reads_graph: its class embedding needs the graph of all classes; it learns from that, not from videos.
  """
  name: str
  module: nn.Module
  tokenizer: Tokenizer | None = None
  max_tokens: int = 0
  pretrained: dict[str, np.ndarray] = {}
  frozen: frozenset[str] = frozenset()
  reads_objects: bool = False
  rehearses: bool = False
  reads_vectors: bool = False
  reads_graph: bool = False


def build(config: ConfigDict, dataset: Dataset) -> Method:
  """The method that a config describes, for a dataset.

  Raises:
    UserError: for a value that names nothing, or a dataset that lacks what the method needs.
  """
  check_values(config)
  if config.method in TEXT_MODELS:
    backbone = text_backbone.build(config.model.text_backbone, DTYPES[config.dtype], dataset,
                                   frozen=config.optimizer.freeze.get("text_backbone", False))
    return text_method(config, backbone.module)._replace(
        tokenizer=backbone.tokenizer, max_tokens=backbone.max_tokens,
        pretrained={f"text_backbone/{name}": value for name, value in backbone.pretrained.items()},
        frozen=frozenset(f"text_backbone/{name}" for name in backbone.frozen))
  vector_dim = require(dataset, "class_vectors", f"method {config.method}").shape[1]
  return vector_method(config, vector_dim, dataset.feature_dim)


def text_method(config: ConfigDict, backbone: nn.Module) -> Method:
  """A method that reads texts, without what comes with its backbone."""
  module = TEXT_MODELS[config.method](backbone, FrozenConfigDict(config.model), FrozenConfigDict(config.loss),
                                      DTYPES[config.dtype])
  reads_objects = config.method in ("ervse", "cpt")
  return Method(config.method, module, reads_objects=reads_objects,
                rehearses=reads_objects and config.loss.rehearsal_weight > 0)


def vector_method(config: ConfigDict, vector_dim: int, feature_dim: int) -> Method:
  """A method that knows classes by their vectors."""
  model, loss, dtype = FrozenConfigDict(config.model), FrozenConfigDict(config.loss), DTYPES[config.dtype]
  if config.method == "gcn":
    return Method("gcn", GCN(feature_dim, model, loss, dtype), reads_graph=True)
  if config.method == "dem":
    return Method("dem", DEM(feature_dim, model, loss, dtype), reads_vectors=True)
  return Method(config.method, Bilinear(config.method, vector_dim, model, loss, dtype), reads_vectors=True)


def check_trainable(config: ConfigDict, dataset: Dataset) -> None:
  """Raises: UserError if the dataset lacks what the method needs to be trained, though not to be evaluated."""
  backbone = config.model.get("text_backbone", ConfigDict({"kind": "none"}))
  if backbone.kind in ("rnn", "embedding") and backbone.frozen_embedding and not config.init_from:
    require(dataset, "word_table", f"text backbone {backbone.kind!r} with frozen_embedding")
  if config.method == "gcn" and config.model.targets == "classifier":
    require(dataset, "classifier_rows", "method gcn with config.model.targets=classifier")


def check_values(config: ConfigDict) -> None:
  """Raises: UserError naming the field, for a value that is unknown or cannot be."""
  check("config.method", config.method, METHODS)
  check("config.dtype", config.dtype, DTYPES)
  check("config.loss.kind", config.loss.kind, {kind for kinds in LOSSES.values() for kind in kinds})
  if config.loss.kind not in LOSSES[config.method]:
    raise UserError(f"config.loss.kind is {config.loss.kind!r}, but method {config.method} trains with "
                    f"{' or '.join(LOSSES[config.method])}.")
  check("config.data.class_text", config.data.class_text, descriptions.MODES)
  check("config.data.average_views", config.data.average_views, ("features", "scores"))
  if config.loss.kind == "rank":
    check("config.loss.reduction", config.loss.reduction, REDUCTIONS)
  for field, known in (("pooling", POOLINGS), ("fusion", FUSIONS), ("targets", GCN_TARGETS)):
    if field in config.model:
      check(f"config.model.{field}", config.model[field], known)
  flat = flatten_dict(config.to_dict(), sep=".")
  least = {"batch_size": 1, "eval_batch_size": 1, "log_every_steps": 1, "num_epochs": 0, "eval_every_steps": 0, "seed": 0,
           "data.max_tokens": 1, "data.max_splits": 0, "loss.topk": 1, "loss.rehearsal_topk": 1, "loss.num_negative_concepts": 0,
           "model.topk_concepts": 1, "model.embed_dim": 1, "model.hidden_dim": 1, "model.num_neighbors": 1,
           "model.text_backbone.hidden_dim": 1, "model.text_backbone.word_dim": 1,
           "optimizer.learning_rate": 0, "optimizer.clip_norm": 0, "optimizer.warmup_steps": 0, "loss.margin": 0,
           "loss.rehearsal_weight": 0}
  for field, value in flat.items():
    if field in least and value < least[field]:
      raise UserError(f"config.{field} is {value}; expected {least[field]} or more.")
    if field.endswith("dropout_rate") and not 0 <= value < 1:
      raise UserError(f"config.{field} is {value}; expected at least 0 and below 1.")
  for field in ("loss.temperature", "model.feature_regularizer", "model.class_regularizer"):
    if flat.get(field, 1.0) <= 0:
      raise UserError(f"config.{field} is {flat[field]}; expected a number above 0.")
  if config.method == "ervse" and config.model.separate_concepts:
    raise UserError("config.model.separate_concepts is True, but the object stream reads one sequence; only method "
                    "cpt separates concepts.")


def check(field: str, value: object, known: object) -> None:
  """Raises: UserError naming the near matches if a config field's value is not a known one."""
  if value not in known:
    raise unknown(field, value, known)
