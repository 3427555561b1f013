"""The declaration of a dataset, in one module input_pipeline/datasets/NAME.py, or in a package of that name.

    DATASET = DatasetSpec(
        summary="my cats, in a folder an action",
        readme=Path(__file__).with_name("README.md"),     # how to get it; may have a CITATIONS.bib beside it
        size="small",
        read=read,                                        # read(source: Path, metadata: Path) -> RawDataset
        options={"metadata": None},
        features_from="videos",
    )

Nothing else in the project knows a dataset by its name.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

from input_pipeline.raw_dataset import RawDataset, check

OPTIONS = ("metadata", "classes", "videos", "split_seed", "num_splits")     # flags that some datasets take
SIZES = ("toy", "small", "large")
FEATURES_FROM = ("videos", "files")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
  """See the module.

  Attributes:
    summary: a line on what it is.
    readme: says where it is to be had, and how its folder looks.
    size: what decides the length of a training: "toy", "small" (some thousand videos) or "large". Write it as a literal
      keyword, `size="small"`: configs/sizes.py reads it from the text of the module.
    read: (source, **options) -> its videos and classes; raises UserError, saying what is wrong with the source.
    options: those of `OPTIONS` that `read` takes, and what they are if nobody gives them. "metadata" is always given.
    features_from: "videos", which networks look at; or "files": then the paths of its videos are those of .npy files of
      their features, and no weights are taken.
    predictions: of features in files, where the JSON file of their objects lies below the source. It need not be there.
    reads_features: whether `read` also takes `suffixes`, those of the files to look for, and so finds the videos in a
      folder of their features. None of their videos need be there then.
    weights: of the networks that its features are computed with, where they come with it.
    has_vocabulary: whether it brings the names of the objects that its videos may show.
    num_videos: how many are published, if that is known.
    version: of what `prepare` makes of it.
    needs_source: False if `read` makes the videos where there are none.
    listed: (source, **options) -> all that published lists name, where not one of the files is in the folder `source`;
      None if some are, so that what `read` says holds. None if there are no such lists.

  Raises:
    ValueError, on import of the module that declares it: a value cannot be.
  """

  summary: str
  readme: Path
  size: str
  read: Callable[..., RawDataset]
  options: Mapping[str, Any]
  features_from: str
  predictions: PurePath | None = None
  reads_features: bool = False
  weights: Mapping[str, Path] = dataclasses.field(default_factory=dict)
  has_vocabulary: bool = False
  num_videos: int | None = None
  version: str = "1.0.0"
  needs_source: bool = True
  listed: Callable[..., RawDataset | None] | None = None

  def __post_init__(self):
    if not self.readme.is_file():
      raise ValueError(f"There is no {self.readme}; a dataset says there what it is and where it is to be had.")
    unknown = set(self.options) - set(OPTIONS)
    if self.size not in SIZES or self.features_from not in FEATURES_FROM or unknown:
      raise ValueError(f"size is {self.size!r}, expected one of {SIZES}; features_from is {self.features_from!r}, "
                       f"expected one of {FEATURES_FROM}; options are {tuple(self.options)}, expected some of "
                       f"{OPTIONS}.")

  def raw_dataset(self, source: Path, **options: Any) -> RawDataset:
    """What `read` finds, checked.

    Args:
      source: folder of the videos, or of the feature files.
      options: those of `read` that are not as `options` says.
    """
    return check(self.read(source, **{**self.options, **options}))
