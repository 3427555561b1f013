"""hmdb51_zsar: HMDB51 (Kuehne et al. 2011), random halves of its 51 classes seen.

    hmdb51_zsar.raw_dataset(Path("/data/hmdb51"), metadata=Path("data/metadata"))

README.md here says where the videos are and how the folder looks.
"""

from pathlib import Path

from input_pipeline.datasets import class_folders
from input_pipeline.raw_dataset import RawDataset
from input_pipeline.videos.find_files import VIDEO_SUFFIXES

NUM_VIDEOS = 6_766     # published


def raw_dataset(
    source: Path, metadata: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES, split_seed: int = 0, num_splits: int = 10
) -> RawDataset:
  """The videos below `source`; see `class_folders.read_raw_dataset`."""
  return class_folders.read_raw_dataset("hmdb51", source, metadata, suffixes, split_seed, num_splits)
