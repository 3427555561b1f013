"""Batches of numbers and ids from a prepared dataset: TFDS data source -> grain -> Batch.

    dataset = open_dataset("data", "toy_actions")
    seen = examples(dataset, "train", dataset.class_splits[0].seen)
    for batch in train_batches(seen, batch_size=128, seed=0, num_steps=1000):
      batch.features, batch.concept_ids, batch.targets, batch.mask      # (B, D), (B, 20), (B,), (B,)

Batch t of training is a pure function of (seed, t): nothing about the iterator needs saving. Every process
reads the whole global batch.
"""

import copy
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import grain
import numpy as np

from input_pipeline.dataset import Dataset, Table
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import NO_CONCEPT, TOP_CONCEPTS

ENDLESS = 1 << 62                    # steps
READ_ROWS = 4096                     # features in memory while a mean is taken
READ_THREADS, READ_AHEAD = 4, 16     # threads, and batches ahead, for features on disk


class Batch(NamedTuple):
  """B videos; the last ones only pad a smaller last batch.

  Attributes:
    features: (B, D) float32 mean TSM features; zeros on padding.
    concept_ids: (B, 20) int32 positions in the vocabulary, best first; -1 where absent and on padding.
    targets: (B,) int32 positions in the class list that the examples were asked for; 0 on padding.
    mask: (B,) bool, False on padding.
    rows: (B,) int32 positions in the example set; 0 on padding.
  """

  features: np.ndarray
  concept_ids: np.ndarray
  targets: np.ndarray
  mask: np.ndarray
  rows: np.ndarray


class ExampleSet:
  """Some examples of one split, in stored order; made by `examples`.

  Attributes:
    names: (N,) str.
    labels: (N,) int32, positions in the dataset's class list.
    targets: (N,) int32, positions in the class list that was asked for.
    concept_ids: (N, 20) int32, -1 where absent.
    feature_dim: D.
    in_memory: whether features are at hand without reading files.
  """

  def __init__(self, table: Table, stored_rows: np.ndarray, targets: np.ndarray, feature_dim: int):
    self._table, self._stored_rows = table, stored_rows
    self.names = table.names[stored_rows]
    self.labels = table.labels[stored_rows]
    self.targets = targets
    self.concept_ids = table.concept_ids[stored_rows]
    self.feature_dim = feature_dim
    self.in_memory = table.in_memory is not None
    self._view: int | None = None

  def __len__(self) -> int:
    return len(self.targets)

  def features(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """(len(rows), D) float32 features of these positions of the set."""
    return self._table.features(self._stored_rows[rows], self._view)

  def of_view(self, view: int) -> "ExampleSet":
    """The same examples, with the features of one of their views."""
    other = copy.copy(self)
    other._view, other.in_memory = view, False
    return other

  def batch(self, rows: np.ndarray, batch_size: int) -> Batch:
    """The batch of these (at most `batch_size`) positions, padded to that size."""
    count = len(rows)
    batch = Batch(
        features=np.zeros((batch_size, self.feature_dim), np.float32),
        concept_ids=np.full((batch_size, self.concept_ids.shape[1]), NO_CONCEPT, np.int32),
        targets=np.zeros(batch_size, np.int32),
        mask=np.arange(batch_size) < count,
        rows=np.zeros(batch_size, np.int32),
    )
    batch.features[:count] = self.features(rows)
    batch.concept_ids[:count] = self.concept_ids[rows]
    batch.targets[:count] = self.targets[rows]
    batch.rows[:count] = rows
    return batch


def examples(dataset: Dataset, split: str, class_ids: Sequence[int]) -> ExampleSet:
  """The examples of `split` whose class is in `class_ids`, in stored order.

  Args:
    dataset: to take them from.
    split: "train", "val", "test" or "all".
    class_ids: positions in the dataset's class list; the targets are positions in this list.

  Raises:
    UserError: if the split is absent, a class id is out of range or comes twice, or no example is left.
  """
  class_ids = [int(index) for index in class_ids]
  num_classes = len(dataset.classes)
  if len(set(class_ids)) != len(class_ids) or not all(0 <= index < num_classes for index in class_ids):
    raise UserError(f"The classes asked for must be different numbers from 0 to {num_classes - 1}, "
                    f"got {class_ids}.")
  table = dataset.table(split)
  position = np.full(num_classes, -1, np.int32)
  position[class_ids] = np.arange(len(class_ids))
  targets = position[table.labels]
  stored_rows = np.nonzero(targets >= 0)[0]
  if not stored_rows.size:
    raise UserError(f"{dataset.path}: split {split!r} has {len(table.labels)} examples, but none of the "
                    f"{len(class_ids)} classes asked for.")
  return ExampleSet(table, stored_rows, targets[stored_rows], dataset.feature_dim)


def class_means(dataset: Dataset, split: str, class_ids: Sequence[int]) -> np.ndarray:
  """(C, D) float32 mean feature of each class's videos in `split`. Raises: UserError if a class has none."""
  videos = examples(dataset, split, class_ids)
  counts = np.bincount(videos.targets, minlength=len(class_ids))
  if not counts.all():
    raise UserError(f"{dataset.path}: class {dataset.classes[class_ids[int(np.argmin(counts))]].name!r} has no video in "
                    f"{split!r}, and so no mean feature.")
  sums = np.zeros((len(counts), videos.feature_dim))
  for start in range(0, len(videos), READ_ROWS):
    rows = np.arange(start, min(start + READ_ROWS, len(videos)))
    np.add.at(sums, videos.targets[rows], videos.features(rows))
  return (sums / counts[:, None]).astype(np.float32)


def no_videos(dataset: Dataset) -> ExampleSet:
  """One example that shows nothing, for a method that learns from classes alone: an epoch is one step."""
  nothing = np.full((1, TOP_CONCEPTS), NO_CONCEPT, np.int32)
  table = Table(np.array([""]), np.zeros(1, np.int32), nothing, np.zeros((1, dataset.feature_dim), np.float32))
  return ExampleSet(table, np.zeros(1, np.int64), np.zeros(1, np.int32), dataset.feature_dim)


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
  """Batches of one pass, the smaller last one included."""
  return -(-num_examples // batch_size)


def train_batches(
    example_set: ExampleSet,
    batch_size: int,
    seed: int,
    shuffle: bool = True,
    start_step: int = 0,
    num_steps: int | None = None,
) -> Iterator[Batch]:
  """Batches `start_step`, `start_step` + 1, ... of an endless repetition of the set.

  Args:
    example_set: from `examples`.
    batch_size: rows of a batch.
    seed: not negative; another seed gives unrelated orders.
    shuffle: a new order each epoch; False repeats the stored order.
    start_step: batches skipped (they are not read).
    num_steps: end after so many batches; None never ends.

  Returns:
    Batches; the last one of each epoch is padded and masked, so that every example is used once an epoch.
  """
  epoch_length = steps_per_epoch(len(example_set), batch_size)

  @functools.lru_cache(2)
  def order(epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(len(example_set))

  def batch(step: int) -> Batch:
    epoch, start = step // epoch_length, step % epoch_length * batch_size
    stop = min(start + batch_size, len(example_set))
    return example_set.batch(order(epoch)[start:stop] if shuffle else np.arange(start, stop), batch_size)

  end = ENDLESS if num_steps is None else start_step + num_steps
  ahead = grain.ReadOptions(0, 0) if example_set.in_memory else grain.ReadOptions(READ_THREADS, READ_AHEAD)
  return iter(grain.MapDataset.range(start_step, end).map(batch).to_iter_dataset(ahead))


def eval_batches(example_set: ExampleSet, batch_size: int) -> Iterator[Batch]:
  """Every example once, in stored order; the last batch is padded and masked."""
  return train_batches(example_set, batch_size, seed=0, shuffle=False,
                       num_steps=steps_per_epoch(len(example_set), batch_size))
