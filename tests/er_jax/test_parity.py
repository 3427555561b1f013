"""Every method against the same computation in PyTorch's own layers, from the same published weights.

The weights go in by the converter; losses, the parameters after ten steps, and logits come out the same.
"""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from er_jax import published_weights, train
from er_jax.evaluate import evaluate
from er_jax.experiment import Experiment
from input_pipeline.loaders import examples, no_videos, train_batches
from tests.er_jax.small import lines_of, small_config, small_dataset

pytest.importorskip("torch")
pytest.importorskip("transformers")
from er_jax import convert
from input_pipeline import array_files
from tests.er_jax import published_peers as peers

STEPS = 10
LAYER_1 = {"model.text_backbone.trainable_from": "encoder.layer.1"}
CASES = {
    "ervse gate": ("ervse", {**LAYER_1, "optimizer.lr_multiplier.text_backbone": 0.5}),
    "ervse gate, no clamp, attn": ("ervse", {"model.clamp_obj_logits": False, "model.pooling": "attn",
                                             "data.concept_definitions.input": False}),
    "ervse late, first, pair": ("ervse", {"model.fusion": "late", "model.pooling": "first", "data.class_text": "pair"}),
    "ervse fc, max": ("ervse", {"model.fusion": "fc", "model.pooling": "max", "loss.rehearsal_weight": 0.5}),
    "ervse early, last": ("ervse", {"model.fusion": "early", "model.pooling": "last",
                                    "data.concept_definitions.rehearsal": False}),
    "ervse rank": ("ervse", {**LAYER_1, "loss.kind": "rank", "data.class_text": "description"}),
    "ervse without rehearsal": ("ervse", {"loss.rehearsal_weight": 0.0, "optimizer.freeze.text_backbone": True}),
    "vse": ("vse", {**LAYER_1, "data.class_text": "name"}),
    "vse l2": ("vse", {**LAYER_1, "loss.kind": "l2"}),
    "vse rank mean": ("vse", {"model.text_backbone.trainable_from": "", "loss.kind": "rank", "loss.reduction": "mean"}),
    "vse worst three": ("vse", {**LAYER_1, "loss.kind": "rank", "loss.max_violation": True, "loss.topk": 3,
                                "loss.reduction": "mean"}),
    "vse gru": ("vse", {"model.text_backbone.kind": "rnn", "model.text_backbone.hidden_dim": 12}),
    "vse_wordembed": ("vse_wordembed", {}),
    "vse_wordembed, trained": ("vse_wordembed", {"model.text_backbone.frozen_embedding": False,
                                                 "model.pooling": "max", "data.max_tokens": 5}),
    "vse_wordembed, lstm": ("vse_wordembed", {
        "model.text_backbone.kind": "rnn", "model.text_backbone.cell": "lstm", "model.text_backbone.hidden_dim": 8,
        "model.text_backbone.bidirectional": False, "model.pooling": "last"}),
    "cpt": ("cpt", LAYER_1),
    "cpt, separate": ("cpt", {**LAYER_1, "model.separate_concepts": True}),
    "devise": ("devise", {}),
    "ale": ("ale", {"loss.margin": 0.3}),
    "sje": ("sje", {}),
    "dem": ("dem", {"model.hidden_dim": 9}),
    "gcn": ("gcn", {"model.hidden_dims": (8, 10), "model.num_neighbors": 3}),
}


def without_dropout(config):
  """Every dropout of the config off, the order fixed."""
  names = flatten_dict(config.to_dict(), sep=".")
  config.update_from_flattened_dict({name: 0.0 for name in names if name.endswith("dropout_rate")})
  config.data.shuffle = False
  return config


# A softmax cancels these, so their gradients are nothing but rounding, which Adam makes as large as all others.
CANCELLED = ("attention/key/bias", "attention_score/bias")


def assert_same_parameters(ours, theirs):
  """Within 1e-4 for each submodule as a whole, and 1e-2 for each parameter, relative to its norm."""
  submodules = {}
  for name, value in theirs.items():
    if not name.endswith(CANCELLED):
      assert np.linalg.norm(ours[name] - value) <= 1e-2 * np.linalg.norm(value), name
      submodules.setdefault(name.split("/")[0], []).append(((ours[name] - value).ravel(), value.ravel()))
  for submodule, pairs in submodules.items():
    errors, values = (np.concatenate(parts) for parts in zip(*pairs))
    assert np.linalg.norm(errors) < 1e-4 * np.linalg.norm(values), submodule


@pytest.mark.parametrize("case", CASES)
def test_equals_torch(tmp_path, bert_folder, case):
  method, fields = CASES[case]
  config = without_dropout(small_config(method, bert_folder, num_epochs=5))
  config.update_from_flattened_dict(fields)
  config.optimizer.update({"learning_rate": 3e-3, "warmup_steps": 3, "decay_steps": 20, "clip_norm": 1.0})
  dataset = small_dataset(tmp_path, train_per_class=4)
  experiment = Experiment(config, tmp_path, dataset)
  peer = peers.make_peer(config, dataset, getattr(experiment.method.text, "tokenizer", None))
  np.savez(tmp_path / "published.npz", **peers.state_of(peer))
  converted = convert.KINDS[method](tmp_path / "published.npz", config)
  array_files.write_orbax(tmp_path / "converted", converted.tree)
  config.init_from = str(tmp_path / "converted")

  videos = no_videos(dataset) if method == "gcn" else examples(dataset, "train", dataset.class_splits[0].seen)
  batches = train_batches(videos, config.batch_size, 0, shuffle=False, num_steps=STEPS)
  expected = peers.train_peer(peer, config, batches)
  config.num_epochs = STEPS if method == "gcn" else STEPS // 2
  config.eval_every_steps = STEPS
  assert train.train(experiment)

  np.testing.assert_allclose([line["loss"] for line in lines_of(tmp_path) if "loss" in line], expected, rtol=1e-4)
  trained = flatten_dict(experiment.load_params(tmp_path / "checkpoints" / str(STEPS)), sep="/")
  sized = published_weights.method_of(config, peers.state_of(peer))
  theirs = published_weights.to_params(peers.state_of(peer), sized, config, "peer")[0]
  assert_same_parameters(trained, flatten_dict(theirs, sep="/"))

  _, predictions, videos = evaluate(experiment, tmp_path / "checkpoints" / str(STEPS))
  for k, class_ids in enumerate(split.test for split in dataset.class_splits):
    rows = np.nonzero(np.isin(videos.labels, class_ids))[0]
    with peers.torch.no_grad():
      logits = peer.logits(videos.features(rows), videos.concept_ids[rows], class_ids)
    np.testing.assert_allclose(predictions[f"test{k}"].logits, logits.numpy(), atol=1e-4)
    np.testing.assert_array_equal(np.array(class_ids)[predictions[f"test{k}"].targets], videos.labels[rows])


def test_eszsl_equals_its_formula(tmp_path):
  dataset = small_dataset(tmp_path)
  config = small_config("eszsl", "", num_epochs=1)
  experiment = Experiment(config, tmp_path, dataset)
  assert train.train(experiment)
  seen = examples(dataset, "train", dataset.class_splits[0].seen)
  features = seen.features(np.arange(len(seen))).astype(np.float64).T                          # (F, N)
  targets = np.eye(len(dataset.class_splits[0].seen))[seen.targets]
  vectors = dataset.class_vectors.astype(np.float64)
  vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
  known = vectors[list(dataset.class_splits[0].seen)].T                                                 # (V, C)
  weights = (np.linalg.pinv(features @ features.T + 10**3 * np.eye(len(features))) @ features @ targets @ known.T
             @ np.linalg.pinv(known @ known.T + np.eye(len(known))))
  _, predictions, videos = evaluate(experiment)
  for k, class_ids in enumerate(split.test for split in dataset.class_splits):
    rows = np.nonzero(np.isin(videos.labels, class_ids))[0]
    logits = videos.features(rows) @ weights @ vectors[list(class_ids)].T
    np.testing.assert_allclose(predictions[f"test{k}"].logits, logits, atol=1e-6)
  assert [line["split"] for line in lines_of(tmp_path) if "split" in line] == ["val0", "val1", "val2"]
