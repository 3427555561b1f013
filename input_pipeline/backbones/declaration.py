"""A backbone's declaration of itself, and a backbone with its weights.

    BACKBONE = Backbone(title="TSM-ResNet", variants=VARIANTS, shapes=shapes, apply={FEATURE: feature},
                        sampling=sampling, load=load)

Shapes: n clips, t frames, s x s pixels, d numbers of a feature.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax import Array
from jaxtyping import Bool, Float32, UInt8

from input_pipeline.videos.sampling import ClipSampling, ViewSampling

FEATURE = "feature"     # a vector of a clip
OBJECTS = "objects"     # logits of a clip over a vocabulary of concepts
ROLES = (FEATURE, OBJECTS)
# (config, variables, RGB frames, mask, False on frames that only pad a short clip); d is num_concepts for OBJECTS
Apply = Callable[[Any, Any, UInt8[Array, "n t s s 3"], Bool[Array, "n t"]], Float32[Array, "n d"]]


class Loaded(NamedTuple):
  """A network from a file: its config, its variables (float32), and names that are not needed, with why."""

  config: Any
  variables: dict
  ignored: dict[str, str]


@dataclasses.dataclass(frozen=True, eq=False)     # is itself alone, so that jitted functions can have it as an argument
class Backbone:
  """All that others know of a network for videos. A config is of any hashable type.

  Attributes:
    title: what messages call it, behind "a".
    variants: configs of the sizes that are known, by name, the usual one first.
    shapes: of a config, the variables as a tree of shapes and dtypes.
    apply: what it gives, by role. One that gives several does its common part once. The config of one with FEATURE has
      the field or property `feature_dim`, d; of one with OBJECTS `num_concepts`.
    sampling: what it sees of a video, by its config and the views that are asked for.
    load: from a published file or a converted checkpoint. Raises: UserError that says all that is wrong with it.
  """

  title: str
  variants: Mapping[str, Any]
  shapes: Callable[[Any], Any]
  apply: Mapping[str, Apply]
  sampling: Callable[[Any, ViewSampling], ClipSampling]
  load: Callable[[str | os.PathLike], Loaded]


class Network(NamedTuple):
  """A backbone, under its name in the registry, with its weights."""

  name: str
  backbone: Backbone
  config: Any
  variables: Any
