"""CPT: a video is nothing but the objects seen in it, read by the text encoder (Chen & Huang 2021, section 4.3).

With `separate_concepts` each of a video's k objects is embedded by itself, and the score is the mean of their scores,
weighted by softmax(10 r): r_k = 1 / sum_q max(0, v_k . v_q) is small for an object that repeats what others say.
Scores are dot products, so the weighted mean of the objects' embeddings stands for all of them.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from er_jax.inputs import VideoInputs
from er_jax.models.spec import OBJECTS, MethodSpec
from er_jax.models.text_model import TextModel, text_method
from er_jax.types import Array


class CPT(TextModel):
  """The concept-only method: action and object descriptions in one space."""

  def embed(self, videos: VideoInputs, objects: Float[Array, "n d"], deterministic: bool) -> Float[Array, "b d"]:
    """The embedding of each video's objects, joined to one text or weighted."""
    del deterministic
    if not self.config.separate_concepts:
      return objects
    objects = objects.reshape(len(videos.rows), -1, objects.shape[-1])
    present = videos.objects.ragged.lengths.reshape(objects.shape[:2]) > 0
    return jnp.einsum("bk,bkd->bd", concept_weights(objects, present), objects)


def concept_weights(objects: Float[Array, "b k d"], present: Bool[Array, "b k"]) -> Float[Array, "b k"]:
  """How much each of a video's objects counts.

  Args:
    objects: embeddings.
    present: False where a video has fewer objects.

  Returns:
    0 where absent; those of a video sum to 1 (to 0 if it has no object).
  """
  likeness = jnp.maximum(jnp.einsum("bkd,bqd->bkq", objects, objects), 0)
  redundancy = jnp.sum(jnp.where(present[:, None, :], likeness, 0), axis=2)
  distinctness = jnp.where(present, 1 / jnp.where(present, redundancy, 1), 0)
  weights = nn.softmax(jnp.where(present, 10 * distinctness, -1e30), axis=1)
  return jnp.where(present, weights, 0)


METHOD: MethodSpec = text_method(CPT, title="CPT", paper="Chen & Huang, ICCV 2021, section 4.3", year=2021,
                                 losses=("ce", "rank"), needs=(OBJECTS,))
