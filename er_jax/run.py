"""Runs of an experiment: train and evaluate a model for each set of seen classes, in a workdir.

    results = run(config)                                  # in runs/METHOD-DATASET
    results = run(config, "runs/a", mode="eval")           # the content of results.json
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from er_jax import cross_dataset, distinct, evaluate, processes, provenance, train
from er_jax.checkpoints import latest_step
from er_jax.experiment import Experiment
from er_jax.models import METHODS
from er_jax.results import plots, tables
from er_jax.workdir import claim, compare_checkpoint, fields, keep_config
from input_pipeline import devices, files, loaders, paths
from input_pipeline.dataset import Dataset, dataset_path
from input_pipeline.dataset import open_dataset as open_prepared
from input_pipeline.datasets import DATASETS
from input_pipeline.errors import UserError
from input_pipeline.metadata import corrections
from input_pipeline.metadata.class_splits import by_seen

DERIVED = ("predictions/*.npz", "confusion_*.png", "per_class_*.png", "contact_sheet.png", "on_*/results.json",
           "on_*/predictions/*.npz")      # from a run's model, in its folder


def run(config: ConfigDict, workdir: str | Path | None = None, mode: str = "train_and_eval",
        checkpoint: str | Path | None = None, test_dataset: str | None = None,
        test_corrections: str | Path | None = None) -> dict | None:
  """Trains, evaluates, or both.

  Args:
    config: the experiment.
    workdir: the run's folder; runs/METHOD-DATASET if None.
    mode: train_and_eval, train or eval.
    checkpoint: with mode `eval`, evaluate these parameters instead of the workdir's best ones.
    test_dataset: with mode `eval`, test on the dataset of this name instead of the one that was trained on.
    test_corrections: a file of other descriptions for its classes.

  Returns:
    The content of results.json; None where nothing was evaluated.

  Raises:
    UserError: for anything wrong in the config, the data or the workdir.
  """
  devices.require()
  METHODS.check(config.method)
  DATASETS.check(config.data.dataset)
  folder = paths.absolute(f"runs/{config.method}-{config.data.dataset}" if workdir is None else workdir, "--workdir")
  checkpoint = paths.absolute(checkpoint, "--checkpoint")
  if mode == "eval" and not checkpoint and not any((folder / name).is_dir() for name in ("checkpoints", "split0")):
    raise UserError(f"No run in {folder}: it has no checkpoints. Train first (--mode=train), or name a checkpoint with "
                    "--checkpoint.")
  dataset = open_dataset(config)
  if test_dataset:
    corrected = paths.absolute(test_corrections, "--test_corrections")
    tested = _open(_data_dir(config), test_dataset, corrected)
    return _test_elsewhere(config, folder, dataset, tested, checkpoint, corrected)
  models = _models(config, folder, dataset)
  if mode == "eval":
    _require_models([model.workdir for model in models], checkpoint)
  _require_videos([model.dataset for model in models], mode)      # or it would end with an error after all the training
  if len(models) == 1:
    results = _run_model(config, models[0], mode, checkpoint)
  else:
    with claim(folder, config, None, mode, compare=not checkpoint):
      keep_config(folder, config, mode)
      if mode != "eval":
        _forget_results(folder)
      results = []
      for model in models:      # until one is told to stop
        results.append(_run_model(config, model, mode, checkpoint))
        if results[-1] is None:
          break
      results = _gather(config, folder, dataset, results) if results[-1] else results[-1]
  if results is None:
    _say(f"Stopped, with everything saved in {folder}. The same command goes on from there.")
  elif mode == "train":
    _say(f"Trained. Evaluate with --mode=eval {paths.flag('workdir', folder)}")
  return results or None


class _Model(NamedTuple):
  """A model to train: where, on a dataset of one set of seen classes, and what a person is told of it."""
  workdir: Path
  dataset: Dataset
  title: str = ""

  @property
  def is_one_of_several(self) -> bool:
    """Whether the run has a model for each of several sets of seen classes."""
    return bool(self.title)


def _models(config: ConfigDict, folder: Path, dataset: Dataset) -> list[_Model]:
  """One in FOLDER, or one in each FOLDER/splitK where class splits have different seen classes."""
  groups = by_seen(dataset.class_splits)
  if len(groups) <= 1:
    if (folder / "split0").is_dir() and not (folder / "checkpoints").is_dir():
      raise UserError(f"{folder} holds a run of an earlier version, which kept the model of a single class split in "
                      f"{folder / 'split0'}. Give --workdir={folder / 'split0'}, or another one.")
    return [_Model(folder, dataset)]
  if config.data.split_index:
    raise UserError(f"config.data.split_index is {config.data.split_index}, but {dataset.name} is split at random, with a "
                    "model for each split; leave it at 0. All splits are trained, or the first config.data.max_splits.")
  return [_Model(folder / f"split{k}", dataclasses.replace(dataset, class_splits=group), f"train {config.method}, split{k}")
          for k, group in enumerate(groups[:config.data.max_splits or None])]


def _require_models(workdirs: list[Path], checkpoint: Path | None) -> None:
  """Raises: UserError if a model is not there, or one is to be tested on the splits of others."""
  if checkpoint and len(workdirs) > 1:
    raise UserError(f"--checkpoint={checkpoint} is one model, but the dataset has {len(workdirs)} random class splits, and "
                    "the unseen classes of one are seen in another. Evaluate the run without --checkpoint, each split by "
                    "its own model; or, if the model saw none of the classes, only one split: --config.data.max_splits=1.")
  missing = [workdir for workdir in workdirs if not checkpoint and not (workdir / "checkpoints").is_dir()]
  if missing:
    raise UserError(f"No model in {', '.join(map(str, missing))}: train to the end with --mode=train; or evaluate only the "
                    f"first splits, with --config.data.max_splits={workdirs.index(missing[0]) or 1}.")


def _require_videos(datasets: list[Dataset], mode: str) -> None:
  """Raises: UserError if any of the models would have no video to be trained on, or to be tested on."""
  for dataset in datasets:
    if mode != "eval" and not dataset.divides_videos:
      loaders.examples(dataset, "train", dataset.class_splits[0].seen)
    if mode != "train" and dataset.class_splits:
      evaluate.held_out_videos(dataset, "test")


def _run_model(config: ConfigDict, model: _Model, mode: str, checkpoint: Path | None) -> dict | None:
  """Trains and evaluates one model. Returns its results, {} where nothing was evaluated; None if it was told to stop."""
  experiment = Experiment(config, model.workdir, model.dataset, title=model.title)
  data = None if checkpoint else experiment.data
  if checkpoint and (warning := compare_checkpoint(checkpoint, config, experiment.data)):
    experiment.warn([warning])
  processes.require_same({**fields(config), **provenance.fixed(config, experiment.data), "--mode": mode,
                          "--checkpoint": checkpoint and checkpoint.name})
  with claim(model.workdir, config, data, mode, compare=not checkpoint):
    steps_left = train.steps_left(experiment) if mode != "eval" else 0
    keep_config(model.workdir, config, mode)
    multihost_utils.sync_global_devices("config.json is written")
    processes.require_same({"--workdir has config.json": (model.workdir / "config.json").exists(),
                            "--workdir has checkpoint": latest_step(model.workdir / "checkpoints")})
    if mode != "eval":
      _forget_results(model.workdir, all_of_them=steps_left > 0)
      if not train.train(experiment):
        return None
    return {} if mode == "train" else _evaluate(experiment, checkpoint, show=not model.is_one_of_several)


def _forget_results(folder: Path, all_of_them: bool = False) -> None:
  """What is there is soon no longer true, if it is trained on: results, or also pictures and those on other datasets."""
  if jax.process_index() == 0:
    files.remove(folder, "results.json", *(DERIVED if all_of_them else ()))


def _evaluate(experiment: Experiment, checkpoint: Path | None, show: bool) -> dict:
  """Results, with pictures and tables for a person; `show` prints the table."""
  folder, dataset = experiment.workdir, experiment.dataset
  results, predictions, videos = evaluate.evaluate(experiment, checkpoint)
  if experiment.is_main:
    for split, prediction in predictions.items():
      names = [dataset.classes[label].name for label in prediction.class_ids]
      plots.write_pictures(folder, split, prediction, names)
    shown = predictions[f"test{experiment.config.data.split_index}"]
    plots.contact_sheet(folder / "contact_sheet.png", shown, dataset, videos)
    if show:
      tables.print_results(results)
    _say(f"Results, predictions and pictures are in {folder}")
  return results


def _test_elsewhere(config: ConfigDict, folder: Path, dataset: Dataset, tested: Dataset, checkpoint: Path | None,
                    corrected: Path | None) -> dict:
  """Results of a model on another dataset."""
  if len(by_seen(dataset.class_splits)) > 1:
    raise UserError(f"--test_dataset={tested.name}: {dataset.name} has random class splits and so several models; train on "
                    "a dataset with given ones.")
  experiment = Experiment(config, folder, dataset)
  with claim(folder, config, None if checkpoint else experiment.data, "eval", compare=not checkpoint):
    keep_config(folder, config, "eval")
    results = cross_dataset.evaluate(experiment, tested, folder / f"on_{tested.name}", checkpoint, corrected)
    if experiment.is_main:
      tables.print_transfer(results)
      _say(f"Results and predictions are in {folder / f'on_{tested.name}'}")
    return results


def _gather(config: ConfigDict, folder: Path, dataset: Dataset, of_models: list[dict]) -> dict:
  """Puts the results and predictions of several models together in `folder`, each split under its number."""
  splits = [(folder / f"split{k}" / "predictions" / f"test{j}.npz", entry) for k, results in enumerate(of_models)
            for j, entry in results["splits"].items()]
  alike = [group for results in of_models for group in results.get(distinct.FIELD, [])]
  results = {**evaluate.summarize(config.method, dataset.name, [entry for _, entry in splits]),
             **({distinct.FIELD: alike} if alike else {}), "data": of_models[0]["data"], "config": of_models[0]["config"]}
  if jax.process_index() == 0:
    files.remove(folder, "results.json", "predictions/test*.npz")
    for number, (predictions, _) in enumerate(splits):
      with files.replacing(folder / "predictions" / f"test{number}.npz") as file:
        file.write(predictions.read_bytes())
    files.write_json(folder / "results.json", results)
    tables.print_results(results)
    _say(f"Results and predictions of all splits are in {folder}")
  return results


def open_dataset(config: ConfigDict) -> Dataset:
  """The prepared dataset, its classes described as `config.data.corrections` wants.

  A dataset that needs nothing to be made from is prepared, if it is not there.
  """
  name, data_dir = config.data.dataset, _data_dir(config)
  if not DATASETS.load(name).needs_source and dataset_path(data_dir, name) is None:
    from input_pipeline import prepare  # decoding and the backbones are not needed otherwise
    if jax.process_count() > 1:
      raise UserError(f"Prepare the dataset before several processes use it:\n"
                      f"  python -m input_pipeline.prepare --dataset={name} {paths.flag('data_dir', data_dir)}")
    prepare.prepare(name, data_dir)
  return _open(data_dir, name, paths.absolute(config.data.corrections or None, "config.data.corrections"))


def _data_dir(config: ConfigDict) -> Path:
  return paths.absolute(config.data.data_dir, "config.data.data_dir")


def _open(data_dir: Path, name: str, corrected: Path | None) -> Dataset:
  dataset = open_prepared(data_dir, name)
  if not corrected:
    return dataset
  return dataclasses.replace(dataset, classes=corrections.apply(corrected, dataset.classes))


def _say(text: str) -> None:
  if jax.process_index() == 0:
    print(text, flush=True)
