"""Losses against hand-worked values, plain NumPy, and PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from er_jax import losses


@pytest.fixture
def scores():
  return np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


TARGETS = np.array([1, 0, 5, 1])
ALL = np.ones(6, bool)
MEAN = np.full(4, 0.25, np.float32)


def test_cross_entropy_of_equal_scores_is_the_log_of_the_number_of_classes():
  loss = losses.softmax_cross_entropy(jnp.zeros((4, 6)), TARGETS, MEAN, ALL, temperature=0.1)
  assert loss == pytest.approx(np.log(6), rel=1e-6)


def test_cross_entropy_equals_torch(scores):
  torch = pytest.importorskip("torch")
  expected = torch.nn.CrossEntropyLoss()(torch.tensor(scores) / 0.1, torch.tensor(TARGETS)).item()
  assert losses.softmax_cross_entropy(scores, TARGETS, MEAN, ALL, temperature=0.1) == pytest.approx(expected, rel=1e-5)


def test_padded_rows_and_classes_change_no_loss(scores):
  padded = np.pad(scores, ((0, 2), (0, 3)), constant_values=50.0)
  targets, weights = np.pad(TARGETS, (0, 2)), np.pad(MEAN, (0, 2))
  mask = np.arange(9) < 6
  pairs = [(losses.softmax_cross_entropy(scores, TARGETS, MEAN, ALL, temperature=0.1),
            losses.softmax_cross_entropy(padded, targets, weights, mask, temperature=0.1))]
  for options in ({}, {"reduction": "mean"}, {"reduction": "weighted"}, {"max_violation": True, "topk": 2}):
    pairs.append((losses.ranking_loss(scores, TARGETS, MEAN, ALL, margin=0.2, **options),
                  losses.ranking_loss(padded, targets, weights, mask, margin=0.2, **options)))
  for plain, with_padding in pairs:
    assert with_padding == pytest.approx(float(plain), rel=1e-6)


def test_rehearsal_is_the_mean_over_all_true_pairs(scores):
  own = np.zeros((4, 6), bool)
  own[[0, 0, 1, 3], [1, 2, 2, 5]] = True
  logits = scores.astype(np.float64) / 0.1
  log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  expected = -np.mean([log_p[0, 1], log_p[0, 2], log_p[1, 2], log_p[3, 5]])
  loss = losses.rehearsal_loss(scores, (own / own.sum()).astype(np.float32), ALL, temperature=0.1)
  assert loss == pytest.approx(expected, rel=1e-5)


def hinge(scores, margin):
  h = np.maximum(0, margin + scores - scores[np.arange(4), TARGETS][:, None])
  h[np.arange(4), TARGETS] = 0
  return h


def test_ranking_loss_sum_by_hand():
  scores = np.array([[0.5, 0.45, 0.1], [0.2, 0.9, 0.85]], np.float32)
  loss = losses.ranking_loss(scores, np.array([0, 1]), np.full(2, 0.5, np.float32), np.ones(3, bool), margin=0.1)
  assert loss == pytest.approx((0.05 + 0.05) / 2, abs=1e-6)


def test_ranking_loss_reductions_equal_numpy(scores):
  h = hinge(scores, 0.5)
  violations = (h > 0).sum(axis=1)
  rank_weight = np.array([sum(1 / i for i in range(1, r + 1)) / (r + 1e-8) for r in violations])
  expected = {"sum": h.sum() / 4, "mean": h.sum() / 5 / 4, "weighted": (h.sum(axis=1) * rank_weight).sum() / 4}
  for reduction, value in expected.items():
    loss = losses.ranking_loss(scores, TARGETS, MEAN, ALL, margin=0.5, reduction=reduction)
    assert loss == pytest.approx(value, rel=1e-5), reduction


def test_max_violation_keeps_the_largest(scores):
  largest = -np.sort(-hinge(scores, 0.5), axis=1)[:, :2]
  keep = dict(margin=0.5, max_violation=True, topk=2)
  assert losses.ranking_loss(scores, TARGETS, MEAN, ALL, **keep) == pytest.approx(largest.sum() / 4, rel=1e-5)
  mean = losses.ranking_loss(scores, TARGETS, MEAN, ALL, reduction="mean", **keep)
  assert mean == pytest.approx(largest.sum() / 2 / 4, rel=1e-5)


def test_arrays_are_held_to_the_annotated_shapes():
  with pytest.raises(TypeCheckError, match="wanted"):
    losses.squared_error(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32), np.ones(2, np.float32))


def test_squared_error_equals_the_mean_over_all_numbers():
  random = np.random.default_rng(1)
  a, b = random.normal(size=(2, 4, 8)).astype(np.float32)
  assert losses.squared_error(a, b, MEAN) == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)
