"""A prepared dataset, opened: its examples by split, and the classes, concepts and splits beside them.

    dataset = open_dataset("data", "toy_actions")       # DATA_DIR/NAME/VERSION, written by `prepare`
    dataset.classes, dataset.concepts, dataset.splits
    table = dataset.table("train")                      # names, labels and concept ids of all its examples
    table.features(rows)                                # (len(rows), D); of several views, their mean
    table.features(rows, view=2)                        # (len(rows), D), of one of them
    dataset.in_division(3)                              # the same dataset, divided as the fourth random split divides it

Names, labels and concept ids of a split are read once and stay in memory, its features too where they are
smaller than `FEATURES_IN_MEMORY`; those of larger splits are read when they are wanted.
"""

import copy
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline import datasets, files
from input_pipeline.errors import UserError
from input_pipeline.metadata import class_splits as splits_lib
from input_pipeline.metadata import concepts as concepts_lib
from input_pipeline.metadata import descriptions, vectors

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

  def features(self, rows: Sequence[int] | np.ndarray, view: int | None = None) -> np.ndarray:
    """(len(rows), D) float32 features of these rows; of one view, or of all of them together."""
    rows = np.asarray(rows, np.int64)
    if self.in_memory is not None and view is None:
      return self.in_memory[rows]
    examples = [_fields(record) for record in self.records.__getitems__(rows.tolist())]
    features = np.stack([_vector(example["feature"], np.float32) for example in examples])
    if view is None:
      return features
    return np.stack([_vector(example["views"], np.float32).reshape(-1, features.shape[1])[view] for example in examples])


class Dataset:
  """A prepared dataset and what lies beside it.

  Attributes:
    path: DATA_DIR/NAME/VERSION.
    name: of the dataset.
    classes: in label order.
    concepts: in concept index order; [] if the dataset has no vocabulary.
    divisions: the class splits, those with the same seen classes together: one model serves each of these. Several
      where they are random ones, none where seen and unseen are not divided.
    splits: the first of the divisions, or that of `in_division`; None if there is none.
    split_seed: that random class splits were drawn from; None where they are given. With random ones a video is for
      training or for the test as its class is, whatever split it is stored in.
    feature_dim: D.
    num_views: V, how many views of a video have a feature of their own; 1 where only their mean is stored.
    class_vectors: (classes, V) float32, or None if the dataset has none.
    word_list: words whose positions are their ids, or None.
    classifier_rows: (R, D) float32 rows of a classifier of seen classes, or None.
    source: the content of source.json: "root", and the counts of the preparation.
    source_root: folder of the videos, or of the feature files.
  """

  def __init__(self, path: Path, name: str):
    self.path, self.name = path, name
    self._builder = tfds.builder_from_directory(str(path))
    self.classes = descriptions.read_classes(path / "classes.jsonl")
    self.concepts = self._beside("concepts.jsonl", concepts_lib.read_concepts) or []
    splits = self._beside("class_splits.json", splits_lib.read_splits, len(self.classes))
    self.split_seed = getattr(splits, "seed", None)
    self.divisions = splits_lib.divisions_of(splits)
    self.splits = self.divisions[0] if self.divisions else None
    features = self._builder.info.features
    self.feature_dim = int(features["feature"].shape[0])
    self.num_views = int(features["views"].shape[0]) if "views" in features else 1
    self.class_vectors = self._beside("class_vectors.npy", vectors.read_class_vectors, len(self.classes))
    self.word_list = self._beside("word_list.json", vectors.read_word_list)
    self.classifier_rows = self._beside("classifier_rows.npy", vectors.read_classifier_rows)
    self.source = files.read_json(path / "source.json")
    self.source_root = Path(self.source["root"])
    self._tables: dict[str, Table] = {}

  def _beside(self, name: str, read: Callable[..., Any], *args: Any) -> Any:
    """What `read` makes of a file beside the examples; None if there is no such file."""
    path = self.path / name
    return read(path, *args) if path.exists() else None

  def in_division(self, index: int) -> "Dataset":
    """The same dataset, its `splits` being `divisions[index]`."""
    other = copy.copy(self)
    other.splits = self.divisions[index]
    return other

  def with_classes(self, classes: Sequence[descriptions.ActionClass]) -> "Dataset":
    """The same dataset, its classes described otherwise."""
    other = copy.copy(self)
    other.classes = list(classes)
    return other

  @functools.cached_property
  def word_table(self) -> np.ndarray | None:
    """(words, E) float32, a row for each word of `word_list`; None if the dataset has none. Read on first use."""
    for suffix in vectors.TABLE_SUFFIXES:
      table = self._beside(f"word_table{suffix}", vectors.read_word_table)
      if table is not None:
        if self.word_list is not None and len(table) != len(self.word_list):
          raise UserError(f"{self.path / 'word_list.json'} has {len(self.word_list)} words, but "
                          f"{self.path / f'word_table{suffix}'} has {len(table)} rows; they must be a pair, a row a "
                          "word. Prepare the dataset again from files that belong together.")
        return table
    return None

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
    """Every example of `split`, read on first use; with random class splits, every example of all splits.

    Raises:
      UserError: if the split is absent, or an example does not fit the class list or the vocabulary.
    """
    if self.split_seed is not None:
      split = "all"
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
        ("concept id", concept_ids, concepts_lib.NO_CONCEPT, len(self.concepts) or np.iinfo(np.int32).max),
    ):
      outside = np.nonzero(((values < low) | (values >= limit)).reshape(count, -1).any(-1))[0]
      if outside.size:
        raise UserError(f"{self.path}: split {split!r}, example {names[outside[0]]!r}: {what} outside {low}.."
                        f"{limit - 1}. The files beside the dataset do not belong to it; prepare it again.")
    return Table(np.array(names), labels, concept_ids, features, records)


def _fields(record: bytes) -> Any:
  """Field name -> value of a serialised tf.train.Example."""
  return tf_example_pb2.Example.FromString(record).features.feature


def _vector(field: Any, dtype: type[np.generic]) -> np.ndarray:
  """A vector that the builder stored as bytes (`preparation/tfds_builder.py`)."""
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
        + ("" if name == "toy_actions" else " --source=FOLDER"))
  return Dataset(path, name)


def dataset_path(data_dir: str | Path, name: str) -> Path | None:
  """DATA_DIR/NAME/VERSION of the newest whole dataset, or None. Raises: UserError if the name is unknown."""
  datasets.check_name(name)
  folder = Path(data_dir) / name
  versions = [path.parent for path in folder.glob("*/dataset_info.json")
              if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)]
  return max(versions, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


class OptionalFile(NamedTuple):
  """An optional part of a dataset: what it is, its file in a prepared dataset, and in the published layout."""

  what: str
  file: str
  published: str


OPTIONAL_FILES = {
    "class_vectors": OptionalFile("a vector for each class", "class_vectors.npy", "zsl220/labels_glove42b.npy"),
    "word_list": OptionalFile("a word list", "word_list.json", "zsl220/label_word_list.json"),
    "word_table": OptionalFile("a vector for each word of the word list", "word_table.npy, .npz, .th or .pth",
                        "zsl220/word.glove42b.th"),
    "classifier_rows": OptionalFile("a classifier's rows of the seen classes", "classifier_rows.npy",
                             "zsl220/KG/pretsm.k400.fc.weight.npy"),
    "concepts": OptionalFile("the concepts that are seen in its videos", "concepts.jsonl",
                      "concepts.jsonl and features/bit-m-r50x1_top20_preds.json"),
}

WORD_VECTOR_FILES = ("class_vectors", "word_list", "word_table")


def require(dataset: Any, piece: str, who: str) -> Any:
  """The attribute `piece`, one of `OPTIONAL_FILES`, of a dataset that must have it.

  Args:
    dataset: a `Dataset`, or anything with `path` and the attribute.
    piece: name of the attribute.
    who: needs it, e.g. "method devise"; the message begins with it.

  Raises:
    UserError: saying what is missing, under which names it is looked for, and what to do.
  """
  value = getattr(dataset, piece)
  if value is None or not len(value):
    what, file, published = OPTIONAL_FILES[piece]
    maker = " (scripts/build_word_vectors.py makes it)" if piece in WORD_VECTOR_FILES else ""
    raise UserError(f"{who} needs {what} ({file}; in the published layout {published}), which {dataset.path} lacks. "
                    f"Add it to what the dataset is made from{maker} and prepare it again (with another --data_dir, or "
                    "after deleting that folder), or use a dataset that has it.")
  return value
