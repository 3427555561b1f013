"""DEM (Zhang et al., CVPR 2017): class vectors are mapped to where videos lie, score = -squared distance.

    t = relu(relu(dropout(g) W1) W2),   g the class's word vector as it is, W1 (V, H), W2 (H, F), no biases
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Int
from ml_collections import ConfigDict, FrozenConfigDict

from er_jax import losses
from er_jax.dropout import Dropout
from er_jax.inputs import ClassInputs, Targets, VideoInputs
from er_jax.models.encoders import dense
from er_jax.models.spec import DTYPES, FEATURES, VECTORS, MethodSpec, Sizes, dense_names, read_sizes
from er_jax.text.bank import Texts
from er_jax.types import Array


class Embedding(nn.Module):
  """Class vectors to the space of video features."""
  hidden_dim: int
  feature_dim: int
  dropout_rate: float
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, vectors: Float[Array, "n v"], rows: Int[Array, " n"], deterministic: bool) -> Float[Array, "n f"]:
    x = Dropout(self.dropout_rate)(vectors, rows, deterministic)
    x = nn.relu(dense(x.shape[-1], self.hidden_dim, use_bias=False, dtype=self.dtype, name="hidden")(x))
    x = nn.relu(dense(self.hidden_dim, self.feature_dim, use_bias=False, dtype=self.dtype, name="output")(x))
    return x.astype(jnp.float32)


class DEM(nn.Module):
  """The deep embedding model.

  Attributes:
    feature_dim: F, the width of the video features.
    config: `config.model`.
    loss: `config.loss`.
    dtype: of the activations.
  """
  feature_dim: int
  config: FrozenConfigDict
  loss: FrozenConfigDict
  dtype: DTypeLike = jnp.float32

  def setup(self):
    self.embedding = Embedding(self.config.hidden_dim, self.feature_dim, self.config.dropout_rate, self.dtype,
                               name="dem")

  def encode_classes(self, classes: ClassInputs, deterministic: bool) -> Float[Array, "c f"]:
    """Where the classes' videos should lie."""
    return self.embedding(classes.vectors, classes.rows, deterministic)

  def encode_videos(self, videos: VideoInputs, deterministic: bool) -> Float[Array, "b f"]:
    """The features."""
    del deterministic
    return videos.features

  def score(self, videos: Float[Array, "b f"], classes: Float[Array, "c f"]) -> Float[Array, "b c"]:
    """Negative squared distances; the differences are squared, since |x|^2 - 2 x.t + |t|^2 loses digits."""
    return -jnp.sum(jnp.square(videos[:, None] - classes[None]), axis=-1)

  def losses(self, videos: VideoInputs, classes: ClassInputs, concepts: Texts | None, targets: Targets,
             gather: Callable[[Array], Array], deterministic: bool = False) -> dict[str, Float[Array, ""]]:
    """This device's share of the batch's losses; see `er_jax.models.spec`. Each video's class is embedded by itself."""
    vectors = gather(classes.vectors)[targets.classes]
    loss = losses.squared_error(self.embedding(vectors, videos.rows, deterministic), videos.features, targets.weights)
    return {"loss": loss, "class_loss": loss}


def _build(config: ConfigDict, sizes: Sizes, tower: None) -> DEM:
  del tower
  return DEM(sizes.feature_dim, FrozenConfigDict(config.model), FrozenConfigDict(config.loss), DTYPES[config.dtype])


METHOD: MethodSpec = MethodSpec(
    title="DEM", paper="Zhang et al., CVPR 2017", year=2017, losses=("mse",), needs=frozenset({FEATURES, VECTORS}),
    build=_build, published_names=dense_names({"dem/hidden": "t2vfc.0", "dem/output": "t2vfc.2"}),
    published_sizes=read_sizes(("t2vfc.2.weight", 0), ("t2vfc.0.weight", 1)))
