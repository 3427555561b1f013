"""The datasets that `prepare` can make, by name.

A dataset is a package NAME with `collection(source) -> RawDataset` in its __init__.py and a TFDS builder in
its NAME_dataset_builder.py. It is imported when it is asked for. Weights that come with it are `TSM_WEIGHTS`
and `BIT_WEIGHTS` there. Where features are not computed from videos but lie in files, it has
`feature_files(source) -> FeatureFiles`, and takes no weights.
"""

import importlib
from types import ModuleType

from input_pipeline import errors

DATASETS = {
    "hmdb51_zsar": "input_pipeline.datasets.hmdb51_zsar",
    "kinetics_zsar": "input_pipeline.datasets.kinetics_zsar",
    "olympics_zsar": "input_pipeline.datasets.olympics_zsar",
    "precomputed": "input_pipeline.datasets.precomputed",
    "toy_actions": "input_pipeline.datasets.toy_actions",
    "ucf101_zsar": "input_pipeline.datasets.ucf101_zsar",
    "video_folder": "input_pipeline.datasets.video_folder",
}


def check_name(name: str) -> None:
  """Raises: UserError with the near matches if there is no dataset `name`."""
  if name not in DATASETS:
    raise errors.unknown("dataset", name, DATASETS)


def load(name: str) -> ModuleType:
  """The package of dataset `name`. Raises: UserError if there is none of that name."""
  check_name(name)
  return importlib.import_module(DATASETS[name])
