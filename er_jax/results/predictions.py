"""Predictions of an evaluation: scores of videos for classes, and the accuracies that follow from them.

    predictions = scores.among(dataset.splits.test[0])      # the videos of these classes, among these classes
    predictions.metrics()                                   # {"precision@1": 42.1, "precision@5": 73.1}
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from er_jax import metrics
from input_pipeline import files
from input_pipeline.loaders import ExampleSet


class Predictions(NamedTuple):
  """Scores of N videos for C classes, one of which is each video's.

  Attributes:
    names: (N,) str.
    logits: (N, C) float32.
    targets: (N,) int32 in [0, C).
    class_ids: (C,) int, positions of the columns' classes in the dataset's list.
  """
  names: np.ndarray
  logits: np.ndarray
  targets: np.ndarray
  class_ids: np.ndarray

  def metrics(self) -> dict[str, float]:
    """Percent of videos whose class is the first guess, and among the first five."""
    return {name: metrics.precision_at(self.logits, self.targets, k) for name, k in metrics.METRICS.items()}

  def mean_class_accuracy(self) -> float:
    """Percent of a class's videos whose first guess is right, the mean over the classes that have videos."""
    return metrics.mean_class_accuracy(self.logits, self.targets)

  def save(self, path: str | os.PathLike) -> None:
    """Writes names, logits and targets as .npz, atomically."""
    with files.replacing(path) as file:
      np.savez(file, names=self.names.astype(np.str_), logits=self.logits.astype(np.float32),
               targets=self.targets.astype(np.int32))


class Scores(NamedTuple):
  """Scores of all videos of a set for all classes of a list.

  Attributes:
    videos: N of them.
    class_ids: (C,) int, ascending positions in the dataset's list.
    logits: (N, C) float32.
  """
  videos: ExampleSet
  class_ids: np.ndarray
  logits: np.ndarray

  def among(self, class_ids: Sequence[int]) -> Predictions:
    """The videos of these classes, scored for these classes alone, columns in the order that is given."""
    wanted = np.asarray(class_ids)
    rows = np.isin(self.videos.labels, wanted)
    place = {label: column for column, label in enumerate(wanted.tolist())}
    return Predictions(
        names=self.videos.names[rows],
        logits=self.logits[rows][:, np.searchsorted(self.class_ids, wanted)],
        targets=np.array([place[label] for label in self.videos.labels[rows].tolist()], np.int32),
        class_ids=wanted)
