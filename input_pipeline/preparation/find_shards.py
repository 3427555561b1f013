"""The extraction that a dataset is made of: the one of these videos whose shards are all finished.

    work = work_to_merge(options, options.raw_dataset())

The machine that merges needs no weights: without them, the extraction that is there is taken. Features that are files
are always named, so theirs is the one that was read from the same folder.
"""

from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.preparation import shards
from input_pipeline.preparation.feature_sources import describe, feature_source, reads_files, weight_flags
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.raw_dataset import RawDataset

SHOWN = 20      # unfinished shards that are listed


def work_to_merge(options: PrepareOptions, raw_dataset: RawDataset) -> Path:
  """The work folder of the extraction whose shards are all finished.

  Args:
    options: what is asked for; weights and views only as far as they were given.
    raw_dataset: all that there is to extract.

  Raises:
    UserError: listing the shards that are not finished, or what is there that was made otherwise.
  """
  count = options.num_shards
  if options.weights or reads_files(options):
    source = describe(options, feature_source(options))
    found = [shards.work_folder(options.extractions, raw_dataset, source)]
  else:
    found = _works_of_any_weights(options, raw_dataset)
  if len(found) > 1:
    names = "".join(f"\n  {path.name}" for path in found)
    raise UserError(f"There are extractions of these videos with several weights or views in {options.extractions}:"
                    f"{names}\nSay which to take with {weight_flags()} and the flags of the views that you gave for "
                    "it, or delete the folders that are not wanted.")
  missing = shards.missing(found[0], count) if found else list(range(count))
  if missing:
    others = sorted(path for path in options.extractions.glob("*/shard-*") if path.parent not in found
                    or not path.name.endswith(f"-of-{count:05d}"))
    read_from = shards.source_of(others[0].parent).get("features") if others else None
    commands = [options.command(shard_index=index) for index in missing[:SHOWN]]
    raise UserError("\n".join([
        f"{len(missing)} of {count} shards of {options.dataset} are not finished in "
        f"{found[0] if found else options.extractions}. Run them"
        f"{'' if reads_files(options) else f', with {weight_flags()} and --batch_size as the others'}:",
        *(f"  {command}" for command in commands), *(["  ..."] if len(missing) > SHOWN else []),
        *([f"There are shards of another list of videos, of other weights or features, or of another --num_shards, "
           f"such as {others[0]}{f', read from {read_from}' if read_from else ''}: is everything given as it was for "
           "them?"] if others else [])]))
  return found[0]


def _works_of_any_weights(options: PrepareOptions, raw_dataset: RawDataset) -> list[Path]:
  """Extractions by networks. Raises: UserError if there are some, but none is of the views that are asked for."""
  found, others = [], []
  for work in shards.work_folders(options.extractions, raw_dataset):
    source = shards.source_of(work)
    views = source.get("views", {})      # none if no shard is finished
    unlike = [f"its --{name} is {views[name]}, asked for is {value}"
              for name, value in options.given().items() if views.get(name, value) != value]
    if "features" in source:
      unlike.append(f"its --features is {source['features']}, none is asked for")
    if unlike:
      others.append(f"\n  {work.name}: {'; '.join(unlike)}")
    else:
      found.append(work)
  if others and not found:
    raise UserError(f"What there is of these videos in {options.extractions} is not what is asked for:"
                    f"{''.join(others)}\nGive --merge what was given for its shards, or run the shards again with what "
                    "you want.")
  return found
