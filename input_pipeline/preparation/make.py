"""Videos, or files of features, made a TFDS dataset of features and concepts: in one process, a shard of many, or by Beam.

    path = prepare("ucf101_zsar", "data", source="/data/UCF-101", tsm=..., bit=..., concepts=...)
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from input_pipeline import files, locks
from input_pipeline.backbones import BACKBONES
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import read_concepts
from input_pipeline.preparation import beam, shards, write
from input_pipeline.preparation.feature_sources import describe, feature_source, require_consistent
from input_pipeline.preparation.find_shards import SHOWN, work_to_merge
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.preparation.shards import Shard
from input_pipeline.raw_dataset import RawDataset
from input_pipeline.videos.find_files import describe as describe_counts
from input_pipeline.videos.sampling import ViewSampling

SHARD_OPTIONS = ("weights", "batch_size", "num_workers")


def prepare(
    dataset: str,
    data_dir: str | Path,
    source: str | Path | None = None,
    *,
    shard_index: int | None = None,
    merge: bool = False,
    beam_runner: str | None = None,
    beam_options: str = "",
    **fields: Any,
) -> Path:
  """Makes a dataset, or finds that it is there already. Waits while another process prepares the same one.

  Args:
    dataset, data_dir, source, fields: the fields of `PrepareOptions`; those of its `weights` by backbone, `tsm=...`.
    shard_index: extracts this shard of `num_shards`, and makes no dataset.
    merge: extracts nothing; makes the dataset of `num_shards` finished shards.
    beam_runner: extracts all shards by Apache Beam, then makes the dataset.
    beam_options: options of Beam's, as on a command line.

  Returns:
    The folder of the dataset, or of the shard.

  Raises:
    UserError: if something about the input is wrong, not one video could be read, what is there already was made
      from another source or with other weights than are given, or shards are not finished.
    OSError: if writing fails, as on a full disk; what was extracted is kept.
  """
  weights = {name: fields.pop(name) for name in BACKBONES.names() if name in fields}
  options = PrepareOptions(dataset, data_dir, source, weights=weights, **fields)     # pyright: ignore[reportArgumentType]
  _require_one_way(options, shard_index, merge, beam_runner, beam_options)
  require_consistent(options)
  path = write.dataset_path(options)
  if _is_prepared(options, path):      # asked without the lock, which needs a folder that can be written to
    write.remove_leftovers(options)
    return path
  if shard_index is not None:
    return _fill_shard(options, Shard(shard_index, options.num_shards))
  with locks.exclusive(options.folder):
    if _is_prepared(options, path):      # by the process that had the lock
      return path
    if merge:
      raw_dataset = _raw_dataset(options)
      work = work_to_merge(options, raw_dataset)
    elif beam_runner:
      raw_dataset = _raw_dataset(options)
      with _says_how_to_go_on(options.extractions):
        beam.extract_all(options, beam_runner, beam_options, shards.entries_digest(raw_dataset))
      work = work_to_merge(options, raw_dataset)
    else:
      work, raw_dataset = _fill(options, Shard(0, 1))
    with _says_how_to_go_on(work):
      return write.write(options, raw_dataset, work)


def _require_one_way(
    options: PrepareOptions, shard_index: int | None, merge: bool, beam_runner: str | None, beam_options: str) -> None:
  """Raises: UserError if it is not clear which part of the work is asked for."""
  ways = [name for name, given in (("--shard_index", shard_index is not None), ("--merge", merge),
                                   ("--beam_runner", beam_runner)) if given]
  count = options.num_shards
  if len(ways) > 1:
    raise UserError(f"{' and '.join(ways)} were given; choose one of them.")
  if not ways and count > 1:
    raise UserError(f"--num_shards={count} says into how many parts to divide the videos, but not what to do: give "
                    f"--shard_index=I too, I being 0 to {count - 1}, for each of them, and then --merge; or "
                    "--beam_runner=NAME. (How many random class splits to draw is --num_splits.)")
  if shard_index is not None and not 0 <= shard_index < count:
    raise UserError(f"--shard_index={shard_index}, but with --num_shards={count} there are shards 0 to {count - 1}.")
  if beam_options and not beam_runner:
    raise UserError(f"--beam_options={beam_options} needs --beam_runner=NAME.")


def _is_prepared(options: PrepareOptions, path: Path) -> bool:
  """Whether the dataset is at `path`. Raises: UserError if it was made from something else than is asked for."""
  if not path.exists():
    return False
  made_of = _read_source(path)
  if options.source or options.from_features_alone:
    _require_same(path, "its source", options.root.resolve(), Path(made_of["root"]).resolve())
  asked_for = options.given() | (vars(options.views) if options.weights else {})     # both are in the fingerprint
  chosen = {**vars(ViewSampling()), **made_of.get("views", {}), **made_of.get("options", {})}
  for name, value in asked_for.items():
    if name in chosen or name != "metadata":      # which datasets made by earlier versions do not tell
      _require_same(path, f"its --{name}", value, chosen.get(name))
  if options.weights:
    _require_same(path, "the fingerprint of its weights", feature_source(options).fingerprint(),
                  made_of.get("fingerprint"))
  there = path / "concepts.jsonl"
  if options.concepts and (not there.exists() or options.vocabulary != read_concepts(there)):
    _require_same(path, "its vocabulary", options.concepts, there if there.exists() else "none")
  print(f"{options.dataset} is already prepared in {path}.")
  return True


def _read_source(path: Path) -> dict[str, Any]:
  """What the dataset at `path` was made from. Raises: UserError if its source.json does not say."""
  made_of = files.read_json(path / "source.json")
  if not isinstance(made_of, dict) or not isinstance(made_of.get("root"), str) or not all(
      isinstance(made_of.get(field, {}), dict) for field in ("views", "options")):
    raise UserError(f"{path / 'source.json'} does not say what the dataset was made from: expected an object with "
                    f"\"root\", \"views\" and \"options\", got {str(made_of)[:80]}. Delete {path} and give this "
                    "command again.")
  return made_of


def _fill_shard(options: PrepareOptions, shard: Shard) -> Path:
  """Extracts one of several shards and says what is left to do."""
  work, _ = _fill(options, shard)
  missing = shards.missing(work, shard.count)
  print(f"Shard {shard.index} of {shard.count} (0 to {shard.count - 1}) is done: {shard.folder(work)}.")
  if missing:
    print(f"Not finished here: {', '.join(map(str, missing[:SHOWN]))}{', ...' if len(missing) > SHOWN else ''}.")
  print("When they are, make the dataset:" if missing else "All are done; make the dataset:")
  print(f"  {options.command(without=SHARD_OPTIONS, merge=True)}")
  return shard.folder(work)


def _fill(options: PrepareOptions, shard: Shard) -> tuple[Path, RawDataset]:
  """Extracts a shard. Returns: the work folder, and all that there is to extract."""
  features = feature_source(options)
  raw_dataset = _raw_dataset(options)
  source = describe(options, features)
  work = shards.work_folder(options.extractions, raw_dataset, source)
  with _says_how_to_go_on(work):
    shards.fill(shard, work, raw_dataset, features, source)
  return work, raw_dataset


def _raw_dataset(options: PrepareOptions) -> RawDataset:
  """What there is to extract; says which files below the source are not."""
  raw_dataset = options.raw_dataset()
  if raw_dataset.unused:
    print(f"Not used below {options.root}: {describe_counts(raw_dataset.unused)}.")
  return raw_dataset


@contextlib.contextmanager
def _says_how_to_go_on(work: Path) -> Iterator[None]:
  try:
    yield
  except KeyboardInterrupt as interrupt:
    raise KeyboardInterrupt(
        f"\nInterrupted. Give the same command again to go on; what is done is kept in {work}.") from interrupt


def _require_same(path: Path, what: str, asked_for: object, there: object) -> None:
  """Raises: UserError if the dataset at `path` was not made from what is asked for."""
  if asked_for != there:
    raise UserError(
        f"{path} is prepared already, but from something else: {what} is {there}, asked for is {asked_for}. "
        "Give another --data_dir, or delete that folder and give this command again.")
