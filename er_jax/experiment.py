"""A config made real: the dataset, the devices, the method and its first parameters.

    experiment = Experiment(config, Path("runs/a"), open_dataset("data", "toy_actions"))
    params = experiment.first_params()
"""

import functools
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from er_jax import checkpoints, methods, provenance
from er_jax.inputs import Params
from er_jax.sharding import Parallel
from er_jax.steps import init_params, params_like
from er_jax.text.embedding import WORD_TABLE
from input_pipeline import paths
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit

WORD_VECTORS = f"text_backbone/{WORD_TABLE}"     # what a checkpoint of word vectors alone holds


class Experiment:
  """What training and evaluation share: the config made real.

  Attributes:
    config, workdir: as given.
    dataset: the prepared dataset; one `seen` serves all its class splits.
    parallel: the devices.
    method: the model.
    title: what a person is told is being trained.
    is_main: whether this process writes files and speaks.
  """

  def __init__(self, config: ConfigDict, workdir: Path, dataset: Dataset, devices: Sequence | None = None,
               title: str = ""):
    self.config, self.workdir, self.dataset = config, workdir, dataset
    if not dataset.class_splits:
      raise UserError(f"{dataset.path} has no class_splits.json: it does not say which classes are seen.")
    if not 0 <= config.data.split_index < len(dataset.class_splits):
      raise UserError(f"config.data.split_index is {config.data.split_index}, but {dataset.name} has "
                      f"{len(dataset.class_splits)} splits (0 to {len(dataset.class_splits) - 1}).")
    self.parallel = Parallel(config.parallel, devices)
    self.method = methods.build(config, dataset)
    self.title = title or f"train {config.method}"
    self.is_main = jax.process_index() == 0
    self._warned: set[str] = set()

  @property
  def seen(self) -> tuple[int, ...]:
    """The classes that are trained on."""
    return self.dataset.class_splits[0].seen

  @property
  def splits(self) -> tuple[ClassSplit, ...]:
    """The dataset's class splits."""
    return self.dataset.class_splits

  @functools.cached_property
  def data(self) -> dict[str, Any]:
    """What it all rests on. Raises: UserError as `er_jax.provenance.of`."""
    return provenance.of(self.config, self.dataset, self.config.data.corrections)

  def warn(self, remarks: Iterable[str]) -> None:
    """Says each on stderr, once, by the main process."""
    for remark in remarks:
      if self.is_main and remark not in self._warned:
        print(remark, file=sys.stderr, flush=True)
      self._warned.add(remark)

  def first_params(self) -> Params:
    """The parameters that training starts from. Raises: UserError if `config.init_from` is of another model."""
    if not self.config.init_from:
      return self._random_params()
    start = paths.absolute(self.config.init_from, "config.init_from")
    loaded = self.load_params(start, may_be_alone=WORD_VECTORS)
    flat = flatten_dict(loaded, sep="/")
    if flat.keys() != {WORD_VECTORS}:
      return loaded
    return unflatten_dict({**flatten_dict(self._random_params(), sep="/"), **flat}, sep="/")

  def load_params(self, checkpoint: str | os.PathLike, may_be_alone: str = "") -> Params:
    """The parameters in a checkpoint folder. Raises: UserError if it belongs to another model."""
    return checkpoints.load_params(checkpoint, params_like(self.method), may_be_alone)

  def blank_params(self) -> Params:
    """Parameters of the right shapes, to be filled from a checkpoint."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params_like(self.method))

  def _random_params(self) -> Params:
    """Random ones, and pretrained ones in their places."""
    return jax.tree.map(np.asarray, init_params(self.method, self.config.seed))

  @property
  def cache_bytes(self) -> int:
    """How many bytes of frozen layers' outputs may be kept."""
    return int(self.config.model.text_backbone.cache_gigabytes * 2**30) if "text_backbone" in self.config.model else 0
