"""What models and steps are given: immutable, typed, with shapes.

Shapes are those of one device: b videos, c classes and k rehearsal concepts of the batch's B, C and K. Padding (the
last batch of an epoch, a class set that does not divide by the number of devices) is in the masks and weights.
"""

import flax.struct
from jax import Array

from er_jax.text.bank import Texts


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
    ids: (C,) int32 text ids, -1 on padding; None where the method reads no class text.
    vectors: (C, V) float32; None where the method reads no class vectors.
    nodes: (C,) int32 nodes of the graph, 0 on padding; None where the method reads no graph.
    classifier: (C, F) float32, zeros on padding; or None.
  """
  rows: Array
  mask: Array
  ids: Array | None = None
  vectors: Array | None = None
  nodes: Array | None = None
  classifier: Array | None = None


@flax.struct.dataclass
class StepBatch:
  """One batch, by reference to the text bank. Every leading axis divides by the number of devices.

  Attributes:
    features: (B, F) float32.
    rows: (B,) int32.
    objects: (B, S) int32 ids of object texts (see `VideoInputs`), -1 for none; or None.
    concepts: (K,) int32 text ids of the rehearsal set, -1 on padding; or None.
    targets: see `Targets`; here of the whole batch.
  """
  features: Array
  rows: Array
  objects: Array | None
  concepts: Array | None
  targets: Targets
