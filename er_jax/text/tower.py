"""Text towers: texts to token vectors, the part below the text encoder. One file a tower, er_jax/text/NAME.py.

    TOWER = TowerSpec(build=..., ...)                                   # in that file
    tower = TOWERS.load(config.model.text_backbone.kind).build(config.model.text_backbone, dtype, dataset)
    hidden = tower.module(texts, deterministic=True)                    # Texts -> (N, H)

A tower's Flax module has `width` H, the `dtype` of what it returns, and `can_be_cached`: whether its leading layers are
a function of the text alone, since training leaves them alone. Then `frozen(texts)` computes these, (N, H), once per
distinct text, and the module goes on from `texts.hidden` where that is given.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from er_jax.text.tokenizers import Tokenizer
from input_pipeline.array_files import Arrays
from input_pipeline.dataset import Dataset
from input_pipeline.registry import Registry

TOWERS = Registry("er_jax.text", "TOWER", "config.model.text_backbone.kind")


class TextTower(NamedTuple):
  """A text tower and what comes with it.

  Attributes:
    module: the Flax module, see above.
    tokenizer: texts to token ids of its vocabulary.
    pretrained: {"bert/layer_0/...": array}, the parameters that do not start at random.
    frozen: names of its parameters that do not train.
    max_tokens: the longest text that it can read.
    reads_order: whether the same words in another order are another text.
  """
  module: nn.Module
  tokenizer: Tokenizer
  pretrained: dict[str, np.ndarray]
  frozen: frozenset[str]
  max_tokens: int
  reads_order: bool = True


def _nothing_needed(config: ConfigDict, dataset: Dataset) -> None:
  del config, dataset


@dataclasses.dataclass(frozen=True)
class TowerSpec:
  """What a tower's file declares. `config` is `config.model.text_backbone`.

  Attributes:
    build: (config, dtype, dataset, frozen) -> TextTower for a dataset's words, wholly frozen if `frozen`.
    module_of: (config, arrays, dtype) -> the module of the sizes that a published state dict says.
    published_names: (our pattern, published template) of each parameter below "text_backbone", as in `MethodSpec`.
    require_trainable: (config, dataset) raises UserError if the dataset lacks what training needs, though not
      evaluation.
    files: (config) -> the files besides the dataset that the tower is made of, by name, wherever they lie; raises
      UserError if they are not there. None if it is made of the dataset alone.
    weights: the names of those that only the start of a training depends on.
  """
  build: Callable[[ConfigDict, jnp.dtype, Any, bool], TextTower]
  module_of: Callable[[ConfigDict, Arrays, jnp.dtype], nn.Module]
  published_names: Mapping[str, str]
  require_trainable: Callable[[ConfigDict, Dataset], None] = _nothing_needed
  files: Callable[[ConfigDict], Mapping[str, Path]] | None = None
  weights: frozenset[str] = frozenset()
