"""The training loop, top to bottom: data, model, optimiser, restore, steps, validation, checkpoints.

    experiment = Experiment(config, workdir, dataset)
    train(experiment)          # goes on where an earlier call stopped; returns False if it was told to stop
"""

import math
import signal
import threading

import jax
import numpy as np
import tensorboardX
from flax.traverse_util import flatten_dict

from er_jax import optimizer
from er_jax.batches import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.evaluate import Evaluator, unseen_videos
from er_jax.experiment import Experiment
from er_jax.records import MetricsLog, Record
from er_jax.steps import Steps, TrainState, device_banks
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples, steps_per_epoch, train_batches
from input_pipeline.progress import Progress


def train(experiment: Experiment) -> bool:
  """Trains to the end, from the newest checkpoint of the workdir if there is one.

  Returns:
    True when training is complete; False if SIGTERM or Ctrl-C asked it to stop (a checkpoint was written).

  Raises:
    UserError: for values that do not fit, or a loss that is not a number.
  """
  config, dataset, parallel, method = (experiment.config, experiment.dataset, experiment.parallel, experiment.method)
  seen = examples(dataset, "train", dataset.splits.seen)
  unseen = unseen_videos(dataset, "val")
  builder = BatchBuilder(dataset, config, method, [seen, unseen], parallel.num_devices)
  epoch_steps = steps_per_epoch(len(seen), config.batch_size)
  num_steps = config.num_epochs * epoch_steps
  eval_every = config.eval_every_steps or epoch_steps

  params = experiment.first_params()
  names = flatten_dict(params, sep="/")
  trainable = names.keys() - method.frozen - optimizer.frozen_submodules(config.optimizer, names)
  learning_rate = optimizer.schedule(config.optimizer, config.batch_size)
  updates = optimizer.build(config.optimizer, learning_rate, trainable)
  opt_state = jax.tree.map(np.asarray, updates.init({name: names[name] for name in sorted(trainable)}))
  state, record = TrainState(np.zeros((), np.int32), params, opt_state), Record()
  checkpoints = Checkpoints(experiment.workdir / "checkpoints")
  if checkpoints.latest_step is not None:
    state, record = checkpoints.restore(like=state)
  first_step = int(state.step)

  banks = device_banks(builder, parallel, method, state.params, experiment.cache_bytes)
  class_set = builder.class_set(dataset.splits.seen)
  steps = Steps(parallel, method, builder, class_set, config.batch_size, updates, trainable, config.seed)
  validation_classes = {f"val{k}": classes for k, classes in enumerate(dataset.splits.val)}
  validate = Evaluator(unseen, validation_classes, builder, parallel, method, config)
  classes, state = parallel.shard(class_set), parallel.replicate(state)
  log = MetricsLog(experiment.workdir / "metrics.jsonl", enabled=experiment.is_main)
  board = _open_board(experiment, first_step)

  def evaluate(step: int, record: Record) -> Record:
    for split, predictions in validate(state.params, banks).items():
      values = predictions.metrics()
      log.write({"step": step, "split": split, **values})
      for metric, value in values.items():
        board and board.add_scalar(f"{split}/{metric}", value, step)
        record = record.with_value(split, metric, value, step)
    return record._replace(evaluated=step)

  if record.evaluated < 0:
    record = evaluate(first_step, record)
    checkpoints.save(parallel.fetch(state), record)
  batches = train_batches(seen, config.batch_size, config.seed, config.data.shuffle, first_step, num_steps - first_step)
  with _StopSignal() as stop, _progress(experiment, num_steps, first_step) as progress:
    for step, batch in enumerate(batches, start=first_step + 1):
      step_batch = parallel.shard(builder.batch(batch, seen, step - 1))
      state, parts = steps.train(state, step_batch, classes, banks)
      if step % config.log_every_steps == 0 or step == num_steps:
        line = {"step": step, "epoch": (step - 1) // epoch_steps, **_scalars(parallel.fetch(parts)),
                "learning_rate": float(learning_rate(step - 1))}
        _check_finite(line)
        log.write(line)
        for name in line.keys() - {"step"}:
          board and board.add_scalar(f"train/{name}", line[name], step)
      is_due = step % eval_every == 0 or step == num_steps
      if is_due:
        record = evaluate(step, record)
      if is_due or stop.asked:
        checkpoints.save(parallel.fetch(state), record)
      progress.advance(note=_note(record))
      if stop.asked and step < num_steps:
        break
  checkpoints.close()
  board and board.close()
  return int(parallel.fetch(state.step)) >= num_steps


def _open_board(experiment: Experiment, first_step: int) -> tensorboardX.SummaryWriter | None:
  if not experiment.is_main:
    return None
  return tensorboardX.SummaryWriter(str(experiment.workdir / "tensorboard"), purge_step=first_step + 1)


def _progress(experiment: Experiment, num_steps: int, done: int) -> Progress:
  return Progress(f"train {experiment.config.method}", num_steps, "steps", done)


def _scalars(parts: dict) -> dict[str, float]:
  return {name: float(value) for name, value in sorted(parts.items())}


def _check_finite(line: dict) -> None:
  if not math.isfinite(line["loss"]):
    raise UserError(f"The loss is {line['loss']} at step {line['step']}. Lower config.optimizer.learning_rate "
                    f"(now {line['learning_rate']:.2g}) and start again in a new workdir.")


def _note(record: Record) -> str:
  best = [split["precision@1"]["value"] for split in record.best.values()]
  return f"best unseen validation top-1 {np.mean(best):.1f}%" if best else ""


class _StopSignal:
  """Notes SIGTERM and SIGINT while a block runs, so that the loop can save and leave."""

  def __init__(self):
    self.asked = False
    self._previous: dict = {}

  def __enter__(self) -> "_StopSignal":
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *exception) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _note(self, number, frame) -> None:
    del number, frame
    self.asked = True
