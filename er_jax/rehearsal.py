"""The rehearsal sets of batches: which concepts' texts a step asks its videos to name, and whose own they are.

    rehearsal = Rehearsal(dataset, config, texts, num_devices)
    references, pair_weights, mask = rehearsal.of_batch(batch, step)

Shapes: B videos, K rehearsal concepts. Everything has the same shape at every step.
"""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from er_jax.text.bank import TextReferences
from er_jax.text.collect import CollectedTexts
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.loaders import Batch, ExampleSet


class Rehearsal:
  """Makes the rehearsal set of each batch (Chen & Huang 2021, section 3.3)."""

  def __init__(self, dataset: Dataset, config: ConfigDict, texts: CollectedTexts, num_devices: int):
    """Args: texts: with those of the concepts that `rehearsed_concepts` gives. Raises: UserError if there are none."""
    self._loss, self._seed, self._num_devices = config.loss, config.seed, num_devices
    self._of_concept, self._vocabulary_size = texts.of_concept, len(dataset.concepts)
    distinct = np.unique(texts.of_concept[texts.of_concept >= 0])
    if not len(distinct):
      raise UserError(f"{dataset.path}: no object was seen in any training video, so there is nothing to rehearse. Set "
                      "config.loss.rehearsal_weight=0.")
    per_video = config.loss.rehearsal_topk + config.loss.num_negative_concepts
    most = min(round_up(config.batch_size, num_devices) * per_video, len(distinct))
    self._slots = round_up(most, num_devices)
    self._capacity = texts.bank.largest_capacity(distinct[:, None], self._slots // num_devices)

  def of_batch(self, batch: Batch, step: int) -> tuple[TextReferences, np.ndarray, np.ndarray]:
    """References (K,) to the concepts' texts, -1 on padding; weights (B, K) and mask (K,) as in `inputs.Targets`.

    Args:
      batch: of the loader's.
      step: of the training, 0-based; seeds the negative concepts.
    """
    positives = np.where(batch.mask[:, None], batch.concept_ids[:, :self._loss.rehearsal_topk], -1)
    negatives = negative_concepts(batch.concept_ids, self._loss.num_negative_concepts, self._vocabulary_size,
                                  (self._seed, step))
    negatives = np.where(batch.mask[:, None], negatives, -1)
    ids, own = rehearsal_set(self._of_concept[positives], self._of_concept[negatives])
    ids, own = deal_to_devices(ids, own, self._slots, self._num_devices)
    return TextReferences(ids, self._capacity), (own / max(own.sum(), 1)).astype(np.float32), ids >= 0


def rehearsed_concepts(dataset: Dataset, loss: ConfigDict, videos: Sequence[ExampleSet]) -> np.ndarray:
  """(K,) ascending concepts that batches of these videos may rehearse; `loss` is `config.loss`."""
  if loss.num_negative_concepts:
    return np.arange(len(dataset.concepts))
  seen = np.unique(np.concatenate([v.concept_ids[:, :loss.rehearsal_topk].ravel() for v in videos]))
  return seen[seen >= 0]


def rehearsal_set(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The distinct texts of a batch's concepts, in order of first appearance, and whose own they are.

  Args:
    positives: (B, P) int text ids of each video's own concepts, -1 for none.
    negatives: (B, N) int text ids of concepts that it does not show, -1 for none.

  Returns:
    ids (K,) int32, and (B, K) bool, True where the concept is one of the video's own.
  """
  appearing = np.concatenate([positives, negatives], axis=1).ravel()
  ids, first = np.unique(appearing, return_index=True)
  ids = ids[np.argsort(first)]
  ids = ids[ids >= 0]
  own = np.any(positives[:, :, None] == ids, axis=1)
  return ids.astype(np.int32), own


def deal_to_devices(ids: np.ndarray, own: np.ndarray, slots: int, num_devices: int) -> tuple[np.ndarray, np.ndarray]:
  """Deals concepts to devices one by one, so that each has its share, and pads with -1.

  Args:
    ids: (K,) int32.
    own: (B, K) bool.
    slots: K padded to a multiple of `num_devices`, D; each device has slots / D consecutive ones.
    num_devices: D.

  Returns:
    (slots,) int32 and (B, slots) bool.
  """
  place = np.arange(len(ids))
  place = (place % num_devices) * (slots // num_devices) + place // num_devices
  dealt, dealt_own = np.full(slots, -1, np.int32), np.zeros((len(own), slots), bool)
  dealt[place], dealt_own[:, place] = ids, own
  return dealt, dealt_own


def negative_concepts(concept_ids: np.ndarray, count: int, num_concepts: int, seed: tuple[int, ...]) -> np.ndarray:
  """(B, count) int32 random concepts that are not among each video's concept_ids (B, 20), without repetition.

  A video that shows nearly the whole vocabulary has fewer, then -1.
  """
  random = np.random.default_rng(seed)
  negatives = np.full((len(concept_ids), count), -1, np.int32)
  if count:
    for row, seen in zip(negatives, concept_ids):
      own = np.unique(seen[seen >= 0])
      others = num_concepts - len(own)
      chosen = random.choice(others, min(count, others), replace=False)     # of the concepts left over, in their order
      row[:len(chosen)] = chosen + np.searchsorted(own - np.arange(len(own)), chosen, side="right")
  return negatives


def round_up(count: int, multiple: int) -> int:
  """The smallest multiple that is not below `count`."""
  return -(-count // multiple) * multiple
