"""The methods in PyTorch's own layers, with the published parameter names: what training here is compared with.

    peer = make_peer(config, dataset, tokenizer)           # random weights; peer.state_dict() is a published one
    losses, final = train_peer(peer, config, batches)      # the published optimisation
    peer.logits(features, concept_ids, class_ids)

Texts are padded, every text runs through the whole backbone, and nothing is shared with the code that is tested but
the tokenizer and the texts' wording (each tested by itself).
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from er_jax.text import bert_weights
from input_pipeline.metadata.concepts import concept_text
from input_pipeline.metadata.descriptions import class_text

SUBMODULES = {"vis_encoder": "video_encoder", "txt_backbone": "text_backbone", "txt_encoder": "text_encoder",
              "mm_fusion": "fusion", "act_gate_fc": "fusion", "obj_gate_fc": "fusion"}
# How wide a small BERT's weights are drawn. By BERT's 0.02 it attends to all tokens alike, and first or last tokens of
# different texts come out alike to three digits, so that rounding is 1e-4 of a gradient and logits vary by that too.
BERT_SPREAD = 0.2


def normalize(x):
  return functional.normalize(x, dim=-1)


class VisualEncoder(nn.Module):
  def __init__(self, inputs, outputs):
    super().__init__()
    self.ft_embed = nn.Linear(inputs, outputs)


class TextEncoder(nn.Module):
  def __init__(self, width, outputs, pooling):
    super().__init__()
    self.pooling = pooling
    self.ft_embed = nn.Linear(width, outputs) if width != outputs else None
    if pooling == "attn":
      self.ft_attn = nn.Sequential(nn.Linear(width, width // 2), nn.Identity(), nn.ReLU(), nn.Linear(width // 2, 1))

  def forward(self, hidden, mask):
    lengths = mask.sum(1)
    if self.pooling == "first":
      pooled = hidden[:, 0]
    elif self.pooling == "last":
      pooled = hidden[torch.arange(len(hidden)), lengths - 1]
    elif self.pooling == "avg":
      pooled = torch.stack([row[:length].mean(0) for row, length in zip(hidden, lengths)])
    elif self.pooling == "max":
      pooled = torch.stack([row[:length].max(0).values for row, length in zip(hidden, lengths)])
    else:
      scores = self.ft_attn(hidden)[..., 0].masked_fill(~mask, -math.inf)
      pooled = torch.einsum("sl,slh->sh", scores.softmax(1), hidden)
    return normalize(pooled if self.ft_embed is None else self.ft_embed(pooled))


class Bert(nn.Module):
  def __init__(self, config):
    super().__init__()
    sizes = bert_weights.load_bert(config.name_or_path)[0]
    self.bert = BertModel(BertConfig(
        vocab_size=sizes.vocab_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads, intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.max_position_embeddings, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, initializer_range=BERT_SPREAD))
    self.width, frozen = sizes.hidden_size, True
    for name, parameter in self.bert.named_parameters():
      frozen = frozen and not (config.trainable_from and name.startswith(config.trainable_from))
      parameter.requires_grad = not frozen

  def forward(self, ids, mask):
    return self.bert(ids, attention_mask=mask.long()).last_hidden_state


class Words(nn.Module):
  def __init__(self, config, table):
    super().__init__()
    self.embedding = nn.Embedding(*table.shape)
    self.embedding.weight.requires_grad = not config.frozen_embedding
    self.width = table.shape[1]
    if config.kind == "rnn":
      self.width = config.hidden_dim
      self.rnn = getattr(nn, config.cell.upper())(table.shape[1], config.hidden_dim, batch_first=True,
                                                  bidirectional=config.bidirectional)

  def forward(self, ids, mask):
    words = self.embedding(ids)
    if not hasattr(self, "rnn"):
      return words
    packed = nn.utils.rnn.pack_padded_sequence(words, mask.sum(1), batch_first=True, enforce_sorted=False)
    hidden = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=ids.shape[1])[0]
    return hidden.unflatten(-1, (-1, self.width)).mean(-2)


class TextPeer(nn.Module):
  """ER-ZSAR, VSE and CPT."""

  def __init__(self, config, dataset, tokenizer):
    super().__init__()
    self.config, self.dataset, self.tokenizer = config, dataset, tokenizer
    model, width = config.model, config.model.embed_dim
    if config.method != "cpt":
      self.vis_encoder = VisualEncoder(dataset.feature_dim, width)
    backbone = model.text_backbone
    self.txt_backbone = Bert(backbone) if backbone.kind == "bert" else Words(backbone, dataset.word_table)
    self.txt_encoder = TextEncoder(self.txt_backbone.width, width, model.pooling)
    self.fusion = model.get("fusion", None)
    names = {"fc": ["mm_fusion"], "gate": ["act_gate_fc", "obj_gate_fc"]}.get(self.fusion, [])
    for name in names:
      setattr(self, name, nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Identity(), nn.Linear(width, width)))

  def texts(self, texts):
    ids = [torch.tensor(ids).long() for ids in self.tokenizer.encode(texts, self.config.data.max_tokens)]
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in ids], batch_first=True).bool()
    padded = nn.utils.rnn.pad_sequence(ids, batch_first=True)
    return self.txt_encoder(self.txt_backbone(padded, mask), mask)

  def names(self, concept_ids, topk, with_definition):
    separator = " " if self.config.model.text_backbone.kind != "bert" else ": "
    return [[concept_text(self.dataset.concepts[c], with_definition, separator) for c in row[:topk] if c >= 0]
            for row in concept_ids]

  def streams(self, features, concept_ids):
    """(scores against texts) -> a list of scores, the final one last."""
    model, definitions = self.config.model, self.config.data.concept_definitions
    if self.config.method != "cpt":
      action = normalize(self.vis_encoder.ft_embed(torch.tensor(features)))
      if self.fusion is None:
        self.video = action
        return lambda texts, rehearsing: [action @ texts.T]
    names = self.names(concept_ids, model.topk_concepts, definitions.input)
    if self.config.method == "cpt" and model.separate_concepts:
      objects = torch.stack([self.texts(row) for row in names])                     # (B, k, D)
      redundancy = 1 / (objects @ objects.transpose(1, 2)).clamp(min=0).sum(2)
      weights = (10 * redundancy).softmax(1)
      return lambda texts, rehearsing: [torch.einsum("bk,bkc->bc", weights, objects @ texts.T)]
    objects = self.texts([" ".join(row) for row in names])
    if self.config.method == "cpt":
      return lambda texts, rehearsing: [objects @ texts.T]
    both = torch.cat([action, objects], 1)
    if self.fusion == "early":
      return lambda texts, rehearsing: [(action + objects) @ texts.T]
    if self.fusion == "fc":
      fused = normalize(self.mm_fusion(both))
      return lambda texts, rehearsing: [action @ texts.T, objects @ texts.T, fused @ texts.T]
    if self.fusion == "gate":
      action = normalize(self.act_gate_fc(both).sigmoid() * action)
      objects = normalize(self.obj_gate_fc(both).sigmoid() * objects)

    def late(texts, rehearsing):
      a, o = action @ texts.T, objects @ texts.T
      return [a, o, a + (o.clamp(min=0) if model.clamp_obj_logits and not rehearsing else o)]
    return late

  def classes(self, class_ids):
    mode = self.config.data.class_text
    if self.config.model.text_backbone.kind != "bert" and mode == "name_description":
      return self.texts([f"{self.dataset.classes[i].name} {self.dataset.classes[i].description}" for i in class_ids])
    return self.texts([class_text(self.dataset.classes[i], mode) for i in class_ids])

  def logits(self, features, concept_ids, class_ids):
    return self.streams(features, concept_ids)(self.classes(class_ids), False)[-1]

  def loss(self, features, concept_ids, targets):
    loss, scores_of = self.config.loss, self.streams(features, concept_ids)
    classes = self.classes(self.dataset.class_splits[0].seen)
    if loss.kind == "l2":
      return functional.mse_loss(self.video, classes[targets])
    scores = scores_of(classes, False)
    if loss.kind == "rank":
      total = ranking_loss(scores[-1], targets, loss)
    else:
      total = sum(functional.cross_entropy(part / loss.temperature, targets) for part in scores)
    if self.config.method not in ("ervse", "cpt") or not loss.rehearsal_weight:
      return total
    names = self.names(concept_ids, loss.rehearsal_topk, self.config.data.concept_definitions.rehearsal)
    distinct = list(dict.fromkeys(name for row in names for name in row))
    own = torch.tensor([[name in row for name in distinct] for row in names])
    temperature = loss.temperature if loss.kind == "ce" else 1.0
    concepts = scores_of(self.texts(distinct), True)
    return total + loss.rehearsal_weight * sum(-(part / temperature).log_softmax(1)[own].mean() for part in concepts)


def ranking_loss(scores, targets, loss):
  """Video by video, as METHOD says."""
  total = 0
  for row, target in zip(scores, targets):
    others = torch.cat([row[:target], row[target + 1:]])
    hinge = (loss.margin + others - row[target]).clamp(min=0)
    if loss.max_violation:
      value = hinge.topk(loss.topk).values.sum() / (loss.topk if loss.reduction == "mean" else 1)
    else:
      rank = int((hinge > 0).sum())
      weight = {"sum": 1.0, "mean": 1 / len(others),
                "weighted": sum(1 / i for i in range(1, rank + 1)) / (rank + 1e-8)}[loss.reduction]
      value = weight * hinge.sum()
    total = total + value
  return total / len(targets)


class VectorPeer(nn.Module):
  """The methods that know classes by their vectors."""

  def __init__(self, config, dataset):
    super().__init__()
    self.config, self.dataset, method = config, dataset, config.method
    self.vectors = torch.tensor(dataset.class_vectors)
    features, width = dataset.feature_dim, self.vectors.shape[1]
    if method in ("devise", "ale", "sje"):
      self.bilinear = nn.Linear(features, width, bias=False)
    elif method == "dem":
      hidden = config.model.hidden_dim
      self.t2vfc = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.ReLU(),
                                 nn.Linear(hidden, features, bias=False), nn.ReLU())
    else:
      sizes = [width, *config.model.hidden_dims, features]
      self.gcn = nn.ModuleList(GraphLayer(*pair) for pair in zip(sizes[:-1], sizes[1:]))
      unit = normalize(self.vectors)
      nearest = (unit @ unit.T).topk(config.model.num_neighbors, 1).indices
      edges = torch.zeros(len(unit), len(unit)).scatter(1, nearest, 1.0)
      edges = torch.maximum(edges, edges.T)
      self.edges = edges / edges.sum(1, keepdim=True)

  def classes(self, class_ids):
    class_ids = list(class_ids)
    if self.config.method == "dem":
      return self.t2vfc(self.vectors[class_ids])
    if self.config.method != "gcn":
      return normalize(self.vectors[class_ids])
    nodes = normalize(self.vectors)
    for i, layer in enumerate(self.gcn):
      nodes = self.edges @ layer.fc(nodes) + nodes @ layer.loop_weight
      nodes = nodes if i == len(self.gcn) - 1 else functional.leaky_relu(nodes, 0.2)
    return normalize(nodes)[class_ids]

  def logits(self, features, concept_ids, class_ids):
    del concept_ids
    videos, classes = torch.tensor(features), self.classes(class_ids)
    if self.config.method == "dem":
      return -((videos[:, None] - classes[None]) ** 2).sum(2)
    return (self.bilinear(videos) if hasattr(self, "bilinear") else videos) @ classes.T

  def loss(self, features, concept_ids, targets):
    seen = self.dataset.class_splits[0].seen
    if self.config.method == "dem":
      return functional.mse_loss(self.classes(seen)[targets], torch.tensor(features))
    if self.config.method == "gcn":
      return functional.mse_loss(self.classes(seen), normalize(torch.tensor(self.dataset.classifier_rows[list(seen)])))
    return ranking_loss(self.logits(features, concept_ids, seen), targets, self.config.loss)


class GraphLayer(nn.Module):
  def __init__(self, inputs, outputs):
    super().__init__()
    self.fc = nn.Linear(inputs, outputs)
    self.loop_weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)


def make_peer(config, dataset, tokenizer):
  """The peer of an experiment, with random weights."""
  torch.manual_seed(0)
  return TextPeer(config, dataset, tokenizer) if tokenizer is not None else VectorPeer(config, dataset)


def learning_rate(step, options, batch_size):
  """The published warm-up and cosine, from their formulas."""
  base, warm, decay = options.learning_rate, options.warmup_steps, options.decay_steps
  if step <= warm:
    return base * batch_size ** (step / warm - 1)
  return base * (1 + math.cos(math.pi * step / decay)) / (1 + math.cos(math.pi * warm / decay))


def train_peer(peer, config, batches):
  """Trains by the published optimisation. Returns: the losses before each step."""
  options, losses = config.optimizer, []
  groups = []
  for name, parameter in peer.named_parameters():
    submodule = SUBMODULES.get(name.split(".")[0], config.method)
    if parameter.requires_grad and not options.freeze.get(submodule, False):
      groups.append({"params": [parameter], "weight_decay": options.weight_decay.get(submodule, 0.0),
                     "multiplier": options.lr_multiplier.get(submodule, 1.0)})
  adam = torch.optim.Adam(groups, lr=1.0)
  trained = [parameter for group in adam.param_groups for parameter in group["params"]]
  for step, batch in enumerate(batches):
    rows = batch.mask
    loss = peer.loss(batch.features[rows], batch.concept_ids[rows], torch.tensor(batch.targets[rows]).long())
    losses.append(loss.item())
    adam.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained, options.clip_norm)
    for group in adam.param_groups:
      group["lr"] = group["multiplier"] * learning_rate(step, options, config.batch_size)
    adam.step()
  return losses


def state_of(peer):
  """The state dict as NumPy arrays."""
  return {name: np.array(tensor) for name, tensor in peer.state_dict().items()}
