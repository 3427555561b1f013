"""Text backbones: texts to token vectors, the part below the text encoder.

    backbone = build(config.model.text_backbone, dtype, dataset)  # a Backbone: module, tokenizer, first parameters
    hidden = backbone.module(texts, deterministic=True)           # (N, H)

The leading layers that training leaves alone are a function of the text; `frozen` computes them, once per distinct
text, and the module goes on from `texts.hidden` where that is given.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax import Array
from ml_collections import ConfigDict

from er_jax.text import bert, bert_weights, tokenizers
from er_jax.text.bank import Texts
from er_jax.text.word_vectors import CELLS, EmbeddingBackbone, RNNBackbone
from input_pipeline.dataset import Dataset, require
from input_pipeline.errors import UserError, unknown

KINDS = ("bert", "rnn", "embedding")
WORD_TABLE = "embedding/embedding"      # the parameter that a dataset's word table is
MOST_WORDS = 1 << 20                    # word-level backbones know no longest text


class BertBackbone(nn.Module):
  """BERT's last hidden state (N, H) of texts.

  Attributes:
    config: sizes.
    num_frozen_layers: how many leading layers, behind the embeddings, are frozen; None if the embeddings train too.
    dropout_rate: in the layers that train; the frozen ones have none, unless `frozen_dropout`.
    frozen_dropout: run dropout in the frozen layers too while training, as the published code does.
  """
  config: bert_weights.BertConfig
  num_frozen_layers: int | None
  dropout_rate: float
  frozen_dropout: bool = False
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    self.bert = bert.Bert(self.config, self.dropout_rate, self.dtype)

  @property
  def width(self) -> int:
    """H."""
    return self.config.hidden_size

  @property
  def can_be_cached(self) -> bool:
    """Whether there is a frozen part whose output is a function of the text."""
    return self.num_frozen_layers is not None and not self.frozen_dropout

  def frozen(self, texts: Texts, deterministic: bool = True) -> Array:
    """The frozen part's output (N, H)."""
    hidden = self.bert.embed(texts.tokens, texts.ragged, deterministic)
    return self.bert.layers(hidden, texts.ragged, deterministic, first=0, last=self.num_frozen_layers or 0)

  def __call__(self, texts: Texts, deterministic: bool) -> Array:
    hidden = texts.hidden
    if hidden is None:
      hidden = self.frozen(texts, deterministic or self.can_be_cached)
    return self.bert.layers(hidden, texts.ragged, deterministic, first=self.num_frozen_layers or 0)


class Backbone(NamedTuple):
  """A text backbone and what comes with it.

  Attributes:
    module: the Flax module; Texts -> (N, H).
    tokenizer: texts to token ids of its vocabulary.
    pretrained: {"bert/layer_0/...": array}, the parameters that it does not start at random.
    frozen: names of its parameters that do not train.
    max_tokens: the longest text that it can read.
  """
  module: nn.Module
  tokenizer: tokenizers.Tokenizer
  pretrained: dict[str, np.ndarray]
  frozen: frozenset[str]
  max_tokens: int


def build(config: ConfigDict, dtype: jnp.dtype, dataset: Dataset, frozen: bool = False) -> Backbone:
  """The backbone that `config.model.text_backbone` describes, for a dataset's words; wholly frozen if `frozen`.

  Raises:
    UserError: for an unknown kind, files that are not a BERT's, or a dataset without a word list.
  """
  if config.kind not in KINDS:
    raise unknown("config.model.text_backbone.kind", config.kind, KINDS)
  return _bert(config, dtype, frozen) if config.kind == "bert" else _words(config, dtype, dataset)


def _bert(config: ConfigDict, dtype: jnp.dtype, frozen: bool) -> Backbone:
  bert_config, params, folder = bert_weights.load_bert(config.name_or_path)
  tokenizer = tokenizers.WordPiece(folder)
  if tokenizer.vocab_size > bert_config.vocab_size:
    raise UserError(f"{folder}: vocab.txt has {tokenizer.vocab_size} word pieces, but config.json says vocab_size "
                    f"{bert_config.vocab_size}.")
  module, names = bert_module(config, bert_config, dtype, frozen)
  pretrained = {} if params is None else flatten_dict({"bert": params}, sep="/")
  return Backbone(module, tokenizer, pretrained, names, bert_config.max_position_embeddings)


def bert_module(config: ConfigDict, sizes: bert_weights.BertConfig, dtype: jnp.dtype,
                frozen: bool = False) -> tuple[BertBackbone, frozenset[str]]:
  """A BERT of these sizes, and the names of its parameters that do not train."""
  trainable_from = "" if frozen else config.trainable_from
  embeddings_frozen, num_frozen_layers = bert_weights.num_frozen_layers(sizes, trainable_from)
  module = BertBackbone(sizes, num_frozen_layers if embeddings_frozen else None, config.dropout_rate,
                        config.frozen_dropout, dtype)
  return module, frozenset("bert/" + "/".join(path) for path in bert_weights.frozen_names(sizes, trainable_from))


def _words(config: ConfigDict, dtype: jnp.dtype, dataset: Dataset) -> Backbone:
  words = require(dataset, "word_list", f"text backbone {config.kind!r}")
  table = dataset.word_table
  word_dim = config.word_dim if table is None else table.shape[1]
  module = word_module(config, len(words), word_dim, dtype)
  pretrained = {} if table is None else {WORD_TABLE: table}
  frozen = frozenset({WORD_TABLE} if config.frozen_embedding else ())
  return Backbone(module, tokenizers.Words(words), pretrained, frozen, max_tokens=MOST_WORDS)


def word_module(config: ConfigDict, num_words: int, word_dim: int, dtype: jnp.dtype) -> nn.Module:
  """The word-level backbone that `config.model.text_backbone` describes."""
  if config.kind == "embedding":
    return EmbeddingBackbone(num_words, word_dim, dtype)
  if config.cell not in CELLS:
    raise unknown("config.model.text_backbone.cell", config.cell, CELLS)
  return RNNBackbone(num_words, word_dim, config.cell, config.hidden_dim, config.bidirectional, config.dropout_rate,
                     dtype)
