"""Where the features of a dataset come from: from its videos, by the two backbones, or from files that hold them.

    features = feature_source(PrepareOptions("toy_actions", "data"))
    features.fingerprint()                          # names everything that decides them but the videos
    skipped = features.fill(raw_dataset, store)      # {video index: reason}
"""

import dataclasses
from pathlib import Path
from typing import Any, Protocol

from input_pipeline.backbones import checkpoints
from input_pipeline.errors import UserError
from input_pipeline.features.extract import Extractor, extract
from input_pipeline.features.from_files import FeatureFiles
from input_pipeline.features.store import FeatureStore
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.raw_dataset import RawDataset
from input_pipeline.videos.sampling import ViewSampling


class FeatureSource(Protocol):
  """What `prepare` needs: `Backbones` here, `FeatureFiles` in features/from_files.py."""

  def fingerprint(self) -> str:
    """Hexadecimal digest of what decides the features, besides each video's own file."""

  def fill(self, raw_dataset: RawDataset, store: FeatureStore) -> dict[int, str]:
    """Puts the features of all videos that have some into `store`; returns why the others were skipped, by position."""


class Backbones:
  """Features and concepts that TSM and BiT see in videos."""

  def __init__(self, tsm: Path, bit: Path, batch_size: int, num_workers: int, views: ViewSampling):
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

  def fill(self, raw_dataset: RawDataset, store: FeatureStore) -> dict[int, str]:
    """See `FeatureSource`. Raises: UserError if the weights know another vocabulary than the raw dataset."""
    if self._extractor.num_concepts != len(raw_dataset.concepts):
      raise UserError(f"The BiT weights know {self._extractor.num_concepts} concepts, but the dataset has a "
                      f"vocabulary of {len(raw_dataset.concepts)}. Give the one that belongs to these weights with "
                      "--concepts=concepts.jsonl; scripts/build_concepts.py makes that of ImageNet-21k.")
    return extract(raw_dataset.entries, self._extractor, store, self._num_workers)


def feature_source(options: PrepareOptions) -> FeatureSource:
  """The kind of source that is asked for, or the dataset's own.

  Raises:
    UserError: weights are missing or cannot be read, or what was given does not go together.
  """
  require_consistent(options)
  spec = options.spec
  if spec.features_from == "files":
    predictions = spec.predictions and options.root / spec.predictions
    return FeatureFiles(predictions if predictions and predictions.exists() else None)
  if options.features:
    return FeatureFiles(options.concept_predictions)
  tsm, bit = (_weights(kind, getattr(options, kind) or spec.weights.get(kind)) for kind in ("tsm", "bit"))
  return Backbones(tsm, bit, options.batch_size, options.num_workers, options.views)


def reads_files(options: PrepareOptions) -> bool:
  """Whether the features are files already; no network computes them, and no weights are asked for."""
  return bool(options.features) or options.spec.features_from == "files"


def describe(options: PrepareOptions, features: FeatureSource) -> dict[str, Any]:
  """What shards and source.json say that features were made from.

  Returns:
    Their "fingerprint"; and the "views" of a network that looked at videos, or the folder of "features" that are files.
  """
  seen = ({"features": str(options.features or options.root)} if reads_files(options)
          else {"views": dataclasses.asdict(options.views)})
  return {"fingerprint": features.fingerprint(), **seen}


def require_consistent(options: PrepareOptions) -> None:
  """Raises: UserError if flags were given that have no use where features are files, or only there."""
  own_files = options.spec.features_from == "files"
  if own_files and options.features:
    raise UserError(f"--features={options.features} was given, but {options.dataset} has its features below --source. "
                    "Leave it out, or choose a dataset of videos.")
  if reads_files(options):
    useless = {name: getattr(options, name) for name in ("tsm", "bit")}
    useless |= {name: value for name, value in vars(options.views).items() if value != getattr(ViewSampling(), name)}
    for name, value in useless.items():
      if value is not None:
        whose = f"the features of {options.dataset} are" if own_files else "with --features they are"
        raise UserError(f"--{name}={value} was given, but {whose} read from files, no network computes them. "
                        f"Leave --{name} out, or "
                        + ("choose a dataset of videos." if own_files else "leave out --features."))
  if options.features:
    if not options.features.is_dir():
      raise UserError(f"--features={options.features} is no folder; expected one that holds NAME.npy for each video, "
                      "NAME being its path below the source without extension.")
    if options.concepts and not options.concept_predictions:
      raise UserError(f"--concepts={options.concepts} names objects, but with --features nothing says which of them "
                      "each video shows: give --concept_predictions=FILE too.")
  if options.concept_predictions:
    if not options.features:
      raise UserError(f"--concept_predictions={options.concept_predictions} goes with --features=FOLDER only; "
                      "otherwise BiT predicts the objects.")
    if not options.concepts and not options.spec.has_vocabulary:
      raise UserError(f"--concept_predictions={options.concept_predictions} needs the names of its objects: give "
                      "--concepts=concepts.jsonl.")


def _weights(kind: str, path: Path | None) -> Path:
  """The weights that the user gave or that come with the dataset, if there are some."""
  if path is None:
    raise UserError(f"This dataset comes without weights: give --{kind}=WEIGHTS, a published file or a "
                    "converted checkpoint.")
  return path
