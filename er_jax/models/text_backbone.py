"""Text backbones: texts to token vectors, the part below the text encoder.

    backbone = build(config.model.text_backbone, dtype)           # a Backbone: module, tokenizer, first parameters
    hidden = backbone.module(texts, deterministic=True)           # (N, H)

The leading layers that training leaves alone are a function of the text; `frozen` computes them, once per distinct
text, and the module goes on from `texts.hidden` where that is given.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from ml_collections import ConfigDict

from er_jax.models import bert
from er_jax.text_bank import Texts
from input_pipeline import tokenizers
from input_pipeline.errors import UserError, unknown


class BertBackbone(nn.Module):
  """BERT's last hidden state (N, H) of texts.

  Attributes:
    config: sizes.
    num_frozen_layers: how many leading layers, behind the embeddings, are frozen; None if the embeddings train too.
    dropout_rate: in the layers that train; the frozen ones have none, unless `frozen_dropout`.
    frozen_dropout: run dropout in the frozen layers too while training, as the published code does.
  """
  config: bert.BertConfig
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
    params: its pretrained parameters, or None to start from random ones.
    frozen: names ("bert/embeddings/...") of its parameters that do not train.
    max_tokens: the longest text that it can read.
  """
  module: nn.Module
  tokenizer: tokenizers.Tokenizer
  params: Any
  frozen: frozenset[str]
  max_tokens: int


def build(config: ConfigDict, dtype: jnp.dtype, frozen: bool = False) -> Backbone:
  """The backbone that `config.model.text_backbone` describes, wholly frozen if `frozen`.

  Raises:
    UserError: for an unknown kind, or files that are not a BERT's.
  """
  if config.kind != "bert":
    raise unknown("config.model.text_backbone.kind", config.kind, ("bert",))
  bert_config, params, folder = bert.load_bert(config.name_or_path)
  tokenizer = tokenizers.WordPiece(folder)
  if tokenizer.vocab_size > bert_config.vocab_size:
    raise UserError(f"{folder}: vocab.txt has {tokenizer.vocab_size} word pieces, but config.json says vocab_size "
                    f"{bert_config.vocab_size}.")
  trainable_from = "" if frozen else config.trainable_from
  embeddings_frozen, num_frozen_layers = bert.num_frozen_layers(bert_config, trainable_from)
  module = BertBackbone(bert_config, num_frozen_layers if embeddings_frozen else None, config.dropout_rate,
                        config.frozen_dropout, dtype)
  names = frozenset("bert/" + "/".join(path) for path in bert.frozen_names(bert_config, trainable_from))
  return Backbone(module, tokenizer, None if params is None else {"bert": params}, names,
                  bert_config.max_position_embeddings)
