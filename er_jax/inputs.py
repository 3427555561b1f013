"""Inputs of models and steps: immutable, typed, with shapes.

    inputs = batch.video_inputs(banks)       # inside a step: texts laid out where the batch refers to them

Shapes are those of one device: b videos, c classes and k rehearsal concepts of the batch's B, C and K. Padding (the
last batch of an epoch, a class set that does not divide by the number of devices) is in the masks and weights.
"""

import flax.struct
import jax.numpy as jnp
import optax
from jax import Array

from er_jax.text.bank import TextBank, TextReferences, Texts, gather_texts

Params = dict


@flax.struct.dataclass
class Graph:
  """All N classes of a dataset as nodes of a graph, seen and unseen.

  Attributes:
    vectors: (N, V) float32 class vectors.
    edges: (N, N) float32, how much each node listens to each other one; rows sum to 1.
  """
  vectors: Array
  edges: Array


@flax.struct.dataclass
class TrainState:
  """What training changes: `step` () int32, the number of steps done, all parameters, and the optimiser's state."""
  step: Array
  params: Params
  opt_state: optax.OptState


@flax.struct.dataclass
class Banks:
  """What steps refer to: texts of classes and rehearsal concepts, object texts of videos, the graph of classes."""
  texts: TextBank | None
  sequences: TextBank | None
  graph: Graph | None


@flax.struct.dataclass
class VideoInputs:
  """Videos as a model sees them.

  Attributes:
    features: (b, F) float32, spatio-temporal features.
    rows: (b,) int32, each video's place in the whole batch.
    objects: the videos' object texts, b * S of them, those of a video together; or None. S is 1 where a video's top
      concepts are joined to one sequence, else their number (an absent concept is an empty text).
  """
  features: Array
  rows: Array
  objects: Texts | None = None


@flax.struct.dataclass
class ClassInputs:
  """Classes as a model sees them.

  Attributes:
    rows: (c,) int32, each class's place in the class set.
    mask: (c,) bool, False on padding.
    texts: the c class texts, or None.
    vectors: (c, V) float32 class vectors, or None.
    nodes: (c,) int32, each class's node in `graph`, or None.
    graph: or None.
    classifier: (c, F) float32 rows of a video classifier, which training on a graph regresses to; or None.
  """
  rows: Array
  mask: Array
  texts: Texts | None = None
  vectors: Array | None = None
  nodes: Array | None = None
  graph: Graph | None = None
  classifier: Array | None = None


@flax.struct.dataclass
class Targets:
  """What a step should find.

  Attributes:
    classes: (b,) int32, position in the class set.
    weights: (b,) float32, one over the number of videos of the whole batch, 0 on padding.
    concepts: (b, K) float32, one over the number of true (video, concept) pairs of the whole batch where a rehearsal
      concept is the video's own, else 0; or None.
    concept_mask: (k,) bool, False on padding; or None.
  """
  classes: Array
  weights: Array
  concepts: Array | None = None
  concept_mask: Array | None = None


@flax.struct.dataclass
class ClassSet:
  """The classes to choose from, by reference to the text bank. Leading axis: padded to the number of devices.

  Attributes:
    rows: (C,) int32.
    mask: (C,) bool.
    texts: (C,) references, -1 on padding; None where the method reads no class text.
    vectors: (C, V) float32; None where the method reads no class vectors.
    nodes: (C,) int32 nodes of the graph, 0 on padding; None where the method reads no graph.
    classifier: (C, F) float32, zeros on padding; or None.
  """
  rows: Array
  mask: Array
  texts: TextReferences | None = None
  vectors: Array | None = None
  nodes: Array | None = None
  classifier: Array | None = None

  def inputs(self, banks: Banks) -> ClassInputs:
    """The classes as a model sees them, with their texts laid out."""
    texts = None if self.texts is None else gather_texts(banks.texts, self.texts, self.rows)
    return ClassInputs(self.rows, self.mask, texts, self.vectors, self.nodes, banks.graph, self.classifier)


@flax.struct.dataclass
class StepBatch:
  """One batch, by reference to the text bank. Every leading axis divides by the number of devices.

  Attributes:
    features: (B, F) float32.
    rows: (B,) int32.
    objects: (B, S) references to object texts (see `VideoInputs`), -1 for none; or None.
    concepts: (K,) references to the texts of the rehearsal set, -1 on padding; or None.
    targets: see `Targets`; here of the whole batch.
  """
  features: Array
  rows: Array
  objects: TextReferences | None
  concepts: TextReferences | None
  targets: Targets

  def video_inputs(self, banks: Banks) -> VideoInputs:
    """The videos as a model sees them, with their object texts laid out."""
    objects = None
    if self.objects is not None:
      each = self.objects.ids.shape[1]
      rows = (self.rows[:, None] * each + jnp.arange(each)).reshape(-1)
      objects = gather_texts(banks.sequences, self.objects, rows)
    return VideoInputs(self.features, self.rows, objects)

  def concept_texts(self, banks: Banks) -> Texts | None:
    """The texts of the rehearsal set, laid out; None where nothing is rehearsed."""
    return None if self.concepts is None else gather_texts(banks.texts, self.concepts, self.concepts.ids)
