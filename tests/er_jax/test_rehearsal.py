"""Rehearsal sets by hand, and against the published collation done one concept at a time."""

import numpy as np
import pytest

from er_jax import rehearsal


def plain_rehearsal_set(positives, negatives):
  """What the published collation does, one concept at a time."""
  order, own = [], []
  for mine, others in zip(positives, negatives):
    for text in [*mine, *others]:
      if text >= 0 and text not in order:
        order.append(text)
    own.append([text for text in mine if text >= 0])
  return order, np.array([[text in mine for text in order] for mine in own])


def test_rehearsal_set_by_hand():
  ids, own = rehearsal.rehearsal_set(np.array([[7, 3], [3, 9]]), np.array([[9], [-1]]))
  assert ids.tolist() == [7, 3, 9]               # first appearance: the first video's own, its negative, the second's
  assert own.tolist() == [[True, True, False], [False, True, True]]


def test_rehearsal_set_equals_a_plain_loop():
  random = np.random.default_rng(0)
  for _ in range(20):
    positives, negatives = random.integers(-1, 12, (6, 5)), random.integers(-1, 12, (6, 2))
    ids, own = rehearsal.rehearsal_set(positives, negatives)
    order, expected = plain_rehearsal_set(positives, negatives)
    assert ids.tolist() == order
    np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("num_devices", [1, 4])
def test_dealing_keeps_each_concept_with_its_videos_and_shares_them_out(num_devices):
  ids, own = np.arange(10, 17, dtype=np.int32), np.random.default_rng(0).random((3, 7)) < 0.5
  dealt, dealt_own = rehearsal.deal_to_devices(ids, own, slots=12, num_devices=num_devices)
  for column, text in enumerate(ids):
    place = dealt.tolist().index(text)
    np.testing.assert_array_equal(dealt_own[:, place], own[:, column])
  assert not dealt_own[:, dealt < 0].any()
  shares = (dealt.reshape(num_devices, -1) >= 0).sum(axis=1)
  assert shares.max() - shares.min() <= 1


def test_negative_concepts_are_new_to_the_video_and_repeatable():
  own = np.array([[0, 1, 2, -1], [4, 5, 6, 7]])
  negatives = rehearsal.negative_concepts(own, 3, 10, seed=(0, 5))
  for mine, others in zip(own, negatives):
    assert len(set(others)) == 3 and not set(others) & set(mine)
  np.testing.assert_array_equal(negatives, rehearsal.negative_concepts(own, 3, 10, seed=(0, 5)))


def test_negative_concepts_take_every_other_concept_alike():
  own = np.array([[8, 0, 3, -1]])
  drawn = np.concatenate([rehearsal.negative_concepts(own, 2, 9, seed=(step,)).ravel() for step in range(600)])
  counts = np.bincount(drawn, minlength=9)
  assert (counts[[0, 3, 8]] == 0).all() and counts[[1, 2, 4, 5, 6, 7]].min() > 150      # 200 expected
  assert rehearsal.negative_concepts(own, 8, 9, seed=(0,))[0, 6:].tolist() == [-1, -1]
