"""A dataset as models see it: its examples by split, and the classes, concepts and class splits beside them.

    dataset = open_dataset("data", "toy_actions")       # DATA_DIR/NAME/VERSION, written by `prepare`
    dataset.classes, dataset.concepts, dataset.class_splits
    table = dataset.table("train")                      # names, labels and concept ids of all its examples
    table.features(rows)                                # (len(rows), D); of several views, their mean
    table.features(rows, view=2)                        # (len(rows), D), of one of them
    dataclasses.replace(dataset, class_splits=dataset.class_splits[:1])

    Dataset(name="mine", path=Path("mine"), classes=[ActionClass("run", "to move fast")], feature_dim=D,     # in memory
            tables={"test": Table(names, labels, concept_ids, features)})

On disk, names, labels and concept ids of a split are read once and stay in memory, its features too where they are
smaller than `FEATURES_IN_MEMORY`; those of larger splits are read when they are wanted.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from input_pipeline import files, nameless_owners, paths
from input_pipeline.datasets import DATASETS
from input_pipeline.errors import UserError
from input_pipeline.metadata import class_splits as splits_lib
from input_pipeline.metadata import concepts as concepts_lib
from input_pipeline.metadata import descriptions, vectors
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import PARTS, divides_videos
from input_pipeline.videos.find_files import find_video

nameless_owners.allow()

FEATURES_IN_MEMORY = 2 << 30     # bytes of a split's features; larger ones stay on disk
READ_CHUNK = 512                 # records read at a time
SHOWN = 5                        # missing files that an error lists
ALWAYS_BESIDE = ("dataset_info.json", "features.json", "classes.jsonl", "skipped.jsonl", "source.json")


class Table(NamedTuple):
  """All examples of one split, in stored order.

  Attributes:
    names: (N,) str.
    labels: (N,) int32, positions in the class list.
    concept_ids: (N, 20) int32, -1 where absent.
    in_memory: (N, D) float32 features, or None where they stay on disk.
    records: the examples on disk; None where there is nothing but `in_memory`.
  """

  names: np.ndarray
  labels: np.ndarray
  concept_ids: np.ndarray
  in_memory: np.ndarray | None
  records: "_Records | None" = None

  def features(self, rows: Sequence[int] | np.ndarray, view: int | None = None) -> np.ndarray:
    """(len(rows), D) float32 features of these rows; of one view, or of all of them together."""
    rows = np.asarray(rows, np.int64)
    if self.in_memory is not None and view is None:
      return self.in_memory[rows]
    assert self.records is not None      # where there is more than one view, or too much for memory
    examples = self.records.read(rows.tolist())
    features = np.stack([_vector(example["feature"], np.float32) for example in examples])
    if view is not None:
      of_views = [_vector(example["views"], np.float32) for example in examples]
      features = np.stack([views.reshape(-1, features.shape[1])[view] for views in of_views])
    _require_finite("The prepared dataset", self.names[rows], features)
    return features


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
  """A prepared dataset and what lies beside it, or one that is made in memory.

  Attributes:
    name: of the dataset.
    path: DATA_DIR/NAME/VERSION; of one in memory, what messages call it.
    classes: in label order.
    feature_dim: D.
    tables: the examples by the split that they are stored in, "train", "val" or "test"; "all" are all together.
    class_splits: which classes are seen, and which validate and test; none where they are not divided.
    divides_videos: whether the videos of a class are divided among train, val and test as they are stored. If not, a
      video serves wherever its class does, and the table "all" is the only one in use.
    concepts: in concept index order; none if the dataset has no vocabulary.
    num_views: V, how many views of a video have a feature of their own; 1 where only their mean is stored.
    class_vectors: (classes, V) float32, or None if the dataset has none.
    word_list: words whose positions are their ids, or None.
    classifier_rows: (R, D) float32 rows of a classifier of seen classes, or None.
    read_word_table: gives `word_table`.
    source: the content of source.json: "root", and the counts of the preparation.
  """

  name: str
  path: Path
  classes: Sequence[ActionClass]
  feature_dim: int
  tables: Mapping[str, Table]
  class_splits: tuple[ClassSplit, ...] = ()
  divides_videos: bool = True
  concepts: Sequence[Concept] = ()
  num_views: int = 1
  class_vectors: np.ndarray | None = None
  word_list: Sequence[str] | None = None
  classifier_rows: np.ndarray | None = None
  read_word_table: Callable[[], np.ndarray | None] = lambda: None
  source: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def word_table(self) -> np.ndarray | None:
    """(words, E) float32, a row for each word of `word_list`; None if the dataset has none. Read on first use."""
    return self.read_word_table()

  @property
  def source_root(self) -> Path:
    """Folder of the videos, or of the feature files."""
    return Path(self.source.get("root", self.path))

  def table(self, part: str) -> Table:
    """The examples that serve as "train", "val" or "test"; "all" for those of all splits.

    Raises:
      UserError: if there are none, or an example does not fit the class list or the vocabulary.
    """
    part = part if self.divides_videos else "all"
    if part not in self.tables:
      raise UserError(f"{self.path} has no split {part!r}; it has {', '.join(self.tables)}.")
    return self.tables[part]

  def num_examples(self, split: str) -> int:
    """Examples that are stored in `split`, over all classes; 0 if there is no such split."""
    return len(self.tables[split].labels) if split in self.tables else 0

  def video_path(self, name: str) -> Path | None:
    """The video file of example `name`, if it still lies below `source_root`."""
    stem = self.source_root / name
    return find_video(stem.parent, stem.name)


def open_dataset(data_dir: str | Path, name: str) -> Dataset:
  """Opens the newest version of dataset `name` below `data_dir`.

  Raises:
    UserError: if the name is unknown, nothing is prepared there (with the command that prepares it), or a file beside
      the examples cannot be used.
  """
  data_dir = paths.absolute(data_dir, "data_dir")
  path = dataset_path(data_dir, name)
  if path is None:
    raise UserError(
        f"No dataset {name!r} in {data_dir}. Prepare it with\n"
        f"  python -m input_pipeline.prepare --dataset={name} {paths.flag('data_dir', data_dir)}"
        + (" --source=FOLDER" if DATASETS.load(name).needs_source else ""))
  return open_version(path, name)


def open_version(path: Path, name: str) -> Dataset:
  """Opens the version of dataset `name` that lies at `path`.

  Raises:
    UserError: a file is missing, or one beside the examples cannot be used.
  """
  def beside(file: str, read: Callable[..., Any], *args: Any) -> Any:
    return read(path / file, *args) if (path / file).exists() else None

  require_files(path, ALWAYS_BESIDE)
  classes = descriptions.read_classes(path / "classes.jsonl")
  concepts = beside("concepts.jsonl", concepts_lib.read_concepts) or []
  class_splits = beside("class_splits.json", splits_lib.read_splits, len(classes)) or ()
  word_list = beside("word_list.json", vectors.read_word_list)
  alias = paths.Alias(path)
  with _readable(path, "dataset_info.json, features.json"):
    builder = tfds.builder_from_directory(str(alias.path))
    features: Any = builder.info.features
    examples = [file for split in builder.info.splits.values() for file in split.filenames]
  require_files(path, examples)
  return Dataset(
      name=name,
      path=path,
      classes=classes,
      feature_dim=int(features["feature"].shape[0]),
      tables=_StoredTables(path, alias, builder, len(classes), len(concepts)),
      class_splits=class_splits,
      divides_videos=divides_videos(builder.info.splits, class_splits),
      concepts=concepts,
      num_views=int(features["views"].shape[0]) if "views" in features else 1,
      class_vectors=beside("class_vectors.npy", vectors.read_class_vectors, len(classes)),
      word_list=word_list,
      classifier_rows=beside("classifier_rows.npy", vectors.read_classifier_rows),
      read_word_table=functools.cache(functools.partial(_read_word_table, path, word_list)),
      source=files.read_json(path / "source.json"),
  )


def require_examples(dataset: Dataset) -> None:
  """Reads the last example of each file of a dataset on disk, and compares the numbers with those that were written.

  Raises:
    UserError: an example cannot be read, or there are more or fewer in a split than source.json says.
  """
  assert isinstance(dataset.tables, _StoredTables)
  stored = dataset.tables.read_last()
  with _readable(dataset.path, "source.json"):
    splits = dataset.source.get("splits", {})      # which not every version has told
    written = {split: int(row["written"]) for split, row in splits.items() if row["written"]}
  if splits and (differ := {split for split, count in stored.items() ^ written.items()}):
    raise UserError(f"{dataset.path} holds other numbers of examples than were written: " + "; ".join(
        f"of split {split!r} {stored.get(split, 0)}, expected {written.get(split, 0)}" for split in sorted(differ))
        + ". Delete that folder and prepare the dataset again.")


def require_files(path: Path, names: Sequence[str]) -> None:
  """Raises: UserError naming those of these files that the dataset at `path` lacks."""
  if missing := [name for name in names if not os.path.exists(path / name)]:
    raise UserError(f"{path} lacks {', '.join(missing[:SHOWN])}{', ...' * (len(missing) > SHOWN)}: it was deleted or copied "
                    "in part only. Delete that folder and prepare the dataset again, or copy it again.")


class _Records:
  """Random access to the examples of a split on disk. What is wrong with them is a UserError."""

  def __init__(self, builder: tfds.core.DatasetBuilder, part: str, path: Path):
    self._path, self._part = path, part
    with self.readable():
      self._source: Any = builder.as_data_source(
          part, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)     # pyright: ignore[reportCallIssue]

  def __len__(self) -> int:
    with self.readable():
      return len(self._source)

  def read(self, rows: Sequence[int]) -> list[Any]:
    """{field: value} of each of these rows."""
    with self.readable():
      parse = tf_example_pb2.Example.FromString     # pyright: ignore[reportAttributeAccessIssue]
      return [parse(record).features.feature for record in self._source.__getitems__(list(rows))]

  def readable(self) -> contextlib.AbstractContextManager[None]:
    """For a block that reads them."""
    return _readable(self._path, f"the examples of split {self._part!r}")


@contextlib.contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
  """What TFDS, array_record and protobuf raise for a file that is cut off, changed or gone, all sorts, is a UserError."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    reason = f"{type(error).__name__}: {str(error).strip() or 'no more is known'}"[:300]
    raise UserError(f"{path}: {what} cannot be read ({reason}). Delete that folder and prepare the dataset again.") from error


class _StoredTables(Mapping[str, Table]):
  """The splits of a dataset on disk, and "all" of them together; each is read on first use."""

  def __init__(self, path: Path, alias: paths.Alias, builder: tfds.core.DatasetBuilder, num_classes: int,
               num_concepts: int):
    self._path, self._alias, self._builder = path, alias, builder      # which reads from the alias
    self._limits = num_classes, num_concepts or np.iinfo(np.int32).max
    self._parts = tuple(part for part in PARTS if part in builder.info.splits)
    self._tables: dict[str, Table] = {}

  def __iter__(self) -> Iterator[str]:
    return iter((*self._parts, "all"))

  def __len__(self) -> int:
    return len(self._parts) + 1

  def __contains__(self, part: object) -> bool:
    return part in tuple(self)

  def __getitem__(self, part: str) -> Table:
    if part not in self:
      raise KeyError(part)
    if part not in self._tables:
      self._tables[part] = self._read(part)
    return self._tables[part]

  def read_last(self) -> dict[str, int]:
    """Reads the last example of each file. Returns: how many examples each split has, undivided ones as "all"."""
    splits: Any = self._builder.info.splits
    for name, split in splits.items():
      self._records(name).read([end - 1 for end in itertools.accumulate(split.shard_lengths)])
    return {name if name in PARTS else "all": split.num_examples for name, split in splits.items()}

  def _read(self, part: str) -> Table:
    records = self._records(part)
    info: Any = self._builder.info
    count, feature_dim = len(records), info.features["feature"].shape[0]
    names, labels = [], np.empty(count, np.int32)
    concept_ids = np.empty((count, concepts_lib.TOP_CONCEPTS), np.int32)
    in_memory = count * feature_dim * 4 <= FEATURES_IN_MEMORY
    features = np.empty((count, feature_dim), np.float32) if in_memory else None
    for start in range(0, count, READ_CHUNK):
      chunk = records.read(range(start, min(start + READ_CHUNK, count)))
      with records.readable():
        for row, fields in enumerate(chunk, start=start):
          names.append(fields["name"].bytes_list.value[0].decode())
          labels[row] = fields["label"].int64_list.value[0]
          concept_ids[row] = _vector(fields["concept_ids"], np.int32)
          if features is not None:
            features[row] = _vector(fields["feature"], np.float32)
    for what, values, low, limit in zip(
        ("label", "concept id"), (labels, concept_ids), (0, concepts_lib.NO_CONCEPT), self._limits):
      outside = np.nonzero(((values < low) | (values >= limit)).reshape(count, -1).any(-1))[0]
      if outside.size:
        raise UserError(f"{self._path}: split {part!r}, example {names[outside[0]]!r}: {what} outside {low}.."
                        f"{limit - 1}. The files beside the dataset do not belong to it; prepare it again.")
    if features is not None:
      _require_finite(f"{self._path}: split {part!r}", names, features)
      self._require_varied(part, features)
    return Table(np.array(names), labels, concept_ids, features, records)

  def _records(self, part: str) -> "_Records":
    return _Records(self._builder, part, self._path)

  def _require_varied(self, part: str, features: np.ndarray) -> None:
    """Raises: UserError if all examples of this split have the same feature, and the first of the others has it too."""
    if len(features) < 2 or any((feature != features[0]).any() for feature in features[1:]):
      return
    others = [self._records(other).read([0])[0] for other in self._parts if part not in (other, "all")]
    if all((_vector(fields["feature"], np.float32) == features[0]).all() for fields in others):
      raise UserError(f"{self._path}: all examples of split {part!r} have the same feature, so nothing tells them apart: it "
                      "was made with the weights of no trained network, or damaged ones. Delete it, and prepare it again "
                      "with others.")


def _read_word_table(path: Path, word_list: Sequence[str] | None) -> np.ndarray | None:
  """The word table beside the examples. Raises: UserError if it does not belong to the word list."""
  found = next((file for suffix in vectors.TABLE_SUFFIXES if (file := path / f"word_table{suffix}").exists()), None)
  table = found and vectors.read_word_table(found)
  if table is not None and word_list is not None:
    vectors.require_rows(f"{found}", table, len(word_list), "word", f"{path / 'word_list.json'} has so many words; they "
                         "must be a pair. Prepare the dataset again from files that belong together.")
  return table


def _require_finite(what: str, names: Sequence[str] | np.ndarray, features: np.ndarray) -> None:
  """Raises: UserError naming the first example whose (N, D) feature is not finite."""
  bad = np.nonzero(~np.isfinite(features).all(axis=1))[0]
  if bad.size:
    raise UserError(f"{what} holds features that are not finite, of {bad.size} examples such as {str(names[bad[0]])!r}: it "
                    "was made with damaged weights or features. Delete it, and prepare it again from good ones.")


def _vector(field: Any, dtype: type[np.generic]) -> np.ndarray:
  """A vector that the builder stored as bytes (`preparation/tfds_builder.py`)."""
  return np.frombuffer(field.bytes_list.value[0], dtype)


def dataset_path(data_dir: str | Path, name: str) -> Path | None:
  """DATA_DIR/NAME/VERSION, the newest that is there, whole or not; or None. Raises: UserError if the name is unknown."""
  DATASETS.check(name)
  folder = paths.absolute(data_dir, "data_dir") / name
  versions = [path for path in folder.glob("*/") if re.fullmatch(r"\d+\.\d+\.\d+", path.name)]
  return max(versions, key=lambda path: tuple(map(int, path.name.split("."))), default=None)


class OptionalFile(NamedTuple):
  """An optional part of a dataset: what it is, its file in a prepared dataset, and in the published layout."""

  what: str
  file: str
  published: str


OPTIONAL_FILES = {
    "class_vectors": OptionalFile("a vector for each class", "class_vectors.npy", "zsl220/labels_glove42b.npy"),
    "word_list": OptionalFile("a word list", "word_list.json", "zsl220/label_word_list.json"),
    "word_table": OptionalFile("a vector for each word of the word list", "word_table.npy, .npz, .safetensors, .th, .pth or .pt",
                               "zsl220/word.glove42b.th"),
    "classifier_rows": OptionalFile("a classifier's rows of the seen classes", "classifier_rows.npy",
                                    "zsl220/KG/pretsm.k400.fc.weight.npy"),
    "concepts": OptionalFile("the concepts that are seen in its videos", "concepts.jsonl",
                             "concepts.jsonl and features/bit-m-r50x1_top20_preds.json"),
}

WORD_VECTOR_FILES = ("class_vectors", "word_list", "word_table")


def require(dataset: Dataset, name: str, who: str) -> Any:
  """The attribute `name`, one of `OPTIONAL_FILES`, of a dataset that must have it.

  Args:
    dataset: what must have it.
    name: of the attribute.
    who: needs it, e.g. "method devise"; the message begins with it.

  Raises:
    UserError: saying what is missing, under which names it is looked for, and what to do.
  """
  value = getattr(dataset, name)
  if value is None or not len(value):
    what, file, published = OPTIONAL_FILES[name]
    maker = " (scripts/build_word_vectors.py makes it)" if name in WORD_VECTOR_FILES else ""
    raise UserError(f"{who} needs {what} ({file}; in the published layout {published}), which {dataset.path} lacks. "
                    f"Add it to what the dataset is made from{maker} and prepare it again (with another --data_dir, or "
                    "after deleting that folder), or use a dataset that has it.")
  return value
