"""Sources of a dataset's features: its videos, by backbones, or files that hold them.

    features = feature_source(PrepareOptions("toy_actions", "data"))
    features.fingerprint()                          # names everything that decides them but the videos
    skipped = features.fill(raw_dataset, store)      # {video index: reason}
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from input_pipeline import devices
from input_pipeline.backbones import BACKBONES, load_network, with_role
from input_pipeline.backbones.declaration import OBJECTS, ROLES
from input_pipeline.errors import UserError
from input_pipeline.features.extract import Extractor, extract
from input_pipeline.features.from_files import FeatureFiles
from input_pipeline.features.store import FeatureStore
from input_pipeline.metadata.published import CLASS_VECTORS, CLASSIFIER_ROWS, WORD_TABLE
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.raw_dataset import RawDataset
from input_pipeline.videos.find_files import files_there
from input_pipeline.videos.sampling import ViewSampling

NO_FEATURES = (CLASS_VECTORS, CLASSIFIER_ROWS, f"{WORD_TABLE}.npy")      # arrays that may lie beside them


class FeatureSource(Protocol):
  """What `prepare` needs: `Backbones` here, `FeatureFiles` in features/from_files.py."""

  def fingerprint(self) -> str:
    """Hexadecimal digest of what decides the features, besides each video's own file."""
    ...

  def fill(self, raw_dataset: RawDataset, store: FeatureStore) -> dict[int, str]:
    """Puts the features of all videos that have some into `store`; returns why the others were skipped, by position.

    Of those whose file was there, `store.stamp` then tells what it was.
    """
    ...


class Backbones:
  """Features and concepts that networks see in videos."""

  def __init__(self, weights: Mapping[str, tuple[str, Path]], batch_size: int, num_workers: int, views: ViewSampling):
    """Loads the weights.

    Args:
      weights: for each role, a backbone's name, and a published file or a converted checkpoint.
      batch_size: videos a batch and device.
      num_workers: threads that decode.
      views: of a video, as they are asked for.
    """
    devices.require()
    networks = {name: load_network(name, path) for name, path in dict(weights.values()).items()}
    by_role = [networks[weights[role][0]] for role in ROLES]
    self._extractor = Extractor(*by_role, batch_size=batch_size, views=views)
    self._objects_title = by_role[ROLES.index(OBJECTS)].backbone.title
    self._num_workers = num_workers

  def fingerprint(self) -> str:
    """See `FeatureSource`."""
    return self._extractor.fingerprint()

  def fill(self, raw_dataset: RawDataset, store: FeatureStore) -> dict[int, str]:
    """See `FeatureSource`. Raises: UserError if the weights know another vocabulary than the raw dataset."""
    if self._extractor.num_concepts != len(raw_dataset.concepts):
      raise UserError(f"The {self._objects_title} weights know {self._extractor.num_concepts} concepts, but the "
                      f"dataset has a vocabulary of {len(raw_dataset.concepts)}. Give the one that belongs to these "
                      "weights with --concepts=concepts.jsonl; scripts/build_concepts.py makes that of ImageNet-21k.")
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
  weights = choose_weights(options.weights, spec.weights)
  return Backbones(weights, options.batch_size, options.num_workers, options.views)


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
    useless = {name: value for name, value in vars(options.views).items() if value != getattr(ViewSampling(), name)}
    for name, value in {**options.weights, **useless}.items():
      whose = f"the features of {options.dataset} are" if own_files else "with --features they are"
      raise UserError(f"--{name}={value} was given, but {whose} read from files, no network computes them. "
                      f"Leave --{name} out, or "
                      + ("choose a dataset of videos." if own_files else "leave out --features."))
  if options.features:
    if not options.features.is_dir():
      raise UserError(f"--features={options.features} is no folder; expected one that holds NAME.npy for each video, "
                      "NAME being its path below the source without extension.")
    _require_feature_files(options.features)
    if options.concepts and not options.concept_predictions:
      raise UserError(f"--concepts={options.concepts} names objects, but with --features nothing says which of them "
                      "each video shows: give --concept_predictions=FILE too.")
  if options.concept_predictions:
    if not options.features:
      raise UserError(f"--concept_predictions={options.concept_predictions} goes with --features=FOLDER only; "
                      "otherwise a network predicts the objects.")
    if not options.concepts and not options.spec.has_vocabulary:
      raise UserError(f"--concept_predictions={options.concept_predictions} needs the names of its objects: give "
                      "--concepts=concepts.jsonl.")


def _require_feature_files(folder: Path) -> None:
  """Raises: UserError if none of the files in a folder can be a video's feature, which says what they are instead."""
  others, visited = [], set()
  for top, folders, names in os.walk(folder, followlinks=True):
    if os.path.realpath(top) in visited:      # a link back
      folders.clear()
      continue
    visited.add(os.path.realpath(top))
    for name in names:
      if Path(name).suffix == ".npy" and name not in NO_FEATURES:
        return
      if not name.startswith("."):
        others.append(name)
  raise UserError(
      f"--features={folder} holds no file .npy of a video, at any depth; files in it: {files_there(others)}. Expected is one NAME.npy for "
      "each video, NAME being its path below the source without extension: a float array (D,), or (views, D). To make "
      "one of an .npz: np.save(\"NAME.npy\", np.load(\"NAME.npz\")[\"KEY\"]); of a .pt: "
      "np.save(\"NAME.npy\", torch.load(\"NAME.pt\", weights_only=True).numpy()).")


def choose_weights(given: Mapping[str, Path], own: Mapping[str, Path]) -> dict[str, tuple[str, Path]]:
  """Which backbone has each role: of those that were given, or else of the dataset's own, the one that gives it.

  A backbone of that role alone goes before one that has the other role too.

  Args:
    given, own: weights by backbone.

  Returns:
    {role: (backbone, weights)}.

  Raises:
    UserError: there are none or several for a role, or weights are given that have nothing to do.
  """
  chosen = {}
  for role in ROLES:
    weights = given if _with_role(role, given) else own
    names = _with_role(role, weights)
    names = [name for name in names if len(BACKBONES.load(name).apply) == 1] or names
    if not names:
      flags = " or ".join(f"--{name}=WEIGHTS" for name in with_role(role))
      raise UserError(f"This dataset comes without weights: give {flags}, a published file or a converted checkpoint.")
    if len(names) > 1:
      raise UserError(f"{' and '.join(f'--{name}={weights[name]}' for name in names)} were given, but each of them "
                      f"gives the {role} of a video. Leave out all but one.")
    chosen[role] = names[0], weights[names[0]]
  for name in given.keys() - dict(chosen.values()).keys():
    others = " and ".join(f"--{other} gives the {role}" for role, (other, _) in chosen.items())
    raise UserError(f"--{name}={given[name]} was given, but has nothing to do: {others}. Leave it out.")
  return chosen


def weight_flags() -> str:
  """The flags of the backbones, as messages list them."""
  return ", ".join(f"--{name}" for name in dict.fromkeys(name for role in ROLES for name in with_role(role)))


def _with_role(role: str, weights: Mapping[str, Path]) -> list[str]:
  return [name for name in with_role(role) if name in weights]
