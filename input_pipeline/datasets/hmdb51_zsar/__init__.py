"""hmdb51_zsar: HMDB51 (Kuehne et al. 2011), random halves of its 51 classes seen.

    hmdb51_zsar.collection(Path("/data/hmdb51"), metadata=Path("data/metadata"))

README.md here says where the videos are and how the folder looks.
"""

from pathlib import Path

from input_pipeline.collection import Collection
from input_pipeline.datasets import class_folders
from input_pipeline.video_tree import VIDEO_SUFFIXES

NUM_VIDEOS = 6_766     # published


def collection(
    source: Path, metadata: Path, suffixes: frozenset[str] = VIDEO_SUFFIXES, split_seed: int = 0, num_splits: int = 10
) -> Collection:
  """The videos below `source`; see `class_folders.read_collection`."""
  return class_folders.read_collection("hmdb51", source, metadata, suffixes, split_seed, num_splits)
