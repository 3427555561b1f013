"""A config made real: the dataset, the devices, the method and its first parameters.

    experiment = Experiment(config, Path("runs/a"), open_dataset("data", "toy_actions"))
    params = experiment.first_params()
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from er_jax import checkpoints, methods, provenance
from er_jax.sharding import Parallel
from er_jax.steps import Params, init_params, params_like
from er_jax.text.backbone import WORD_TABLE
from input_pipeline.errors import UserError
from input_pipeline.loaders import Dataset

WORD_VECTORS = f"text_backbone/{WORD_TABLE}"     # what a checkpoint of word vectors alone holds


class Experiment:
  """What training and evaluation share: the config made real.

  Attributes:
    config, workdir: as given.
    dataset: the prepared dataset.
    parallel: the devices.
    method: the model.
    title: what a person is told is being trained.
    is_main: whether this process writes files and speaks.
  """

  def __init__(self, config: ConfigDict, workdir: Path, dataset: Dataset, devices: Sequence[jax.Device] | None = None):
    self.config, self.workdir, self.dataset = config, workdir, dataset
    if dataset.splits is None:
      raise UserError(f"{dataset.path} has no class_splits.json: it does not say which classes are seen.")
    if dataset.split_seed is not None and config.data.split_index:
      raise UserError(f"config.data.split_index is {config.data.split_index}, but {dataset.name} is split at random, with a "
                      "model for each split; leave it at 0. All splits are trained, or the first config.data.max_splits.")
    if not 0 <= config.data.split_index < len(dataset.splits.test):
      raise UserError(f"config.data.split_index is {config.data.split_index}, but {dataset.name} has "
                      f"{len(dataset.splits.test)} splits (0 to {len(dataset.splits.test) - 1}).")
    self.vector_dim = None if dataset.class_vectors is None else dataset.class_vectors.shape[1]
    self.parallel = Parallel(config.parallel, devices)
    self.method = methods.build(config, dataset)
    self.title = f"train {config.method}" + (f", {workdir.name}" if dataset.split_seed is not None else "")
    self.is_main = jax.process_index() == 0

  @functools.cached_property
  def data(self) -> dict[str, Any]:
    """What it all rests on. Raises: UserError as `er_jax.provenance.of`."""
    return provenance.of(self.config, self.dataset, self.config.data.corrections)

  def first_params(self) -> Params:
    """The parameters that training starts from. Raises: UserError if `config.init_from` is of another model."""
    if not self.config.init_from:
      return self._random_params()
    loaded = self.load_params(self.config.init_from, may_be_alone=WORD_VECTORS)
    flat = flatten_dict(loaded, sep="/")
    if flat.keys() != {WORD_VECTORS}:
      return loaded
    return unflatten_dict({**flatten_dict(self._random_params(), sep="/"), **flat}, sep="/")

  def load_params(self, checkpoint: str | os.PathLike, may_be_alone: str = "") -> Params:
    """The parameters in a checkpoint folder. Raises: UserError if it belongs to another model."""
    like = params_like(self.method, self.dataset.feature_dim, self.vector_dim)
    return checkpoints.load_params(checkpoint, like, may_be_alone)

  def blank_params(self) -> Params:
    """Parameters of the right shapes, to be filled from a checkpoint."""
    like = params_like(self.method, self.dataset.feature_dim, self.vector_dim)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)

  def _random_params(self) -> Params:
    """Random ones, and pretrained ones in their places."""
    params = init_params(self.method, self.dataset.feature_dim, self.vector_dim, self.config.seed)
    return jax.tree.map(np.asarray, params)

  @property
  def cache_bytes(self) -> int:
    """How many bytes of frozen layers' outputs may be kept."""
    return int(self.config.model.text_backbone.cache_gigabytes * 2**30) if "text_backbone" in self.config.model else 0
