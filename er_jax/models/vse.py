"""VSE: videos and class texts in one space, score = dot product (the base of ER-ZSAR and its comparison).

    model = VSE(embed_dim=512, ...)
    videos = model.apply(params, video_inputs, deterministic=True, method="encode_videos")     # (b, D)
    classes = model.apply(params, class_inputs, deterministic=True, method="encode_classes")   # (c, D)
    logits = model.apply(params, videos, classes, method="score")                              # (b, c)
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import FrozenConfigDict

from er_jax import losses
from er_jax.inputs import ClassInputs, Targets, VideoInputs
from er_jax.models.encoders import GlobalFeatureEncoder, TextEncoder
from er_jax.text_bank import Texts, merge


class VSE(nn.Module):
  """Visual-semantic embedding.

  Attributes:
    backbone: a text backbone, Texts -> (N, H).
    config: `config.model`.
    loss: `config.loss`.
    dtype: of the activations.
  """
  backbone: nn.Module
  config: FrozenConfigDict
  loss: FrozenConfigDict
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    config = self.config
    self.text_backbone = self.backbone.copy(name="text_backbone", parent=self)
    self.text_encoder = TextEncoder(config.embed_dim, config.pooling, config.text_encoder.dropout_rate,
                                    config.l2_normalize, self.dtype)
    self.video_encoder = GlobalFeatureEncoder(config.embed_dim, config.video_encoder.dropout_rate,
                                              config.l2_normalize, self.dtype)

  def frozen_texts(self, texts: Texts) -> Array:
    """(N, H): the output of the text backbone's frozen layers, a function of the text alone."""
    return self.text_backbone.frozen(texts)

  def encode_texts(self, texts: Texts, deterministic: bool) -> Array:
    """(S, D) embeddings of any texts."""
    return self.text_encoder(self.text_backbone(texts, deterministic), texts.ragged, deterministic)

  def encode_together(self, parts: Sequence[Texts], deterministic: bool) -> list[Array]:
    """(S, D) embeddings of each group of texts, by one run of the text backbone over all of them."""
    if any(part.hidden is not None for part in parts):   # groups whose frozen output is not kept run it now
      parts = [part if part.hidden is not None else part.replace(hidden=self.frozen_texts(part)) for part in parts]
    embeddings = self.encode_texts(merge(parts), deterministic)
    return jnp.split(embeddings, np.cumsum([len(part.ragged.lengths) for part in parts])[:-1])

  def encode_classes(self, classes: ClassInputs, deterministic: bool) -> Array:
    """(c, D) embeddings of the class texts."""
    return self.encode_texts(classes.texts, deterministic)

  def encode_videos(self, videos: VideoInputs, deterministic: bool) -> Array:
    """(b, D) embeddings of the videos."""
    return self.video_encoder(videos.features, videos.rows, deterministic)

  def score(self, videos: Array, classes: Array) -> Array:
    """(b, C) similarities."""
    return videos @ classes.T

  def losses(self, videos: VideoInputs, classes: ClassInputs, concepts: Texts | None, targets: Targets,
             gather: Callable[[Array], Array], deterministic: bool = False) -> dict[str, Array]:
    """This device's share of the batch's losses; see `er_jax.methods`."""
    embeddings = self.encode_videos(videos, deterministic)
    class_embeddings = gather(self.encode_classes(classes, deterministic))
    if self.loss.kind == "l2":
      loss = losses.squared_error(embeddings, class_embeddings[targets.classes], targets.weights)
    else:
      scores = self.score(embeddings, class_embeddings)
      loss = losses.classification_loss(scores, targets.classes, targets.weights, gather(classes.mask), self.loss)
    return {"loss": loss, "class_loss": loss}
