"""The training loop, top to bottom: data, model, learner, restore, steps, validation, checkpoints.

    experiment = Experiment(config, workdir, dataset)
    train(experiment)          # goes on where an earlier call stopped; returns False if it was told to stop
"""

import math
import signal
import threading

import jax
import numpy as np
import tensorboardX
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from er_jax import learners
from er_jax.batch_builder import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.evaluate import Evaluator, unseen_videos
from er_jax.experiment import Experiment
from er_jax.methods import check_trainable
from er_jax.run_log import BestSoFar, MetricsLog
from er_jax.steps import Steps, TrainState, device_banks
from input_pipeline.errors import Failure
from input_pipeline.loaders import examples, no_videos, steps_per_epoch, train_batches
from input_pipeline.progress import Progress


def train(experiment: Experiment) -> bool:
  """Trains to the end, from the newest checkpoint of the workdir if there is one.

  Returns:
    True when training is complete; False if SIGTERM or Ctrl-C asked it to stop (a checkpoint was written).

  Raises:
    UserError: for values that do not fit.
    Failure: if the loss is not a number, or the disk is full.
  """
  config, dataset, parallel, method = (experiment.config, experiment.dataset, experiment.parallel, experiment.method)
  check_trainable(config, dataset)
  seen = no_videos(dataset) if method.reads_graph else examples(dataset, "train", dataset.splits.seen)
  unseen = unseen_videos(dataset, "val") if any(dataset.splits.val) else None
  builder = BatchBuilder(dataset, config, method, [seen] if unseen is None else [seen, unseen], parallel.num_devices)
  checkpoints = Checkpoints(experiment.workdir / "checkpoints")
  params = experiment.first_params() if checkpoints.latest_step is None else experiment.blank_params()
  epoch_steps = steps_per_epoch(len(seen), config.batch_size)
  num_steps = epoch_steps * config.num_epochs
  learner = learners.build(config, dataset, method, params, num_steps)
  if learner.single_epoch:
    num_steps = min(num_steps, epoch_steps)
  eval_every = config.eval_every_steps or epoch_steps
  state, record = TrainState(np.zeros((), np.int32), params, learner.init(params)), BestSoFar()
  if checkpoints.latest_step is not None:
    state, record = checkpoints.restore(like=state)
  first_step = int(state.step)

  banks = device_banks(builder, parallel, method, state.params, experiment.cache_bytes)
  class_set = builder.class_set(dataset.splits.seen, training=True)
  steps = Steps(parallel, method, builder, class_set, config.batch_size, learner)
  validate = None
  if unseen is not None:
    validate = Evaluator(unseen, sum(dataset.splits.val, ()), builder, parallel, method, config)
  classes, state = parallel.shard(class_set), parallel.replicate(state)
  log = MetricsLog(experiment.workdir / "metrics.jsonl", enabled=experiment.is_main)
  board = _open_board(experiment, first_step)

  def evaluate(step: int, record: BestSoFar) -> BestSoFar:
    scores = validate(state.params, banks) if validate else None
    for k, classes in enumerate(dataset.splits.val):
      if not classes:      # nothing chooses this split's checkpoint: the last one is tested
        continue
      values = scores.among(classes).metrics()
      log.write({"step": step, "split": f"val{k}", **values})
      for metric, value in values.items():
        board and board.add_scalar(f"val{k}/{metric}", value, step)
        record = record.with_value(f"val{k}", metric, value, step)
    return record._replace(evaluated=step)

  if record.evaluated < 0 and learner.validate_at_start:
    record = evaluate(first_step, record)
    checkpoints.save(parallel.fetch(state), record._replace(complete=first_step >= num_steps))
  batches = train_batches(seen, config.batch_size, config.seed, config.data.shuffle, first_step, num_steps - first_step)
  with _StopSignal() as stop, Progress(experiment.title, num_steps, "steps", first_step) as progress:
    for step, batch in enumerate(batches, start=first_step + 1):
      step_batch = parallel.shard(builder.batch(batch, seen, step - 1))
      state, parts = steps.train(state, step_batch, classes, banks)
      is_due = step % eval_every == 0 or step == num_steps
      is_logged = step % config.log_every_steps == 0 or step == num_steps
      if is_logged or is_due:
        _check_finite(float(parallel.fetch(parts["loss"])), step, config)
      if is_logged:
        values = {name: float(value) for name, value in sorted(parallel.fetch(parts).items())}
        line = {"step": step, "epoch": (step - 1) // epoch_steps, **values,
                "learning_rate": learner.learning_rate(step - 1)}
        log.write(line)
        for name in line.keys() - {"step"}:
          board and board.add_scalar(f"train/{name}", line[name], step)
      if is_due:
        state = learner.finalize(state, parallel)
        record = evaluate(step, record)
      stopping = stop.agreed(ask_others=is_logged or is_due)
      if is_due or stopping:
        checkpoints.save(parallel.fetch(state), record._replace(complete=step >= num_steps))
      progress.advance(note=_note(record))
      if stopping:
        break
  checkpoints.close()
  board and board.close()
  return int(parallel.fetch(state.step)) >= num_steps


def _open_board(experiment: Experiment, first_step: int) -> tensorboardX.SummaryWriter | None:
  if not experiment.is_main:
    return None
  return tensorboardX.SummaryWriter(str(experiment.workdir / "tensorboard"), purge_step=first_step + 1)


def _check_finite(loss: float, step: int, config: ConfigDict) -> None:
  if not math.isfinite(loss):
    raise Failure(f"The loss is {loss} at step {step}. Lower config.optimizer.learning_rate (now "
                  f"{config.optimizer.learning_rate}) and start again in a new workdir.")


def _note(record: BestSoFar) -> str:
  best = [split["precision@1"]["value"] for split in record.best.values()]
  return f"best unseen validation top-1 {np.mean(best):.1f}%" if best else ""


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
