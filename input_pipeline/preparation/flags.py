"""Flags that `prepare` and `verify` share: which dataset, and where its videos are."""

import os

from absl import flags

from input_pipeline.datasets import DATASETS
from input_pipeline.errors import UserError


def define_flags() -> None:
  """The flags that say which videos, and of which dataset; not defined on import, as other commands have some too."""
  flags.DEFINE_string("dataset", None, f"Which dataset: {', '.join(DATASETS.names())}.")
  flags.DEFINE_string("data_dir", "data", "Where datasets lie; each is in DATA_DIR/NAME/VERSION.")
  flags.DEFINE_string("source", None, "Folder of the videos, or of the published feature layout. "
                      "Default: DATA_DIR/sources/NAME.")
  flags.DEFINE_string("metadata", None, "Folder of the published class lists. Default: DATA_DIR/metadata.")
  flags.DEFINE_string("classes", None, "Your classes: a classes.jsonl.")
  flags.DEFINE_string("videos", None, "Your videos and their classes: a CSV or JSONL file.")
  flags.DEFINE_integer("split_seed", None, "Seed of random class splits. Default: 0.")
  flags.DEFINE_integer("num_splits", None, "How many random class splits to draw. Default: the dataset's.")
  flags.DEFINE_string("features", None, "Folder of NAME.npy files, of any width, to take in place of a network's.")
  flags.DEFINE_integer("num_workers", os.cpu_count() or 1, "Threads that read videos or features.")


def require_dataset(dataset: str | None) -> str:
  """The value of --dataset. Raises: UserError if it was not given."""
  if dataset is None:
    raise UserError(f"Which dataset? Give --dataset=NAME with one of {', '.join(DATASETS.names())}.")
  return dataset
