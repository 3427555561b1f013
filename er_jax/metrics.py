"""Accuracy of zero-shot recognition, from logits and targets, in NumPy.

    precision_at(logits, targets, k=1)     # 42.1

N videos, C classes.
"""

import numpy as np

METRICS = {"precision@1": 1, "precision@5": 5}
CLASS_MEAN = "mean_class_accuracy"
SEEN = "seen"     # in results.json: held-out videos of the seen classes, told apart among those
GENERALIZED = "generalized"     # in results.json: seen and unseen classes compete; see `er_jax.gzsl`


def precision_at(logits: np.ndarray, targets: np.ndarray, k: int) -> float:
  """Percentage of videos whose target is among the k highest logits (all classes if there are fewer than k).

  Args:
    logits: (N, C) float. Among equal logits the class with the lower index comes first.
    targets: (N,) int in [0, C).
    k: how many guesses a video has.

  Returns:
    Percent in [0, 100]; nan if there are no videos.
  """
  if not len(targets):
    return float("nan")
  return 100.0 * float(np.mean(np.any(top_classes(logits, k) == np.asarray(targets)[:, None], axis=1)))


def top_classes(logits: np.ndarray, k: int) -> np.ndarray:
  """(N, min(k, C)) class indices of the highest logits, best first."""
  return np.argsort(-np.asarray(logits), axis=1, kind="stable")[:, :k]


def per_class_accuracy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """(C,) percent of each class's videos that are recognised (top 1); nan for classes without videos."""
  confusion = confusion_matrix(logits, targets)
  with np.errstate(invalid="ignore"):
    return 100.0 * np.diag(confusion) / confusion.sum(axis=1)


def mean_class_accuracy(logits: np.ndarray, targets: np.ndarray) -> float:
  """Mean over the classes that have videos of the percent of their videos that are recognised (top 1)."""
  return float(np.nanmean(per_class_accuracy(logits, targets)))


def harmonic_mean(first: float, second: float) -> float:
  """2 a b / (a + b); 0 if both are 0."""
  return 2 * first * second / (first + second) if first + second else 0.0


def confusion_matrix(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """(C, C) int counts: row is the true class, column the predicted one."""
  classes = logits.shape[1]
  counts = np.zeros((classes, classes), np.int64)
  np.add.at(counts, (np.asarray(targets), np.argmax(logits, axis=1)), 1)
  return counts


def mean_and_std(values: list[float]) -> tuple[float, float]:
  """Mean and population standard deviation over the splits."""
  return float(np.mean(values)), float(np.std(values))


def means_and_stds(values: dict[str, list[float]]) -> dict[str, dict[str, float]]:
  """{"mean": {name: mean}, "std": {name: population standard deviation}} of several values of each name."""
  both = {name: mean_and_std(of_name) for name, of_name in values.items()}
  return {"mean": {name: mean for name, (mean, _) in both.items()},
          "std": {name: std for name, (_, std) in both.items()}}
