"""The options of `prepare`: the dataset, where its videos are, and how they become features.

    options = PrepareOptions("ucf101_zsar", "data", weights={"tsm": ..., "bit": ...}, num_shards=8)
    options.raw_dataset()                        # the videos that the dataset expects
    options.command(shard_index=3)              # "python -m input_pipeline.prepare --dataset=ucf101_zsar ..."

Its fields are the command's flags of the same names; `weights` has those of the backbones. They are plain values, so
that options can travel to another machine; paths are absolute (`paths.absolute`).
"""

import dataclasses
import functools
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax.core import FrozenDict

from input_pipeline import dataset_spec, paths
from input_pipeline.backbones import BACKBONES
from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.datasets import DATASETS
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import Concept, read_concepts
from input_pipeline.raw_dataset import RawDataset, check
from input_pipeline.videos.sampling import ViewSampling

PATHS = ("data_dir", "source", "concepts", "metadata", "classes", "videos", "features", "concept_predictions")
FEATURE_SUFFIXES = frozenset({".npy"})


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
  """See the module; None where the flag was not given.

  Attributes:
    dataset: its name.
    data_dir: where datasets lie.
    source: folder of the videos or of the published feature layout; default `data_dir`/sources/`dataset`.
    weights: files by backbone; default those that come with the dataset, if any. Not for features that are files.
    concepts: the names of the objects, a concepts.jsonl; default the one that comes with the dataset, if any.
    batch_size: videos a batch and device.
    num_workers: threads that decode; default one a core.
    temporal_samples, spatial_crops, dense_stride: see `views.ViewSampling`.
    metadata: folder of published class lists; default `data_dir`/metadata.
    classes, videos: lists of one's own.
    split_seed, num_splits: of random class splits.
    features: folder of one .npy file a video, in place of TSM's features.
    concept_predictions: JSON file of the objects in these videos.
    num_shards: parts that the extraction is divided into.

  Raises:
    UserError: a value cannot be, or the dataset does not take it.
  """

  dataset: str
  data_dir: Path
  source: Path | None = None
  weights: Mapping[str, Path] = FrozenDict()
  concepts: Path | None = None
  batch_size: int = 8
  num_workers: int = os.cpu_count() or 1
  temporal_samples: int = 1
  spatial_crops: int = 1
  dense_stride: int = 0
  metadata: Path | None = None
  classes: Path | None = None
  videos: Path | None = None
  split_seed: int | None = None
  num_splits: int | None = None
  features: Path | None = None
  concept_predictions: Path | None = None
  num_shards: int = 1

  def __post_init__(self):
    for name in PATHS:
      object.__setattr__(self, name, paths.absolute(getattr(self, name), f"--{name}"))
    for name in self.weights:
      BACKBONES.check(name)
    given = {name: paths.absolute(path, f"--{name}") for name, path in self.weights.items() if path is not None}
    object.__setattr__(self, "weights", FrozenDict(given))
    there = next(path for path in (self.folder, *self.folder.parents) if os.path.exists(path))
    if not there.is_dir():
      raise UserError(f"--data_dir={self.data_dir}: {there} is a file, expected a folder. Give another --data_dir.")
    if self.batch_size < 1 or self.num_workers < 1:
      raise UserError(f"batch_size and num_workers must be at least 1, got {self.batch_size} and {self.num_workers}.")
    _ = self.views      # that they can be
    if self.num_shards < 1:
      raise UserError(f"--num_shards={self.num_shards} must be at least 1: into how many parts to divide the videos.")
    if self.split_seed is not None and self.split_seed < 0:
      raise UserError(f"--split_seed={self.split_seed} must be 0 or more.")
    for name in dataset_spec.OPTIONS:
      if getattr(self, name) is not None and name not in self.spec.options:
        takers = [other for other in DATASETS.names() if name in DATASETS.load(other).options]
        raise UserError(f"--{name}={getattr(self, name)} was given, but {self.dataset} does not take it; "
                        f"{', '.join(takers) or 'no dataset'} would. Leave it out.")

  @property
  def spec(self) -> DatasetSpec:
    """What the dataset declares of itself. Raises: UserError if there is none of that name."""
    return DATASETS.load(self.dataset)

  @property
  def folder(self) -> Path:
    """Where the dataset's versions lie."""
    return self.data_dir / self.dataset

  @property
  def extractions(self) -> Path:
    """Where features wait until there is a dataset of them."""
    return self.data_dir / "extraction" / self.dataset

  @property
  def from_features_alone(self) -> bool:
    """Whether the features' files tell which videos there are."""
    return bool(self.features and not self.source and self.spec.reads_features)

  @property
  def root(self) -> Path:
    """Folder of the videos or of the feature files."""
    given = self.features if self.from_features_alone else self.source
    return given or self.data_dir / "sources" / self.dataset

  @functools.cached_property
  def views(self) -> ViewSampling:
    """What TSM is to see of a video."""
    return ViewSampling(self.temporal_samples, self.spatial_crops, self.dense_stride)

  @functools.cached_property
  def vocabulary(self) -> list[Concept]:
    """What `concepts` holds; [] if it was not given."""
    vocabulary = read_concepts(self.concepts) if self.concepts else []
    if self.concepts and not vocabulary:
      raise UserError(f"--concepts={self.concepts} is empty; expected one {{\"wnid\", \"name\", \"definition\"}} "
                      "a line.")
    return vocabulary

  def raw_dataset(self) -> RawDataset:
    """What the dataset expects to be there.

    Raises:
      UserError: something about the source or the lists is wrong.
    """
    return self._with_features(self.spec.raw_dataset(self.root, **self._reading()))

  def listed(self) -> RawDataset | None:
    """What published lists name, where not one of the files is there. Raises: UserError if a list is wrong."""
    listed = self.spec.listed and self.spec.listed(self.root, **self._reading())
    return listed and self._with_features(check(listed))

  def _reading(self) -> dict[str, Any]:
    """What the dataset is read with."""
    suffixes = {"suffixes": FEATURE_SUFFIXES} if self.from_features_alone else {}
    return self._dataset_options | suffixes

  def _with_features(self, raw_dataset: RawDataset) -> RawDataset:
    """The features and the vocabulary that are given take the place of the dataset's own."""
    if self.features:
      entries = [entry._replace(path=self.features / f"{entry.name}.npy") for entry in raw_dataset.entries]
      raw_dataset = raw_dataset._replace(entries=entries)
      if not self.concept_predictions:
        raw_dataset = raw_dataset._replace(concepts=[])
    return raw_dataset._replace(concepts=self.vocabulary) if self.vocabulary else raw_dataset

  @property
  def _dataset_options(self) -> dict[str, Any]:
    """The options that the dataset takes, given or by default."""
    given = {"metadata": self.data_dir / "metadata"}
    given |= {name: getattr(self, name) for name in dataset_spec.OPTIONS if getattr(self, name) is not None}
    takes = self.spec.options
    return {name: given.get(name, takes[name]) for name in dataset_spec.OPTIONS if name in takes}

  def chosen(self) -> dict[str, Any]:
    """What else decides the dataset, given or by default, besides root, weights, views and vocabulary."""
    values = self._dataset_options | {name: getattr(self, name) for name in ("features", "concept_predictions")}
    return {name: str(value) if isinstance(value, Path) else value
            for name, value in values.items() if value is not None}

  def given(self) -> dict[str, Any]:
    """Those of `chosen`, and fields of `views`, that were asked for in so many words."""
    defaults = {field.name: field.default for field in dataclasses.fields(self)}
    return {name: value for name, value in {**self.chosen(), **dataclasses.asdict(self.views)}.items()
            if getattr(self, name) != defaults[name]}

  def command(self, without: tuple[str, ...] = (), **more: Any) -> str:
    """The command line that asks for this.

    Args:
      without: fields that it does not need.
      more: further flags.
    """
    fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)
             if field.name not in without and getattr(self, field.name) != field.default}
    fields |= {**fields.pop("weights", {}), **more}
    words = [f"--{name}" if value is True else f"--{name}={value}" for name, value in fields.items()]
    return shlex.join(["python", "-m", "input_pipeline.prepare", *words])
