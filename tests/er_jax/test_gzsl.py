"""Seen and unseen classes in competition, by hand and against a search over every possible bias."""

import numpy as np
import pytest

from er_jax import gzsl
from er_jax.results.predictions import Predictions

# Two seen and two unseen classes; a row a video. The third and fourth video are of unseen classes, but seen ones win.
LOGITS = np.array([[9.0, 1.0, 3.0, 2.0], [1.0, 8.0, 2.0, 7.5], [6.0, 1.0, 5.0, 0.0], [7.0, 1.0, 2.0, 4.0]])
TARGETS = np.array([0, 1, 2, 3])


def test_without_bias_seen_classes_take_the_unseen_videos():
  assert gzsl.accuracies(LOGITS, TARGETS, 2, 0.0) == (100.0, 0.0, 0.0)


def test_a_bias_gives_them_back_and_the_harmonic_mean_is_of_both():
  seen, unseen, harmonic = gzsl.accuracies(LOGITS, TARGETS, 2, 2.0)     # also takes the second video away
  assert (seen, unseen) == (50.0, 50.0) and harmonic == pytest.approx(50.0)


def test_accuracies_are_means_over_classes_with_videos():
  logits, targets = LOGITS[[0, 0, 0, 1, 2]], np.array([0, 0, 1, 1, 2])         # class 0: 2 of 2, class 1: 1 of 2
  assert gzsl.accuracies(logits, targets, 2, 0.0)[:2] == (75.0, 0.0)


def test_the_chosen_bias_is_as_good_as_any():
  random = np.random.default_rng(0)
  logits, targets = random.normal(size=(60, 9)), random.integers(0, 9, 60)
  logits[np.arange(60), targets] += 1
  logits[:, :5] += 2
  bias = gzsl.best_bias(logits, targets, 5)
  best = max(gzsl.accuracies(logits, targets, 5, b)[2] for b in np.linspace(-10, 10, 4001))
  assert gzsl.accuracies(logits, targets, 5, bias)[2] == pytest.approx(best) and bias > 0


def test_the_bias_comes_from_validation_and_the_accuracies_from_the_test():
  def predictions(logits):
    return Predictions(np.array(list("abcd")), logits.astype(np.float32), TARGETS, np.arange(4))
  shifted = LOGITS + np.array([3.0, 3.0, 0.0, 0.0])                              # the test's seen classes lead by 3 more
  result = gzsl.evaluate(predictions(LOGITS), predictions(shifted), num_seen=2)
  bias = gzsl.best_bias(LOGITS, TARGETS, 2)
  assert result["bias"] == pytest.approx(bias)
  assert result["unseen"] == gzsl.accuracies(shifted, TARGETS, 2, bias)[1]
  assert (result["uncalibrated_seen"], result["uncalibrated_unseen"]) == (100.0, 0.0)
