"""ER-ZSAR, the full method: an action stream and an object stream, and rehearsal of the video's own objects.

The action stream embeds the spatio-temporal feature, the object stream the texts of the objects seen in the video,
by the encoder that also embeds class texts. Training asks each video for its class and for its objects among all
objects of the batch (Chen & Huang 2021, section 3).
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from er_jax.dropout import Dropout
from er_jax.inputs import UNUSED, VideoInputs
from er_jax.models.encoders import dense, l2_normalize
from er_jax.models.spec import FEATURES, OBJECTS, MethodSpec
from er_jax.models.text_model import text_method
from er_jax.models.vse import VSE
from er_jax.types import Array
from input_pipeline.errors import UserError

FUSIONS = ("early", "late", "fc", "gate")


class Streams(NamedTuple):
  """Videos' embeddings: `action`, `object`, and for fusion `fc` what they make together."""
  action: Float[Array, "b d"]
  object: Float[Array, "b d"]
  fused: Float[Array, "b d"] = UNUSED


class FusionMLP(nn.Module):
  """Both streams, side by side, to one: dense, ReLU, dropout, dense."""
  dropout_rate: float
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, streams: Float[Array, "b both"], rows: Int[Array, " b"],
               deterministic: bool) -> Float[Array, "b both//2"]:
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
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, action: Float[Array, "b d"], object_: Float[Array, "b d"], rows: Int[Array, " b"],
               deterministic: bool) -> Streams:
    both = jnp.concatenate([action, object_], axis=-1)
    if self.kind == "fc":
      fused = FusionMLP(self.dropout_rate, self.dtype, name="mlp")(both, rows, deterministic)
      return Streams(action, object_, l2_normalize(fused))
    if self.kind == "gate":
      gates = [nn.sigmoid(FusionMLP(self.dropout_rate, self.dtype, name=name)(both, rows, deterministic))
               for name in ("action_gate", "object_gate")]
      return Streams(l2_normalize(gates[0] * action), l2_normalize(gates[1] * object_))
    return Streams(action, object_)


class ERVSE(VSE):
  """VSE with an object stream, fusion and rehearsal."""

  @staticmethod
  def check(config: ConfigDict) -> None:
    """Raises: UserError where objects would be read one by one."""
    if config.model.separate_concepts:
      raise UserError("config.model.separate_concepts is True, but the object stream reads one sequence; only method "
                      "cpt separates concepts.")

  def setup(self):
    super().setup()
    self.fusion = Fusion(self.config.fusion, self.config.fusion_mlp.dropout_rate, self.dtype)

  def embed(self, videos: VideoInputs, objects: Float[Array, "b d"], deterministic: bool) -> Streams:
    """Both streams of the videos, from their features and the embeddings of their object sequences."""
    action = self.video_encoder(videos.features, videos.rows, deterministic)
    return self.fusion(action, objects, videos.rows, deterministic)

  def scores(self, videos: Streams, texts: Float[Array, "c d"],
             rehearsing: bool = False) -> tuple[Float[Array, "b c"], ...]:
    """Scores of the action stream, of the object stream and of both; with fusion `early` of both alone.

    With `clamp_obj_logits` and fusion `late` or `gate` the object stream can only add to the score of a class.
    """
    fusion = self.config.fusion
    action, object_ = videos.action @ texts.T, videos.object @ texts.T
    if fusion == "fc":
      return action, object_, videos.fused @ texts.T
    if fusion == "early":
      return (action + object_,)
    clamped = self.config.clamp_obj_logits and not rehearsing
    return action, object_, action + (jnp.maximum(object_, 0) if clamped else object_)


METHOD: MethodSpec = text_method(
    ERVSE, title="ER-ZSAR", paper="Chen & Huang, ICCV 2021", year=2021, losses=("ce", "rank"), needs=(FEATURES, OBJECTS),
    choices={"fusion": FUSIONS}, published_modules={
        "video_encoder/dense": "vis_encoder.ft_embed",
        "fusion/mlp/hidden": "mm_fusion.0", "fusion/mlp/output": "mm_fusion.3",
        "fusion/action_gate/hidden": "act_gate_fc.0", "fusion/action_gate/output": "act_gate_fc.3",
        "fusion/object_gate/hidden": "obj_gate_fc.0", "fusion/object_gate/output": "obj_gate_fc.3"})
