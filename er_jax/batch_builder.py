"""From the loader's batches to a step's: texts by reference, the rehearsal set, padding to the devices. On the host.

    builder = BatchBuilder(dataset, config, method, [seen_videos], num_devices=8)
    classes = builder.class_set(dataset.splits.seen)
    step_batch = builder.batch(batch, seen_videos, step)

Shapes: B videos, C classes, K rehearsal concepts. Everything has the same shape at every step.
"""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from er_jax.inputs import ClassSet, Graph, StepBatch, Targets
from er_jax.methods import Method
from er_jax.models.gcn import neighbour_graph
from er_jax.text.bank import Capacity, TextBank
from input_pipeline.dataset import require
from input_pipeline.errors import UserError
from input_pipeline.loaders import Batch, Dataset, ExampleSet, class_means
from input_pipeline.metadata import concepts, descriptions


class BatchBuilder:
  """Holds the texts of a dataset and refers batches to them.

  Attributes:
    texts: bank of the class texts and the rehearsal concepts' texts; None if the method reads no texts.
    sequences: bank of the videos' object texts; None if the method reads no objects.
    graph: of all the dataset's classes; None if the method reads none.
    concept_capacity: room for one device's share of a batch's rehearsal concepts; None where there are none.
    num_views: of the dataset's videos.
  """

  def __init__(self, dataset: Dataset, config: ConfigDict, method: Method, videos: Sequence[ExampleSet],
               num_devices: int, rehearse: bool = True):
    """Collects every text that classes and `videos` need.

    Args:
      dataset: the prepared dataset.
      config: the experiment's config.
      method: what to collect for.
      videos: the example sets that batches will come from.
      num_devices: D.
      rehearse: False leaves the rehearsal concepts out, where nothing is trained.

    Raises:
      UserError: if the dataset lacks what the method reads, or a class's words are all unknown.
    """
    self._dataset, self._config, self._method, self._num_devices = dataset, config, method, num_devices
    self.num_views = dataset.num_views
    self.texts = self.sequences = self.concept_capacity = self.graph = None
    self._rehearses = method.rehearses and rehearse
    if method.reads_objects or self._rehearses:
      require(dataset, "concepts", f"method {method.name}")
    if method.reads_graph:
      vectors = require(dataset, "class_vectors", f"method {method.name}")
      self.graph = Graph(vectors, neighbour_graph(vectors, config.model.num_neighbors))
    if method.tokenizer is not None:
      self._collect_texts(videos)
    if method.reads_objects:
      self._collect_sequences(videos)

  def class_set(self, class_ids: Sequence[int], training: bool = False) -> ClassSet:
    """The classes with these positions in the dataset's list, padded to the devices.

    Args:
      class_ids: positions; classes of the dataset's splits.
      training: whether it is to be trained on; a method that reads the graph then regresses to a classifier.

    Raises:
      UserError: if the method needs a classifier that the dataset lacks.
    """
    count = _round_up(len(class_ids), self._num_devices)
    class_ids = np.asarray(class_ids, np.int32)

    def padded(values: np.ndarray, fill: int = 0) -> np.ndarray:
      return np.pad(values, ((0, count - len(values)), *((0, 0),) * (values.ndim - 1)), constant_values=fill)

    return ClassSet(
        rows=np.arange(count, dtype=np.int32),
        mask=np.arange(count) < len(class_ids),
        ids=None if self.texts is None else padded(self._class_text[class_ids], -1),
        vectors=padded(self._dataset.class_vectors[class_ids]) if self._method.reads_vectors else None,
        nodes=padded(class_ids) if self._method.reads_graph else None,
        classifier=padded(self._classifier(class_ids)) if self._method.reads_graph and training else None)

  def class_capacity(self, classes: ClassSet) -> Capacity | None:
    """Room for one device's share of a class set."""
    return None if classes.ids is None else self.texts.capacity(classes.ids, self._num_devices)

  def object_capacity(self, batch_size: int) -> Capacity | None:
    """Room for the object sequences of one device's share of any batch; None if the method reads no objects."""
    if self.sequences is None:
      return None
    every_video = np.concatenate(list(self._sequence_ids.values()))    # (videos, S)
    return self.sequences.largest_capacity(every_video, -(-batch_size // self._num_devices))

  def batch(self, batch: Batch, videos: ExampleSet, step: int | None = None) -> StepBatch:
    """What a step sees of the loader's batch.

    Args:
      batch: of the example set `videos`.
      videos: one of those given to the builder.
      step: of the training, 0-based; seeds the negative rehearsal concepts. None: no rehearsal, only scoring.
    """
    size = _round_up(len(batch.mask), self._num_devices)
    batch = Batch(*(np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)]) for x in batch))
    objects = concept_ids = pair_weights = concept_mask = None
    if self.sequences is not None:
      objects = np.where(batch.mask[:, None], self._sequence_ids[videos][batch.rows], -1).astype(np.int32)
    if self._rehearses and step is not None:
      concept_ids, positives = self._rehearsal_set(batch, step)
      pair_weights = (positives / max(positives.sum(), 1)).astype(np.float32)
      concept_mask = concept_ids >= 0
    targets = Targets(classes=batch.targets, weights=(batch.mask / max(batch.mask.sum(), 1)).astype(np.float32),
                      concepts=pair_weights, concept_mask=concept_mask)
    return StepBatch(features=batch.features, rows=np.arange(size, dtype=np.int32), objects=objects,
                     concepts=concept_ids, targets=targets)

  def _collect_texts(self, videos: Sequence[ExampleSet]) -> None:
    config, vocabulary, classes = self._config, self._dataset.concepts, self._dataset.classes
    splits, separator = self._dataset.splits, self._method.tokenizer.separator
    texts: dict[str | tuple[str, str], int] = {}
    self._class_text = np.full(len(classes), -1, np.int32)
    in_splits = sorted({*splits.seen}.union(*splits.val, *splits.test))
    for index in in_splits:
      text = descriptions.class_text(classes[index], config.data.class_text, separator)
      self._class_text[index] = texts.setdefault(text, len(texts))
    self._concept_text = np.full(len(vocabulary) + 1, -1, np.int32)   # the last one stands for no concept
    if self._rehearses:
      used = np.unique(np.concatenate([v.concept_ids[:, :config.loss.rehearsal_topk].ravel() for v in videos]))
      if config.loss.num_negative_concepts:
        used = np.arange(len(vocabulary))
      for concept in used[used >= 0]:
        text = concepts.concept_text(vocabulary[concept], config.data.concept_definitions.rehearsal, separator)
        self._concept_text[concept] = texts.setdefault(text, len(texts))
    token_ids = self._encode(list(texts))
    for index in in_splits:
      if not len(token_ids[self._class_text[index]]):
        raise UserError(f"No word of class {classes[index].name!r} is in the text backbone's vocabulary; "
                        "give it a description in known words, or use another backbone.")
    self.texts = TextBank.build(token_ids)
    if self._rehearses:
      distinct = np.unique(self._concept_text[self._concept_text >= 0])
      if not len(distinct):
        raise UserError(f"{self._dataset.path}: no object was seen in any training video, so there is nothing to "
                        "rehearse. Set config.loss.rehearsal_weight=0.")
      per_video = config.loss.rehearsal_topk + config.loss.num_negative_concepts
      most = min(_round_up(config.batch_size, self._num_devices) * per_video, len(distinct))
      self._num_concepts = _round_up(most, self._num_devices)
      self.concept_capacity = self.texts.largest_capacity(distinct[:, None], self._num_concepts // self._num_devices)

  def _encode(self, texts: Sequence[str | tuple[str, str]]) -> list[np.ndarray]:
    token_ids = self._method.tokenizer.encode(texts, self._config.data.max_tokens)
    longest = max(map(len, token_ids), default=0)
    if longest > self._method.max_tokens:
      raise UserError(f"A text has {longest} tokens, but the text backbone knows {self._method.max_tokens} positions. "
                      f"Set config.data.max_tokens={self._method.max_tokens}.")
    return token_ids

  def _collect_sequences(self, videos: Sequence[ExampleSet]) -> None:
    """Each video's objects: (videos, 1) ids of their names joined to one text, or (videos, S) of one text each."""
    config = self._config
    names = [concepts.concept_text(concept, config.data.concept_definitions.input, self._method.tokenizer.separator)
             for concept in self._dataset.concepts]
    sequences: dict[tuple[int, ...], int] = {}

    def ids_of(seen: np.ndarray) -> list[int]:
      if config.model.separate_concepts:
        return [sequences.setdefault((concept,), len(sequences)) if concept >= 0 else -1 for concept in seen.tolist()]
      return [sequences.setdefault(tuple(seen[seen >= 0].tolist()), len(sequences))]

    self._sequence_ids = {
        example_set: np.array([ids_of(row) for row in example_set.concept_ids[:, :config.model.topk_concepts]], np.int32)
        for example_set in videos}
    if not any(sequences):
      raise UserError(f"{self._dataset.path}: no object was seen in any video, so method {self._method.name} has "
                      "nothing to read.")
    texts = [" ".join(names[concept] for concept in sequence) for sequence in sequences]
    self.sequences = TextBank.build(self._encode(texts))

  def _classifier(self, class_ids: np.ndarray) -> np.ndarray:
    """(C, F) what the graph is to give for these classes: the rows of a video classifier, or the classes' mean features.

    Of a classifier, row r is class r's, or, if there is one for each class, they are in their order.
    """
    if self._config.model.targets == "class_means":
      return class_means(self._dataset, "train", class_ids)
    rows = require(self._dataset, "classifier_rows", f"method {self._method.name}")
    if rows.shape[1] != self._dataset.feature_dim:
      raise UserError(f"{self._dataset.path}: the video classifier (classifier_rows.npy) has rows of {rows.shape[1]} "
                      f"numbers, but features have {self._dataset.feature_dim}. It belongs to another network; or train "
                      "towards the mean features of the seen classes, with config.model.targets=class_means.")
    if class_ids.max() < len(rows):
      return rows[class_ids]
    if len(rows) == len(class_ids):
      return rows
    raise UserError(f"{self._dataset.path}: the video classifier (classifier_rows.npy) has {len(rows)} rows, but the seen "
                    f"classes, of which it should have one each, are {len(class_ids)}, up to class {class_ids.max()}.")

  def _rehearsal_set(self, batch: Batch, step: int) -> tuple[np.ndarray, np.ndarray]:
    loss = self._config.loss
    positives = np.where(batch.mask[:, None], batch.concept_ids[:, :loss.rehearsal_topk], -1)
    negatives = negative_concepts(batch.concept_ids, loss.num_negative_concepts, len(self._dataset.concepts),
                                  (self._config.seed, step))
    negatives = np.where(batch.mask[:, None], negatives, -1)
    ids, own = rehearsal_set(self._concept_text[positives], self._concept_text[negatives])
    return deal_to_devices(ids, own, self._num_concepts, self._num_devices)


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


def _round_up(count: int, multiple: int) -> int:
  return -(-count // multiple) * multiple
