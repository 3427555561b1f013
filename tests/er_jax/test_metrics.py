"""Accuracy by hand, and against scikit-learn."""

import numpy as np
import pytest

from er_jax import metrics

LOGITS = np.array([[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 1.0, 0.0], [0.0, 5.0, 1.0]])
TARGETS = np.array([0, 1, 1, 1])


def test_precision_counts_targets_among_the_first_k():
  assert metrics.precision_at(LOGITS, TARGETS, 1) == 50.0      # the third video's tie goes to the lower index
  assert metrics.precision_at(LOGITS, TARGETS, 2) == 100.0


def test_precision_beyond_the_number_of_classes_is_over_what_there_is():
  assert metrics.precision_at(LOGITS, TARGETS, 5) == 100.0


def test_confusion_and_per_class_accuracy_equal_sklearn():
  sklearn = pytest.importorskip("sklearn.metrics")
  random = np.random.default_rng(0)
  logits, targets = random.normal(size=(200, 7)), random.integers(0, 7, 200)
  np.testing.assert_array_equal(metrics.confusion_matrix(logits, targets),
                                sklearn.confusion_matrix(targets, logits.argmax(1), labels=range(7)))
  assert np.mean(metrics.per_class_accuracy(logits, targets)) == pytest.approx(
      100 * sklearn.balanced_accuracy_score(targets, logits.argmax(1)))


def test_a_class_without_videos_has_no_accuracy():
  assert np.isnan(metrics.per_class_accuracy(LOGITS, TARGETS)[2])


def test_the_class_mean_leaves_out_classes_without_videos():
  assert metrics.mean_class_accuracy(LOGITS, TARGETS) == pytest.approx((100 + 100 / 3) / 2)


def test_harmonic_mean():
  assert metrics.harmonic_mean(60.0, 20.0) == 30.0 and metrics.harmonic_mean(0.0, 0.0) == 0.0


def test_std_over_splits_is_the_population_one():
  assert metrics.mean_and_std([1.0, 3.0]) == (2.0, 1.0)
