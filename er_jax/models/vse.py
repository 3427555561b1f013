"""VSE: videos and class texts in one space, score = dot product (the base of ER-ZSAR and its comparison).

    model = VSE(tower, config.model, config.loss)
    videos = model.apply(params, video_inputs, deterministic=True, method="encode_videos")     # (b, D)
    classes = model.apply(params, class_inputs, deterministic=True, method="encode_classes")   # (c, D)
    logits = model.apply(params, videos, classes, method="score")                              # (b, c)
"""

from typing import Any

from jaxtyping import Bool, Float

from er_jax import losses
from er_jax.inputs import Targets, VideoInputs
from er_jax.models.encoders import GlobalFeatureEncoder
from er_jax.models.spec import FEATURES, MethodSpec
from er_jax.models.text_model import TextModel, text_method
from er_jax.types import Array


class VSE(TextModel):
  """Visual-semantic embedding."""

  def setup(self):
    super().setup()
    config = self.config
    self.video_encoder = GlobalFeatureEncoder(config.embed_dim, config.video_encoder.dropout_rate,
                                              config.l2_normalize, self.dtype)

  def embed(self, videos: VideoInputs, objects: Array | None, deterministic: bool) -> Float[Array, "b d"]:
    """Embeddings of the videos' features."""
    del objects
    return self.video_encoder(videos.features, videos.rows, deterministic)

  def class_loss(self, videos: Any, classes: Float[Array, "c d"], class_mask: Bool[Array, " c"],
                 targets: Targets) -> Float[Array, ""]:
    """As for every text model; or, with loss `l2`, how far each video is from its class."""
    if self.loss.kind == "l2":
      return losses.squared_error(videos, classes[targets.classes], targets.weights)
    return super().class_loss(videos, classes, class_mask, targets)


METHOD: MethodSpec = text_method(
    VSE, title="VSE", paper="Chen & Huang, ICCV 2021 (the base of ER-ZSAR)", year=2021, losses=("ce", "l2", "rank"),
    needs=(FEATURES,), published_modules={"video_encoder/dense": "vis_encoder.ft_embed"})
