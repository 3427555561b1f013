"""Generalised zero-shot recognition: seen and unseen classes compete for every video (Xian et al., TPAMI 2018).

    gzsl.evaluate(validation, test, num_seen=400)
    # {"seen": 61.0, "unseen": 22.5, "harmonic_mean": 32.9, "bias": 1.25, "uncalibrated_seen": 80.1, ...}

A classifier that was trained on seen classes prefers them. Calibrated stacking (Chao et al., ECCV 2016) takes a bias
off the scores of all seen classes; here the one with the best harmonic mean on the validation videos.
"""

import numpy as np

from er_jax import metrics
from er_jax.results.predictions import Predictions

MOST_BIASES = 1000     # that are tried


def evaluate(validation: Predictions, test: Predictions, num_seen: int) -> dict[str, float]:
  """Accuracies when seen and unseen classes compete.

  Args:
    validation: of held-out videos of the seen classes, which are the first columns, and of the unseen
      classes of validation, the others; chooses the bias.
    test: the same, with the unseen classes of the test.
    num_seen: how many columns are seen classes.

  Returns:
    Mean class accuracies in percent: "seen", "unseen" and their "harmonic_mean" at the chosen "bias" (in units of the
    scores), and the same without bias, as "uncalibrated_seen" and so on.
  """
  bias = best_bias(validation.logits, validation.targets, num_seen)
  calibrated = accuracies(test.logits, test.targets, num_seen, bias)
  plain = accuracies(test.logits, test.targets, num_seen, 0.0)
  names = ("seen", "unseen", "harmonic_mean")
  return {**dict(zip(names, calibrated)), "bias": bias, **{f"uncalibrated_{n}": v for n, v in zip(names, plain)}}


def accuracies(logits: np.ndarray, targets: np.ndarray, num_seen: int, bias: float) -> tuple[float, float, float]:
  """Mean class accuracy of the seen and of the unseen classes, and the harmonic mean of both, in percent.

  Args:
    logits: (N, C); the first `num_seen` columns are seen classes.
    targets: (N,) int.
    num_seen: how many.
    bias: taken off the scores of the seen classes.
  """
  best = [_best(part) for part in (logits[:, :num_seen], logits[:, num_seen:])]
  return _accuracies(best, targets, num_seen, logits.shape[1], bias)


def best_bias(logits: np.ndarray, targets: np.ndarray, num_seen: int) -> float:
  """The bias with the best harmonic mean; of equal ones the smallest in size. Arguments as in `accuracies`.

  Between two neighbouring values of (best seen score - best unseen score) of a video nothing changes, so the middles
  between neighbours are tried: all of them, or MOST_BIASES spread evenly over the videos.
  """
  best = [_best(part) for part in (logits[:, :num_seen], logits[:, num_seen:])]
  edges = np.unique(best[0][1].astype(np.float64) - best[1][1])
  if len(edges) > MOST_BIASES:
    edges = edges[np.linspace(0, len(edges) - 1, MOST_BIASES).astype(int)]
  candidates = np.concatenate([[0.0], edges[:1] - 1, (edges[1:] + edges[:-1]) / 2, edges[-1:] + 1])
  candidates = candidates[np.argsort(np.abs(candidates), kind="stable")]
  values = [_accuracies(best, targets, num_seen, logits.shape[1], bias)[2] for bias in candidates]
  return float(candidates[int(np.argmax(values))])


def _best(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Each video's best column, and its score."""
  column = np.argmax(logits, axis=1)
  return column, np.take_along_axis(logits, column[:, None], axis=1)[:, 0]


def _accuracies(best: list[tuple[np.ndarray, np.ndarray]], targets: np.ndarray, num_seen: int, num_classes: int,
                bias: float) -> tuple[float, float, float]:
  (seen_column, seen_score), (unseen_column, unseen_score) = best
  takes_seen = seen_score.astype(np.float64) - bias >= unseen_score
  predicted = np.where(takes_seen, seen_column, unseen_column + num_seen)
  videos = np.bincount(targets, minlength=num_classes)
  right = np.bincount(targets[predicted == targets], minlength=num_classes)
  with_videos = videos > 0
  share = 100 * right[with_videos] / videos[with_videos]
  is_seen = np.nonzero(with_videos)[0] < num_seen
  seen, unseen = float(np.mean(share[is_seen])), float(np.mean(share[~is_seen]))
  return seen, unseen, metrics.harmonic_mean(seen, unseen)
