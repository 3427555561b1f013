"""A model trained on one dataset, tested on another: accuracy, and how much of it rests on classes that it knows.

    results = cross_dataset.evaluate(experiment, open_dataset("data", "ucf101_zsar"), folder)
    results["all_classes"], results["splits"]["0"]["without_twins"], results["overlap"]

A class of the test is no unseen class if the model was trained on its twin: on a class of the same name, or with the
same description. (The published descriptions of UCF101, HMDB51 and Olympic Sports share many with Kinetics.) So every
accuracy is given with and without the classes that have a seen twin, and their videos.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from er_jax import provenance
from er_jax.batch_builder import BatchBuilder
from er_jax.evaluate import Evaluator, chosen_checkpoints, entry, require_every_split, summarize
from er_jax.experiment import Experiment
from er_jax.models.spec import GRAPH, VECTORS
from er_jax.results.predictions import Scores
from er_jax.steps import device_banks
from input_pipeline import files
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples
from input_pipeline.metadata import class_names
from input_pipeline.metadata.descriptions import ActionClass, read_classes

WITHOUT = "without_twins"


def twins(seen: Sequence[ActionClass], unseen: Sequence[ActionClass]) -> dict[int, dict[str, str]]:
  """Which unseen classes are seen ones.

  Names are the same if they have the same letters and digits, descriptions if they have the same words in the same
  order; case plays no part.

  Args:
    seen: the classes of the training.
    unseen: those of the test.

  Returns:
    Position in `unseen` -> {"name": the seen class of this name, "description": that with this description}, each
    where there is one.
  """
  by_name = {class_names.key(action.name): action.name for action in seen}
  by_description = {_words(action): action.name for action in seen if _words(action)}
  found = {}
  for index, action in enumerate(unseen):
    same = {"name": by_name.get(class_names.key(action.name)), "description": by_description.get(_words(action))}
    if any(same.values()):
      found[index] = {what: name for what, name in same.items() if name}
  return found


def _words(action: ActionClass) -> str:
  return " ".join(action.description.lower().split())


def evaluate(experiment: Experiment, dataset: Dataset, folder: Path, checkpoint: Path | None = None,
             corrected: Path | None = None) -> dict:
  """Tests a trained model on another dataset; writes results.json and the predictions.

  Args:
    experiment: of the training.
    dataset: to test on.
    folder: where results go.
    checkpoint: test these parameters instead of those that validation chose for class split `config.data.split_index`.
    corrected: the file by which its classes are described otherwise, if any.

  Returns:
    The content of results.json: as for a run, for each class split of `dataset` the videos of its test classes among these;
    "trained_on"; "overlap", the test classes with a seen twin; "all_classes", every test class of any split at once.
    Each accuracy has another one in "without_twins", None where nothing is left; "mean" and "std" too.

  Raises:
    UserError: the datasets do not fit each other, or there is no checkpoint.
  """
  config, parallel, method = experiment.config, experiment.parallel, experiment.method
  _require_same_kind(experiment, dataset)
  tests = [split.test for split in dataset.class_splits]
  class_ids = sorted(set().union(*tests))
  overlap = {label: same for label, same in _overlap(experiment.dataset, dataset).items() if label in class_ids}
  data = provenance.of(config, dataset, corrected)

  # Where class splits are random, every video may be for the test; else those that are stored for it.
  videos = examples(dataset, "test", class_ids)
  require_every_split(dataset, "test", videos, tests)
  builder = BatchBuilder(dataset, config, method, [videos], parallel.num_devices, rehearse=False)
  experiment.warn(builder.alike.remarks)
  evaluator = Evaluator(experiment, builder, videos, class_ids)
  path = chosen_checkpoints(experiment, checkpoint)[config.data.split_index]
  params = experiment.load_params(path)
  banks = device_banks(builder.banks, parallel, method, params, experiment.cache_bytes)
  scores = evaluator(parallel.replicate(params), banks)

  entries = [_with_and_without(path, scores, test, overlap) for test in tests]
  known = [kept[WITHOUT] for kept in entries if kept[WITHOUT]]
  results = {
      **summarize(config.method, dataset.name, entries), "trained_on": experiment.dataset.name,
      WITHOUT: {name: summarize("", "", known)[name] for name in ("mean", "std")} if known else None,
      "all_classes": _with_and_without(path, scores, class_ids, overlap),
      "overlap": [{"class": dataset.classes[label].name, "seen": same} for label, same in overlap.items()],
      **builder.alike.results, "data": data, "training_data": experiment.data}
  if experiment.is_main:
    files.remove(folder, "results.json", "predictions/*.npz")
    for k, test in enumerate(tests):
      scores.among(test).save(folder / "predictions" / f"test{k}.npz")
    scores.among(class_ids).save(folder / "predictions" / "all_classes.npz")
    files.write_json(folder / "results.json", results)
  return results


def _overlap(trained: Dataset, tested: Dataset) -> dict[int, dict[str, str]]:
  """Twins by the texts in use, or by the original ones: a class is no other one for being described otherwise."""
  originals = [read_classes(dataset.path / "classes.jsonl") for dataset in (trained, tested)]
  seen = [classes[label] for classes in (originals[0], trained.classes) for split in trained.class_splits
          for label in split.seen]
  return {**twins(seen, tested.classes), **twins(seen, originals[1])}


def _require_same_kind(experiment: Experiment, dataset: Dataset) -> None:
  trained = experiment.dataset
  if not dataset.class_splits:
    raise UserError(f"{dataset.path} has no class_splits.json: it does not say which classes to test on.")
  if dataset.feature_dim != trained.feature_dim:
    raise UserError(f"{dataset.path} has features of {dataset.feature_dim} numbers, but the model was trained on those of "
                    f"{trained.path}, of {trained.feature_dim}. Prepare both with the same network.")
  width = None if dataset.class_vectors is None else dataset.class_vectors.shape[1]
  if experiment.method.needs & {VECTORS, GRAPH} and width != experiment.method.sizes.vector_dim:
    raise UserError(f"Method {experiment.method.name} was trained with class vectors of "
                    f"{experiment.method.sizes.vector_dim} numbers, but "
                    f"{dataset.path} has {'none' if width is None else f'those of {width}'} (class_vectors.npy).")
  if dataset.source.get("fingerprint") != trained.source.get("fingerprint") and experiment.is_main:
    print(f"Warning: {dataset.path} and {trained.path} were not prepared with the same weights and settings; accuracy is "
          "only worth something if their features are of the same network.", file=sys.stderr)


def _with_and_without(checkpoint: Path, scores: Scores, class_ids: Sequence[int], overlap: dict[int, dict]) -> dict:
  kept = [label for label in class_ids if label not in overlap]
  has_videos = np.isin(scores.videos.labels, kept).any()
  return {**entry(checkpoint, scores.among(class_ids)),
          WITHOUT: entry(checkpoint, scores.among(kept)) if has_videos else None}
