"""A small prepared dataset made of numbers, a tiny BERT folder and configs of that size, for tests that train."""

import copy
import importlib
import json
import time
from pathlib import Path

import numpy as np

from input_pipeline import files
from input_pipeline.dataset import Table
from input_pipeline.metadata.class_splits import ClassSplits, random_splits
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass

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


class SmallDataset:
  """Stands in for `prepared.Dataset`: 12 classes, 6 of them seen, features that show motion and object."""

  num_views, split_seed, source = 1, None, {}

  def __init__(self, path: Path, train_per_class: int = 7, test_per_class: int = 4, feature_dim: int = 16,
               pause: float = 0.0, seen_held_out: bool = False):
    random = np.random.default_rng(0)
    self.path, self.name, self.feature_dim, self.source_root = path, "small", feature_dim, path
    self.classes = [ActionClass(f"{motion} {thing}", f"a {thing} is moved {WAYS[motion]} .")
                    for motion in MOTIONS for thing in OBJECTS]
    self.concepts = [Concept(f"n{i:08d}", name, f"a thing of {name}") for i, name in enumerate(CONCEPTS)]
    seen = (5, 0, 6, 3, 9, 10)
    unseen = [index for index in range(12) if index not in seen]
    self.splits = ClassSplits(seen, (tuple(unseen[:2]), tuple(unseen[2:4]), tuple(unseen[4:])),
                              (tuple(unseen[2:]), tuple(unseen[:2] + unseen[4:]), tuple(unseen[:4])))
    self.divisions = (self.splits,)
    self.class_vectors = random.normal(size=(12, 6)).astype(np.float32)
    texts = [f"{action.name} {action.description}" for action in self.classes] + [
        f"{concept.name} {concept.definition}" for concept in self.concepts]
    self.word_list = sorted({word for text in texts for word in text.split()} - {"is"})      # one word is unknown
    directions = random.normal(size=(12, feature_dim))
    self.classifier_rows = directions.astype(np.float32)
    self.word_table = np.random.default_rng(1).normal(size=(len(self.word_list), 10)).astype(np.float32)

    def table(class_ids, per_class) -> Table:
      labels = np.repeat(np.array(class_ids, np.int32), per_class)
      concept_ids = np.full((len(labels), 20), -1, np.int32)
      for row, label in zip(concept_ids, labels):
        others = [c for c in range(len(CONCEPTS)) if c != label % 4]
        row[:6] = [label % 4, *random.permutation(others)[:5]]
      features = directions[labels] + 0.3 * random.normal(size=(len(labels), feature_dim))
      names = np.array([f"{self.classes[label].name}/{i}" for i, label in enumerate(labels)])
      return SlowTable(names, labels, concept_ids, features.astype(np.float32), None, pause=pause)

    held_out = (*unseen, *seen) if seen_held_out else unseen
    self._tables = {"train": table(seen, train_per_class), "val": table(held_out, test_per_class),
                    "test": table(held_out, test_per_class)}

    files.write_jsonl(path / "classes.jsonl", ({"name": c.name, "description": c.description} for c in self.classes))

  def table(self, split: str) -> Table:
    return self._tables[split if self.split_seed is None else "test"]

  def in_division(self, index: int) -> "SmallDataset":
    other = copy.copy(self)
    other.splits = self.divisions[index]
    return other

  def with_classes(self, classes: list[ActionClass]) -> "SmallDataset":
    other = copy.copy(self)
    other.classes = classes
    return other

  def split_at_random(self, num_splits: int) -> "SmallDataset":
    """The test videos of all classes, divided as a dataset of random class splits is; needs `seen_held_out`."""
    other = copy.copy(self)
    drawn = random_splits(12, seed=3, num_splits=num_splits)
    other.split_seed, other.divisions, other.splits = drawn.seed, drawn.divisions, drawn.divisions[0]
    return other

  def video_path(self, name: str) -> None:
    return None


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
