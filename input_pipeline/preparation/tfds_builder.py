"""The TFDS builder that all datasets of features share: array_record files without TensorFlow.

    builder = builder_class("toy_actions")(content=content, data_dir="data", file_format="array_record")
    builder.download_and_prepare()

The example order is that of the videos. TFDS generates into a folder of another name and renames it at the
end, with the class list, the vocabulary and all other files beside the examples: a dataset is whole or not
there.
"""

import errno
import functools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline import files, manifest, nameless_owners
from input_pipeline.datasets import DATASETS
from input_pipeline.metadata import class_splits, concepts, descriptions
from input_pipeline.preparation import made_of
from input_pipeline.preparation.shards import Features
from input_pipeline.raw_dataset import SPLITS, RawDataset, VideoEntry

nameless_owners.allow()

UNDIVIDED = "undivided"   # how a single split "all" is stored; TFDS keeps that name for all splits together
SHARD_BYTES = 128 << 20   # of features in a file; TFDS holds this much in memory while it writes


class Content(NamedTuple):
  """What a builder writes.

  Attributes:
    raw_dataset: entries, classes, vocabulary and splits.
    store: the features of the entries, by position in `raw_dataset.entries`, of at least one.
    skipped: why a video is not in the store, by position.
    source: written to source.json; "root" is the absolute folder of the videos or of the feature files.
  """

  raw_dataset: RawDataset
  store: Features
  skipped: dict[int, str]
  source: dict[str, Any]

  @property
  def shape(self) -> tuple[int, int]:
    """V and D of its features. Raises: ValueError if there are none."""
    for index in range(len(self.raw_dataset.entries)):
      if index in self.store:
        return self.store[index].views.shape
    raise ValueError("no video has features")


class FeatureBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
  """Writes examples of `name`, `feature`, `concept_ids`, `concept_scores`, `label` and `num_frames`.

  `feature` (D,) is the mean over the views of a video. Where there are several, `views` (V, D) holds each.
  """

  readme: Path

  def __init__(self, *, content: Content, **kwargs: Any):
    """Args: content: what to write; kwargs: as for every TFDS builder (data_dir, file_format)."""
    self._content = content
    self._num_views, self._feature_dim = content.shape
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    def array(dtype: type[np.generic], *shape: int) -> tfds.features.Tensor:
      return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    citations = self.readme.with_name("CITATIONS.bib")
    several = {"views": array(np.float32, self._num_views, self._feature_dim)} if self._num_views > 1 else {}
    return tfds.core.DatasetInfo(
        builder=self,
        description=self.readme.read_text(encoding="utf-8"),
        citation=citations.read_text(encoding="utf-8") if citations.exists() else "",
        features=tfds.features.FeaturesDict({
            "name": tfds.features.Text(),
            "feature": array(np.float32, self._feature_dim),
            **several,
            "concept_ids": array(np.int32, concepts.TOP_CONCEPTS),
            "concept_scores": array(np.float32, concepts.TOP_CONCEPTS),
            "label": tfds.features.Scalar(np.int64),
            "num_frames": tfds.features.Scalar(np.int64),
        }),
        disable_shuffling=True,
    )

  def _example_writer(self) -> writer.ExampleWriter:
    return _Writer(file_format=self.info.file_format)     # pyright: ignore[reportArgumentType] (set by now)

  def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, Sequence[Callable[[], Iterator]]]:
    self._write_beside()
    per_file = max(SHARD_BYTES // (4 * self._feature_dim * (1 + self._num_views)), 1)
    shards = {}
    for split in SPLITS:
      rows = [index for index, entry in enumerate(self._content.raw_dataset.entries)
              if entry.split == split and index in self._content.store]
      if rows:
        shards[UNDIVIDED if split == "all" else split] = [
            functools.partial(self._examples, rows[start:start + per_file])
            for start in range(0, len(rows), per_file)]
    return shards

  def _examples(self, rows: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    for index in rows:
      entry: VideoEntry = self._content.raw_dataset.entries[index]
      fields = self._content.store[index]._asdict()
      views = fields.pop("views")
      several = {"views": views} if self._num_views > 1 else {}
      yield index, {"name": entry.name, "label": entry.label, "feature": views.mean(axis=0), **several, **fields}

  def _write_beside(self) -> None:
    """The files beside the examples; `data_path` is the unfinished folder while TFDS generates."""
    folder, raw_dataset, store = self.data_path, self._content.raw_dataset, self._content.store
    descriptions.write_classes(folder / "classes.jsonl", raw_dataset.classes)
    if raw_dataset.concepts:
      concepts.write_concepts(folder / "concepts.jsonl", raw_dataset.concepts)
    if raw_dataset.class_splits:
      class_splits.write_splits(folder / "class_splits.json", raw_dataset.class_splits, raw_dataset.split_seed)
    made_of.write_skipped(folder / made_of.SKIPPED, [(raw_dataset.entries[index], reason, store.stamp(index))
                                                     for index, reason in sorted(self._content.skipped.items())])
    made_of.write_videos(folder / made_of.VIDEOS, [(entry, store.stamp(index)) for index, entry in enumerate(
        raw_dataset.entries) if index in store])
    files.write_json(folder / "source.json", self._content.source)
    manifest.write(folder / manifest.NAME, self.name, raw_dataset, store)
    for name, path in raw_dataset.extras.items():
      shutil.copyfile(path, folder / name)


def builder_class(dataset: str) -> type[FeatureBuilder]:
  """The TFDS builder of this dataset. Raises: UserError if there is none of that name."""
  spec = DATASETS.load(dataset)
  return type("Builder", (FeatureBuilder,), {
      "__doc__": f"{dataset}: {spec.summary}.",
      "__module__": f"{DATASETS.package}.{dataset}.{dataset}_dataset_builder",     # by TFDS's convention; it is recorded
      "name": dataset,
      "readme": spec.readme,
      "VERSION": tfds.core.Version(spec.version),
      "RELEASE_NOTES": {"1.0.0": "First release."},
  }, skip_registration=True)


class _Writer(writer.ExampleWriter):
  """TFDS's writer; the same examples give the same bytes in every process, and a full disk is an OSError here too."""

  def write(self, path: str, examples: Iterable[tuple[int, bytes]]) -> None:
    parse = tf_example_pb2.Example.FromString     # pyright: ignore[reportAttributeAccessIssue]
    in_order = ((key, parse(example).SerializeToString(deterministic=True)) for key, example in examples)
    try:
      super().write(path, in_order)
    except RuntimeError as error:     # what array_record makes of it; only its text says which
      reason = str(error)
      code = next((code for code in files.DISK_IS_FULL if os.strerror(code) in reason), errno.EIO)
      raise OSError(code, reason, path) from error
