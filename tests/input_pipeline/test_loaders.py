"""Batches against a plain account of what the videos were."""

import itertools

import numpy as np
import pytest

from input_pipeline import dataset as prepared_lib
from input_pipeline.dataset import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.loaders import eval_batches, examples, steps_per_epoch, train_batches

SEEN = (2, 0, 3, 1)


@pytest.fixture(params=["in memory", "on disk"])
def dataset(request, prepared, monkeypatch):
  if request.param == "on disk":
    monkeypatch.setattr(prepared_lib, "FEATURES_IN_MEMORY", 0)
  return open_dataset(prepared.data_dir, "toy_actions")


@pytest.fixture
def seen(dataset):
  return examples(dataset, "train", SEEN)


def same(batches, others):
  return all(np.array_equal(a, b)
             for one, other in zip(batches, others, strict=True) for a, b in zip(one, other))


def test_example_set_holds_the_clips_of_its_classes_in_stored_order(prepared, seen):
  expected = prepared.entries_of(*SEEN)
  entries = [prepared.raw_dataset.entries[i] for i in expected]
  assert len(seen) == len(expected)
  assert seen.names.tolist() == [entry.name for entry in entries]
  assert seen.labels.tolist() == [entry.label for entry in entries]
  assert seen.targets.tolist() == [SEEN.index(entry.label) for entry in entries]
  assert np.array_equal(seen.concept_ids, [prepared.features[i].concept_ids for i in expected])
  assert np.array_equal(seen.features(range(len(seen))), [prepared.features[i].views[0] for i in expected])


def test_targets_follow_the_order_of_the_class_list(prepared, dataset):
  val = examples(dataset, "val", (5,))
  assert set(val.targets) == {0} and set(val.labels) == {5}
  assert len(val) == len(prepared.entries_of(5))


def test_evaluation_gives_each_example_once_and_pads_the_last_batch(prepared, seen):
  batches = list(eval_batches(seen, 8))
  expected = prepared.entries_of(*SEEN)
  assert len(batches) == steps_per_epoch(len(expected), 8) == -(-len(expected) // 8)
  assert len(expected) % 8
  kept = [np.concatenate([field[batch.mask] for field, batch in zip(column, batches)])
          for column in zip(*batches)]
  features, concept_ids, targets, mask, rows = kept
  assert features[:, 0].tolist() == expected and rows.tolist() == list(range(len(expected)))
  assert np.array_equal(targets, seen.targets) and np.array_equal(concept_ids, seen.concept_ids)
  last = batches[-1]
  assert last.mask.tolist() == [i < len(expected) % 8 for i in range(8)]
  padding = ~last.mask
  assert not last.features[padding].any() and not last.targets[padding].any() and not last.rows[padding].any()
  assert (last.concept_ids[padding] == -1).all()


def test_batches_have_one_shape_and_the_types_of_the_contract(seen):
  for batch in train_batches(seen, 8, seed=0, num_steps=7):
    assert [(field.dtype, field.shape) for field in batch] == [
        (np.float32, (8, 6)), (np.int32, (8, 20)), (np.int32, (8,)), (np.bool_, (8,)), (np.int32, (8,))]


def test_every_epoch_uses_every_example_in_another_order(seen):
  steps = steps_per_epoch(len(seen), 8)
  batches = list(train_batches(seen, 8, seed=3, num_steps=3 * steps))
  rows = [batch.rows[batch.mask] for batch in batches]
  orders = [np.concatenate(rows[epoch * steps:(epoch + 1) * steps]) for epoch in range(3)]
  for order in orders:
    assert sorted(order) == list(range(len(seen)))
  assert not any(np.array_equal(a, b) for a, b in itertools.combinations([*orders, np.arange(len(seen))], 2))


def test_rows_of_a_batch_belong_together(seen):
  for batch in train_batches(seen, 8, seed=1, num_steps=9):
    rows = batch.rows[batch.mask]
    assert np.array_equal(batch.features[batch.mask], seen.features(rows))
    assert np.array_equal(batch.concept_ids[batch.mask], seen.concept_ids[rows])
    assert np.array_equal(batch.targets[batch.mask], seen.targets[rows])


def test_same_seed_gives_the_same_batches_and_another_seed_others(seen):
  first = list(train_batches(seen, 8, seed=5, num_steps=9))
  assert same(first, train_batches(seen, 8, seed=5, num_steps=9))
  assert not same(first, train_batches(seen, 8, seed=6, num_steps=9))


def test_epochs_of_neighbouring_seeds_are_unrelated(seen):
  steps = steps_per_epoch(len(seen), 8)
  second_epoch = train_batches(seen, 8, seed=5, start_step=steps, num_steps=steps)
  assert not same(second_epoch, train_batches(seen, 8, seed=6, num_steps=steps))


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13])
def test_resuming_at_any_step_gives_the_rest(seen, start):
  whole = list(train_batches(seen, 8, seed=5, num_steps=16))
  assert same(whole[start:], train_batches(seen, 8, seed=5, start_step=start, num_steps=16 - start))


def test_without_shuffling_every_epoch_has_the_stored_order(seen):
  steps = steps_per_epoch(len(seen), 8)
  batches = train_batches(seen, 8, seed=5, shuffle=False, num_steps=2 * steps)
  assert same(batches, [*eval_batches(seen, 8), *eval_batches(seen, 8)])


def test_batches_never_end_unless_asked_to(seen):
  batches = train_batches(seen, 8, seed=0)
  assert len(list(itertools.islice(batches, 50))) == 50


def test_batch_larger_than_the_set_is_padded(dataset):
  few = examples(dataset, "test", (6,))
  (batch,) = eval_batches(few, len(few) + 7)
  assert batch.mask.sum() == len(few) and len(batch.rows) == len(few) + 7


def test_wrong_questions_are_refused(dataset):
  with pytest.raises(UserError, match="has no split 'trian'; it has train, val, test"):
    examples(dataset, "trian", (0,))
  with pytest.raises(UserError, match="none of the 1 classes"):
    examples(dataset, "train", (6,))
  with pytest.raises(UserError, match="from 0 to 6"):
    examples(dataset, "train", (0, 7))
  with pytest.raises(UserError, match="must be different"):
    examples(dataset, "train", (0, 0))
