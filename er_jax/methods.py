"""The methods, by name. What training and evaluation know of a method is this:

    method = build(config, vector_dim=300)
    method.module.encode_classes(classes: ClassInputs, deterministic)  -> class embeddings, leading axis c
    method.module.encode_videos(videos: VideoInputs, deterministic)    -> video embeddings, leading axis b
    method.module.score(video embeddings, class embeddings)            -> logits (b, C)
    method.module.losses(videos, classes, concepts, targets, gather)   -> {"loss": scalar, "class_loss": ..., ...}

`losses` sees one device's videos, classes and rehearsal concepts; `gather` brings arrays of all devices together on
the leading axis, and what is returned adds up over devices to the losses of the batch.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict, FrozenConfigDict

from er_jax.models import text_backbone
from er_jax.models.bilinear import Bilinear
from er_jax.models.encoders import POOLINGS
from er_jax.models.ervse import ERVSE, FUSIONS
from er_jax.models.vse import VSE
from input_pipeline.errors import UserError, unknown
from input_pipeline.tokenizers import Tokenizer

METHODS = ("ervse", "vse", "devise")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
LOSSES = {"ervse": ("ce", "rank"), "vse": ("ce", "l2", "rank"), "devise": ("rank", "ce")}
REDUCTIONS = ("sum", "mean", "weighted")


class Method(NamedTuple):
  """A method, and what it must be given.

  Attributes:
    name: as in METHODS.
    module: see above.
    tokenizer: for its texts; None if it reads none.
    max_tokens: the longest text that it can read.
    pretrained: {submodule: parameters} that training starts from.
    frozen: names of parameters that never train.
    reads_objects: its video embedding needs the objects' texts.
    rehearses: it trains on rehearsal concepts.
    reads_vectors: its class embedding needs the class vectors.
  """
  name: str
  module: nn.Module
  tokenizer: Tokenizer | None = None
  max_tokens: int = 0
  pretrained: dict[str, Any] = {}
  frozen: frozenset[str] = frozenset()
  reads_objects: bool = False
  rehearses: bool = False
  reads_vectors: bool = False


def build(config: ConfigDict, vector_dim: int | None) -> Method:
  """The method that a config describes.

  Args:
    config: the experiment's config.
    vector_dim: width of the dataset's class vectors, None if it has none.

  Raises:
    UserError: for a value that names nothing, or a dataset that lacks what the method needs.
  """
  check("config.method", config.method, METHODS)
  check_numbers(config)
  check("config.dtype", config.dtype, DTYPES)
  check("config.loss.kind", config.loss.kind, LOSSES[config.method])
  if config.loss.kind == "rank":
    check("config.loss.reduction", config.loss.reduction, REDUCTIONS)
  dtype = DTYPES[config.dtype]
  model, loss = FrozenConfigDict(config.model), FrozenConfigDict(config.loss)
  if config.method == "devise":
    if vector_dim is None:
      raise UserError("The dataset has no class vectors (class_vectors.npy), which method devise needs.")
    module = Bilinear(config.method, vector_dim, model, loss, dtype)
    return Method(config.method, module, reads_vectors=True)
  check("config.model.pooling", config.model.pooling, POOLINGS)
  backbone = text_backbone.build(config.model.text_backbone, dtype,
                                 frozen=config.optimizer.freeze.get("text_backbone", False))
  method = Method(
      name=config.method, module=VSE(backbone.module, model, loss, dtype), tokenizer=backbone.tokenizer,
      max_tokens=backbone.max_tokens,
      pretrained={} if backbone.params is None else {"text_backbone": backbone.params},
      frozen=frozenset(f"text_backbone/{name}" for name in backbone.frozen))
  if config.method == "vse":
    return method
  check("config.model.fusion", config.model.fusion, FUSIONS)
  return method._replace(module=ERVSE(backbone.module, model, loss, dtype), reads_objects=True,
                         rehearses=config.loss.rehearsal_weight > 0)


def check_numbers(config: ConfigDict) -> None:
  """Raises: UserError naming the field, for a number that cannot be."""
  flat = flatten_dict(config.to_dict(), sep=".")
  least = {"batch_size": 1, "eval_batch_size": 1, "log_every_steps": 1, "num_epochs": 0, "eval_every_steps": 0, "seed": 0,
           "data.max_tokens": 4, "loss.topk": 1, "loss.rehearsal_topk": 1, "loss.num_negative_concepts": 0,
           "model.topk_concepts": 1, "model.embed_dim": 1}
  for field, value in flat.items():
    if field in least and value < least[field]:
      raise UserError(f"config.{field} is {value}; expected {least[field]} or more.")
    if field.endswith("dropout_rate") and not 0 <= value < 1:
      raise UserError(f"config.{field} is {value}; expected at least 0 and below 1.")
  if config.loss.temperature <= 0:
    raise UserError(f"config.loss.temperature is {config.loss.temperature}; expected a number above 0.")
  if config.model.get("separate_concepts", False):
    raise UserError("config.model.separate_concepts is True, but the object stream reads one sequence; only method "
                    "cpt separates concepts.")


def check(field: str, value: object, known: Any) -> None:
  """Raises: UserError naming the near matches if a config field's value is not a known one."""
  if value not in known:
    raise unknown(field, value, known)
