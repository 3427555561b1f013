"""olympics_zsar: Olympic Sports (Niebles et al. 2010), random halves of its 16 classes seen.

    olympics_zsar.raw_dataset(Path("/data/olympic_sports"), metadata=Path("data/metadata"))

README.md here says where the videos are, how to convert them and how the folder looks.
"""

from pathlib import Path

from input_pipeline.datasets import class_folders
from input_pipeline.raw_dataset import RawDataset
from input_pipeline.videos.find_files import VIDEO_SUFFIXES

NUM_VIDEOS = 783     # published
HINTS = {".seq": "Olympic Sports is published as .seq files, which FFmpeg does not decode. Convert them to .mp4 first; "
                 "input_pipeline/datasets/olympics_zsar/README.md says how."}


def raw_dataset(
    source: Path, metadata: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES, split_seed: int = 0, num_splits: int = 10
) -> RawDataset:
  """The videos below `source`; see `class_folders.read_raw_dataset`."""
  return class_folders.read_raw_dataset("olympics", source, metadata, suffixes, split_seed, num_splits, HINTS)
