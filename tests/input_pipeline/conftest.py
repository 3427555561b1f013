"""A prepared dataset of made-up features, for tests that do not need videos."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from input_pipeline.features.store import NO_STAMP, FeatureStore, VideoFeatures
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.preparation.tfds_builder import Content, builder_class
from input_pipeline.raw_dataset import RawDataset, VideoEntry

FEATURE_DIM, NUM_CLASSES, NUM_CONCEPTS = 6, 7, 23


def made_up_features(index: int, num_views: int = 1) -> VideoFeatures:
  """Features that say which video they belong to: the first number is its index; each view is one more than the last."""
  random = np.random.default_rng(index)
  first = np.array([index, *random.standard_normal(FEATURE_DIM - 1)], np.float32)
  return VideoFeatures(
      views=np.stack([first + view for view in range(num_views)]),
      concept_ids=random.permutation(NUM_CONCEPTS)[:20].astype(np.int32),
      concept_scores=np.sort(random.random(20))[::-1].astype(np.float32),
      num_frames=16 + index,
  )


def made_up_raw_dataset(num_entries: int) -> RawDataset:
  """Videos without files, not in the order of their names: classes 0 to 3 train, 4 and 5 val, 6 test."""
  entries = []
  for index in range(num_entries):
    label = index * 5 % NUM_CLASSES
    split = "train" if label < 4 else "val" if label < 6 else "test"
    entries.append(VideoEntry(f"class {label}/v{num_entries - index}.é", Path(f"absent/{index}.mp4"), label, split))
  return RawDataset(
      entries=entries,
      classes=[ActionClass(f"action {label}", f"do {label} things") for label in range(NUM_CLASSES)],
      concepts=[Concept(f"n{index}", f"thing_{index}", f"Thing {index}") for index in range(NUM_CONCEPTS)],
      class_splits=(ClassSplit(seen=(2, 0, 3, 1), val=(5, 4), test=(6,)),),
      extras={},
  )


def write_dataset(data_dir: Path, raw_dataset: RawDataset, skipped: dict[int, str], num_views: int = 1) -> Path:
  """Writes the raw dataset with made-up features; returns the dataset's folder."""
  store = FeatureStore(data_dir / "work", raw_dataset.entries)
  for index in range(len(raw_dataset.entries)):
    if index not in skipped:
      store.add(index, NO_STAMP, made_up_features(index, num_views))
  store.flush()
  source = {"root": str(data_dir / "videos"), "expected": len(raw_dataset.entries)}
  content = Content(raw_dataset, store, skipped, source)
  builder = builder_class("toy_actions")(content=content, data_dir=data_dir, file_format="array_record")
  builder.download_and_prepare(download_dir=data_dir / "work" / "downloads")
  return Path(builder.data_path)


class Prepared(NamedTuple):
  """A dataset on disk, and what it was made from: `features[i]` belongs to `raw_dataset.entries[i]`."""

  data_dir: Path
  raw_dataset: RawDataset
  features: list[VideoFeatures]
  skipped: dict[int, str]

  def entries_of(self, *labels: int) -> list[int]:
    """Indices of the videos of these classes that were not skipped, in the order of the list."""
    return [i for i, entry in enumerate(self.raw_dataset.entries)
            if entry.label in labels and i not in self.skipped]

  def entries_in(self, split: str) -> list[int]:
    """The same for the videos of a split."""
    return [i for i, entry in enumerate(self.raw_dataset.entries)
            if entry.split == split and i not in self.skipped]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
  """A prepared dataset "toy_actions" of 60 entries, of which two were skipped."""
  data_dir = tmp_path_factory.mktemp("prepared")
  vectors = data_dir / "vectors.npy"
  np.save(vectors, np.arange(NUM_CLASSES * 4, dtype=np.float32).reshape(NUM_CLASSES, 4))
  raw_dataset = made_up_raw_dataset(60)._replace(extras={"class_vectors.npy": vectors})
  skipped = {3: "no such file", 11: "no frames in it"}
  write_dataset(data_dir, raw_dataset, skipped)
  return Prepared(data_dir, raw_dataset, [made_up_features(index) for index in range(60)], skipped)


@pytest.fixture
def undivided(tmp_path: Path) -> Prepared:
  """A prepared dataset of 20 videos that are not divided into splits."""
  raw_dataset = made_up_raw_dataset(20)
  entries = [entry._replace(split="all") for entry in raw_dataset.entries]
  raw_dataset = raw_dataset._replace(entries=entries, class_splits=())
  write_dataset(tmp_path, raw_dataset, {})
  return Prepared(tmp_path, raw_dataset, [made_up_features(index) for index in range(20)], {})
