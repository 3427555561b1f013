"""What models and steps are given: immutable, typed, with shapes.

Shapes are those of one device: b videos, c classes and k rehearsal concepts of the batch's B, C and K. Padding (the
last batch of an epoch, a class set that does not divide by the number of devices) is in the masks and weights.
"""

import flax.struct
from jax import Array

from er_jax.text_bank import Texts


@flax.struct.dataclass
class VideoInputs:
  """Videos as a model sees them.

  Attributes:
    features: (b, F) float32, spatio-temporal features.
    rows: (b,) int32, each video's place in the whole batch.
    objects: the b videos' object sequences (their top concepts' texts joined), or None.
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
  """
  rows: Array
  mask: Array
  texts: Texts | None = None
  vectors: Array | None = None


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
    ids: (C,) int32 text ids, -1 on padding; None where the method reads no class text.
    rows: (C,) int32.
    mask: (C,) bool.
    vectors: (C, V) float32 or None.
  """
  ids: Array | None
  rows: Array
  mask: Array
  vectors: Array | None


@flax.struct.dataclass
class StepBatch:
  """One batch, by reference to the text bank. Every leading axis divides by the number of devices.

  Attributes:
    features: (B, F) float32.
    rows: (B,) int32.
    objects: (B,) int32 ids of object sequences, or None.
    concepts: (K,) int32 text ids of the rehearsal set, -1 on padding; or None.
    targets: see `Targets`; here of the whole batch.
  """
  features: Array
  rows: Array
  objects: Array | None
  concepts: Array | None
  targets: Targets
