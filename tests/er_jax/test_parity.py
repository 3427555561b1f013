"""ER-ZSAR, VSE and DEVISE against the same computation in PyTorch's own layers: losses, parameters, logits."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from er_jax import train
from er_jax.evaluate import evaluate
from er_jax.experiment import Experiment
from er_jax.models import bert
from input_pipeline.concepts import concept_text
from input_pipeline.descriptions import class_text
from input_pipeline.loaders import examples, train_batches
from tests.er_jax.small import SmallDataset, lines_of, small_config

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
NO_DROPOUT = {"model__text_backbone__dropout_rate": 0.0, "model__text_encoder__dropout_rate": 0.0,
              "model__video_encoder__dropout_rate": 0.0}
STEPS = 6


class Peer(torch.nn.Module):
  """Video encoder, BERT with average pooling, gates: plain torch modules with the weights of a JAX run's start."""

  def __init__(self, experiment: Experiment):
    super().__init__()
    self.experiment, config = experiment, experiment.config
    flat = flatten_dict(experiment.first_params(), sep="/")
    self.tokenizer = experiment.method.tokenizer
    sizes = bert.load_bert(config.model.text_backbone.name_or_path)[0]
    self.bert = transformers.BertModel(transformers.BertConfig(
        vocab_size=sizes.vocab_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads, intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.max_position_embeddings, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0), add_pooling_layer=False)
    own = dict(self.bert.named_parameters())
    for name, path in bert.hf_names(sizes):
      value = flat["/".join(("text_backbone", "bert", *path))]
      own[name].data = torch.tensor(value.T if path[-1] == "kernel" else value).contiguous()
    frozen = True
    for name, parameter in self.bert.named_parameters():
      frozen = frozen and not name.startswith(config.model.text_backbone.trainable_from)
      parameter.requires_grad = not frozen
    self.video_encoder = linear(flat, "video_encoder/dense")
    self.text_encoder = linear(flat, "text_encoder/dense")
    self.gates = None
    if config.method == "ervse":
      self.gates = torch.nn.ModuleList(
          torch.nn.Sequential(linear(flat, f"fusion/{name}/hidden"), torch.nn.ReLU(),
                              linear(flat, f"fusion/{name}/output"), torch.nn.Sigmoid())
          for name in ("action_gate", "object_gate"))

  def texts(self, texts):
    ids = [torch.tensor(ids) for ids in self.tokenizer.encode(texts, self.experiment.config.data.max_tokens)]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).long()
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(i)) for i in ids], batch_first=True)
    hidden = self.bert(padded, attention_mask=mask).last_hidden_state
    pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(self.text_encoder(pooled), dim=-1)

  def streams(self, features, concept_ids):
    action = torch.nn.functional.normalize(self.video_encoder(torch.tensor(features)), dim=-1)
    if self.gates is None:
      return action, None
    concepts = self.experiment.dataset.concepts
    joined = [" ".join(concept_text(concepts[c], True) for c in row[:5] if c >= 0) for row in concept_ids]
    objects = self.texts(joined)
    both = torch.cat([action, objects], dim=1)
    gated = [torch.nn.functional.normalize(gate(both) * x, dim=-1) for gate, x in zip(self.gates, (action, objects))]
    return gated[0], gated[1]

  def scores(self, streams, texts, clamp):
    action, objects = streams
    if objects is None:
      return [action @ texts.T]
    a, o = action @ texts.T, objects @ texts.T
    return [a, o, a + (o.clamp(min=0) if clamp else o)]

  def logits(self, features, concept_ids, class_ids):
    classes = self.texts([class_text(self.experiment.dataset.classes[i], "name_description") for i in class_ids])
    return self.scores(self.streams(features, concept_ids), classes, clamp=True)[-1]

  def loss(self, batch):
    dataset, rows = self.experiment.dataset, batch.mask
    classes = self.texts([class_text(dataset.classes[i], "name_description") for i in dataset.splits.seen])
    streams = self.streams(batch.features[rows], batch.concept_ids[rows])
    targets = torch.tensor(batch.targets[rows]).long()
    class_loss = sum(torch.nn.functional.cross_entropy(scores / 0.1, targets)
                     for scores in self.scores(streams, classes, clamp=True))
    if self.gates is None:
      return class_loss, class_loss
    names = [[concept_text(dataset.concepts[c], True) for c in row[:5]] for row in batch.concept_ids[rows]]
    distinct = list(dict.fromkeys(name for row in names for name in row))
    own = torch.tensor([[name in row for name in distinct] for row in names])
    concepts = self.texts(distinct)
    rehearsal = sum(-torch.log_softmax(scores / 0.1, dim=1)[own].mean()
                    for scores in self.scores(streams, concepts, clamp=False))
    return class_loss + rehearsal, class_loss


def linear(flat, name):
  kernel = flat[f"{name}/kernel"]
  layer = torch.nn.Linear(*kernel.shape)
  layer.weight.data, layer.bias.data = torch.tensor(kernel.T).contiguous(), torch.tensor(flat[f"{name}/bias"])
  return layer


@pytest.mark.parametrize("method", ["ervse", "vse"])
def test_losses_and_logits_equal_torch(tmp_path, bert_folder, method):
  gates = {"model__fusion_mlp__dropout_rate": 0.0} if method == "ervse" else {}
  config = small_config(method, bert_folder, **NO_DROPOUT, **gates, num_epochs=STEPS // 3,
                        model__text_backbone__trainable_from="encoder.layer.1")
  config.optimizer.update({"schedule": "constant", "warmup_steps": 0, "learning_rate": 1e-3, "clip_norm": 1.0})
  experiment = Experiment(config, tmp_path, SmallDataset(tmp_path))
  peer = Peer(experiment)
  decay = {"video_encoder": 1e-4, "text_encoder": 1e-4, "gates": 1e-4, "bert": 0.0 if method == "ervse" else 1e-4}
  learned = [(name, p) for name, p in peer.named_parameters() if p.requires_grad]
  optimizer = torch.optim.Adam([{"params": [p], "weight_decay": decay[name.split(".")[0]]} for name, p in learned],
                               lr=1e-3)
  seen = examples(experiment.dataset, "train", experiment.dataset.splits.seen)
  expected = []
  for batch in train_batches(seen, config.batch_size, config.seed, num_steps=STEPS):
    loss, class_loss = peer.loss(batch)
    expected.append((loss.item(), class_loss.item()))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for _, p in learned], 1.0)
    optimizer.step()

  assert train.train(experiment)
  ours = [(line["loss"], line["class_loss"]) for line in lines_of(tmp_path) if "loss" in line]
  np.testing.assert_allclose(ours, expected, rtol=1e-4)
  _, predictions, videos = evaluate(experiment, tmp_path / "checkpoints" / str(STEPS))
  for k, class_ids in enumerate(experiment.dataset.splits.test):
    mine = predictions[f"test{k}"]
    rows = np.isin(videos.labels, class_ids)
    with torch.no_grad():
      logits = peer.logits(videos.features(np.nonzero(rows)[0]), videos.concept_ids[rows], class_ids)
    np.testing.assert_allclose(mine.logits, logits.numpy(), atol=1e-4)
    np.testing.assert_array_equal(np.array(class_ids)[mine.targets], videos.labels[rows])


def test_devise_equals_torch(tmp_path):
  config = small_config("devise", "", model__dropout_rate=0.0, num_epochs=STEPS // 3)
  config.optimizer.update({"schedule": "constant", "warmup_steps": 0, "learning_rate": 1e-2, "clip_norm": 10.0})
  experiment = Experiment(config, tmp_path, SmallDataset(tmp_path))
  dataset = experiment.dataset
  weight = torch.nn.Parameter(torch.tensor(experiment.first_params()["devise"]["dense"]["kernel"]))
  vectors = torch.nn.functional.normalize(torch.tensor(dataset.class_vectors), dim=1)
  optimizer = torch.optim.Adam([weight], lr=1e-2)
  expected = []
  seen = examples(dataset, "train", dataset.splits.seen)
  for batch in train_batches(seen, config.batch_size, config.seed, num_steps=STEPS):
    rows = batch.mask
    scores = torch.tensor(batch.features[rows]) @ weight @ vectors[list(dataset.splits.seen)].T
    targets = torch.tensor(batch.targets[rows]).long()
    hinge = (0.1 + scores - scores.gather(1, targets[:, None])).clamp(min=0)
    loss = hinge.scatter(1, targets[:, None], 0.0).sum() / len(targets)
    expected.append(loss.item())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([weight], 10.0)
    optimizer.step()
  assert train.train(experiment)
  np.testing.assert_allclose([line["loss"] for line in lines_of(tmp_path) if "loss" in line], expected, rtol=1e-4)
