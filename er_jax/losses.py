"""Losses of zero-shot recognition: functions of scores and targets, nothing else.

    weights = mask / mask.sum()                                  # 0 on rows that only pad the last batch
    loss = softmax_cross_entropy(scores, targets, weights, class_mask, temperature=0.1)

Shapes: b videos, c classes, k rehearsal concepts, d embedding width. Every loss is a weighted sum over videos; with
weights of one over the number of real videos *of the whole batch* it is the batch mean, and the values of the parts
of a batch that is spread over devices add up to the value of the whole.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int
from ml_collections import FrozenConfigDict

from er_jax.types import Array


def softmax_cross_entropy(scores: Float[Array, "b c"], targets: Int[Array, " b"], weights: Float[Array, " b"],
                          class_mask: Bool[Array, " c"], *, temperature: float) -> Float[Array, ""]:
  """Weighted sum of the cross entropy of the target class.

  Args:
    scores: similarities.
    targets: class positions in [0, c).
    weights: of the videos.
    class_mask: False on slots that only pad the class set.
    temperature: divides the scores; 0.1 in the paper.

  Returns:
    In nats.
  """
  log_p = _masked_log_softmax(scores / temperature, class_mask)
  return -jnp.sum(_pick(log_p, targets) * weights)


def rehearsal_loss(scores: Float[Array, "b k"], weights: Float[Array, "b k"], concept_mask: Bool[Array, " k"], *,
                   temperature: float) -> Float[Array, ""]:
  """Asks each video to name its own objects among all of the batch's (Chen & Huang 2021, section 3.3).

  Args:
    scores: video-concept similarities.
    weights: 0 where the concept is not one of the video's own, else one over the number of true
      (video, concept) pairs of the whole batch.
    concept_mask: False on slots that only pad the concept set.
    temperature: divides the scores; 1 leaves them.

  Returns:
    The mean of -log p over all true pairs of the batch.
  """
  log_p = _masked_log_softmax(scores / temperature, concept_mask)
  return -jnp.sum(jnp.where(weights > 0, log_p * weights, 0.0))


def ranking_loss(scores: Float[Array, "b c"], targets: Int[Array, " b"], weights: Float[Array, " b"],
                 class_mask: Bool[Array, " c"], *, margin: float, max_violation: bool = False, topk: int = 1,
                 reduction: str = "sum") -> Float[Array, ""]:
  """Hinge ranking of the target above every other class: DEVISE (Frome et al. 2013), ALE (Akata et al. 2016), SJE.

  Args:
    scores, targets, weights, class_mask: as above.
    margin: by how much the target should win.
    max_violation: keep only the `topk` largest violations of each video.
    topk: see `max_violation`.
    reduction: over the classes: `sum`, `mean`, or `weighted` (ALE's rank weighting; plain sum with max_violation).
  """
  is_target = jnp.arange(scores.shape[1]) == targets[:, None]
  hinge = jnp.maximum(0.0, margin + scores - _pick(scores, targets)[:, None])
  hinge = jnp.where(is_target | ~class_mask, 0.0, hinge)
  if max_violation:
    violation = jnp.sum(jax.lax.top_k(hinge, min(topk, hinge.shape[1]))[0], axis=1)
    if reduction == "mean":
      violation = violation / topk
  else:
    violation = jnp.sum(hinge, axis=1)
    if reduction == "mean":
      violation = violation / (jnp.sum(class_mask) - 1)
    elif reduction == "weighted":
      rank = jnp.sum(hinge > 0, axis=1)
      harmonic = jnp.cumsum(1.0 / jnp.arange(1, scores.shape[1] + 1))
      weight = jnp.where(rank > 0, harmonic[jnp.maximum(rank - 1, 0)], 0.0) / (rank + 1e-8)
      violation = violation * jax.lax.stop_gradient(weight)
  return jnp.sum(violation * weights)


def classification_loss(scores: Float[Array, "b c"], targets: Int[Array, " b"], weights: Float[Array, " b"],
                        class_mask: Bool[Array, " c"], config: FrozenConfigDict) -> Float[Array, ""]:
  """The loss that `config.loss` names: `ce` (cross entropy) or `rank`; arguments as above."""
  if config.kind == "ce":
    return softmax_cross_entropy(scores, targets, weights, class_mask, temperature=config.temperature)
  return ranking_loss(scores, targets, weights, class_mask, margin=config.margin, max_violation=config.max_violation,
                      topk=config.topk, reduction=config.reduction)


def squared_error(predicted: Float[Array, "b d"], wanted: Float[Array, "b d"],
                  weights: Float[Array, " b"]) -> Float[Array, ""]:
  """Weighted sum over videos of the mean squared error between two embeddings."""
  return jnp.sum(jnp.mean(jnp.square(predicted - wanted), axis=1) * weights)


def _masked_log_softmax(logits: Array, mask: Array) -> Array:
  return jax.nn.log_softmax(jnp.where(mask, logits.astype(jnp.float32), -jnp.inf), axis=-1)


def _pick(values: Array, targets: Array) -> Array:
  return jnp.take_along_axis(values, targets[:, None], axis=1)[:, 0]
