"""Checkpoints of a run, by Orbax: everything that a killed run needs to go on as if nothing had happened.

    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(state, best)                        # state: TrainState of NumPy arrays
    state, best = checkpoints.restore(like=state)        # the latest one
    params = load_params("runs/x/checkpoints/120", like=params)

The batches and random numbers of step t are functions of (seed, t), so the step is also the position of the data
iterator. Orbax writes to a temporary folder and renames it: a checkpoint is there whole, or not at all.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict
from orbax.checkpoint.checkpoint_managers import PreservationPolicy

from er_jax.run_log import BestSoFar
from input_pipeline import nameless_owners, paths
from input_pipeline.errors import Failure, UserError
from input_pipeline.state_dicts import differences

nameless_owners.allow()

STATE, RECORD = "state", "record"
ROOM = 1 << 20     # bytes of a checkpoint besides its arrays
SHOWN = 5           # arrays that an error names
UNFINISHED = ".orbax-checkpoint-tmp"     # in the name of a folder that a killed run was writing


def latest_step(folder: Path) -> int | None:
  """The step of the newest whole checkpoint in a folder of a run, None if there is none; looks at names alone."""
  return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=None)


class LatestAndBest(PreservationPolicy):
  """Keeps the latest checkpoint and those that are the best so far of some split and metric."""

  def __init__(self):
    self.best: frozenset[int] = frozenset()

  def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
    """For each checkpoint, oldest first, whether to keep it."""
    latest = max((checkpoint.step for checkpoint in checkpoints), default=None)
    return [checkpoint.step == latest or checkpoint.step in self.best for checkpoint in checkpoints]


class Checkpoints:
  """The checkpoints of one workdir."""

  def __init__(self, folder: str | os.PathLike):
    self._folder = Path(folder).absolute()      # also for messages; Orbax gets the alias
    self._folder.mkdir(parents=True, exist_ok=True)
    self._alias = paths.Alias(self._folder)
    if jax.process_index() == 0:      # Orbax would do it in a thread, which a program that ends at once trips over
      for unfinished in self._folder.glob(f"*{UNFINISHED}*"):
        shutil.rmtree(unfinished)
    self._policy, self._is_sound = LatestAndBest(), False
    self._manager = ocp.CheckpointManager(
        self._alias.path, item_handlers={STATE: ocp.StandardCheckpointHandler(), RECORD: ocp.JsonCheckpointHandler()},
        options=ocp.CheckpointManagerOptions(preservation_policy=self._policy, enable_async_checkpointing=False))

  @property
  def latest_step(self) -> int | None:
    """The step of the newest whole checkpoint, None if there is none."""
    return self._manager.latest_step()

  def save(self, state: Any, best: BestSoFar) -> None:
    """Writes the state at its step, if it is not there yet, and drops checkpoints that are neither latest nor best.

    Raises:
      Failure: if the disk is full or not writable; the checkpoints written before stay whole.
    """
    step = int(state.step)
    self._policy.best = best.best_steps
    if step == self.latest_step:
      return
    try:
      _require_room(self._folder, ROOM + sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
      self._manager.save(step, args=ocp.args.Composite(
          **{STATE: ocp.args.StandardSave(state), RECORD: ocp.args.JsonSave(best.to_json())}))
      self._manager.wait_until_finished()
      self._read_back(step, state)
    except (OSError, ValueError) as error:
      raise Failure(f"Cannot write the checkpoint of step {step} to {self._folder}: {error}. Earlier checkpoints "
                      "are whole; make room and start the same command again to go on.") from error

  def _read_back(self, step: int, state: Any) -> None:
    """Raises: OSError if the first checkpoint is not as it was written; then it is the folder, and so would all be.

    Not of each: a look at its shapes takes a megabyte that Orbax 0.12 never gives back.
    """
    if not self._is_sound:
      if problems := differences(self._shapes(step), _shapes_of(state)):
        raise OSError("it does not read back as it was written: " + "; ".join(problems))
      self._is_sound = True

  def restore(self, like: Any, step: int | None = None) -> tuple[Any, BestSoFar]:
    """State, and what was best so far, at `step`, by default the latest.

    Args:
      like: a state of the same structure, shapes and dtypes.
      step: one that was kept.

    Raises:
      UserError: if there is none, it belongs to another model, or holds what is not finite; names what is wrong.
    """
    step = self.latest_step if step is None else step
    if step is None or step not in self._manager.all_steps():
      raise UserError(f"No checkpoint of step {step} in {self._folder}; it has {sorted(self._manager.all_steps())}.")
    _check_same(self._shapes(step), like, self._folder / str(step))
    restored = self._manager.restore(step, args=ocp.args.Composite(
        **{STATE: ocp.args.StandardRestore(_abstract(like)), RECORD: ocp.args.JsonRestore()}))
    _check_finite(restored[STATE], self._folder / str(step))
    return restored[STATE], BestSoFar.from_json(restored[RECORD])

  def best_so_far(self) -> BestSoFar:
    """As of the latest checkpoint. Raises: UserError if there is no checkpoint."""
    if self.latest_step is None:
      raise UserError(f"No checkpoint in {self._folder}. Train first (--mode=train), or name one with --checkpoint.")
    restored = self._manager.restore(self.latest_step, args=ocp.args.Composite(**{RECORD: ocp.args.JsonRestore()}))
    return BestSoFar.from_json(restored[RECORD])

  def require(self, best: BestSoFar) -> None:
    """Raises: Failure if a checkpoint that is the best so far is not there, or not whole; each was, when saved."""
    for step in sorted(best.best_steps):
      if step not in self._manager.all_steps() or not self._shapes(step):
        raise Failure(f"The checkpoint of step {step}, the best of a validation, is not in {self._folder} any more: was "
                      "it deleted? Train again in another --workdir, or put it back.")

  def close(self) -> None:
    """Waits for everything to be written."""
    self._manager.close()
    self._alias.close()

  def _shapes(self, step: int) -> dict[str, tuple[int, ...]]:
    """Of the arrays of the state that a checkpoint holds, by name; as stored with each of them."""
    return _shapes_of(self._manager.item_metadata(step)[STATE])


def load_params(path: str | os.PathLike, like: dict, may_be_alone: str = "") -> dict:
  """Parameters from a converted checkpoint, or from one step's folder under a run's checkpoints/.

  Args:
    path: the folder.
    like: parameters of the same structure and shapes.
    may_be_alone: name of a parameter that a checkpoint may hold without any other.

  Raises:
    UserError: if there is no checkpoint, or it belongs to another model, or holds what is not finite: lists the names.
  """
  path = Path(path).absolute()
  if not path.is_dir():
    raise UserError(f"No checkpoint folder {path}.")
  of_run = (path / STATE).is_dir()
  inner, prefix = (STATE, "params/") if of_run else ("", "")
  with paths.Alias(path) as alias, ocp.PyTreeCheckpointer() as checkpointer:
    folder = alias / inner
    try:
      shapes = _shapes_of(checkpointer.metadata(folder).item_metadata)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
      shapes = {}
    if not shapes:
      steps = sorted(child.name for child in path.iterdir() if (child / STATE).is_dir())
      hint = f" Give one step's folder: {', '.join(steps)}." if steps else ""
      raise UserError(f"{path} is not a checkpoint.{hint}")
    shapes = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    if shapes.keys() == {may_be_alone}:
      like = unflatten_dict({may_be_alone: flatten_dict(like, sep="/").get(may_be_alone)}, sep="/")
    _check_same(shapes, like, path)
    wanted = {"params": _abstract(like)} if of_run else _abstract(like)
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    restored = checkpointer.restore(folder, args=ocp.args.PyTreeRestore(
        wanted, restore_args=restore_args, partial_restore=True))
    params = jax.tree.map(lambda leaf, value: np.asarray(value, leaf.dtype), wanted, restored)
    _check_finite(params, path)
    return params["params"] if of_run else params


def _require_room(folder: Path, size: int) -> None:
  """Raises: OSError if so many bytes cannot be written there now. Orbax's threads would each say so, in tracebacks."""
  probe = folder / f".room.{os.getpid()}.tmp"
  try:
    with open(probe, "wb") as file:
      if sys.platform != "darwin":      # which has no such call
        os.posix_fallocate(file.fileno(), 0, size)
  finally:
    probe.unlink(missing_ok=True)


def _abstract(tree: Any) -> Any:
  return jax.tree.map(lambda x: np.empty(x.shape, x.dtype), tree)


def not_finite(tree: Any) -> list[str]:
  """Names of the arrays of a tree that hold NaN or infinity."""
  return [name for name, leaf in _by_name(tree).items() if not np.isfinite(leaf).all()]


def _by_name(tree: Any) -> dict[str, Any]:
  leaves = jax.tree_util.tree_leaves_with_path(getattr(tree, "tree", tree))      # of Orbax's metadata, or of arrays
  return {"/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path): leaf
          for path, leaf in leaves}


def _shapes_of(tree: Any) -> dict[str, tuple[int, ...]]:
  return {name: tuple(leaf.shape) for name, leaf in _by_name(tree).items()}


def _check_same(found: dict[str, tuple[int, ...]], like: Any, path: Path) -> None:
  if problems := differences(found, _shapes_of(like)):
    raise UserError(f"The checkpoint {path} is of another model than the config describes; give the config that it was "
                    "trained with, or another checkpoint:\n" + "\n".join(problems))


def _check_finite(tree: Any, path: Path) -> None:
  if names := not_finite(tree):
    raise UserError(f"The checkpoint {path} holds numbers that are not finite, in {', '.join(names[:SHOWN])}"
                    f"{', ...' * (len(names) > SHOWN)}: what wrote it had gone wrong, or it is damaged. Give another, or "
                    "train anew in another workdir.")
