"""The declaration of a method: what its file, er_jax/models/NAME.py, says of it.

    METHOD = MethodSpec(title="DEVISE", paper="Frome et al., NIPS 2013", losses=("rank", "ce"), ...)

What training and evaluation know of a method's Flax module is this:

    module.encode_classes(classes: ClassInputs, deterministic)  -> class embeddings, leading axis c
    module.encode_videos(videos: VideoInputs, deterministic)    -> video embeddings, leading axis b
    module.score(video embeddings, class embeddings)            -> logits (b, C)
    module.losses(videos, classes, concepts, targets, gather)   -> {"loss": scalar, "class_loss": ..., ...}

`losses` sees one device's videos, classes and rehearsal concepts; `gather` brings arrays of all devices together on
the leading axis, and what is returned adds up over devices to the losses of the batch.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from er_jax.inputs import Graph
from input_pipeline.array_files import Arrays, axis_length
from input_pipeline.dataset import Dataset

FEATURES, TEXTS, OBJECTS, VECTORS, GRAPH, REHEARSAL = (
    "features", "class texts", "objects", "class vectors", "graph of classes", "rehearsal")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}      # of activations


class Sizes(NamedTuple):
  """Width F of the video features, and V of the class vectors, 0 where there are none."""
  feature_dim: int
  vector_dim: int


PUBLISHED_SIZES = Sizes(2048, 300)     # where a published file does not say


def read_sizes(feature_dim: tuple[str, int] | None = None, vector_dim: tuple[str, int] | None = None
               ) -> Callable[[Arrays], Sizes]:
  """A reader of the sizes from published arrays: for each the name of an array, and the axis that tells."""

  def sizes(arrays: Arrays) -> Sizes:
    return Sizes(*(axis_length(arrays, *place, otherwise) if place else otherwise
                   for place, otherwise in zip((feature_dim, vector_dim), PUBLISHED_SIZES)))

  return sizes


def dense_names(modules: Mapping[str, str]) -> dict[str, str]:
  """Published names of the kernels and biases of dense layers, from our modules' names and theirs."""
  return {f"{ours}/{leaf}": f"{theirs}.{their_leaf}" for ours, theirs in modules.items()
          for leaf, their_leaf in (("kernel", "weight"), ("bias", "bias"))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodSpec:
  """What a method's file declares.

  Attributes:
    title: what people call it.
    paper: where it is from.
    year: of the paper.
    losses: the values of `config.loss.kind` that it can be trained with.
    needs: what its embeddings are made from: FEATURES, TEXTS and OBJECTS (their texts), VECTORS, GRAPH.
    build: (config, sizes, text tower's module or None) -> the Flax module. Raises: UserError for values that do not
      go together.
    choices: the values that a field of `config.model` can have.
    learner: (config, dataset, seen classes, method, params, num_steps) -> how it learns, see `er_jax.learners`; None
      for gradient descent on its losses.
    single_epoch: whether it must see each video once, however many epochs the config says.
    graph: (config, class vectors) -> the graph of all classes; where GRAPH is needed.
    class_targets: (config, dataset, class_ids) -> (C, F), what its class embeddings are trained to be; such a method
      learns from classes alone and sees no video.
    published_names: our parameters' names, as patterns, and the published ones, as templates. An array whose name
      ends in "weight" is the transpose of our kernel. Those of the text tower are the tower's own.
    published_sizes: published arrays -> their `Sizes`.
    published_alone: the name of the only array, where a file holds it bare.
  """
  title: str
  paper: str
  year: int
  losses: tuple[str, ...]
  needs: frozenset[str]
  build: Callable[[ConfigDict, Sizes, Any], nn.Module]
  published_names: Mapping[str, str]
  published_sizes: Callable[[Arrays], Sizes]
  choices: Mapping[str, Sequence[object]] = dataclasses.field(default_factory=dict)
  learner: Callable | None = None
  single_epoch: bool = False
  graph: Callable[[ConfigDict, np.ndarray], Graph] | None = None
  class_targets: Callable[[ConfigDict, Dataset, np.ndarray], np.ndarray] | None = None
  published_alone: str | None = None

  def __post_init__(self):
    if (GRAPH in self.needs) != (self.graph is not None):
      raise ValueError(f"{self.title}: needs must name GRAPH just where there is a `graph`")
