"""Our side of the benchmark's recognition: the code that trains and evaluates, on a made-up dataset.

    ours = Recognition(SIZES["full"], folder)               # `folder` will hold BERT's config and vocabulary
    step = ours.train_step(dropout=True)
    step(batch)                                             # {"loss": ..., "class_loss": ..., ...}
    ours.encode_classes(ours.banks)                         # (C, D); with ours.tokens_only nothing is cached
"""

import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import ervse
from er_jax import learners, methods
from er_jax.batch_builder import BatchBuilder
from er_jax.experiment import Experiment
from er_jax.inputs import Banks, TrainState
from er_jax.steps import Steps, device_banks
from input_pipeline.loaders import Batch, eval_batches, examples
from scripts.benchmarking.data import Size, made_up_dataset, write_bert_folder

DROPOUTS = ("text_backbone", "text_encoder", "video_encoder", "fusion_mlp")


class Recognition:
  """Our ER-ZSAR on the made-up dataset. Every call starts from the same parameters, `params`."""

  def __init__(self, size: Size, folder: Path):
    self.size = size
    write_bert_folder(folder, size)
    self.configs = {dropout: _config(size, folder, dropout) for dropout in (True, False)}
    self.dataset = made_up_dataset(folder, size)
    experiment = Experiment(self.configs[False], folder, self.dataset)
    self.method, self.parallel = experiment.method, experiment.parallel
    self.params = experiment.first_params()
    self.videos = examples(self.dataset, "train", experiment.seen)
    self.builder = BatchBuilder(self.dataset, self.configs[False], self.method, [self.videos],
                                self.parallel.num_devices)
    started = time.perf_counter()
    self.banks = device_banks(self.builder.banks, self.parallel, self.method, self.params, experiment.cache_bytes)
    jax.block_until_ready(self.banks)
    self.frozen_seconds = time.perf_counter() - started
    self.tokens_only = self.parallel.replicate(self.builder.banks)
    self.classes = self.parallel.shard(self.builder.class_set(experiment.seen))
    self.placed = self.parallel.replicate(self.params)
    self.steps = Steps(self.parallel, self.method)

  def train_step(self, dropout: bool) -> Callable[[Batch], dict[str, float]]:
    """A function that does the next update and returns its losses."""
    config = self.configs[dropout]
    method = methods.build(config, self.dataset)
    learner = learners.build(config, self.dataset, method, self.params)
    steps = Steps(self.parallel, method, learner)
    state = self.parallel.replicate(TrainState(np.zeros((), np.int32), self.params, learner.init(self.params)))

    def step(batch: Batch) -> dict[str, float]:
      nonlocal state
      placed = self.parallel.shard(self.builder.batch(batch, self.videos, step=0))
      state, parts = steps.train(state, placed, self.classes, self.banks)
      return {name: float(value) for name, value in self.parallel.fetch(parts).items()}

    return step

  def encode_classes(self, banks: Banks) -> np.ndarray:
    """(C, D)."""
    embeddings = self.parallel.fetch(self.steps.encode_classes(self.placed, self.classes, banks))
    return embeddings[:self.size.num_classes]

  def score(self, embeddings: jax.Array, banks: Banks) -> np.ndarray:
    """(videos, C) scores against class embeddings on the devices, as `evaluate.Evaluator` computes them."""
    scored = []
    for batch in eval_batches(self.videos, self.size.batch_size):
      placed = self.parallel.shard(self.builder.batch(batch, self.videos, step=0))
      scored.append((self.steps.score(self.placed, placed, embeddings, banks), batch.mask))
    return np.concatenate([self.parallel.fetch(logits)[:len(mask)][mask] for logits, mask in scored])[
        :, :self.size.num_classes]


def _config(size: Size, bert_folder: Path, dropout: bool) -> ConfigDict:
  """configs/ervse.py at the published values, with the sizes of `size` and a constant learning rate."""
  config = ervse.get_config("precomputed")
  config.batch_size = config.eval_batch_size = size.batch_size
  config.model.embed_dim = size.embed_dim
  config.model.text_backbone.update({"name_or_path": str(bert_folder), "trainable_from": size.trainable_from})
  config.optimizer.update({"schedule": "constant", "warmup_steps": 0})
  if not dropout:
    for module in DROPOUTS:
      config.model[module].dropout_rate = 0.0
  return config
