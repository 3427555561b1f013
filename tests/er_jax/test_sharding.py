"""Each device holds and encodes its part of the videos, the class texts and the rehearsal texts."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from er_jax import learners, sharding
from er_jax.batch_builder import BatchBuilder
from er_jax.experiment import Experiment
from er_jax.inputs import TrainState
from er_jax.sharding import REPLICATED, SHARDED, Parallel
from er_jax.steps import Steps, device_banks
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples, train_batches
from tests.er_jax.small import small_config, small_dataset


def pairwise(weights, rows):
  """Something that needs all rows, and whose gradient flows through what other devices computed."""
  def loss(weights):
    mine = rows @ weights
    return jnp.sum((mine @ sharding.gather(mine).T) ** 2)
  value, grad = jax.value_and_grad(loss)(weights)
  return sharding.total((value, grad))


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_a_function_of_all_rows_has_the_same_value_and_gradient_on_eight_devices(mode):
  random = np.random.default_rng(0)
  weights, rows = random.normal(size=(3, 2)).astype(np.float32), random.normal(size=(16, 3)).astype(np.float32)
  parallel = Parallel(mode)
  run = parallel.spmd(pairwise, (REPLICATED, SHARDED), (REPLICATED, REPLICATED))
  value, grad = parallel.fetch(run(parallel.replicate(weights), parallel.shard(rows)))
  mine = rows.astype(np.float64) @ weights
  gram = mine @ mine.T
  assert value == pytest.approx(np.sum(gram ** 2), rel=1e-5)
  np.testing.assert_allclose(grad, 4 * rows.T @ gram @ mine, rtol=1e-4)


@pytest.fixture
def built(tmp_path, bert_folder):
  experiment = Experiment(small_config("ervse", bert_folder), tmp_path, small_dataset(tmp_path))
  dataset, parallel = experiment.dataset, experiment.parallel
  seen = examples(dataset, "train", dataset.class_splits[0].seen)
  builder = BatchBuilder(dataset, experiment.config, experiment.method, [seen], parallel.num_devices)
  params = experiment.first_params()
  learner = learners.build(experiment.config, dataset, experiment.method, params)
  state = parallel.replicate(TrainState(np.zeros((), np.int32), params, learner.init(params)))
  class_set = builder.class_set(dataset.class_splits[0].seen)
  steps = Steps(parallel, experiment.method, learner)
  batch = parallel.shard(builder.batch(next(iter(train_batches(seen, 16, 0))), seen, 0))
  banks = device_banks(builder.banks, parallel, experiment.method, params, 0)
  return builder, steps, (state, batch, parallel.shard(class_set), banks)


def test_videos_class_texts_and_rehearsal_texts_are_spread_over_the_devices(built):
  _, _, (state, batch, classes, _) = built
  for name, array in {"videos": batch.features, "objects": batch.objects.ids, "concepts": batch.concepts.ids,
                      "classes": classes.texts.ids}.items():
    assert array.sharding.spec == SHARDED, name
    assert {shard.data.shape[0] for shard in array.addressable_shards} == {len(array) // 8}, name
  assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state.params))


def test_a_device_runs_the_text_backbone_on_its_share_of_the_tokens(built):
  _, steps, arguments = built
  _, batch, classes, _ = arguments
  tokens_on_one = sum(texts.capacity.tokens for texts in (classes.texts, batch.objects, batch.concepts))
  text = steps.train.lower(*arguments).compile().as_text()
  inner = 2 * 16      # width of the tiny BERT's feed-forward layers: arrays of (tokens, inner) come from nowhere else
  lengths = {int(n) for n in re.findall(rf"f32\[(\d+),{inner}\]", text)}
  assert tokens_on_one in lengths and max(lengths) == tokens_on_one
  assert "all-gather" in text and "all-reduce" in text


def test_an_unknown_mode_is_told():
  with pytest.raises(UserError, match="jit"):
    Parallel("jti")
