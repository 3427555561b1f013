"""ER-ZSAR in plain eager PyTorch: what the benchmark compares our recognition with.

    peer = Peer(dataset, config, params, tokenizer)          # our parameters, copied
    batch = peer.batch(batch)                                # of the loader's
    peer.train_step(dropout=True)(batch)                     # {"loss": ..., "class_loss": ..., ...}
    peer.score(peer.encode_classes(), [batch])               # (videos, C) logits

It computes as the published code does: texts are padded to the longest of their group, and every step sends
all of them through all of BERT, whose frozen layers merely get no gradient. Nothing is compiled or cached.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from er_jax.text import bert_weights
from er_jax.text.tokenizers import Tokenizer
from input_pipeline import loaders
from input_pipeline.dataset import Dataset
from input_pipeline.metadata.concepts import concept_text
from input_pipeline.metadata.descriptions import class_text


class Texts(NamedTuple):
  """S texts padded to the longest: token ids (S, L) int64 and mask (S, L) float, 1 on tokens."""
  ids: Tensor
  mask: Tensor


class Batch(NamedTuple):
  """What a training step sees: features (B, F), targets (B,), three groups of texts, and which of the K
  rehearsal texts are a video's own (B, K) bool."""
  features: Tensor
  targets: Tensor
  classes: Texts
  objects: Texts
  concepts: Texts
  own: Tensor


def pad(token_ids: Sequence[np.ndarray]) -> Texts:
  """Texts of each its token ids, padded to the longest."""
  rows = [torch.tensor(ids, dtype=torch.int64) for ids in token_ids]
  return Texts(nn.utils.rnn.pad_sequence(rows, batch_first=True),
               nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True))


class Peer:
  """The recognition of one dataset, with the functions that the benchmark calls on both sides."""

  def __init__(self, dataset: Dataset, config: ConfigDict, params: Mapping, tokenizer: Tokenizer):
    """Args: params: of `er_jax.models.ervse.ERVSE`; they are copied and stay as they are."""
    self._dataset, self._config, self._tokenizer = dataset, config, tokenizer
    self.model = Recognition(params, bert_weights.load_bert(config.model.text_backbone.name_or_path)[0], config)
    self.classes = self._pad([class_text(action, config.data.class_text) for action in dataset.classes])

  def train_step(self, dropout: bool) -> Callable[[Batch], dict[str, float]]:
    """A function that does the next update and returns its losses. It changes the peer's parameters."""
    self.model.train(dropout)
    return functools.partial(self.model.train_step, optimizer=self.model.adam())

  @torch.no_grad()
  def encode_classes(self) -> np.ndarray:
    """(C, D)."""
    return self.model.eval().encode_texts(self.classes).numpy()

  @torch.no_grad()
  def score(self, embeddings: np.ndarray, batches: Sequence[Batch]) -> np.ndarray:
    """(videos, C)."""
    model, classes = self.model.eval(), torch.tensor(embeddings)
    return np.concatenate([model.logits(batch.features, batch.objects, classes).numpy() for batch in batches])

  def batch(self, batch: loaders.Batch) -> Batch:
    """The real videos of the loader's batch, with the texts of their objects."""
    config, real = self._config, batch.mask
    names = [[concept_text(self._dataset.concepts[concept], True) for concept in row if concept >= 0]
             for row in batch.concept_ids[real]]
    rehearsed = [row[:config.loss.rehearsal_topk] for row in names]
    distinct = list(dict.fromkeys(name for row in rehearsed for name in row))
    return Batch(
        features=torch.tensor(batch.features[real]),
        targets=torch.tensor(batch.targets[real], dtype=torch.int64),
        classes=self.classes,
        objects=self._pad([" ".join(row[:config.model.topk_concepts]) for row in names]),
        concepts=self._pad(distinct),
        own=torch.tensor([[name in row for name in distinct] for row in rehearsed]))

  def _pad(self, texts: Sequence[str | tuple[str, str]]) -> Texts:
    return pad(self._tokenizer.encode(texts, self._config.data.max_tokens))


class Recognition(nn.Module):
  """ER-ZSAR with gate fusion, average pooling and cross entropy (Chen & Huang 2021, section 3)."""

  def __init__(self, params: Mapping, sizes: bert_weights.BertConfig, config: ConfigDict):
    """Args: params: of `er_jax.models.ervse.ERVSE`, copied; sizes: of its BERT; config: the experiment's."""
    super().__init__()
    self.config = config
    flat, rate = flatten_dict(params, sep="/"), config.model.text_backbone.dropout_rate
    self.text_backbone = BertModel(BertConfig(
        vocab_size=sizes.vocab_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads, intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.max_position_embeddings, hidden_act=sizes.hidden_act,
        hidden_dropout_prob=rate, attention_probs_dropout_prob=rate), add_pooling_layer=False)
    own, trains = dict(self.text_backbone.named_parameters()), False
    for name, path in bert_weights.hf_names(sizes):
      value = flat["/".join(("text_backbone", "bert", *path))]
      trains = trains or name.startswith(config.model.text_backbone.trainable_from)
      own[name].data, own[name].requires_grad = _tensor(value.T if path[-1] == "kernel" else value), trains
    self.text_dropout = nn.Dropout(config.model.text_encoder.dropout_rate)
    self.text_encoder = _linear(flat, "text_encoder/dense")
    self.video_encoder = nn.Sequential(
        nn.Dropout(config.model.video_encoder.dropout_rate), _linear(flat, "video_encoder/dense"))
    rate = config.model.fusion_mlp.dropout_rate
    self.fusion = nn.ModuleList(
        nn.Sequential(_linear(flat, f"fusion/{gate}/hidden"), nn.ReLU(), nn.Dropout(rate),
                      _linear(flat, f"fusion/{gate}/output"), nn.Sigmoid())
        for gate in ("action_gate", "object_gate"))

  def adam(self) -> torch.optim.Adam:
    """The published optimiser: Adam with L2 decay by submodule, at a constant learning rate."""
    options = self.config.optimizer
    groups = [{"params": [parameter for parameter in module.parameters() if parameter.requires_grad],
               "weight_decay": options.weight_decay.get(name, 0.0)} for name, module in self.named_children()]
    return torch.optim.Adam([group for group in groups if group["params"]], lr=options.learning_rate)

  def encode_texts(self, texts: Texts) -> Tensor:
    """(S, D) embeddings."""
    hidden = self.text_backbone(texts.ids, attention_mask=texts.mask).last_hidden_state
    mask = texts.mask[..., None]
    pooled = (self.text_dropout(hidden) * mask).sum(1) / mask.sum(1)
    return functional.normalize(self.text_encoder(pooled), dim=-1)

  def encode_videos(self, features: Tensor, objects: Texts) -> tuple[Tensor, Tensor]:
    """(B, D) embeddings of the action stream and of the object stream."""
    action = functional.normalize(self.video_encoder(features), dim=-1)
    object_ = self.encode_texts(objects)
    both = torch.cat([action, object_], dim=1)
    action_gate, object_gate = (gate(both) for gate in self.fusion)
    return (functional.normalize(action_gate * action, dim=-1),
            functional.normalize(object_gate * object_, dim=-1))

  def logits(self, features: Tensor, objects: Texts, classes: Tensor) -> Tensor:
    """(B, C) scores against class embeddings (C, D)."""
    return _scores(self.encode_videos(features, objects), classes, clamp=True)[-1]

  def losses(self, batch: Batch) -> dict[str, Tensor]:
    """The batch's losses."""
    temperature = self.config.loss.temperature
    classes, streams = self.encode_texts(batch.classes), self.encode_videos(batch.features, batch.objects)
    concepts = self.encode_texts(batch.concepts)
    class_loss = sum((functional.cross_entropy(scores / temperature, batch.targets)
                      for scores in _scores(streams, classes, clamp=True)), torch.zeros(()))
    rehearsal_loss = sum((-torch.log_softmax(scores / temperature, dim=1)[batch.own].mean()
                          for scores in _scores(streams, concepts, clamp=False)), torch.zeros(()))
    return {"loss": class_loss + self.config.loss.rehearsal_weight * rehearsal_loss, "class_loss": class_loss,
            "rehearsal_loss": rehearsal_loss}

  def train_step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """One update. Returns: the losses before it."""
    losses = self.losses(batch)
    optimizer.zero_grad()
    losses["loss"].backward()
    trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
    nn.utils.clip_grad_norm_(trained, self.config.optimizer.clip_norm)
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def _scores(streams: tuple[Tensor, Tensor], texts: Tensor, clamp: bool) -> tuple[Tensor, Tensor, Tensor]:
  action, object_ = (stream @ texts.T for stream in streams)
  return action, object_, action + (object_.clamp(min=0) if clamp else object_)


def _linear(flat: Mapping[str, np.ndarray], name: str) -> nn.Linear:
  kernel = flat[f"{name}/kernel"]
  layer = nn.Linear(*kernel.shape)
  layer.weight.data, layer.bias.data = _tensor(kernel.T), _tensor(flat[f"{name}/bias"])
  return layer


def _tensor(value: np.ndarray) -> Tensor:
  return torch.tensor(np.ascontiguousarray(value))   # a copy
