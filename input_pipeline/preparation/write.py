"""Finished shards -> the TFDS dataset, whole or not there at all, and the table of what is in it.

    path = write.write(options, raw_dataset, work)      # DATA_DIR/NAME/VERSION; `work` is gone
"""

import collections
import contextlib
import io
import shutil
from pathlib import Path

import tensorflow_datasets as tfds
from rich.console import Console
from rich.table import Table

from input_pipeline import files, locks, paths
from input_pipeline.errors import Failure, UserError
from input_pipeline.features.variety import require_varied
from input_pipeline.preparation import made_of, shards
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.preparation.tfds_builder import Content, builder_class
from input_pipeline.raw_dataset import SPLITS, RawDataset


def dataset_path(options: PrepareOptions) -> Path:
  """Where the dataset that is asked for lies, or will lie."""
  return options.folder / options.spec.version


def write(options: PrepareOptions, raw_dataset: RawDataset, work: Path) -> Path:
  """Makes the dataset of finished shards, reads it back, and removes what was only kept for that.

  Args:
    options: what was asked for.
    raw_dataset: its videos.
    work: the extraction, all of whose shards are finished.

  Returns:
    The folder of the dataset.

  Raises:
    UserError: a shard is not what it says, not one video could be read, or all have the same features.
    Failure: what was written cannot be read; the extraction is kept.
    OSError: if writing fails; the extraction is kept.
  """
  whole = shards.merge(work, options.num_shards, raw_dataset)
  counts = _counts(raw_dataset, whole)
  _require_some(raw_dataset, whole.skipped, options.root)
  require_varied(raw_dataset.entries, whole.features, of_videos="views" in whole.source)
  source = {"root": str(options.root), "extraction": work.name, **whole.source,
            "options": options.chosen(), "concepts": options.concepts and str(options.concepts), **counts}
  _write(options, Content(raw_dataset, whole.features, whole.skipped, source), work)
  path = dataset_path(options)
  try:
    made_of.require_whole(path, options.dataset)
  except UserError as error:
    raise Failure(f"{error}\nIt has just been written; is the disk sound? What was extracted is kept in {work}.") from error
  _remove_extractions(options, work.name)
  _print_counts(options.dataset, path, counts)
  return path


def remove_leftovers(options: PrepareOptions) -> None:
  """Removes what a `write` that was killed, when the dataset was there already, has left; if that can be removed."""
  work_name = files.read_json(dataset_path(options) / "source.json").get("extraction")
  with contextlib.suppress(OSError):      # `data_dir` may be there to be read only
    if _needless(options, work_name):
      with locks.exclusive(options.folder):
        _remove_extractions(options, work_name)


def _needless(options: PrepareOptions, work_name: str | None) -> list[Path]:
  """The extraction of this name and those of other weights or videos; but divided work is nobody's to delete."""
  return [work for work in options.extractions.glob("*/") if work.name == work_name
          or all(shard.name.endswith("-of-00001") for shard in work.glob("shard-*"))]


def _remove_extractions(options: PrepareOptions, work_name: str | None) -> None:
  for work in _needless(options, work_name):
    shutil.rmtree(work)
  for folder in (options.extractions, options.extractions.parent):
    with contextlib.suppress(OSError):      # not empty
      folder.rmdir()


def _write(options: PrepareOptions, content: Content, work: Path) -> None:
  """Lets TFDS write the dataset under another name and rename it."""
  for leftover in options.folder.glob("incomplete.*"):    # of a killed run; ours is the only one at work
    shutil.rmtree(leftover)
  tfds.disable_progress_bar()
  with paths.Alias(options.data_dir) as data_dir:
    builder = builder_class(options.dataset)(content=content, data_dir=data_dir, file_format="array_record")
    with contextlib.redirect_stdout(io.StringIO()):   # it would speak of downloading
      builder.download_and_prepare(download_dir=data_dir / work.relative_to(options.data_dir) / "downloads")


def _counts(raw_dataset: RawDataset, whole: shards.Extraction) -> dict:
  """How many videos were expected, found and written, in all and by split."""
  entries = raw_dataset.entries
  expected = collections.Counter(entry.split for entry in entries)
  missing = collections.Counter(entries[index].split for index in whole.missing)
  unwritten = collections.Counter(entries[index].split for index in whole.skipped)
  by_split = {
      split: {"expected": expected[split], "found": expected[split] - missing[split],
              "written": expected[split] - unwritten[split]}
      for split in SPLITS if expected[split]
  }
  total = {field: sum(row[field] for row in by_split.values()) for field in ("expected", "found", "written")}
  return {**total, "skipped": len(whole.skipped), "splits": by_split}


def _require_some(raw_dataset: RawDataset, skipped: dict[int, str], source: Path) -> None:
  if len(skipped) < len(raw_dataset.entries):
    return
  first = [f"  {raw_dataset.entries[index].path}: {reason}" for index, reason in list(skipped.items())[:3]]
  raise UserError("\n".join(
      [f"Not one of {len(raw_dataset.entries)} videos could be read below {source}; the first are", *first]))


def _print_counts(dataset: str, path: Path, counts: dict) -> None:
  print(f"{dataset}: {path}")
  table = Table()
  for heading in ("split", "expected", "found", "written"):
    table.add_column(heading, justify="left" if heading == "split" else "right")
  for split, row in [*counts["splits"].items(), ("all splits", counts)]:
    table.add_row(split, *(str(row[field]) for field in ("expected", "found", "written")))
  Console().print(table)
  if counts["skipped"]:
    print(f"{counts['skipped']} videos were skipped; {path / 'skipped.jsonl'} says why.")
