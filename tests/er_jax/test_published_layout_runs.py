"""Every method on a dataset in the published layout, from its files to results, as an outside script runs it."""

import functools
import importlib
import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict

from er_jax import main, methods, train
from er_jax.batches import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.experiment import Experiment
from input_pipeline.backbones import weight_files
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples, no_videos, open_dataset
from input_pipeline.prepare import prepare
from tests.er_jax.small import lines_of, write_bert_folder
from tests.input_pipeline.published_layout import WORDS, Layout, write_layout

SEQUENTIAL = {"data.shuffle": False}
SMALL = {"batch_size": 16, "eval_batch_size": 16, "num_epochs": 2, "log_every_steps": 1, "optimizer.warmup_steps": 2,
         "optimizer.decay_steps": 20, "optimizer.learning_rate": 1e-2}
TEXTS = {"model.embed_dim": 12, "data.max_tokens": 60, "model.text_backbone.trainable_from": "encoder.layer.1"}
FIELDS = {
    "ervse": TEXTS, "vse": TEXTS, "cpt": TEXTS, "vse_wordembed": {"model.embed_dim": 12}, "dem": {"model.hidden_dim": 9},
    "gcn": {"model.hidden_dims": (8, 10), "model.num_neighbors": 3, "batch_size": 1, "num_epochs": 4,
            "eval_every_steps": 2}, "eszsl": {"num_epochs": 1}, "devise": {}, "ale": {}, "sje": {}}


class Prepared(NamedTuple):
  """The layout, DATA_DIR of the dataset that was prepared from it, and a BERT that knows its words."""
  layout: Layout
  data_dir: Path
  bert: Path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
  folder = tmp_path_factory.mktemp("published")
  layout = write_layout(folder / "layout")
  prepare("precomputed", folder / "data", layout.source)
  (folder / "bert").mkdir()
  write_bert_folder(folder / "bert")
  pieces = (folder / "bert" / "vocab.txt").read_text().split()
  pieces += [word for word in (*WORDS, "ing", "to", "kind", *map(str, range(30))) if word not in pieces]
  (folder / "bert" / "vocab.txt").write_text("\n".join(pieces) + "\n")
  sizes = json.loads((folder / "bert" / "config.json").read_text())
  (folder / "bert" / "config.json").write_text(json.dumps({**sizes, "vocab_size": len(pieces)}))
  return Prepared(layout, folder / "data", folder / "bert")


@pytest.fixture(autouse=True)
def one_device(monkeypatch):
  monkeypatch.setattr(main, "Experiment", functools.partial(Experiment, devices=jax.devices()[:1]))


def config_of(method, prepared, **fields):
  """The published layout's config at the layout's size; `fields` are dotted, with __ for each dot."""
  config = importlib.import_module(f"configs.{method}").get_config("precomputed")
  fields = {name.replace("__", "."): value for name, value in fields.items()}
  config.update_from_flattened_dict({**SMALL, **FIELDS[method], "data.data_dir": str(prepared.data_dir), **fields})
  if "text_backbone" in config.model:
    config.model.text_backbone.name_or_path = str(prepared.bert)
  return config

@pytest.mark.parametrize("method", methods.METHODS)
def test_probe(tmp_path, prepared, method):
  main.run(config_of(method, prepared), str(tmp_path / "run"))
