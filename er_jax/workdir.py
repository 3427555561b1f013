"""A run's folder: held by one run at a time, and tied to the config and the data that the run began with.

    with claim(folder, config, data, mode):       # data: from er_jax.provenance; None where there is nothing to compare
      keep_config(folder, config, mode)           # now folder/config.json and folder/data.json are there
      ...
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from filelock import Timeout
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from er_jax import provenance
from input_pipeline import files, locks
from input_pipeline.errors import UserError

CONFIG_FILE = "config.json"
CHANGEABLE_FIELDS = frozenset({
    "num_epochs", "eval_batch_size", "log_every_steps", "parallel", "data.data_dir", "data.split_index",
    "data.max_splits", "data.average_views", "data.corrections"})     # of the last the content is compared


@contextlib.contextmanager
def claim(folder: Path, config: ConfigDict, data: dict[str, Any] | None, mode: str,
          compare: bool = True) -> Iterator[None]:
  """Holds the folder for this run while the block runs; compares its config and data, and writes down the latter.

  Args:
    folder: of the run; made if needed.
    config: the experiment.
    data: what it rests on.
    mode: "eval" where nothing is trained; then only what bears on the scores must be as it was.
    compare: False takes the folder whatever it holds.

  Raises:
    UserError: another run has it, it cannot be written to, or its run is of another config or other data.
  """
  is_main = jax.process_index() == 0
  with _held(folder) if is_main else contextlib.nullcontext():
    if compare:
      _require_same_config(folder, config, mode, is_model=data is not None)
    if data is not None and compare:
      provenance.keep(folder, config, data, training=mode != "eval", write=is_main)
    yield


def keep_config(folder: Path, config: ConfigDict, mode: str) -> None:
  """Writes down the config of a run that is to train, or is the first in its folder; by the main process."""
  if jax.process_index() == 0 and (mode != "eval" or not (folder / CONFIG_FILE).exists()):
    files.write_json(folder / CONFIG_FILE, config.to_dict())


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(locks.exclusive(folder, wait=False))
    except Timeout as error:
      raise UserError(f"Workdir {folder} is in use by another run; wait for it, or give another --workdir. "
                      f"{locks.advice(folder)}") from error
    except OSError as error:
      raise UserError(f"Cannot write to workdir {folder}: {error}.") from error
    yield


def as_written(config: ConfigDict) -> dict[str, Any]:
  """What config.json holds of a config: tuples are lists there."""
  return json.loads(json.dumps(config.to_dict()))


def compare_checkpoint(checkpoint: Path, config: ConfigDict, data: dict[str, Any]) -> str:
  """What to warn of where a checkpoint of another run is evaluated, "" if nothing; of one that is no run's nothing is known.

  Raises: UserError if that run's model is another one, or reads texts otherwise.
  """
  folder = checkpoint.parent.parent
  if checkpoint.parent.name != "checkpoints" or not (folder / CONFIG_FILE).exists():
    return ""
  ours, theirs = flatten_dict(as_written(config), sep="."), flatten_dict(files.read_json(folder / CONFIG_FILE), sep=".")
  reads = ("method", "model.", "data.class_text", "data.max_tokens", "data.concept_definitions.input")
  names = {name for name in ours.keys() & theirs.keys() if name.startswith(reads) and ours[name] != theirs[name]}
  if names := sorted(names - provenance.PLACES - CHANGEABLE_FIELDS):
    raise UserError(f"{checkpoint} was trained with " + ", ".join(
        f"config.{name}={theirs[name]!r} (now {ours[name]!r})" for name in names) + "; give the values of then.")
  other = provenance.different(folder, config, data)
  if towers := [name for name in other if name.startswith("text backbone")]:
    raise UserError(f"{checkpoint} was trained with another {', '.join(towers)}; give that of then.")
  return "" if not other else (f"Warning: {checkpoint} was trained with other data: different are {', '.join(other)}. Its "
                               "training may have shown classes that are taken for unseen here.")


def fields(config: ConfigDict) -> dict[str, Any]:
  """The dotted fields of a config but for those that say where something lies."""
  flat = flatten_dict(as_written(config), sep=".")
  return {f"config.{name}": value for name, value in flat.items()
          if name not in (*provenance.PLACES, "data.data_dir", "data.corrections")}


def _require_same_config(folder: Path, config: ConfigDict, mode: str, is_model: bool) -> None:
  """Places of files are compared by what lies there, where the folder is that of a model.

  Raises: UserError with every field that must be as it was and is not.
  """
  path = folder / CONFIG_FILE
  if not path.exists():
    return
  ours, theirs = flatten_dict(as_written(config), sep="."), flatten_dict(files.read_json(path), sep=".")
  fixed = ours.keys() | theirs.keys()
  if mode == "eval":
    fixed = {name for name in fixed if name.startswith(("method", "model.", "data."))}
  fixed -= CHANGEABLE_FIELDS
  if mode != "eval" and config.optimizer.decay_steps == 0:
    fixed |= {"num_epochs"}      # the schedule's length
  different = {name for name in fixed if ours.get(name) != theirs.get(name)}
  moved = different & provenance.PLACES
  different -= {name for name in moved if not is_model or (
      name in ours and name in theirs and provenance.is_same_place(folder, config, name, theirs[name]))}
  if different := sorted(different):
    fields = "\n".join(f"  config.{name} is {ours.get(name)!r}, was {theirs.get(name)!r}" for name in different)
    raise UserError(f"{folder} holds a run of another config:\n{fields}\nGive another --workdir, or the old values.")
