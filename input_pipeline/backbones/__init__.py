"""Networks that see videos. A file NAME.py with a `BACKBONE` is one; `prepare` then has the flag --NAME=WEIGHTS.

    BACKBONES.names()                          # ["bit", "tsm"]
    BACKBONES.load("tsm").variants             # {"tsm_resnet50": TSMConfig(...), ...}
    network = load_network("tsm", "tsm.npz")   # with its weights, as `features.extract.Extractor` takes it

declaration.py says what a backbone declares.
"""

import os
from typing import TYPE_CHECKING

from input_pipeline.registry import Registry

if TYPE_CHECKING:      # JAX is imported with a backbone, not with the list of them
  from input_pipeline.backbones.declaration import Network
  from input_pipeline.videos.sampling import ClipSampling, ViewSampling

BACKBONES = Registry("input_pipeline.backbones", "BACKBONE", "backbone")


def with_role(role: str) -> list[str]:
  """Names of the backbones that give it."""
  return [name for name in BACKBONES.names() if role in BACKBONES.load(name).apply]


def usual_samplings(views: "ViewSampling") -> "list[ClipSampling]":
  """What each backbone, in its usual size, sees of a video."""
  backbones = map(BACKBONES.load, BACKBONES.names())
  return [backbone.sampling(next(iter(backbone.variants.values())), views) for backbone in backbones]


def load_network(name: str, path: str | os.PathLike) -> "Network":
  """Raises: UserError if there is no such backbone, or the weights are not what they should be."""
  from input_pipeline.backbones.declaration import Network

  backbone = BACKBONES.load(name)
  config, variables, _ = backbone.load(path)
  return Network(name, backbone, config, variables)
