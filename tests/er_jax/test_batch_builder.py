"""Rehearsal sets, padding and text references against plain loops on small hand-made batches."""

import numpy as np
import pytest

from er_jax import batch_builder, methods
from er_jax.batch_builder import BatchBuilder
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples, train_batches
from input_pipeline.metadata.concepts import concept_text
from tests.er_jax.small import SmallDataset, small_config


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
  ids, own = batch_builder.rehearsal_set(np.array([[7, 3], [3, 9]]), np.array([[9], [-1]]))
  assert ids.tolist() == [7, 3, 9]               # first appearance: the first video's own, its negative, the second's
  assert own.tolist() == [[True, True, False], [False, True, True]]


def test_rehearsal_set_equals_a_plain_loop():
  random = np.random.default_rng(0)
  for _ in range(20):
    positives, negatives = random.integers(-1, 12, (6, 5)), random.integers(-1, 12, (6, 2))
    ids, own = batch_builder.rehearsal_set(positives, negatives)
    order, expected = plain_rehearsal_set(positives, negatives)
    assert ids.tolist() == order
    np.testing.assert_array_equal(own, expected)


@pytest.mark.parametrize("num_devices", [1, 4])
def test_dealing_keeps_each_concept_with_its_videos_and_shares_them_out(num_devices):
  ids, own = np.arange(10, 17, dtype=np.int32), np.random.default_rng(0).random((3, 7)) < 0.5
  dealt, dealt_own = batch_builder.deal_to_devices(ids, own, slots=12, num_devices=num_devices)
  for column, text in enumerate(ids):
    place = dealt.tolist().index(text)
    np.testing.assert_array_equal(dealt_own[:, place], own[:, column])
  assert not dealt_own[:, dealt < 0].any()
  shares = (dealt.reshape(num_devices, -1) >= 0).sum(axis=1)
  assert shares.max() - shares.min() <= 1


def test_negative_concepts_are_new_to_the_video_and_repeatable():
  own = np.array([[0, 1, 2, -1], [4, 5, 6, 7]])
  negatives = batch_builder.negative_concepts(own, 3, 10, seed=(0, 5))
  for mine, others in zip(own, negatives):
    assert len(set(others)) == 3 and not set(others) & set(mine)
  np.testing.assert_array_equal(negatives, batch_builder.negative_concepts(own, 3, 10, seed=(0, 5)))


def test_negative_concepts_take_every_other_concept_alike():
  own = np.array([[8, 0, 3, -1]])
  drawn = np.concatenate([batch_builder.negative_concepts(own, 2, 9, seed=(step,)).ravel() for step in range(600)])
  counts = np.bincount(drawn, minlength=9)
  assert (counts[[0, 3, 8]] == 0).all() and counts[[1, 2, 4, 5, 6, 7]].min() > 150      # 200 expected
  assert batch_builder.negative_concepts(own, 8, 9, seed=(0,))[0, 6:].tolist() == [-1, -1]


@pytest.fixture
def built(tmp_path, bert_folder):
  dataset = SmallDataset(tmp_path)
  config = small_config("ervse", bert_folder, model__topk_concepts=2, loss__rehearsal_topk=3)
  method = methods.build(config, dataset)
  videos = examples(dataset, "train", dataset.splits.seen)
  return dataset, config, method, videos, BatchBuilder(dataset, config, method, [videos], num_devices=4)


def text_of(bank, index, method):
  start, length = bank.starts[index], bank.lengths[index]
  return bank.tokens[start:start + length].tolist()


def test_a_batch_refers_to_the_texts_of_its_videos(built):
  dataset, config, method, videos, builder = built
  last = list(train_batches(videos, 16, seed=0, num_steps=3))[-1]      # 42 videos: 10 in the last batch
  step_batch = builder.batch(last, videos, step=2)
  assert last.mask.sum() == 10 and len(step_batch.rows) == 16
  for row in range(10):
    names = [concept_text(dataset.concepts[c], True) for c in last.concept_ids[row]]
    expected = method.tokenizer.encode([" ".join(names[:2])], config.data.max_tokens)[0].tolist()
    assert step_batch.objects[row].shape == (1,)
    assert text_of(builder.sequences, step_batch.objects[row, 0], method) == expected
    own = step_batch.concepts[step_batch.targets.concepts[row] > 0]
    wanted = method.tokenizer.encode(names[:3], config.data.max_tokens)
    assert sorted(text_of(builder.texts, text, method) for text in own) == sorted(t.tolist() for t in wanted)
  assert (step_batch.objects[10:] == -1).all() and not step_batch.targets.concepts[10:].any()
  assert step_batch.targets.weights.sum() == pytest.approx(1) and not step_batch.targets.weights[10:].any()
  assert step_batch.targets.concepts.sum() == pytest.approx(1)


def test_every_batch_has_the_same_shapes(built):
  _, _, _, videos, builder = built
  shapes = {str([(x.shape, x.dtype) for x in (b.features, b.objects, b.concepts, b.targets.concepts)])
            for b in (builder.batch(batch, videos, 0) for batch in train_batches(videos, 16, seed=0, num_steps=6))}
  assert len(shapes) == 1


def test_class_sets_divide_by_the_devices(built):
  dataset, config, method, _, builder = built
  classes = builder.class_set(dataset.splits.seen)
  assert len(classes.ids) == 8 and classes.mask.sum() == 6
  first = dataset.classes[dataset.splits.seen[0]]
  expected = method.tokenizer.encode([f"{first.name}: {first.description}"], config.data.max_tokens)[0].tolist()
  assert text_of(builder.texts, classes.ids[0], method) == expected


def test_separate_concepts_refer_to_a_text_each(tmp_path, bert_folder):
  dataset = SmallDataset(tmp_path)
  dataset.table("train").concept_ids[:, 2] = -1                        # two concepts a video, and a place for a third
  config = small_config("cpt", bert_folder, model__topk_concepts=3, model__separate_concepts=True)
  method = methods.build(config, dataset)
  videos = examples(dataset, "train", dataset.splits.seen)
  builder = BatchBuilder(dataset, config, method, [videos], num_devices=4)
  batch = next(iter(train_batches(videos, 16, seed=0)))
  objects = builder.batch(batch, videos, step=0).objects
  assert objects.shape == (16, 3) and (objects[:, 2] == -1).all()
  for row in range(16):
    for place in range(2):
      name = concept_text(dataset.concepts[batch.concept_ids[row, place]], True)
      expected = method.tokenizer.encode([name], config.data.max_tokens)[0].tolist()
      assert text_of(builder.sequences, objects[row, place], method) == expected


def test_a_classifier_gives_each_class_its_row(tmp_path):
  dataset, config = SmallDataset(tmp_path), small_config("gcn", "")
  seen = list(dataset.splits.seen)                                            # (5, 0, 6, 3, 9, 10)
  method = methods.build(config, dataset)
  rows = dataset.classifier_rows
  builder = BatchBuilder(dataset, config, method, [], num_devices=1)
  np.testing.assert_array_equal(builder.class_set(seen, training=True).classifier, rows[seen])
  dataset.classifier_rows = rows[:6]                                          # one for each, in their order
  np.testing.assert_array_equal(builder.class_set(seen, training=True).classifier, rows[:6])
  for wrong, message in ((rows[:5], "has 5 rows, but the seen classes.*are 6, up to class 10"),
                         (rows[:, :9], "rows of 9 numbers, but features have 16")):
    dataset.classifier_rows = wrong
    with pytest.raises(UserError, match=message):
      builder.class_set(seen, training=True)


def test_a_class_without_description_is_named_if_a_split_uses_it(tmp_path, bert_folder):
  dataset = SmallDataset(tmp_path)
  dataset.classes.append(dataset.classes[3]._replace(name="of no split", description=""))
  BatchBuilder(dataset, small_config("vse", bert_folder), methods.build(small_config("vse", bert_folder), dataset), [],
               num_devices=1)
  dataset.classes[3] = dataset.classes[3]._replace(description="")
  config = small_config("vse", bert_folder)
  with pytest.raises(UserError, match="push star.*no description"):
    BatchBuilder(dataset, config, methods.build(config, dataset), [], num_devices=1)
