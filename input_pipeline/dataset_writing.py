"""Finished shards -> the TFDS dataset, whole or not there at all, and the table of what is in it.

    path = dataset_writing.write(request, collection, work)      # DATA_DIR/NAME/VERSION; `work` is gone
"""

import collections
import contextlib
import importlib
import io
import shutil
from pathlib import Path

import tensorflow_datasets as tfds
from rich.console import Console
from rich.table import Table

from input_pipeline import datasets, files, locks, shards
from input_pipeline.collection import SPLITS, Collection
from input_pipeline.datasets.builder import Content, FeatureBuilder
from input_pipeline.errors import UserError
from input_pipeline.extract import NO_FILE
from input_pipeline.request import Request


def dataset_path(request: Request) -> Path:
  """Where the dataset that is asked for lies, or will lie."""
  return request.folder / str(_builder_class(request.dataset).VERSION)


def write(request: Request, collection: Collection, work: Path) -> Path:
  """Makes the dataset of finished shards, and removes what was only kept for that.

  Args:
    request: what was asked for.
    collection: its clips.
    work: the extraction, all of whose shards are finished.

  Returns:
    The folder of the dataset.

  Raises:
    UserError: a shard is not what it says, or not one video could be read.
    OSError: if writing fails; the extraction is kept.
  """
  whole = shards.merge(work, request.num_shards, collection)
  counts = _counts(collection, whole.skipped)
  _require_some(collection, whole.skipped, request.root)
  made_of = {"root": str(request.root), "extraction": work.name, **whole.source,
             "options": request.options(), **counts}
  _write(request, Content(collection, whole.features, whole.skipped, made_of), work)
  _remove_extractions(request, work.name)
  path = dataset_path(request)
  _print_counts(request.dataset, path, counts)
  return path


def remove_leftovers(request: Request) -> None:
  """Removes what a `write` that was killed, when the dataset was there already, has left; if that can be removed."""
  work_name = files.read_json(dataset_path(request) / "source.json").get("extraction")
  with contextlib.suppress(OSError):      # `data_dir` may be there to be read only
    if _needless(request, work_name):
      with locks.exclusive(request.folder):
        _remove_extractions(request, work_name)


def _needless(request: Request, work_name: str | None) -> list[Path]:
  """The extraction of this name and those of other weights or videos; but divided work is nobody's to delete."""
  return [work for work in request.extractions.glob("*/") if work.name == work_name
          or all(shard.name.endswith("-of-00001") for shard in work.glob("shard-*"))]


def _remove_extractions(request: Request, work_name: str | None) -> None:
  for work in _needless(request, work_name):
    shutil.rmtree(work)
  for folder in (request.extractions, request.extractions.parent):
    with contextlib.suppress(OSError):      # not empty
      folder.rmdir()


def _builder_class(dataset: str) -> type[FeatureBuilder]:
  return importlib.import_module(f"{datasets.load(dataset).__name__}.{dataset}_dataset_builder").Builder


def _write(request: Request, content: Content, work: Path) -> None:
  """Lets TFDS write the dataset under another name and rename it."""
  for leftover in request.folder.glob("incomplete.*"):    # of a killed run; ours is the only one at work
    shutil.rmtree(leftover)
  tfds.disable_progress_bar()
  builder = _builder_class(request.dataset)(content=content, data_dir=request.data_dir, file_format="array_record")
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
