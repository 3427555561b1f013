"""What the builder writes of videos seen in one view and in several."""

import errno
import os

import numpy as np
import pytest
import tensorflow_datasets as tfds

from input_pipeline.features.store import NO_STAMP, FeatureStore, VideoFeatures
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.preparation import tfds_builder
from input_pipeline.preparation.tfds_builder import Content, builder_class
from input_pipeline.raw_dataset import RawDataset, VideoEntry

VIEWS = np.array([[0.1, 1, 2, 3, -5], [0.3, 2, 0, 3, 5], [0.2, 6, 1, 3, 0]], np.float32)


def written(folder, num_views):
  """The one example of a dataset of two videos, of which the first was skipped."""
  entries = [VideoEntry("a", folder / "absent", 0, "train"), VideoEntry("b", folder / "absent", 0, "train")]
  store = FeatureStore(folder / "work", entries)
  store.add(1, NO_STAMP, VideoFeatures(VIEWS[:num_views], np.arange(20, dtype=np.int32), np.zeros(20, np.float32), 7))
  store.flush()
  content = Content(RawDataset(entries, [ActionClass("x", "")], [], (), {}), store, {0: "no such file"}, {})
  builder = builder_class("toy_actions")(content=content, data_dir=folder, file_format="array_record")
  builder.download_and_prepare(download_dir=folder / "downloads")
  (example,) = tfds.builder_from_directory(str(builder.data_path)).as_data_source("train")
  return example


def test_single_view_is_the_feature_to_the_last_bit(tmp_path):
  example = written(tmp_path, 1)
  np.testing.assert_array_equal(example["feature"], VIEWS[0])
  assert set(example) == {"name", "feature", "concept_ids", "concept_scores", "label", "num_frames"}


def test_several_views_are_written_beside_their_mean(tmp_path):
  example = written(tmp_path, 3)
  np.testing.assert_allclose(example["feature"], [0.2, 3, 1, 3, 0], rtol=1e-6)
  np.testing.assert_array_equal(example["views"], VIEWS)
  assert example["feature"].dtype == example["views"].dtype == np.float32


def test_a_disk_that_is_full_while_examples_are_written_is_known_as_such(tmp_path, monkeypatch):
  def fail(*_):
    raise RuntimeError(f"RESOURCE_EXHAUSTED: write() failed: {os.strerror(errno.ENOSPC)}; writing examples")

  monkeypatch.setattr(tfds_builder.writer.ExampleWriter, "write", fail)
  with pytest.raises(OSError, match="array_record") as raised:
    written(tmp_path, 1)
  assert raised.value.errno == errno.ENOSPC


def test_dataset_without_a_single_feature_is_not_written(tmp_path):
  content = Content(RawDataset([], [], [], (), {}), FeatureStore(tmp_path / "work", []), {}, {})
  with pytest.raises(ValueError, match="no video has features"):
    builder_class("toy_actions")(content=content, data_dir=tmp_path, file_format="array_record")
