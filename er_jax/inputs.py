"""Inputs of models and steps: immutable, typed, with shapes.

    inputs = batch.video_inputs(banks)       # inside a step: texts laid out where the batch refers to them

Shapes are those of one device: b videos, c classes and k rehearsal concepts of the batch's B, C and K. Padding (the
last batch of an epoch, a class set that does not divide by the number of devices) is in the masks and weights. What the
method does not need (`MethodSpec.needs`) is None, whatever its type.
"""

from typing import Any

import jax.numpy as jnp
from flax.struct import PyTreeNode

from er_jax.text.bank import TextBank, TextReferences, Texts, gather_texts
from er_jax.types import Array

Params = dict
UNUSED: Any = None     # what the method neither needs nor makes


class Graph(PyTreeNode):
  """All N classes of a dataset as nodes of a graph, seen and unseen.

  Attributes:
    vectors: (N, V) float32 class vectors.
    edges: (N, N) float32, how much each node listens to each other one; rows sum to 1.
  """
  vectors: Array
  edges: Array


class TrainState(PyTreeNode):
  """What training changes: `step` () int32, the number of steps done, all parameters, and the learner's state."""
  step: Array
  params: Params
  opt_state: Any


class Banks(PyTreeNode):
  """What steps refer to: texts of classes and rehearsal concepts, object texts of videos, the graph of classes."""
  texts: TextBank
  sequences: TextBank
  graph: Graph


class VideoInputs(PyTreeNode):
  """Videos as a model sees them.

  Attributes:
    features: (b, F) float32, spatio-temporal features.
    rows: (b,) int32, each video's place in the whole batch.
    objects: the videos' object texts, b * S of them, those of a video together. S is 1 where a video's top
      concepts are joined to one sequence, else their number (an absent concept is an empty text).
  """
  features: Array
  rows: Array
  objects: Texts = UNUSED


class ClassInputs(PyTreeNode):
  """Classes as a model sees them.

  Attributes:
    rows: (c,) int32, each class's place in the class set.
    mask: (c,) bool, False on padding.
    texts: the c class texts.
    vectors: (c, V) float32 class vectors.
    nodes: (c,) int32, each class's node in `graph`.
    graph: of all classes.
    classifier: (c, F) float32 rows of a video classifier, which training on a graph regresses to.
  """
  rows: Array
  mask: Array
  texts: Texts = UNUSED
  vectors: Array = UNUSED
  nodes: Array = UNUSED
  graph: Graph = UNUSED
  classifier: Array = UNUSED


class Targets(PyTreeNode):
  """What a step should find.

  Attributes:
    classes: (b,) int32, position in the class set.
    weights: (b,) float32, one over the number of videos of the whole batch, 0 on padding.
    concepts: (b, K) float32, one over the number of true (video, concept) pairs of the whole batch where a rehearsal
      concept is the video's own, else 0.
    concept_mask: (k,) bool, False on padding.
  """
  classes: Array
  weights: Array
  concepts: Array = UNUSED
  concept_mask: Array = UNUSED


class ClassSet(PyTreeNode):
  """The classes to choose from, by reference to the text bank. Leading axis: padded to the number of devices.

  Attributes:
    rows: (C,) int32.
    mask: (C,) bool.
    texts: (C,) references, -1 on padding.
    vectors: (C, V) float32.
    nodes: (C,) int32 nodes of the graph, 0 on padding.
    classifier: (C, F) float32, zeros on padding.
  """
  rows: Array
  mask: Array
  texts: TextReferences = UNUSED
  vectors: Array = UNUSED
  nodes: Array = UNUSED
  classifier: Array = UNUSED

  def inputs(self, banks: Banks) -> ClassInputs:
    """The classes as a model sees them, with their texts laid out."""
    texts = UNUSED if self.texts is None else gather_texts(banks.texts, self.texts, self.rows)
    return ClassInputs(self.rows, self.mask, texts, self.vectors, self.nodes, banks.graph, self.classifier)


class StepBatch(PyTreeNode):
  """One batch, by reference to the text bank. Every leading axis divides by the number of devices.

  Attributes:
    features: (B, F) float32.
    rows: (B,) int32.
    objects: (B, S) references to object texts (see `VideoInputs`), -1 for none.
    concepts: (K,) references to the texts of the rehearsal set, -1 on padding.
    targets: see `Targets`; here of the whole batch.
  """
  features: Array
  rows: Array
  objects: TextReferences
  concepts: TextReferences
  targets: Targets

  def video_inputs(self, banks: Banks) -> VideoInputs:
    """The videos as a model sees them, with their object texts laid out."""
    objects = UNUSED
    if self.objects is not None:
      each = self.objects.ids.shape[1]
      rows = (self.rows[:, None] * each + jnp.arange(each)).reshape(-1)
      objects = gather_texts(banks.sequences, self.objects, rows)
    return VideoInputs(self.features, self.rows, objects)

  def concept_texts(self, banks: Banks) -> Texts | None:
    """The texts of the rehearsal set, laid out; None where nothing is rehearsed."""
    return None if self.concepts is None else gather_texts(banks.texts, self.concepts, self.concepts.ids)
