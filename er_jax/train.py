"""The training loop, top to bottom: data, model, learner, restore, steps, validation, checkpoints.

    experiment = Experiment(config, workdir, dataset)
    train(experiment)          # goes on where an earlier call stopped; returns False if it was told to stop
"""

import math
import signal
import threading
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from er_jax import learners
from er_jax.batch_builder import BatchBuilder
from er_jax.checkpoints import Checkpoints, latest_step, not_finite
from er_jax.evaluate import Evaluator, unseen_videos
from er_jax.experiment import Experiment
from er_jax.inputs import Banks, Params, TrainState
from er_jax.learners import Learner
from er_jax.methods import check_trainable
from er_jax.run_log import BestSoFar, Board, MetricsLog
from er_jax.steps import Steps, device_banks
from er_jax.types import Array
from input_pipeline.errors import Failure, UserError
from input_pipeline.loaders import ExampleSet, examples, no_videos, steps_per_epoch, train_batches
from input_pipeline.progress import Progress


def train(experiment: Experiment) -> bool:
  """Trains to the end, from the newest checkpoint of the workdir if there is one.

  Returns:
    True when training is complete; False if SIGTERM or Ctrl-C asked it to stop (a checkpoint was written).

  Raises:
    UserError: for values that do not fit, or a workdir that is trained for longer already.
    Failure: if a loss or a parameter is not finite, or the disk is full.
  """
  config, parallel = experiment.config, experiment.parallel
  seen, unseen = _videos(experiment)
  builder = BatchBuilder(experiment.dataset, config, experiment.method, [seen] if unseen is None else [seen, unseen],
                         parallel.num_devices)
  experiment.warn(builder.alike.remarks)
  class_set = builder.class_set(experiment.seen, training=True)
  checkpoints = Checkpoints(experiment.workdir / "checkpoints")      # makes the folder, as now nothing is lacking
  params = experiment.first_params() if checkpoints.latest_step is None else experiment.blank_params()
  epoch_steps, num_steps = _lengths(experiment, seen, checkpoints.latest_step or 0)
  learner = learners.build(config, experiment.dataset, experiment.method, params, num_steps)
  eval_every = config.eval_every_steps or epoch_steps
  state, best = TrainState(np.zeros((), np.int32), params, learner.init(params)), BestSoFar()
  if checkpoints.latest_step is not None:
    state, best = checkpoints.restore(like=state)
  first_step = int(state.step)

  banks = device_banks(builder.banks, parallel, experiment.method, state.params, experiment.cache_bytes)
  classes, state = parallel.shard(class_set), parallel.replicate(state)
  steps = Steps(parallel, experiment.method, learner)
  log = _Log(experiment, learner, epoch_steps, first_step)
  validate = _validation(experiment, builder, unseen, banks, log)
  if best.evaluated < 0 and learner.validate_at_start:
    best = validate(state.params, first_step, best)
    checkpoints.save(parallel.fetch(state), best._replace(complete=first_step >= num_steps))
  batches = train_batches(seen, config.batch_size, config.seed, config.data.shuffle, first_step, num_steps - first_step)
  stopping = False
  with _StopSignal() as stop, Progress(experiment.title, num_steps, "steps", first_step) as progress:
    for step, batch in enumerate(batches, start=first_step + 1):
      state, losses = steps.train(state, parallel.shard(builder.batch(batch, seen, step - 1)), classes, banks)
      log.took(step, losses)
      is_due = step % eval_every == 0 or step == num_steps
      is_logged = step % config.log_every_steps == 0 or step == num_steps
      if is_logged or is_due:
        log.training(step, parallel.fetch(losses), write=is_logged)
      saved = None
      if is_due:
        state = learner.finalize(state, parallel)
        saved = log.finite(step, parallel.fetch(state))
        best = validate(state.params, step, best)
      stopping = stop.agreed(ask_others=is_logged or is_due)
      if is_due or stopping:
        saved = saved or log.finite(step, parallel.fetch(state))
        checkpoints.save(saved, best._replace(complete=step >= num_steps))
      progress.advance(note=_note(best))
      if stopping:
        break
  checkpoints.require(best)
  checkpoints.close()
  log.close()
  return not stopping and int(parallel.fetch(state.step)) >= num_steps


def steps_left(experiment: Experiment) -> int:
  """How many steps `train` would take. Raises: UserError as it does, before anything is written."""
  taken = latest_step(experiment.workdir / "checkpoints") or 0
  return _lengths(experiment, _videos(experiment)[0], taken)[1] - taken


def _lengths(experiment: Experiment, seen: ExampleSet, taken: int) -> tuple[int, int]:
  """Steps of an epoch, and of the whole training. Raises: UserError if more are `taken` already."""
  config = experiment.config
  epoch_steps = steps_per_epoch(len(seen), config.batch_size)
  num_steps = epoch_steps * config.num_epochs
  if experiment.method.spec.single_epoch:
    if not config.num_epochs:
      raise UserError(f"config.num_epochs is 0, but {config.method} learns in one pass over the videos; give 1.")
    num_steps = min(num_steps, epoch_steps)
  if taken > num_steps:
    raise UserError(f"{experiment.workdir} is trained for {taken} steps already, but config.num_epochs={config.num_epochs} "
                    f"are {num_steps}. Give at least {-(-taken // epoch_steps)} epochs, or another --workdir; --mode=eval "
                    "evaluates what is there.")
  return epoch_steps, num_steps


def _videos(experiment: Experiment) -> tuple[ExampleSet, ExampleSet | None]:
  """The videos to train on, and those to validate on, if any. Raises: UserError if something that is needed is missing."""
  dataset = experiment.dataset
  check_trainable(experiment.config, dataset)
  sees_videos = experiment.method.spec.class_targets is None
  seen = examples(dataset, "train", experiment.seen) if sees_videos else no_videos(dataset)
  return seen, unseen_videos(dataset, "val") if any(split.val for split in experiment.splits) else None


Validation = Callable[[Params, int, BestSoFar], BestSoFar]


def _validation(experiment: Experiment, builder: BatchBuilder, unseen: ExampleSet | None, banks: Banks,
                log: "_Log") -> Validation:
  """A function that validates parameters at a step on each split, and says what is best then."""
  evaluator = None
  if unseen is not None:
    evaluator = Evaluator(experiment, builder, unseen, sum((split.val for split in experiment.splits), ()))

  def validate(params: Params, step: int, best: BestSoFar) -> BestSoFar:
    if evaluator is not None:
      scores = evaluator(params, banks)
      for k, split in enumerate(experiment.splits):
        if split.val:      # else nothing chooses this split's checkpoint: the last one is tested
          values = scores.among(split.val).metrics()
          log.validation(step, f"val{k}", values)
          for metric, value in values.items():
            best = best.with_value(f"val{k}", metric, value, step)
    return best._replace(evaluated=step)

  return validate


class _Log:
  """What training tells of itself: metrics.jsonl and TensorBoard's files, by the main process."""

  def __init__(self, experiment: Experiment, learner: Learner, epoch_steps: int, first_step: int):
    self._learner, self._epoch_steps, self._config = learner, epoch_steps, experiment.config
    self._fetch = experiment.parallel.fetch
    self._untold: list[tuple[int, Array]] = []      # the steps since the last look, and their losses, on the devices
    self._lines = MetricsLog(experiment.workdir / "metrics.jsonl", enabled=experiment.is_main)
    self._board = Board(experiment.workdir / "tensorboard", first_step + 1) if experiment.is_main else None

  def took(self, step: int, losses: dict[str, Array]) -> None:
    """A step was taken; its losses are looked at later, so that nothing waits for them."""
    self._untold.append((step, losses["loss"]))

  def finite(self, step: int, state: TrainState) -> TrainState:
    """The state after `step`, on the host. Raises: Failure if a loss since the last look, or a parameter, is not finite."""
    self._require_finite_losses()
    if names := not_finite(state.params):
      raise self._diverged(f"Step {step} made {names[0]} infinite or no number.")
    return state

  def _require_finite_losses(self) -> None:
    taken, self._untold = self._untold, []
    for at, loss in taken:
      if not math.isfinite(value := float(self._fetch(loss))):
        raise self._diverged(f"The loss is {value} at step {at}.")

  def _diverged(self, what: str) -> Failure:
    optimizer = self._config.optimizer
    return Failure(f"{what} Nothing of it is saved. Start again in a new workdir with a lower "
                   f"config.optimizer.learning_rate (now {optimizer.learning_rate}), with config.optimizer.clip_norm (now "
                   f"{optimizer.clip_norm}), or with config.dtype=float32 (now {self._config.dtype}).")

  def training(self, step: int, losses: dict[str, Array], write: bool) -> None:
    """The losses of a step; if `write`, a line of them. Raises: Failure if one since the last look is not finite."""
    self._require_finite_losses()
    values = {name: float(value) for name, value in sorted(losses.items())}
    if write:
      values = {"epoch": (step - 1) // self._epoch_steps, **values, "learning_rate": self._learner.learning_rate(step - 1)}
      self._lines.write({"step": step, **values})
      if self._board:
        self._board.write("train", values, step)

  def validation(self, step: int, split: str, values: dict[str, float]) -> None:
    """The accuracies on a split."""
    self._lines.write({"step": step, "split": split, **values})
    if self._board:
      self._board.write(split, values, step)

  def close(self) -> None:
    """Writes what is waiting."""
    if self._board:
      self._board.close()


def _note(best: BestSoFar) -> str:
  top1 = [split["precision@1"]["value"] for split in best.splits.values()]
  return f"best unseen validation top-1 {np.mean(top1):.1f}%" if top1 else ""


class _StopSignal:
  """Notes SIGTERM and SIGINT while a block runs, so that the loop can save and leave; a second one is not caught."""

  def __init__(self):
    self._asked = False
    self._previous: dict = {}

  def agreed(self, ask_others: bool) -> bool:
    """Whether to stop now. Several processes stop together, at a step where all of them ask each other."""
    if jax.process_count() == 1:
      return self._asked
    return ask_others and bool(np.any(multihost_utils.process_allgather(np.array(self._asked))))

  def __enter__(self) -> "_StopSignal":
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *exception) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _note(self, number, frame) -> None:
    del frame
    self._asked = True
    signal.signal(number, self._previous[number])
