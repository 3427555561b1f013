"""Where the features of a dataset come from: from its videos, by the two backbones, or from files that hold them.

    features = feature_source(Request("toy_actions", "data"))
    features.fingerprint()                          # names everything that decides them but the videos
    skipped = features.fill(collection, store)      # {clip index: reason}
"""

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from input_pipeline import datasets
from input_pipeline.backbones import checkpoints
from input_pipeline.collection import Collection
from input_pipeline.errors import UserError
from input_pipeline.extract import Extractor, extract
from input_pipeline.feature_files import FeatureFiles
from input_pipeline.feature_store import FeatureStore
from input_pipeline.request import Request
from input_pipeline.views import Views


class FeatureSource(Protocol):
  """What `prepare` needs: `Backbones` here, `FeatureFiles` in feature_files.py."""

  def fingerprint(self) -> str:
    """Hexadecimal digest of what decides the features, besides each clip's own file."""

  def fill(self, collection: Collection, store: FeatureStore) -> dict[int, str]:
    """Puts the features of all clips that have some into `store`; returns why the others were skipped, by position."""


class Backbones:
  """Features and concepts that TSM and BiT see in videos."""

  def __init__(self, tsm: Path, bit: Path, batch_size: int, num_workers: int, views: Views):
    """Loads the weights.

    Args:
      tsm, bit: published files or converted checkpoints.
      batch_size: videos a batch and device.
      num_workers: threads that decode.
      views: what TSM sees of a video.
    """
    self._extractor = Extractor(
        *checkpoints.load_tsm(tsm), *checkpoints.load_bit(bit), batch_size=batch_size, views=views)
    self._num_workers = num_workers

  def fingerprint(self) -> str:
    """See `FeatureSource`."""
    return self._extractor.fingerprint()

  def fill(self, collection: Collection, store: FeatureStore) -> dict[int, str]:
    """See `FeatureSource`. Raises: UserError if the weights know another vocabulary than the collection."""
    if self._extractor.num_concepts != len(collection.concepts):
      raise UserError(f"The BiT weights know {self._extractor.num_concepts} concepts, but the dataset has a "
                      f"vocabulary of {len(collection.concepts)}. Give the one that belongs to these weights with "
                      "--concepts=concepts.jsonl; scripts/build_concepts.py makes that of ImageNet-21k.")
    return extract(collection.clips, self._extractor, store, self._num_workers)


def feature_source(request: Request) -> FeatureSource:
  """The kind of source that is asked for, or the dataset's own.

  Raises:
    UserError: weights are missing or cannot be read, or what was given does not go together.
  """
  require_consistent(request)
  package = datasets.load(request.dataset)
  if hasattr(package, "feature_files"):
    return package.feature_files(request.root)
  if request.features:
    return FeatureFiles(request.concept_predictions)
  tsm, bit = (_weights(kind, getattr(request, kind), package) for kind in ("tsm", "bit"))
  return Backbones(tsm, bit, request.batch_size, request.num_workers, request.views)


def reads_files(request: Request) -> bool:
  """Whether the features are files already; no network computes them, and no weights are asked for."""
  return bool(request.features or hasattr(datasets.load(request.dataset), "feature_files"))


def describe(request: Request, features: FeatureSource) -> dict[str, Any]:
  """What shards and source.json say that features were made from.

  Returns:
    Their "fingerprint"; and the "views" of a network that looked at videos, or the folder of "features" that are files.
  """
  seen = ({"features": str(request.features or request.root)} if reads_files(request)
          else {"views": dataclasses.asdict(request.views)})
  return {"fingerprint": features.fingerprint(), **seen}


def require_consistent(request: Request) -> None:
  """Raises: UserError if flags were given that have no use where features are files, or only there."""
  own_files = hasattr(datasets.load(request.dataset), "feature_files")
  if own_files and request.features:
    raise UserError(f"--features={request.features} was given, but {request.dataset} has its features below --source. "
                    "Leave it out, or choose a dataset of videos.")
  if reads_files(request):
    useless = {name: getattr(request, name) for name in ("tsm", "bit")}
    useless |= {name: value for name, value in vars(request.views).items() if value != getattr(Views(), name)}
    for name, value in useless.items():
      if value is not None:
        whose = f"the features of {request.dataset} are" if own_files else "with --features they are"
        raise UserError(f"--{name}={value} was given, but {whose} read from files, no network computes them. "
                        f"Leave --{name} out, or "
                        + ("choose a dataset of videos." if own_files else "leave out --features."))
  if request.features:
    if not request.features.is_dir():
      raise UserError(f"--features={request.features} is no folder; expected one that holds NAME.npy for each video, "
                      "NAME being its path below the source without extension.")
    if request.concepts and not request.concept_predictions:
      raise UserError(f"--concepts={request.concepts} names objects, but with --features nothing says which of them "
                      "each video shows: give --concept_predictions=FILE too.")
  if request.concept_predictions:
    if not request.features:
      raise UserError(f"--concept_predictions={request.concept_predictions} goes with --features=FOLDER only; "
                      "otherwise BiT predicts the objects.")
    if not request.concepts and not hasattr(datasets.load(request.dataset), "BIT_WEIGHTS"):
      raise UserError(f"--concept_predictions={request.concept_predictions} needs the names of its objects: give "
                      "--concepts=concepts.jsonl.")


def _weights(kind: str, given: Path | None, package: ModuleType) -> Path:
  """The weights the user gave, or those that come with the dataset."""
  path = given or getattr(package, f"{kind.upper()}_WEIGHTS", None)
  if path is None:
    raise UserError(f"This dataset comes without weights: give --{kind}=WEIGHTS, a published file or a "
                    "converted checkpoint.")
  return Path(path)
