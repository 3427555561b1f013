"""Collects the texts that an experiment refers to, each distinct one once.

    texts = collect_texts(dataset, tower, config.data, rehearsed=concept_ids)
    texts.bank, texts.of_class[label], texts.of_concept[concept]      # a bank, and the ids of texts in it
    objects = collect_objects(dataset, tower, config, [videos])
    objects.bank, objects.of_videos[videos]                           # (videos, S) ids of the videos' object texts
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from er_jax.text.bank import TextBank
from er_jax.text.tokenizers import Text
from er_jax.text.tower import TextTower
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.loaders import ExampleSet
from input_pipeline.metadata import concepts, descriptions


class CollectedTexts(NamedTuple):
  """Class texts, and concepts' texts for rehearsal.

  Attributes:
    bank: of T distinct texts.
    of_class: (classes,) int32 in [0, T), -1 for classes of no split.
    of_concept: (concepts + 1,) int32, -1 for those that are not rehearsed; the last one stands for no concept.
  """
  bank: TextBank
  of_class: np.ndarray
  of_concept: np.ndarray


class CollectedObjects(NamedTuple):
  """Texts of the objects seen in videos.

  Attributes:
    bank: of T distinct texts.
    of_videos: for each example set (videos, S) int32 in [0, T), -1 for none. S is 1 where a video's objects are joined
      to one text, else their number.
  """
  bank: TextBank
  of_videos: dict[ExampleSet, np.ndarray]


def collect_texts(dataset: Dataset, tower: TextTower, config: ConfigDict, rehearsed: np.ndarray) -> CollectedTexts:
  """The texts of all classes of the dataset's splits, and of concepts.

  Args:
    dataset: the prepared dataset.
    tower: that is to read them.
    config: `config.data`.
    rehearsed: (K,) int, concepts to be rehearsed; none where nothing is.

  Raises:
    UserError: no word of a class is in the tower's vocabulary, or a text is too long for the tower.
  """
  texts: dict[Text, int] = {}
  separator = tower.tokenizer.separator
  in_splits = sorted({label for split in dataset.class_splits for part in split for label in part})
  of_class = np.full(len(dataset.classes), -1, np.int32)
  for label, text in zip(in_splits, texts_of_classes(dataset, tower, config, in_splits)):
    of_class[label] = texts.setdefault(text, len(texts))
  of_concept = np.full(len(dataset.concepts) + 1, -1, np.int32)
  for concept in rehearsed:
    text = concepts.concept_text(dataset.concepts[concept], config.concept_definitions.rehearsal, separator)
    of_concept[concept] = texts.setdefault(text, len(texts))
  token_ids = _encode(tower, list(texts), config.max_tokens)
  for label in in_splits:
    if not len(token_ids[of_class[label]]):
      raise UserError(f"No word of class {dataset.classes[label].name!r} is in the text backbone's vocabulary; "
                      "give it a description in known words, or use another backbone.")
  return CollectedTexts(TextBank.build(token_ids), of_class, of_concept)


def texts_of_classes(dataset: Dataset, tower: TextTower, config: ConfigDict, labels: Iterable[int]) -> list[Text]:
  """What the tower is to read of these classes, by `config.data`. Raises: UserError if a description is missing."""
  return [descriptions.class_text(dataset.classes[label], config.class_text, tower.tokenizer.separator)
          for label in labels]


def collect_objects(dataset: Dataset, tower: TextTower, config: ConfigDict,
                    videos: Sequence[ExampleSet]) -> CollectedObjects:
  """The texts of the objects seen in videos: those of a video joined to one text, or each by itself.

  Args:
    dataset: the prepared dataset.
    tower: that is to read them.
    config: the experiment's config.
    videos: whose objects.

  Raises:
    UserError: no object was seen in any video, or a text is too long for the tower.
  """
  names = [concepts.concept_text(concept, config.data.concept_definitions.input, tower.tokenizer.separator)
           for concept in dataset.concepts]
  sequences: dict[tuple[int, ...], int] = {}

  def ids_of(seen: np.ndarray) -> list[int]:
    if config.model.separate_concepts:
      return [sequences.setdefault((concept,), len(sequences)) if concept >= 0 else -1 for concept in seen.tolist()]
    return [sequences.setdefault(tuple(seen[seen >= 0].tolist()), len(sequences))]

  of_videos = {example_set: np.array([ids_of(row) for row in example_set.concept_ids[:, :config.model.topk_concepts]],
                                     np.int32) for example_set in videos}
  if not any(sequences):
    raise UserError(f"{dataset.path}: no object was seen in any video, so method {config.method} has nothing to read.")
  texts = [" ".join(names[concept] for concept in sequence) for sequence in sequences]
  return CollectedObjects(TextBank.build(_encode(tower, texts, config.data.max_tokens)), of_videos)


def _encode(tower: TextTower, texts: Sequence[Text], max_tokens: int) -> list[np.ndarray]:
  token_ids = tower.tokenizer.encode(texts, max_tokens)
  longest = max(map(len, token_ids), default=0)
  if longest > tower.max_tokens:
    raise UserError(f"A text has {longest} tokens, but the text backbone knows {tower.max_tokens} positions. "
                    f"Set config.data.max_tokens={tower.max_tokens}.")
  return token_ids
