"""ER-ZSAR, the full method: an action stream and an object stream, and rehearsal of the video's own objects.

The action stream embeds the spatio-temporal feature, the object stream the texts of the objects seen in the video,
by the encoder that also embeds class texts. Training asks each video for its class and for its objects among all
objects of the batch (Chen & Huang 2021, section 3).
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from er_jax import losses
from er_jax.inputs import ClassInputs, Targets, VideoInputs
from er_jax.models.dropout import Dropout
from er_jax.models.encoders import dense, l2_normalize
from er_jax.models.vse import VSE
from er_jax.text_bank import Texts

FUSIONS = ("early", "late", "fc", "gate")


class Streams(NamedTuple):
  """A video's embeddings, each (b, D): `action`, `object`, and for fusion `fc` what they make together."""
  action: Array
  object: Array
  fused: Array | None


class Scores(NamedTuple):
  """Scores of each stream and of both, each (b, C)."""
  action: Array
  object: Array
  combined: Array


class FusionMLP(nn.Module):
  """Both streams (b, 2 D) to (b, D): dense, ReLU, dropout, dense."""
  dropout_rate: float
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, streams: Array, rows: Array, deterministic: bool) -> Array:
    width = streams.shape[-1] // 2
    x = nn.relu(dense(2 * width, width, dtype=self.dtype, name="hidden")(streams))
    x = Dropout(self.dropout_rate)(x, rows, deterministic)
    return dense(width, width, dtype=self.dtype, name="output")(x).astype(jnp.float32)


class Fusion(nn.Module):
  """How the streams meet before they are scored.

  `early` and `late` leave them; `fc` makes one embedding of both; `gate` weighs each stream's coordinates by what
  both say (both gates see the ungated streams).
  """
  kind: str
  dropout_rate: float
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, action: Array, object_: Array, rows: Array, deterministic: bool) -> Streams:
    both = jnp.concatenate([action, object_], axis=-1)
    if self.kind == "fc":
      fused = FusionMLP(self.dropout_rate, self.dtype, name="mlp")(both, rows, deterministic)
      return Streams(action, object_, l2_normalize(fused))
    if self.kind == "gate":
      gates = [nn.sigmoid(FusionMLP(self.dropout_rate, self.dtype, name=name)(both, rows, deterministic))
               for name in ("action_gate", "object_gate")]
      return Streams(l2_normalize(gates[0] * action), l2_normalize(gates[1] * object_), None)
    return Streams(action, object_, None)


class ERVSE(VSE):
  """VSE with an object stream, fusion and rehearsal."""

  def setup(self):
    super().setup()
    self.fusion = Fusion(self.config.fusion, self.config.fusion_mlp.dropout_rate, self.dtype)

  def encode_videos(self, videos: VideoInputs, deterministic: bool) -> Streams:
    """Both streams of the videos, (b, D) each."""
    return self.fuse(videos, self.encode_texts(videos.objects, deterministic), deterministic)

  def fuse(self, videos: VideoInputs, objects: Array, deterministic: bool) -> Streams:
    """Both streams, from the videos' features and the embeddings (b, D) of their object sequences."""
    action = self.video_encoder(videos.features, videos.rows, deterministic)
    return self.fusion(action, objects, videos.rows, deterministic)

  def stream_scores(self, videos: Streams, texts: Array, clamp: bool) -> Scores:
    """Scores against text embeddings (C, D); `clamp` lets the object stream only add to the combined score."""
    action, object_ = videos.action @ texts.T, videos.object @ texts.T
    if self.config.fusion == "fc":
      return Scores(action, object_, videos.fused @ texts.T)
    return Scores(action, object_, action + (jnp.maximum(object_, 0) if clamp else object_))

  def score(self, videos: Streams, classes: Array) -> Array:
    """(b, C) class scores, by the fusion that was trained."""
    return self.stream_scores(videos, classes, self._clamp).combined

  @property
  def _clamp(self) -> bool:
    return self.config.clamp_obj_logits and self.config.fusion in ("late", "gate")

  def losses(self, videos: VideoInputs, classes: ClassInputs, concepts: Texts | None, targets: Targets,
             gather: Callable[[Array], Array], deterministic: bool = False) -> dict[str, Array]:
    """This device's share of the batch's losses; see `er_jax.methods`."""
    texts = [classes.texts, videos.objects] + ([] if concepts is None else [concepts])
    class_embeddings, objects, *concept_embeddings = self.encode_together(texts, deterministic)
    streams = self.fuse(videos, objects, deterministic)
    class_embeddings, class_mask = gather(class_embeddings), gather(classes.mask)
    scores = self.stream_scores(streams, class_embeddings, self._clamp)
    # Early fusion trains on the combined score alone, and so do ranking losses: theirs is not a probability.
    parts = scores if self.config.fusion != "early" and self.loss.kind == "ce" else (scores.combined,)
    class_loss = sum(losses.classification_loss(part, targets.classes, targets.weights, class_mask, self.loss)
                     for part in parts)
    if concepts is None:
      return {"loss": class_loss, "class_loss": class_loss}
    scores = self.stream_scores(streams, gather(concept_embeddings[0]), clamp=False)
    concept_mask = gather(targets.concept_mask)
    temperature = self.loss.temperature if self.loss.kind == "ce" else 1.0
    parts = scores if self.config.fusion != "early" else (scores.combined,)
    rehearsal = sum(losses.rehearsal_loss(part, targets.concepts, concept_mask, temperature=temperature)
                    for part in parts)
    return {"loss": class_loss + self.loss.rehearsal_weight * rehearsal, "class_loss": class_loss,
            "rehearsal_loss": rehearsal}
