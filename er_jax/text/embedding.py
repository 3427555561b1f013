"""Word vectors themselves as a text tower, and what all towers on a dataset's word list share.

    tower = EmbeddingTower(num_words=13561, word_dim=300)
    hidden = tower.apply(params, texts, deterministic=True)      # Texts -> (N, E)

Shapes: N token slots (see ragged.py), E width of the word vectors.
"""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from er_jax.text.bank import Texts
from er_jax.text.tokenizers import Words
from er_jax.text.tower import TextTower, TowerSpec
from er_jax.types import Array
from input_pipeline.array_files import Arrays, axis_length
from input_pipeline.dataset import Dataset, require

WORD_TABLE = "embedding/embedding"      # the parameter that a dataset's word table is
MOST_WORDS = 1 << 20                    # towers on words know no longest text
PUBLISHED_TABLE, NUM_WORDS = "embedding.weight", 13561


class EmbeddingTower(nn.Module):
  """The word vectors themselves, H = E; unused slots hold any.

  Parameters: embedding/embedding (num_words, E), at first normal with variance 1, as torch.nn.Embedding's.

  Attributes:
    num_words: size of the vocabulary; ids are in [0, num_words).
    word_dim: E.
    dtype: of what is returned.
  """
  num_words: int
  word_dim: int
  dtype: jnp.dtype = jnp.float32

  @property
  def width(self) -> int:
    """H."""
    return self.word_dim

  @property
  def can_be_cached(self) -> bool:
    """Whether there is a frozen part whose output is worth keeping: a table is as fast as what would be kept."""
    return False

  @nn.compact
  def __call__(self, texts: Texts, deterministic: bool) -> Array:
    del deterministic
    return word_vectors(self.num_words, self.word_dim, self.dtype)(texts.tokens)


def word_vectors(num_words: int, word_dim: int, dtype: jnp.dtype) -> nn.Embed:
  """The table of word vectors, a submodule called "embedding"."""
  return nn.Embed(num_words, word_dim, dtype=dtype, embedding_init=nn.initializers.normal(1.0), name="embedding")


def word_tower(module: Callable[[ConfigDict, int, int, jnp.dtype], nn.Module],
               published_names: Mapping[str, str] = {}, reads_order: bool = True) -> TowerSpec:
  """The declaration of a tower on the dataset's word list.

  Args:
    module: (config, number of words, E, dtype) -> the Flax module, whose table is `word_vectors`.
    published_names: of its parameters besides the table.
    reads_order: see `TextTower`.
  """

  def build(config: ConfigDict, dtype: jnp.dtype, dataset: Dataset, frozen: bool = False) -> TextTower:
    del frozen      # by `frozen_embedding`; what else there is, the optimiser leaves out
    words = require(dataset, "word_list", f"text backbone {config.kind!r}")
    table = dataset.word_table
    built = module(config, len(words), config.word_dim if table is None else table.shape[1], dtype)
    return TextTower(built, Words(words), {} if table is None else {WORD_TABLE: table},
                     frozenset({WORD_TABLE} if config.frozen_embedding else ()), max_tokens=MOST_WORDS,
                     reads_order=reads_order)

  def module_of(config: ConfigDict, arrays: Arrays, dtype: jnp.dtype) -> nn.Module:
    name = f"txt_backbone.{PUBLISHED_TABLE}"
    return module(config, axis_length(arrays, name, 0, NUM_WORDS), axis_length(arrays, name, 1, config.word_dim), dtype)

  def require_trainable(config: ConfigDict, dataset: Dataset) -> None:
    if config.frozen_embedding:
      require(dataset, "word_table", f"text backbone {config.kind!r} with frozen_embedding")

  return TowerSpec(build, module_of, {WORD_TABLE: PUBLISHED_TABLE, **published_names}, require_trainable)


TOWER: TowerSpec = word_tower(lambda config, num_words, word_dim, dtype: EmbeddingTower(num_words, word_dim, dtype),
                              reads_order=False)
