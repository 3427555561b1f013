"""A small prepared dataset made of numbers, a tiny BERT folder and configs of that size, for tests that train."""

import dataclasses
import importlib
import json
import time
from pathlib import Path

import numpy as np

from input_pipeline import files, manifest
from input_pipeline.dataset import Dataset, Table
from input_pipeline.metadata.class_splits import ClassSplit, random_splits
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry

MOTIONS = ("push", "lift", "spin")
OBJECTS = ("cup", "ball", "key", "star")
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ".", "a", "of", "thing", "is", "moved", "sideways",
              "up", "around", "somebody", "does", "with", *MOTIONS, *OBJECTS, "hat", "tree", "lamp", "shoe")
CONCEPTS = (*OBJECTS, "hat", "tree", "lamp", "shoe")
WAYS = {"push": "sideways", "lift": "up", "spin": "around"}


class SlowTable(Table):
  """A table whose features take `pause` seconds to read, so that a test can interrupt a run."""

  def __new__(cls, *fields, pause: float):
    table = super().__new__(cls, *fields)
    table.pause = pause
    return table

  def features(self, rows, view=None):
    time.sleep(self.pause)
    features = super().features(rows)
    return features if view is None else features + np.float32((-0.5, 0.5)[view])      # two views, about their mean


def small_dataset(path: Path, train_per_class: int = 7, test_per_class: int = 4, feature_dim: int = 16,
                  pause: float = 0.0, seen_held_out: bool = False, num_views: int = 1) -> Dataset:
  """A dataset in memory: 12 classes, 6 of them seen, features that show motion and object."""
  random = np.random.default_rng(0)
  classes = [ActionClass(f"{motion} {thing}", f"a {thing} is moved {WAYS[motion]} .")
             for motion in MOTIONS for thing in OBJECTS]
  concepts = [Concept(f"n{i:08d}", name, f"a thing of {name}") for i, name in enumerate(CONCEPTS)]
  seen = (5, 0, 6, 3, 9, 10)
  unseen = tuple(index for index in range(12) if index not in seen)
  class_splits = (ClassSplit(seen, unseen[:2], unseen[2:]), ClassSplit(seen, unseen[2:4], unseen[:2] + unseen[4:]),
                  ClassSplit(seen, unseen[4:], unseen[:4]))
  class_vectors = random.normal(size=(12, 6)).astype(np.float32)
  texts = [f"{action.name} {action.description}" for action in classes] + [
      f"{concept.name} {concept.definition}" for concept in concepts]
  word_list = sorted({word for text in texts for word in text.split()} - {"is"})      # one word is unknown
  directions = random.normal(size=(12, feature_dim))
  word_table = np.random.default_rng(1).normal(size=(len(word_list), 10)).astype(np.float32)

  def table(class_ids, per_class) -> Table:
    labels = np.repeat(np.array(class_ids, np.int32), per_class)
    concept_ids = np.full((len(labels), 20), -1, np.int32)
    for row, label in zip(concept_ids, labels):
      others = [c for c in range(len(CONCEPTS)) if c != label % 4]
      row[:6] = [label % 4, *random.permutation(others)[:5]]
    features = directions[labels] + 0.3 * random.normal(size=(len(labels), feature_dim))
    names = np.array([f"{classes[label].name}/{i}" for i, label in enumerate(labels)])
    return SlowTable(names, labels, concept_ids, features.astype(np.float32), None, pause=pause)

  held_out = (*unseen, *seen) if seen_held_out else unseen
  tables = {"train": table(seen, train_per_class), "val": table(held_out, test_per_class),
            "test": table(held_out, test_per_class)}
  files.write_jsonl(path / "classes.jsonl", ({"name": c.name, "description": c.description} for c in classes))
  return Dataset(
      name="small", path=path, classes=classes, feature_dim=feature_dim, tables=tables, class_splits=class_splits,
      concepts=concepts, num_views=num_views, class_vectors=class_vectors, word_list=word_list,
      classifier_rows=directions.astype(np.float32), read_word_table=lambda: word_table, source={"root": str(path)})


def split_at_random(dataset: Dataset, num_splits: int) -> Dataset:
  """The test videos of all classes, divided as a dataset of random class splits is; needs `seen_held_out`."""
  return dataclasses.replace(dataset, class_splits=random_splits(12, seed=3, num_splits=num_splits),
                             divides_videos=False, tables={"all": dataset.tables["test"]})


def write_manifest(dataset: Dataset) -> Dataset:
  """Puts beside a dataset what preparation does: the list of its classes, videos and splits."""
  entries = [VideoEntry(str(name), dataset.path / str(name), int(label), part) for part, table in dataset.tables.items()
             for name, label in zip(table.names, table.labels)]
  raw_dataset = RawDataset(entries, list(dataset.classes), [], dataset.class_splits, {})
  manifest.write(dataset.path / manifest.NAME, dataset.name, raw_dataset, range(len(entries)))
  return dataset


def write_bert_folder(folder: Path, layers: int = 2, width: int = 16) -> Path:
  """A BERT folder without weights."""
  (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
  (folder / "config.json").write_text(json.dumps({
      "vocab_size": len(VOCABULARY), "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2,
      "intermediate_size": 2 * width, "max_position_embeddings": 64, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
      "hidden_act": "gelu"}))
  return folder


def small_config(method: str, bert_folder: str, **overrides):
  """The method's config at the size of the small dataset; `overrides` are dotted fields with __ for each dot."""
  config = importlib.import_module(f"configs.{method}").get_config("toy_actions")
  config.eval_batch_size, config.num_epochs, config.log_every_steps = 8, 2, 1
  config.data.concept_definitions.input = True
  config.optimizer.update({"learning_rate": 1e-2, "warmup_steps": 2, "decay_steps": 100})
  if method != "gcn":
    config.batch_size = 16
  if "text_backbone" in config.model:
    config.model.embed_dim = 12
    config.model.text_backbone.name_or_path = bert_folder
  config.update_from_flattened_dict({name.replace("__", "."): value for name, value in overrides.items()})
  return config


def lines_of(workdir: Path) -> list[dict]:
  """The lines of a run's metrics.jsonl."""
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
