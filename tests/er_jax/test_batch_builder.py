"""Rehearsal sets, padding and text references against plain loops on small hand-made batches."""

import dataclasses

import numpy as np
import pytest

from er_jax import methods
from er_jax.batch_builder import BatchBuilder
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples, train_batches
from input_pipeline.metadata.concepts import concept_text
from tests.er_jax.small import small_config, small_dataset


@pytest.fixture
def built(tmp_path, bert_folder):
  dataset = small_dataset(tmp_path)
  config = small_config("ervse", bert_folder, model__topk_concepts=2, loss__rehearsal_topk=3)
  method = methods.build(config, dataset)
  videos = examples(dataset, "train", dataset.class_splits[0].seen)
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
    expected = method.text.tokenizer.encode([" ".join(names[:2])], config.data.max_tokens)[0].tolist()
    assert step_batch.objects.ids[row].shape == (1,)
    assert text_of(builder.banks.sequences, step_batch.objects.ids[row, 0], method) == expected
    own = step_batch.concepts.ids[step_batch.targets.concepts[row] > 0]
    wanted = method.text.tokenizer.encode(names[:3], config.data.max_tokens)
    assert sorted(text_of(builder.banks.texts, text, method) for text in own) == sorted(t.tolist() for t in wanted)
  assert (step_batch.objects.ids[10:] == -1).all() and not step_batch.targets.concepts[10:].any()
  assert step_batch.targets.weights.sum() == pytest.approx(1) and not step_batch.targets.weights[10:].any()
  assert step_batch.targets.concepts.sum() == pytest.approx(1)


def test_every_batch_has_the_same_shapes(built):
  _, _, _, videos, builder = built
  shapes = {str([(x.shape, x.dtype) for x in (b.features, b.objects.ids, b.concepts.ids, b.targets.concepts)])
            for b in (builder.batch(batch, videos, 0) for batch in train_batches(videos, 16, seed=0, num_steps=6))}
  assert len(shapes) == 1


def test_class_sets_divide_by_the_devices(built):
  dataset, config, method, _, builder = built
  classes = builder.class_set(dataset.class_splits[0].seen)
  assert len(classes.texts.ids) == 8 and classes.mask.sum() == 6
  first = dataset.classes[dataset.class_splits[0].seen[0]]
  expected = method.text.tokenizer.encode([f"{first.name}: {first.description}"], config.data.max_tokens)[0].tolist()
  assert text_of(builder.banks.texts, classes.texts.ids[0], method) == expected


def test_separate_concepts_refer_to_a_text_each(tmp_path, bert_folder):
  dataset = small_dataset(tmp_path)
  dataset.table("train").concept_ids[:, 2] = -1                        # two concepts a video, and a place for a third
  config = small_config("cpt", bert_folder, model__topk_concepts=3, model__separate_concepts=True)
  method = methods.build(config, dataset)
  videos = examples(dataset, "train", dataset.class_splits[0].seen)
  builder = BatchBuilder(dataset, config, method, [videos], num_devices=4)
  batch = next(iter(train_batches(videos, 16, seed=0)))
  objects = builder.batch(batch, videos, step=0).objects.ids
  assert objects.shape == (16, 3) and (objects[:, 2] == -1).all()
  for row in range(16):
    for place in range(2):
      name = concept_text(dataset.concepts[batch.concept_ids[row, place]], True)
      expected = method.text.tokenizer.encode([name], config.data.max_tokens)[0].tolist()
      assert text_of(builder.banks.sequences, objects[row, place], method) == expected


def test_a_classifier_gives_each_class_its_row(tmp_path):
  dataset, config = small_dataset(tmp_path), small_config("gcn", "")
  seen = list(dataset.class_splits[0].seen)                                            # (5, 0, 6, 3, 9, 10)
  method = methods.build(config, dataset)
  rows = dataset.classifier_rows

  def classifier(rows):
    changed = dataclasses.replace(dataset, classifier_rows=rows)
    return BatchBuilder(changed, config, method, [], num_devices=1).class_set(seen, training=True).classifier

  np.testing.assert_array_equal(classifier(rows), rows[seen])
  np.testing.assert_array_equal(classifier(rows[:6]), rows[:6])               # one for each, in their order
  for wrong, message in ((rows[:5], "has 5 rows, but the seen classes.*are 6, up to class 10"),
                         (rows[:, :9], "rows of 9 numbers, but features have 16")):
    with pytest.raises(UserError, match=message):
      classifier(wrong)


def test_a_class_without_description_is_named_if_a_split_uses_it(tmp_path, bert_folder):
  dataset = small_dataset(tmp_path)
  dataset.classes.append(dataset.classes[3]._replace(name="of no split", description=""))
  BatchBuilder(dataset, small_config("vse", bert_folder), methods.build(small_config("vse", bert_folder), dataset), [],
               num_devices=1)
  dataset.classes[3] = dataset.classes[3]._replace(description="")
  config = small_config("vse", bert_folder)
  with pytest.raises(UserError, match="push star.*no description"):
    BatchBuilder(dataset, config, methods.build(config, dataset), [], num_devices=1)
