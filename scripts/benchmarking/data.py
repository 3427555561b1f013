"""The benchmark's inputs: sizes, a BERT folder and a dataset of invented words, random weights.

    size = SIZES["full"]
    write_bert_folder(folder, size)                # config.json and vocab.txt
    dataset = made_up_dataset(folder, size)
"""

import dataclasses
import json
import string
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from er_jax.types import Array
from input_pipeline.backbones import bit, tsm
from input_pipeline.dataset import Dataset, Table
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.concepts import TOP_CONCEPTS, Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.videos.sampling import SEGMENTS

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":")


class Lengths(NamedTuple):
  """How long texts are, in tokens with the special ones."""
  mean: float
  longest: int


@dataclasses.dataclass(frozen=True)
class Size:
  """How large everything is.

  Attributes:
    num_classes, class_lengths: the seen classes and their texts (name: description).
    num_concepts, concept_lengths: the vocabulary of objects and their texts (name: definition).
    num_videos: that are scored; training batches are drawn from the same.
    batch_size: videos a training step, and a call of the scoring.
    feature_dim, embed_dim: widths of a video's feature and of the joint embedding space.
    bert: what BERT's config.json says.
    trainable_from: the first layer of BERT that trains.
    backbones: configs of those that are measured, by name.
    num_clips: of 8 frames each, in a call of a backbone.
  """
  num_classes: int
  class_lengths: Lengths
  num_concepts: int
  concept_lengths: Lengths
  num_videos: int
  batch_size: int
  feature_dim: int
  embed_dim: int
  bert: dict[str, Any]
  trainable_from: str
  backbones: dict[str, Any]
  num_clips: int


def _bert(vocab_size: int, width: int, layers: int, heads: int) -> dict[str, Any]:
  return {"model_type": "bert", "vocab_size": vocab_size, "hidden_size": width, "num_hidden_layers": layers,
          "num_attention_heads": heads, "intermediate_size": 4 * width, "max_position_embeddings": 512,
          "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}


SIZES = {
    "full": Size(
        num_classes=100, class_lengths=Lengths(45, 100), num_concepts=1000, concept_lengths=Lengths(17, 50),
        num_videos=512, batch_size=32, feature_dim=2048, embed_dim=512,
        bert=_bert(30522, width=768, layers=12, heads=12), trainable_from="encoder.layer.10",
        backbones={"tsm": tsm.VARIANTS["tsm_resnet50"], "bit": bit.VARIANTS["bit_r50x1"]}, num_clips=2),
    "tiny": Size(
        num_classes=6, class_lengths=Lengths(9, 16), num_concepts=30, concept_lengths=Lengths(7, 12),
        num_videos=20, batch_size=8, feature_dim=24, embed_dim=12,
        bert=_bert(200, width=16, layers=2, heads=2), trainable_from="encoder.layer.1",
        backbones={
            "tsm": dataclasses.replace(tsm.VARIANTS["tsm_toy"], stage_sizes=(1, 1), crop=32, num_classes=5),
            "bit": dataclasses.replace(bit.VARIANTS["bit_toy"], depths=(1, 1), crop=32, num_concepts=30)},
        num_clips=2),
}


def write_bert_folder(folder: Path, size: Size) -> None:
  """Writes a BERT without weights whose vocabulary is invented words, each one token."""
  (folder / "config.json").write_text(json.dumps(size.bert), encoding="utf-8")
  pieces = [*SPECIAL_TOKENS, *_words(size)]
  (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")


def made_up_dataset(path: Path, size: Size) -> Dataset:
  """Classes and concepts of invented words, and videos of random features, the same for every split.

  Args:
    path: only what error messages would name.
    size: of everything.
  """
  random = np.random.default_rng(0)
  classes = [ActionClass(*words) for words in _texts(random, size, size.num_classes, size.class_lengths)]
  concepts = [Concept(f"n{i:08d}", *words) for i, words in enumerate(
      _texts(random, size, size.num_concepts, size.concept_lengths))]
  everything = tuple(range(size.num_classes))
  videos = Table(
      names=np.array([f"video {i}" for i in range(size.num_videos)]),
      labels=random.integers(size.num_classes, size=size.num_videos).astype(np.int32),
      concept_ids=np.stack([random.permutation(size.num_concepts)[:TOP_CONCEPTS]
                            for _ in range(size.num_videos)]).astype(np.int32),
      in_memory=random.standard_normal((size.num_videos, size.feature_dim), np.float32))
  return Dataset(name="made_up", path=path, classes=classes, feature_dim=size.feature_dim, tables={"all": videos},
                 class_splits=(ClassSplit(everything, everything, everything),), divides_videos=False,
                 concepts=concepts)


def random_variables(shapes: dict) -> dict:
  """float32 variables of these shapes, batch norm's statistics included, that keep activations in range."""
  random = np.random.default_rng(0)

  def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name == "kernel":
      return random.standard_normal(shape, np.float32) * np.sqrt(2 / np.prod(shape[:-1]), dtype=np.float32)
    if name in ("scale", "gamma", "var"):
      return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return 0.2 * random.standard_normal(shape, np.float32)

  return unflatten_dict({key: draw(key[-1], leaf.shape) for key, leaf in flatten_dict(shapes).items()})


def random_frames(size: Size, crop: int) -> Array:
  """(num_clips, 8, crop, crop, 3) uint8."""
  shape = (size.num_clips, SEGMENTS, crop, crop, 3)
  return jax.numpy.asarray(np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8))


def _words(size: Size) -> list[str]:
  """As many different words as BERT's vocabulary has room for, all of the same length."""
  def word(number: int) -> str:
    letters = [string.ascii_lowercase[number // 26**place % 26] for place in range(4)]
    return "w" + "".join(letters)
  return [word(number) for number in range(size.bert["vocab_size"] - len(SPECIAL_TOKENS))]


def _texts(random: np.random.Generator, size: Size, count: int, lengths: Lengths) -> list[tuple[str, str]]:
  """`count` pairs of name and description; `name: description` has these lengths, one of them the longest."""
  words = np.array(_words(size))
  tokens = np.clip(random.gamma(6, lengths.mean / 6, count).round(), 6, lengths.longest).astype(int)
  tokens[count // 2] = lengths.longest
  drawn = [random.choice(words, number - 3) for number in tokens]     # beside them [CLS], ":" and [SEP]
  return [(" ".join(text[:2]), " ".join(text[2:])) for text in drawn]
