"""Trains and evaluates a method: zero-shot accuracy on classes that no training video shows.

    python -m er_jax.main --config=configs/ervse.py                       # on toy_actions, prepared on the way
    python -m er_jax.main --config=configs/ervse.py:precomputed --config.data.data_dir=/data --workdir=runs/a
    python -m er_jax.main --config=configs/ervse.py --workdir=runs/a --mode=eval
    python -m er_jax.main --config=configs/ervse.py:kinetics_zsar --workdir=runs/k --mode=eval --test_dataset=ucf101_zsar

The same command again goes on where it stopped. Several machines: start it on each with --coordinator_address,
--num_processes and --process_id.
"""

import fcntl
import json
from pathlib import Path

import jax
import numpy as np
from absl import flags, logging
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from er_jax import config_files, cross_dataset, evaluate, methods, provenance, train
from er_jax.experiment import Experiment
from er_jax.results import plots, tables
from input_pipeline import datasets, errors, files, loaders
from input_pipeline.dataset import dataset_path
from input_pipeline.errors import UserError
from input_pipeline.metadata import corrections

MODES = ("train_and_eval", "train", "eval")
CHANGEABLE_FIELDS = ("num_epochs", "eval_batch_size", "log_every_steps", "parallel", "data.data_dir", "data.split_index",
              "data.max_splits", "data.average_views",
              "data.corrections")     # whose content is compared, see provenance.py


def define_flags() -> None:
  """The command's flags; not defined on import, because scripts that call `run` have flags of their own."""
  config_files.define_flag("A name or file of configs/, with :DATASET behind it if wanted.")
  flags.DEFINE_string("workdir", None, "Where the run is kept; runs/METHOD-DATASET if not given.")
  flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")
  flags.DEFINE_string("checkpoint", None, "With --mode=eval: evaluate this checkpoint folder.")
  flags.DEFINE_string("test_dataset", None, "With --mode=eval: test the trained model on another dataset, that lies in "
                      "the same config.data.data_dir; results go to WORKDIR/on_NAME.")
  flags.DEFINE_string("test_corrections", None, "With --test_dataset: a corrections.jsonl for the classes of that.")
  flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, for several processes.")
  flags.DEFINE_integer("num_processes", None, "How many processes run together.")
  flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")


def main(argv: list[str]) -> None:
  """Runs what the flags say."""
  del argv
  logging.set_verbosity(logging.ERROR)    # libraries' remarks; ours are printed
  values = flags.FLAGS
  if values.config is None:
    raise UserError("Which experiment? Give --config=configs/ervse.py, or another file of configs/.")
  try:
    values.config.method
  except (OSError, AttributeError) as error:   # ml_collections tells of a missing file when a field is asked for
    raise UserError(f"--config names no experiment of this project; it has no method. {error}") from error
  if values.checkpoint and values.mode != "eval":
    raise UserError("--checkpoint goes with --mode=eval; to start training from it, use --config.init_from.")
  if values.test_dataset and values.mode != "eval":
    raise UserError("--test_dataset goes with --mode=eval, of a model that is trained.")
  if values.test_corrections and not values.test_dataset:
    raise UserError("--test_corrections goes with --test_dataset; for the dataset that is trained on, give "
                    "--config.data.corrections.")
  together = values.coordinator_address, values.num_processes, values.process_id
  if any(value is not None for value in together):
    if any(value is None for value in together) or not 0 <= values.process_id < values.num_processes:
      raise UserError("Several processes need all of --coordinator_address=HOST:PORT, --num_processes=N and "
                      "--process_id from 0 to N-1.")
    jax.distributed.initialize(*together)
  run(values.config, values.workdir, values.mode, values.checkpoint, values.test_dataset, values.test_corrections)


def run(config: ConfigDict, workdir: str | None = None, mode: str = "train_and_eval", checkpoint: str | None = None,
        test_dataset: str | None = None, test_corrections: str | None = None) -> dict | None:
  """Trains, evaluates, or both.

  Args:
    config: the experiment.
    workdir: the run's folder; runs/METHOD-DATASET if None.
    mode: one of MODES.
    checkpoint: with mode `eval`, evaluate these parameters instead of the workdir's best ones.
    test_dataset: with mode `eval`, test on the dataset of this name instead of the one that was trained on.
    test_corrections: a file of other descriptions for its classes.

  Returns:
    What results.json holds; None where nothing was evaluated.

  Raises:
    UserError: for anything wrong in the config, the data or the workdir.
  """
  methods.check("config.method", config.method, methods.METHODS)
  datasets.check_name(config.data.dataset)
  folder = Path(workdir or f"runs/{config.method}-{config.data.dataset}")
  if mode == "eval" and not checkpoint and not any((folder / name).is_dir() for name in ("checkpoints", "split0")):
    raise UserError(f"No run in {folder}: it has no checkpoints. Train first (--mode=train), or name a checkpoint with "
                    "--checkpoint.")
  dataset = open_dataset(config)
  if test_dataset:
    tested = _open(config.data.data_dir, test_dataset, test_corrections)
    return _transfer(config, folder, dataset, tested, checkpoint, test_corrections or "")
  divisions = _divisions(config, folder, dataset)
  if mode == "eval":
    _require_models([workdir for workdir, _ in divisions], checkpoint)
  with _only_run(folder):
    results = []
    for workdir, division in divisions:
      experiment = Experiment(config, workdir, division)
      if not checkpoint:
        provenance.keep(workdir, experiment.data, training=mode != "eval", write=experiment.is_main)
      for where in dict.fromkeys((folder, workdir)):
        _keep_config(config, where, mode, checkpoint)
      if not results:      # or it would end with an error after all the training
        _require_videos([division for _, division in divisions], mode)
      if mode != "eval" and experiment.is_main:      # what is there is soon no longer true
        (folder / "results.json").unlink(missing_ok=True)
      if mode != "eval" and not train.train(experiment):
        _say(f"Stopped, with everything saved in {folder}. The same command goes on from there.")
        return None
      if mode != "train":
        results.append(_evaluate(experiment, checkpoint))
    if mode == "train":
      _say(f"Trained. Evaluate with --mode=eval --workdir={folder}")
      return None
    return results[0] if dataset.split_seed is None else _gather(config, folder, dataset, results)


def _divisions(config: ConfigDict, folder: Path, dataset: loaders.Dataset) -> list[tuple[Path, loaders.Dataset]]:
  """Workdir and dataset of each model: one, or, where class splits are random, one in FOLDER/splitK for each split."""
  if dataset.split_seed is None:
    return [(folder, dataset)]
  wanted = range(len(dataset.divisions))[:config.data.max_splits or None]
  return [(folder / f"split{k}", dataset.in_division(k)) for k in wanted]


def _require_models(workdirs: list[Path], checkpoint: str | None) -> None:
  """Raises: UserError if a model is not there, or one is to be tested on the splits of others."""
  if checkpoint and len(workdirs) > 1:
    raise UserError(f"--checkpoint={checkpoint} is one model, but the dataset has {len(workdirs)} random class splits, and "
                    "the unseen classes of one are seen in another. Evaluate the run without --checkpoint, each split by "
                    "its own model; or, if the model saw none of the classes, only one split: --config.data.max_splits=1.")
  missing = [workdir for workdir in workdirs if not checkpoint and not (workdir / "checkpoints").is_dir()]
  if missing:
    raise UserError(f"No model in {', '.join(map(str, missing))}: train to the end with --mode=train; or evaluate only the "
                    f"first splits, with --config.data.max_splits={workdirs.index(missing[0]) or 1}.")


def _require_videos(divisions: list[loaders.Dataset], mode: str) -> None:
  """Raises: UserError if any of the models would have no video to be trained on, or to be tested on."""
  for division in divisions:
    if mode != "eval" and division.split_seed is not None:
      loaders.examples(division, "train", division.splits.seen)
    if mode != "train":
      evaluate.held_out_videos(division, "test")


def _evaluate(experiment: Experiment, checkpoint: str | None) -> dict:
  """Results, with pictures and tables for a person."""
  folder, dataset = experiment.workdir, experiment.dataset
  results, predictions, videos = evaluate.evaluate(experiment, checkpoint)
  if experiment.is_main:
    names = np.array([action.name for action in dataset.classes])
    for split, prediction in predictions.items():
      plots.write_pictures(folder, split, prediction, names[prediction.class_ids])
    shown = predictions[f"test{experiment.config.data.split_index}"]
    plots.contact_sheet(folder / "contact_sheet.png", shown, dataset, videos)
    if dataset.split_seed is None:     # else there is one table of all splits at the end
      tables.print_results(results)
    _say(f"Results, predictions and pictures are in {folder}")
  return results


def _transfer(config: ConfigDict, folder: Path, dataset: loaders.Dataset, tested: loaders.Dataset,
              checkpoint: str | None, corrected: str) -> dict:
  """Results of a model on another dataset."""
  if dataset.split_seed is not None:
    raise UserError(f"--test_dataset={tested.name}: {dataset.name} has random class splits and so several models; train on "
                    "a dataset with given ones.")
  with _only_run(folder):
    experiment = Experiment(config, folder, dataset)
    _keep_config(config, folder, "eval", checkpoint)
    results = cross_dataset.evaluate(experiment, tested, folder / f"on_{tested.name}", checkpoint, corrected)
    if experiment.is_main:
      tables.print_transfer(results)
      _say(f"Results and predictions are in {folder / f'on_{tested.name}'}")
    return results


def _gather(config: ConfigDict, folder: Path, dataset: loaders.Dataset, of_splits: list[dict]) -> dict:
  """Puts the results and predictions of random class splits together in `folder`."""
  results = {**evaluate.summarize(config.method, dataset.name, [found["splits"]["0"] for found in of_splits]),
             "data": of_splits[0]["data"]}
  if jax.process_index() == 0:
    for old in (folder / "predictions").glob("test*.npz"):
      old.unlink()
    for k in range(len(of_splits)):
      with files.replacing(folder / "predictions" / f"test{k}.npz") as file:
        file.write((folder / f"split{k}" / "predictions" / "test0.npz").read_bytes())
    files.write_json(folder / "results.json", results)
    tables.print_results(results)
    _say(f"Results and predictions of all splits are in {folder}")
  return results


def _keep_config(config: ConfigDict, folder: Path, mode: str, checkpoint: str | None) -> None:
  """Writes config.json. Raises: UserError if the workdir's run is of another config, and not just looked at otherwise."""
  path = folder / "config.json"
  if path.exists():
    as_written = json.loads(json.dumps(config.to_dict()))     # tuples are lists there
    ours, theirs = flatten_dict(as_written, sep="."), flatten_dict(files.read_json(path), sep=".")
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if mode == "eval":      # what does not bear on the scores does not matter
      different = [name for name in different if name.startswith(("method", "model.", "data."))]
    may_change = {*CHANGEABLE_FIELDS} - ({"num_epochs"} if config.optimizer.decay_steps == 0 else set())     # the schedule's length
    different = [] if checkpoint else [name for name in different if name not in may_change]
    if different:
      fields = "\n".join(f"  config.{name} is {ours.get(name)!r}, was {theirs.get(name)!r}" for name in different)
      raise UserError(f"{folder} holds a run of another config:\n{fields}\nGive another --workdir, or the old values.")
  if jax.process_index() == 0 and (mode != "eval" or not path.exists()):
    files.write_json(path, config.to_dict())


def open_dataset(config: ConfigDict) -> loaders.Dataset:
  """The prepared dataset, its classes described as `config.data.corrections` wants."""
  name, data_dir = config.data.dataset, config.data.data_dir
  if name == "toy_actions" and dataset_path(data_dir, name) is None:
    from input_pipeline import prepare  # decoding and the backbones are not needed otherwise
    if jax.process_count() > 1:
      raise UserError(f"Prepare the dataset before several processes use it:\n"
                      f"  python -m input_pipeline.prepare --dataset={name} --data_dir={data_dir}")
    prepare.prepare(name, data_dir)
  return _open(data_dir, name, config.data.corrections)


def _open(data_dir: str, name: str, corrected: str | None) -> loaders.Dataset:
  dataset = loaders.open_dataset(data_dir, name)
  return dataset.with_classes(corrections.apply(corrected, dataset.classes)) if corrected else dataset


class _only_run:
  """Holds a workdir for one run at a time. Raises: UserError if another run has it."""

  def __init__(self, folder: Path):
    self._folder = folder

  def __enter__(self) -> None:
    if jax.process_index() != 0:
      return
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
      self._file = open(self._folder / ".lock", "w")
    except OSError as error:
      raise UserError(f"Cannot write to workdir {self._folder}: {error}.") from error
    try:
      fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      raise UserError(f"Workdir {self._folder} is in use by another run; wait for it, or give another "
                      "--workdir.") from error

  def __exit__(self, *exception) -> None:
    if jax.process_index() == 0:
      self._file.close()


def _say(text: str) -> None:
  if jax.process_index() == 0:
    print(text, flush=True)


if __name__ == "__main__":
  define_flags()
  errors.run(main)
