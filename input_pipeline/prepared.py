"""A prepared dataset, opened: its examples by split, and the classes, concepts and splits beside them.

    dataset = open_dataset("data", "toy_actions")       # DATA_DIR/NAME/VERSION, written by `prepare`
    dataset.classes, dataset.concepts, dataset.splits
    table = dataset.table("train")                      # names, labels and concept ids of all its examples
    table.features(rows)                                # (len(rows), D)

Names, labels and concept ids of a split are read once and stay in memory, its features too where they are
smaller than `FEATURES_IN_MEMORY`; those of larger splits are read when they are wanted.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline import concepts as concepts_lib
from input_pipeline import datasets, descriptions, files
from input_pipeline import splits as splits_lib
from input_pipeline.errors import UserError

FEATURES_IN_MEMORY = 2 << 30     # bytes of a split's features; larger ones stay on disk
READ_CHUNK = 512                 # records read at a time


class Table(NamedTuple):
  """All examples of one split, in stored order.

  Attributes:
    names: (N,) str.
    labels: (N,) int32, positions in the class list.
    concept_ids: (N, 20) int32, -1 where absent.
    in_memory: (N, D) float32 features, or None where they stay on disk.
    records: random access to the serialised examples.
  """

  names: np.ndarray
  labels: np.ndarray
  concept_ids: np.ndarray
  in_memory: np.ndarray | None
  records: Any

  def features(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """(len(rows), D) float32 features of these rows."""
    rows = np.asarray(rows, np.int64)
    if self.in_memory is not None:
      return self.in_memory[rows]
    return np.stack([_vector(_fields(record)["feature"], np.float32)
                     for record in self.records.__getitems__(rows.tolist())])


class Dataset:
  """A prepared dataset and what lies beside it.

  Attributes:
    path: DATA_DIR/NAME/VERSION.
    name: of the dataset.
    classes, concepts: in label order, in concept index order.
    splits: the class splits; None where seen and unseen are not divided.
    feature_dim: D.
    class_vectors: (classes, V) float32, or None if the dataset has none.
    source: the content of source.json: "root", and the counts of the preparation.
    source_root: folder of the videos.
  """

  def __init__(self, path: Path, name: str):
    self.path, self.name = path, name
    self._builder = tfds.builder_from_directory(str(path))
    self.classes = descriptions.read_classes(path / "classes.jsonl")
    self.concepts = concepts_lib.read_concepts(path / "concepts.jsonl")
    splits_path = path / "class_splits.json"
    self.splits = splits_lib.read_splits(splits_path, len(self.classes)) if splits_path.exists() else None
    self.feature_dim = int(self._builder.info.features["feature"].shape[0])
    vectors_path = path / "class_vectors.npy"
    self.class_vectors = _class_vectors(vectors_path, len(self.classes)) if vectors_path.exists() else None
    self.source = files.read_json(path / "source.json")
    self.source_root = Path(self.source["root"])
    self._tables: dict[str, Table] = {}

  def num_examples(self, split: str) -> int:
    """Examples of `split` over all classes, "all" being all splits together; 0 if there is no such split."""
    stored = self._builder.info.splits
    if split == "all":
      return stored.total_num_examples
    return stored[split].num_examples if split in stored else 0

  def video_path(self, name: str) -> Path | None:
    """The video file of example `name`, if it still lies below `source_root`."""
    stem = self.source_root / name
    found = sorted(path for path in stem.parent.glob("*") if path.stem == stem.name and path.is_file())
    return found[0] if found else None

  def table(self, split: str) -> Table:
    """Every example of `split`, read on first use.

    Raises:
      UserError: if the split is absent, or an example does not fit the class list or the vocabulary.
    """
    if split not in self._tables:
      if not self.num_examples(split):
        raise UserError(f"{self.path} has no split {split!r}; it has {', '.join(self._builder.info.splits)}.")
      self._tables[split] = self._read(split)
    return self._tables[split]

  def _read(self, split: str) -> Table:
    records = self._builder.as_data_source(
        split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    count = len(records)
    names, labels = [], np.empty(count, np.int32)
    concept_ids = np.empty((count, concepts_lib.TOP_CONCEPTS), np.int32)
    in_memory = count * self.feature_dim * 4 <= FEATURES_IN_MEMORY
    features = np.empty((count, self.feature_dim), np.float32) if in_memory else None
    for start in range(0, count, READ_CHUNK):
      chunk = records.__getitems__(list(range(start, min(start + READ_CHUNK, count))))
      for row, record in enumerate(chunk, start=start):
        fields = _fields(record)
        names.append(fields["name"].bytes_list.value[0].decode())
        labels[row] = fields["label"].int64_list.value[0]
        concept_ids[row] = _vector(fields["concept_ids"], np.int32)
        if in_memory:
          features[row] = _vector(fields["feature"], np.float32)
    for what, values, low, limit in (
        ("label", labels, 0, len(self.classes)),
        ("concept id", concept_ids, concepts_lib.NO_CONCEPT, len(self.concepts)),
    ):
      outside = np.nonzero(((values < low) | (values >= limit)).reshape(count, -1).any(-1))[0]
      if outside.size:
        raise UserError(f"{self.path}: split {split!r}, example {names[outside[0]]!r}: {what} outside {low}.."
                        f"{limit - 1}. The files beside the dataset do not belong to it; prepare it again.")
    return Table(np.array(names), labels, concept_ids, features, records)


def _class_vectors(path: Path, num_classes: int) -> np.ndarray:
  try:
    vectors = np.load(path, allow_pickle=False)
  except (OSError, ValueError) as error:
    raise UserError(f"Cannot read {path}: {error}. Prepare the dataset again.") from error
  if vectors.ndim != 2 or len(vectors) != num_classes or vectors.dtype.kind != "f":
    raise UserError(f"{path} holds {vectors.dtype} {vectors.shape}; expected float ({num_classes}, V), a row a class.")
  return vectors.astype(np.float32)


def _fields(record: bytes) -> Any:
  """Field name -> value of a serialised tf.train.Example."""
  return tf_example_pb2.Example.FromString(record).features.feature


def _vector(field: Any, dtype: type[np.generic]) -> np.ndarray:
  """A vector that the builder stored as bytes (`datasets/builder.py`)."""
  return np.frombuffer(field.bytes_list.value[0], dtype)


def open_dataset(data_dir: str | Path, name: str) -> Dataset:
  """Opens the newest version of dataset `name` below `data_dir`.

  Raises:
    UserError: if the name is unknown, or nothing is prepared there (with the command that prepares it).
  """
  path = dataset_path(data_dir, name)
  if path is None:
    raise UserError(
        f"No dataset {name!r} in {data_dir}. Prepare it with\n"
        f"  python -m input_pipeline.prepare --dataset={name} --data_dir={data_dir}"
        + ("" if name == "toy_actions" else " --source=FOLDER_OF_THE_VIDEOS"))
  return Dataset(path, name)


def dataset_path(data_dir: str | Path, name: str) -> Path | None:
  """DATA_DIR/NAME/VERSION of the newest whole dataset, or None. Raises: UserError if the name is unknown."""
  datasets.check_name(name)
  folder = Path(data_dir) / name
  versions = [path.parent for path in folder.glob("*/dataset_info.json")
              if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)]
  return max(versions, key=lambda path: tuple(map(int, path.name.split("."))), default=None)
