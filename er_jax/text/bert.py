"""BERT as a text tower: its last hidden state, from a Hugging Face folder or hub id.

    tower = TOWER.build(config.model.text_backbone, dtype, dataset=None, frozen=False)
    hidden = tower.module.apply({"params": params}, texts, deterministic=True)       # Texts -> (N, H)

Its leading layers may be frozen; see `er_jax.text.tower`.
"""

import flax.linen as nn
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from er_jax.text import bert_weights
from er_jax.text.bank import Texts
from er_jax.text.bert_encoder import Bert
from er_jax.text.bert_weights import BertConfig
from er_jax.text.tokenizers import WordPiece
from er_jax.text.tower import TextTower, TowerSpec
from er_jax.types import Array
from input_pipeline.array_files import Arrays
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError

BERT_BASE = BertConfig(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                       intermediate_size=3072)      # bert-base-uncased


class BertTower(nn.Module):
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
    self.bert = Bert(self.config, self.dropout_rate, self.dtype)

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


def module(config: ConfigDict, sizes: BertConfig, dtype: jnp.dtype,
           frozen: bool = False) -> tuple[BertTower, frozenset[str]]:
  """A BERT of these sizes, and the names of its parameters that do not train."""
  trainable_from = "" if frozen else config.trainable_from
  embeddings_frozen, num_frozen_layers = bert_weights.num_frozen_layers(sizes, trainable_from)
  tower = BertTower(sizes, num_frozen_layers if embeddings_frozen else None, config.dropout_rate, config.frozen_dropout,
                    dtype)
  return tower, frozenset("bert/" + "/".join(path) for path in bert_weights.frozen_names(sizes, trainable_from))


def _build(config: ConfigDict, dtype: jnp.dtype, dataset: Dataset | None, frozen: bool = False) -> TextTower:
  del dataset      # a BERT brings its own words
  sizes, params, folder = bert_weights.load_bert(config.name_or_path)
  tokenizer = WordPiece(folder)
  if tokenizer.vocab_size > sizes.vocab_size:
    raise UserError(f"{folder}: vocab.txt has {tokenizer.vocab_size} word pieces, but config.json says vocab_size "
                    f"{sizes.vocab_size}.")
  tower, names = module(config, sizes, dtype, frozen)
  pretrained = {} if params is None else flatten_dict({"bert": params}, sep="/")
  return TextTower(tower, tokenizer, pretrained, names, sizes.max_position_embeddings)


def _module_of(config: ConfigDict, arrays: Arrays, dtype: jnp.dtype) -> nn.Module:
  """Of the folder or id that the config names; bert-base-uncased is known without asking the hub."""
  del arrays
  known = config.name_or_path == "bert-base-uncased" and not bert_weights.is_folder(config.name_or_path)
  return module(config, BERT_BASE if known else bert_weights.load_bert(config.name_or_path)[0], dtype)[0]


TOWER: TowerSpec = TowerSpec(_build, _module_of, {
    f"bert/{ours}": f"bert.{theirs}" for ours, theirs in bert_weights.NAMES.items()},
    files=lambda config: bert_weights.files_of(config.name_or_path), weights=frozenset({bert_weights.WEIGHTS}))
