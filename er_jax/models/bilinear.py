"""The bilinear methods: score = video feature . W . class vector.

    logits = dropout(x) W . dropout(normalise(g)),   W (F, V) without bias, g the class's word vector

DEVISE (Frome et al., NIPS 2013), ALE (Akata et al., CVPR 2013) and SJE (Akata et al., CVPR 2015) learn W by ranking,
each by its own loss; ESZSL (Romera-Paredes & Torr, ICML 2015) in closed form (eszsl.py).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Int
from ml_collections import ConfigDict, FrozenConfigDict

from er_jax import losses
from er_jax.dropout import Dropout
from er_jax.inputs import ClassInputs, Targets, VideoInputs
from er_jax.models.encoders import dense, l2_normalize
from er_jax.models.spec import DTYPES, FEATURES, VECTORS, MethodSpec, Sizes, dense_names, read_sizes
from er_jax.text.bank import Texts
from er_jax.types import Array


class Compatibility(nn.Module):
  """The weights W (F, V) and the dropout before them."""
  vector_dim: int
  dropout_rate: float
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, features: Float[Array, "b f"], rows: Int[Array, " b"], deterministic: bool) -> Float[Array, "b v"]:
    x = Dropout(self.dropout_rate)(features, rows, deterministic)
    return dense(features.shape[-1], self.vector_dim, use_bias=False, dtype=self.dtype, name="dense")(x)


class Bilinear(nn.Module):
  """A bilinear compatibility between videos and classes.

  Attributes:
    method: the name of its one submodule: devise, ale, sje or eszsl.
    vector_dim: V, the width of the class vectors.
    config: `config.model`.
    loss: `config.loss`.
    dtype: of the activations.
  """
  method: str
  vector_dim: int
  config: FrozenConfigDict
  loss: FrozenConfigDict
  dtype: DTypeLike = jnp.float32

  def setup(self):
    rate = self.config.get("dropout_rate", 0.0)     # ESZSL has none
    self.compatibility = Compatibility(self.vector_dim, rate, self.dtype, name=self.method)
    self.class_dropout = Dropout(rate)

  def encode_classes(self, classes: ClassInputs, deterministic: bool) -> Float[Array, "c v"]:
    """Normalised class vectors."""
    return self.class_dropout(l2_normalize(classes.vectors), classes.rows, deterministic)

  def encode_videos(self, videos: VideoInputs, deterministic: bool) -> Float[Array, "b v"]:
    """The videos' features in the space of the class vectors."""
    return self.compatibility(videos.features, videos.rows, deterministic).astype(jnp.float32)

  def score(self, videos: Float[Array, "b v"], classes: Float[Array, "c v"]) -> Float[Array, "b c"]:
    """Compatibilities."""
    return videos @ classes.T

  def losses(self, videos: VideoInputs, classes: ClassInputs, concepts: Texts | None, targets: Targets,
             gather: Callable[[Array], Array], deterministic: bool = False) -> dict[str, Float[Array, ""]]:
    """This device's share of the batch's losses; see `er_jax.models.spec`."""
    scores = self.score(self.encode_videos(videos, deterministic), gather(self.encode_classes(classes, deterministic)))
    loss = losses.classification_loss(scores, targets.classes, targets.weights, gather(classes.mask), self.loss)
    return {"loss": loss, "class_loss": loss}


def build(config: ConfigDict, sizes: Sizes, tower: None = None) -> Bilinear:
  """The module of a bilinear method; its submodule has the method's name."""
  del tower
  return Bilinear(config.method, sizes.vector_dim, FrozenConfigDict(config.model), FrozenConfigDict(config.loss),
                  DTYPES[config.dtype])


def ranking_method(name: str, **declared: Any) -> MethodSpec:
  """The declaration of a bilinear method that learns by ranking; `declared` are its title, paper and year."""
  return MethodSpec(
      losses=("rank", "ce"), needs=frozenset({FEATURES, VECTORS}), build=build,
      published_names=dense_names({f"{name}/dense": "bilinear"}),
      published_sizes=read_sizes(("bilinear.weight", 1), ("bilinear.weight", 0)), **declared)
