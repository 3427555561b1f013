"""Videos, or files of features -> a TFDS dataset of features and concepts.

    python -m input_pipeline.prepare --dataset=toy_actions --data_dir=data
    python -m input_pipeline.prepare --dataset=precomputed --data_dir=data --source=DIR

Each video is decoded once; both backbones see it. Features that are files already are read as they are. A run that is
stopped at any point, also by kill -9 or a full disk, goes on where it was when the same command is given again:
features wait in DATA_DIR/NAME/.extraction-.../ until the dataset, DATA_DIR/NAME/VERSION/, is there as a whole. A video
that cannot be read is left out and listed with its reason in skipped.jsonl beside the dataset.
"""

import collections
import contextlib
import fcntl
import functools
import hashlib
import importlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import tensorflow_datasets as tfds
from absl import flags, logging
from rich.console import Console
from rich.table import Table

from input_pipeline import datasets, errors, files
from input_pipeline.collection import SPLITS, Clip, Collection, check
from input_pipeline.concepts import read_concepts
from input_pipeline.datasets.builder import Content, FeatureBuilder
from input_pipeline.errors import UserError
from input_pipeline.extract import NO_FILE
from input_pipeline.feature_sources import FeatureSource, feature_source
from input_pipeline.feature_store import FeatureStore


def prepare(
    dataset: str,
    data_dir: str | Path,
    source: str | Path | None = None,
    tsm: str | Path | None = None,
    bit: str | Path | None = None,
    concepts: str | Path | None = None,
    batch_size: int = 8,
    num_workers: int = os.cpu_count() or 1,
) -> Path:
  """Makes a dataset, or finds that it is there already. Waits while another process prepares the same one.

  Args:
    dataset: its name.
    data_dir: where datasets lie.
    source: folder of the videos or of the feature files; default `data_dir`/sources/`dataset`.
    tsm, bit: weights; default those that come with the dataset, if any. Not for datasets of feature files.
    concepts: the names of BiT's outputs, a concepts.jsonl; default the one that comes with the dataset, if any.
    batch_size: videos a batch.
    num_workers: threads that decode; default one a core.

  Returns:
    The folder of the dataset.

  Raises:
    UserError: if something about the input is wrong, not one video could be read, or what is there already was made
      from another source or with other weights than are given.
    OSError: if writing fails, as on a full disk; what was extracted is kept.
  """
  if batch_size < 1 or num_workers < 1:
    raise UserError(f"batch_size and num_workers must be at least 1, got {batch_size} and {num_workers}.")
  vocabulary = read_concepts(concepts) if concepts else []
  if concepts and not vocabulary:
    raise UserError(f"--concepts={concepts} is empty; expected one {{\"wnid\", \"name\", \"definition\"}} a line.")
  package = datasets.load(dataset)
  builder_class = _builder_class(package, dataset)
  folder = Path(data_dir).absolute() / dataset
  path = folder / str(builder_class.VERSION)
  root = Path(source or Path(data_dir) / "sources" / dataset).absolute()
  load_features = functools.partial(feature_source, dataset, root, tsm, bit, batch_size, num_workers)
  with _lock(folder):
    if path.exists():
      made_of = files.read_json(path / "source.json")
      if source:
        _require_same(path, "its source", root.resolve(), Path(made_of["root"]).resolve())
      if tsm or bit:
        _require_same(path, "the fingerprint of its weights", load_features().fingerprint(), made_of.get("fingerprint"))
      there = path / "concepts.jsonl"
      if concepts and (not there.exists() or vocabulary != read_concepts(there)):
        _require_same(path, "its vocabulary", concepts, there if there.exists() else "none")
      print(f"{dataset} is already prepared in {path}.")
      return path
    features = load_features()
    collection = check(package.collection(root))
    if concepts:
      collection = collection._replace(concepts=vocabulary)
    work = folder / f".extraction-{_fingerprint(features, collection.clips)}"
    try:
      store = FeatureStore(work, collection.clips)
      skipped = features.fill(collection, store)
      counts = _counts(collection, skipped)
      _require_some(collection, skipped, root)
      feature_dim = len(next(store[index].feature for index in range(len(collection.clips)) if index in store))
      made_of = {"root": str(root), "fingerprint": features.fingerprint(), **counts}
      _write(builder_class, Content(collection, store, feature_dim, skipped, made_of), folder, work)
    except KeyboardInterrupt:
      print(f"\nInterrupted. Give the same command again to go on; what is done is kept in {work}.",
            file=sys.stderr)
      raise
    for leftover in folder.glob(".extraction-*"):
      shutil.rmtree(leftover)
  _print_counts(dataset, path, counts)
  return path


def _builder_class(package: ModuleType, dataset: str) -> type[FeatureBuilder]:
  return importlib.import_module(f"{package.__name__}.{dataset}_dataset_builder").Builder


def _require_same(path: Path, what: str, asked_for: object, there: object) -> None:
  """Raises: UserError if the dataset at `path` was not made from what is asked for."""
  if asked_for != there:
    raise UserError(
        f"{path} is prepared already, but from something else: {what} is {there}, asked for is {asked_for}. "
        "Give another --data_dir, or delete that folder and give this command again.")


def _fingerprint(features: FeatureSource, clips: Sequence[Clip]) -> str:
  """Names the work folder: other weights or another list of clips start afresh."""
  digest = hashlib.sha256(features.fingerprint().encode())
  for clip in clips:
    digest.update(f"{clip.name}\0{clip.path}\0{clip.num_frames}\0".encode())
  return digest.hexdigest()[:16]


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
  """Lets one process at a time prepare the dataset in `folder`; others wait. A killed process lets go."""
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / ".lock", "w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print(f"Another process is preparing {folder}; waiting for it.", file=sys.stderr, flush=True)
      fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _write(builder_class: type[FeatureBuilder], content: Content, folder: Path, work: Path) -> None:
  """Lets TFDS write the dataset under another name and rename it."""
  for leftover in folder.glob("incomplete.*"):    # of a killed run; ours is the only one at work
    shutil.rmtree(leftover)
  tfds.disable_progress_bar()
  builder = builder_class(content=content, data_dir=folder.parent, file_format="array_record")
  with contextlib.redirect_stdout(io.StringIO()):   # it would speak of downloading
    builder.download_and_prepare(download_dir=work / "downloads")


def _counts(collection: Collection, skipped: dict[int, str]) -> dict:
  """How many videos were expected, found and written, in all and by split."""
  clips = collection.clips
  expected = collections.Counter(clip.split for clip in clips)
  missing = collections.Counter(clips[index].split for index, reason in skipped.items() if reason == NO_FILE)
  unwritten = collections.Counter(clips[index].split for index in skipped)
  by_split = {
      split: {"expected": expected[split], "found": expected[split] - missing[split],
              "written": expected[split] - unwritten[split]}
      for split in SPLITS if expected[split]
  }
  total = {field: sum(row[field] for row in by_split.values()) for field in ("expected", "found", "written")}
  return {**total, "skipped": len(skipped), "splits": by_split}


def _require_some(collection: Collection, skipped: dict[int, str], source: Path) -> None:
  if len(skipped) < len(collection.clips):
    return
  first = [f"  {collection.clips[index].path}: {reason}" for index, reason in list(skipped.items())[:3]]
  raise UserError("\n".join(
      [f"Not one of {len(collection.clips)} videos could be read below {source}; the first are", *first]))


def _print_counts(dataset: str, path: Path, counts: dict) -> None:
  table = Table(title=f"{dataset}: {path}", title_justify="left")
  for heading in ("split", "expected", "found", "written"):
    table.add_column(heading, justify="left" if heading == "split" else "right")
  for split, row in [*counts["splits"].items(), ("all splits", counts)]:
    table.add_row(split, *(str(row[field]) for field in ("expected", "found", "written")))
  console = Console()
  console.print(table)
  if counts["skipped"]:
    console.print(f"{counts['skipped']} videos were skipped; {path / 'skipped.jsonl'} says why.")


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands import this module."""
  flags.DEFINE_string("dataset", None, f"Which dataset to prepare: {', '.join(sorted(datasets.DATASETS))}.")
  flags.DEFINE_string("data_dir", "data", "Where datasets lie; this one gets DATA_DIR/NAME/VERSION.")
  flags.DEFINE_string("source", None, "Folder of the videos, or of the published feature layout (precomputed). "
                      "Default: DATA_DIR/sources/NAME.")
  flags.DEFINE_string("tsm", None, "TSM weights, a published file or a converted checkpoint.")
  flags.DEFINE_string("bit", None, "BiT weights, a published file or a converted checkpoint.")
  flags.DEFINE_string("concepts", None, "Names and definitions of BiT's outputs: a concepts.jsonl. Default: the dataset's.")
  flags.DEFINE_integer("batch_size", 8, "Videos a batch, over all local devices.")
  flags.DEFINE_integer("num_workers", os.cpu_count() or 1, "Threads that decode videos.")


def main(argv: list[str]) -> None:
  """Prepares what the flags say."""
  del argv
  options = {name: getattr(flags.FLAGS, name)
             for name in ("dataset", "data_dir", "source", "tsm", "bit", "concepts", "batch_size", "num_workers")}
  if options["dataset"] is None:
    raise UserError(f"Which dataset? Give --dataset=NAME with one of {', '.join(sorted(datasets.DATASETS))}.")

  def stop(*_) -> None:
    raise KeyboardInterrupt

  logging.set_verbosity(logging.WARNING)
  signal.signal(signal.SIGTERM, stop)
  try:
    prepare(**options)
  except KeyboardInterrupt:
    sys.exit(130)
  except OSError as error:
    print(f"error: cannot write the dataset: {error}. Put that right (is there room on the disk?), "
          "then give the same command again to go on.", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  define_flags()
  errors.run(main)
