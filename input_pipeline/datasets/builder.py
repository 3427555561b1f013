"""The TFDS builder that all datasets of features share: array_record files without TensorFlow.

    class Builder(FeatureBuilder):          # in input_pipeline/datasets/NAME/NAME_dataset_builder.py
      VERSION = tfds.core.Version("1.0.0")

    Builder(content=content, data_dir="data", file_format="array_record").download_and_prepare()

The example order is that of the clips. TFDS generates into a folder of another name and renames it at the
end, with the class list, the vocabulary and all other files beside the examples: a dataset is whole or not
there.
"""

import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import writer

from input_pipeline import concepts, descriptions, files, splits
from input_pipeline.collection import SPLITS, Clip, Collection
from input_pipeline.feature_store import FeatureStore

UNDIVIDED = "undivided"   # how a single split "all" is stored; TFDS keeps that name for all splits together
SHARD_BYTES = 128 << 20   # of features in a file; TFDS holds this much in memory while it writes


class Content(NamedTuple):
  """What a builder writes.

  Attributes:
    collection: clips, classes, vocabulary and splits.
    store: the features of the clips, by position in `collection.clips`.
    feature_dim: D.
    skipped: why a clip is not in the store, by position.
    source: written to source.json; "root" is the absolute folder of the videos or of the feature files.
  """

  collection: Collection
  store: FeatureStore
  feature_dim: int
  skipped: dict[int, str]
  source: dict[str, Any]


class FeatureBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Writes examples of `name`, `feature`, `concept_ids`, `concept_scores`, `label` and `num_frames`."""

  def __init__(self, *, content: Content, **kwargs: Any):
    """Args: content: what to write; kwargs: as for every TFDS builder (data_dir, file_format)."""
    self._content = content
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    def vector(length: int, dtype: type[np.generic]) -> tfds.features.Tensor:
      return tfds.features.Tensor(shape=(length,), dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict({
            "name": tfds.features.Text(),
            "feature": vector(self._content.feature_dim, np.float32),
            "concept_ids": vector(concepts.TOP_CONCEPTS, np.int32),
            "concept_scores": vector(concepts.TOP_CONCEPTS, np.float32),
            "label": tfds.features.Scalar(np.int64),
            "num_frames": tfds.features.Scalar(np.int64),
        }),
        disable_shuffling=True,
    )

  def _example_writer(self) -> writer.ExampleWriter:
    return _Writer(file_format=self.info.file_format)

  def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, Sequence[Callable[[], Iterator]]]:
    self._write_beside()
    per_file = max(SHARD_BYTES // (4 * self._content.feature_dim), 1)
    shards = {}
    for split in SPLITS:
      rows = [index for index, clip in enumerate(self._content.collection.clips)
              if clip.split == split and index in self._content.store]
      if rows:
        shards[UNDIVIDED if split == "all" else split] = [
            functools.partial(self._examples, rows[start:start + per_file])
            for start in range(0, len(rows), per_file)]
    return shards

  def _examples(self, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    for index in rows:
      clip: Clip = self._content.collection.clips[index]
      yield index, {"name": clip.name, "label": clip.label, **self._content.store[index]._asdict()}

  def _write_beside(self) -> None:
    """The files beside the examples; `data_path` is the unfinished folder while TFDS generates."""
    folder, collection = self.data_path, self._content.collection
    descriptions.write_classes(folder / "classes.jsonl", collection.classes)
    if collection.concepts:
      concepts.write_concepts(folder / "concepts.jsonl", collection.concepts)
    if collection.splits is not None:
      splits.write_splits(folder / "class_splits.json", collection.splits)
    skipped = [{"name": collection.clips[index].name, "reason": reason}
               for index, reason in sorted(self._content.skipped.items())]
    files.write_jsonl(folder / "skipped.jsonl", skipped)
    files.write_json(folder / "source.json", self._content.source)
    for name, path in collection.extras.items():
      shutil.copyfile(path, folder / name)


class _Writer(writer.ExampleWriter):
  """TFDS's writer; a full disk is an OSError here too."""

  def write(self, path: str, examples: Iterable[tuple[int, bytes]]) -> None:
    try:
      super().write(path, examples)
    except RuntimeError as error:     # what array_record makes of it
      raise OSError(f"{path}: {error}") from error
