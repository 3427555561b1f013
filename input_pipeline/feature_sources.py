"""Where the features of a dataset come from: from its videos, by the two backbones, or from files that hold them.

    features = feature_source("toy_actions", source, tsm=None, bit=None, batch_size=8, num_workers=2)
    features.fingerprint()                          # names everything that decides them but the videos
    skipped = features.fill(collection, store)      # {clip index: reason}
"""

from pathlib import Path
from types import ModuleType
from typing import Protocol

from input_pipeline import datasets
from input_pipeline.backbones import checkpoints
from input_pipeline.collection import Collection
from input_pipeline.errors import UserError
from input_pipeline.extract import Extractor, extract
from input_pipeline.feature_store import FeatureStore


class FeatureSource(Protocol):
  """What `prepare` needs: `Backbones` here, `FeatureFiles` in feature_files.py."""

  def fingerprint(self) -> str:
    """Hexadecimal digest of what decides the features, besides each clip's own file."""

  def fill(self, collection: Collection, store: FeatureStore) -> dict[int, str]:
    """Puts the features of all clips that have some into `store`; returns why the others were skipped, by position."""


class Backbones:
  """Features and concepts that TSM and BiT see in videos."""

  def __init__(self, tsm: Path, bit: Path, batch_size: int, num_workers: int):
    """Loads the weights.

    Args:
      tsm, bit: published files or converted checkpoints.
      batch_size: videos a batch.
      num_workers: threads that decode.
    """
    self._extractor = Extractor(*checkpoints.load_tsm(tsm), *checkpoints.load_bit(bit), batch_size=batch_size)
    self._num_workers = num_workers

  def fingerprint(self) -> str:
    """See `FeatureSource`."""
    return self._extractor.fingerprint()

  def fill(self, collection: Collection, store: FeatureStore) -> dict[int, str]:
    """See `FeatureSource`. Raises: UserError if the weights know another vocabulary than the collection."""
    if self._extractor.num_concepts != len(collection.concepts):
      raise UserError(f"The BiT weights know {self._extractor.num_concepts} concepts, but the dataset has a "
                      f"vocabulary of {len(collection.concepts)}.")
    return extract(collection.clips, self._extractor, store, self._num_workers)


def feature_source(dataset: str, source: Path, tsm: str | Path | None, bit: str | Path | None,
                   batch_size: int, num_workers: int) -> FeatureSource:
  """The dataset's own kind of source.

  Args:
    dataset: its name.
    source: folder of its videos or feature files.
    tsm, bit: weights that the user gave; default those that come with the dataset.
    batch_size, num_workers: of the extraction.

  Raises:
    UserError: weights are missing or cannot be read, or were given where none are needed.
  """
  package = datasets.load(dataset)
  if not hasattr(package, "feature_files"):
    return Backbones(_weights("tsm", tsm, package), _weights("bit", bit, package), batch_size, num_workers)
  for flag, given in (("tsm", tsm), ("bit", bit)):
    if given is not None:
      raise UserError(f"--{flag}={given} was given, but the features of {dataset} are read from files, no network "
                      f"computes them. Leave --{flag} out, or choose a dataset of videos.")
  return package.feature_files(source)


def _weights(kind: str, given: str | Path | None, package: ModuleType) -> Path:
  """The weights the user gave, or those that come with the dataset."""
  path = given or getattr(package, f"{kind.upper()}_WEIGHTS", None)
  if path is None:
    raise UserError(f"This dataset comes without weights: give --{kind}=WEIGHTS, a published file or a "
                    "converted checkpoint.")
  return Path(path)
