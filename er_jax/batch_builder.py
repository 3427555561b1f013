"""Batches of the loader as a step takes them: texts by reference, the rehearsal set, padding to the devices. On the host.

    builder = BatchBuilder(dataset, config, method, [seen_videos], num_devices=8)
    classes = builder.class_set(seen_classes)
    step_batch = builder.batch(batch, seen_videos, step)

Shapes: B videos, C classes. Everything has the same shape at every step.
"""

import functools
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from er_jax import distinct
from er_jax.inputs import UNUSED, Banks, ClassSet, StepBatch, Targets
from er_jax.methods import Method
from er_jax.models.spec import GRAPH, OBJECTS, REHEARSAL, VECTORS
from er_jax.rehearsal import Rehearsal, rehearsed_concepts, round_up
from er_jax.text.bank import TextReferences
from er_jax.text.collect import collect_objects, collect_texts
from input_pipeline.dataset import Dataset, require
from input_pipeline.loaders import Batch, ExampleSet


class BatchBuilder:
  """Holds the texts of a dataset and refers batches to them.

  Attributes:
    banks: the texts and the graph that the method reads, on the host.
    alike: the classes that it cannot tell apart by these.
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
      UserError: if the dataset lacks what the method reads, a class's words are all unknown, or all classes of a set
        are the same to the method.
    """
    self._dataset, self._config, self._method, self._num_devices = dataset, config, method, num_devices
    self.num_views = dataset.num_views
    self._texts = self._objects = self._rehearsal = None
    texts = sequences = graph = UNUSED
    rehearses, who = REHEARSAL in method.needs and rehearse, f"method {method.name}"
    if OBJECTS in method.needs or rehearses:
      require(dataset, "concepts", who)
    if method.spec.graph is not None:
      graph = method.spec.graph(config, require(dataset, "class_vectors", who))
    if method.text is not None:
      rehearsed = rehearsed_concepts(dataset, config.loss, videos) if rehearses else np.zeros(0, int)
      self._texts = collect_texts(dataset, method.text, config.data, rehearsed)
      texts = self._texts.bank
      if rehearses:
        self._rehearsal = Rehearsal(dataset, config, self._texts, num_devices)
      if OBJECTS in method.needs:
        self._objects = collect_objects(dataset, method.text, config, videos)
        sequences = self._objects.bank
        every_video = np.concatenate(list(self._objects.of_videos.values()))      # (videos, S)
        self._object_capacity = functools.cache(functools.partial(sequences.largest_capacity, every_video))
    self.banks = Banks(texts, sequences, graph)
    self.alike = distinct.check(dataset, config, method, self._texts)

  def class_set(self, class_ids: Sequence[int] | np.ndarray, training: bool = False) -> ClassSet:
    """The classes with these positions in the dataset's list, padded to the devices.

    Args:
      class_ids: positions; classes of the dataset's splits.
      training: whether it is to be trained on; a method that learns from classes then gets their targets.

    Raises:
      UserError: if the dataset lacks these.
    """
    count = round_up(len(class_ids), self._num_devices)
    labels = np.asarray(class_ids, np.int32)
    needs, targets_of = self._method.needs, self._method.spec.class_targets

    def padded(values: np.ndarray, fill: int = 0) -> np.ndarray:
      return np.pad(values, ((0, count - len(values)), *((0, 0),) * (values.ndim - 1)), constant_values=fill)

    texts = vectors = classifier = UNUSED
    if self._texts is not None:
      ids = padded(self._texts.of_class[labels], -1)
      texts = TextReferences(ids, self._texts.bank.capacity(ids, self._num_devices))
    if VECTORS in needs:
      vectors = padded(require(self._dataset, "class_vectors", f"method {self._method.name}")[labels])
    if training and targets_of is not None:
      classifier = padded(targets_of(self._config, self._dataset, labels))
    return ClassSet(rows=np.arange(count, dtype=np.int32), mask=np.arange(count) < len(labels), texts=texts,
                    vectors=vectors, nodes=padded(labels) if GRAPH in needs else UNUSED, classifier=classifier)

  def batch(self, batch: Batch, videos: ExampleSet, step: int | None = None) -> StepBatch:
    """What a step sees of the loader's batch.

    Args:
      batch: of the example set `videos`.
      videos: one of those given to the builder.
      step: of the training, 0-based; seeds the negative rehearsal concepts. None: no rehearsal, only scoring.
    """
    size = round_up(len(batch.mask), self._num_devices)
    batch = Batch(*(np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)]) for x in batch))
    objects = concepts = pair_weights = concept_mask = UNUSED
    if self._objects is not None:
      ids = np.where(batch.mask[:, None], self._objects.of_videos[videos][batch.rows], -1).astype(np.int32)
      objects = TextReferences(ids, self._object_capacity(size // self._num_devices))
    if self._rehearsal is not None and step is not None:
      concepts, pair_weights, concept_mask = self._rehearsal.of_batch(batch, step)
    targets = Targets(classes=batch.targets, weights=(batch.mask / max(batch.mask.sum(), 1)).astype(np.float32),
                      concepts=pair_weights, concept_mask=concept_mask)
    return StepBatch(features=batch.features, rows=np.arange(size, dtype=np.int32), objects=objects, concepts=concepts,
                     targets=targets)
