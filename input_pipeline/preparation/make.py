"""Videos, or files of features, made a TFDS dataset of features and concepts: in one process, a shard of many, or by Beam.

    path = prepare("ucf101_zsar", "data", source="/data/UCF-101", tsm=..., bit=..., concepts=...)
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from input_pipeline import dataset_spec, files, locks
from input_pipeline.backbones import BACKBONES
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import read_concepts
from input_pipeline.preparation import beam, made_of, shards, write
from input_pipeline.preparation.feature_sources import describe, feature_source, reads_files, require_consistent
from input_pipeline.preparation.find_shards import SHOWN, work_to_merge
from input_pipeline.preparation.options import PATHS, PrepareOptions
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
    UserError: if something about the input is wrong, not one video could be read, what is there already is damaged or
      was made from another source or with other weights than are given, or shards are not finished.
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
  """Whether the dataset is at `path`. Raises: UserError if it is damaged, or made from something else than is asked for."""
  if not path.exists():
    return False
  made_of.require_whole(path, options.dataset)
  source = made_of.read(path)
  asked_for = options.given() | (vars(options.views) if options.weights else {})     # both are in the fingerprint
  chosen = {**vars(ViewSampling()), **source.get("views", {}), **source.get("options", {})}
  for name, value in asked_for.items():
    if name in PATHS and Path(value).exists():
      continue      # its content is compared, wherever it lies
    if name in chosen or name != "metadata":      # which datasets made by earlier versions do not tell
      _require_same(path, f"its --{name}", value, chosen.get(name))
  if options.weights:
    _require_same(path, "the fingerprint of its weights", feature_source(options).fingerprint(),
                  source.get("fingerprint"))
  there = path / "concepts.jsonl"
  if options.concepts and (not there.exists() or options.vocabulary != read_concepts(there)):
    _require_same(path, "its vocabulary", options.concepts, there if there.exists() else "none")
  _require_same_content(options, path, source)
  print(f"{options.dataset} is already prepared in {path}.")
  return True


def _require_same_content(options: PrepareOptions, path: Path, source: dict[str, Any]) -> None:
  """Compares the lists, texts and files that the dataset at `path` was made of with those that are there now.

  Where they are gone, or may be others, it says so on stderr. Where they lie elsewhere now, the dataset remembers that.

  Raises:
    UserError: something is not as it was, or what is asked for lies elsewhere and cannot be compared.
  """
  names = ("source", "concepts", *dataset_spec.OPTIONS, "features", "concept_predictions")
  given = {name: value for name in names if (value := getattr(options, name)) is not None}
  now = made_of.options_as_made(options.dataset, options.data_dir, source, **given)
  is_elsewhere = now.root.resolve() != Path(source["root"]).resolve()
  chosen = source.get("options", {})
  others = {f"its --{name}": (chosen[name], value) for name, value in options.given().items()
            if name in PATHS and name in chosen and value != chosen[name]}
  if is_elsewhere:
    others["its source"] = source["root"], now.root
  must_be_there = bool(others.keys() - {"its source"} or is_elsewhere and (options.source or options.from_features_alone))
  beginning = next((f"{what} is {there}, asked for is {asked_for}" for what, (there, asked_for) in others.items()),
                   "it has changed since")
  try:
    if not now.root.is_dir():      # or it would perhaps be made
      raise UserError(f"There is no folder {now.root}.")
    raw_dataset = now.raw_dataset()
    found, videos = made_of.differences(raw_dataset, path), made_of.video_differences(raw_dataset, path)
    if reads_files(now) and feature_source(now).fingerprint() != source.get("fingerprint"):
      found.append("its object predictions are not those in the file as it is now")
  except (UserError, OSError) as error:
    if must_be_there:
      raise UserError(f"{_from_something_else(path, beginning)}\n{error}") from error
    print(f"warning: {path} could not be compared with what it was made of: {error}", file=sys.stderr)
    return
  found += videos.certain
  for which, what, is_another in ((videos.gone, "are not there any more", must_be_there),
                                  (videos.touched, "have their size, but another time of change", reads_files(now))):
    if which:
      what = f"{len(which)} of {videos.count} files {what}, such as {which[0]}"
      if is_another:
        found.append(what)
      else:
        print(f"warning: Of what {path} was made of, {what}. Their content was not compared.", file=sys.stderr)
  if found:
    raise UserError("\n".join([_from_something_else(path, beginning), *(f"  {difference}" for difference in found)]))
  _remember(path, source, now)


def _remember(path: Path, source: dict[str, Any], now: PrepareOptions) -> None:
  """Writes down where what a dataset was made of lies now, if that is another place and can be written."""
  chosen = source.get("options", {})
  places = {"root": str(now.root), "options": chosen | {
      name: value for name, value in now.chosen().items() if name in PATHS and name in chosen}}
  if now.root.resolve() != Path(source["root"]).resolve() or places["options"] != chosen:
    print(f"The source of {path} was {source['root']}, and is {now.root} now.")
    with contextlib.suppress(OSError):      # it may be there to be read only
      files.write_json(path / "source.json", {**source, **places})


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
    raise UserError(_from_something_else(path, f"{what} is {there}, asked for is {asked_for}"))


def _from_something_else(path: Path, what: str) -> str:
  return (f"{path} is prepared already, but from something else: {what}. Give another --data_dir, or delete that folder "
          "and give this command again.")
