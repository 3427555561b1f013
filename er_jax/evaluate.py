"""Zero-shot accuracy: every class embedded once, every video scored once, then each split looks at its own part.

    evaluate = Evaluator(videos, "test", dataset.splits.test, builder, parallel, method, config)
    predictions = evaluate(params, banks)             # {"test0": Predictions, "test1": ..., "test2": ...}
    predictions["test0"].metrics()                    # {"precision@1": 42.1, "precision@5": 73.1, ...}
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from er_jax import metrics
from er_jax.batches import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.experiment import Experiment
from er_jax.methods import Method
from er_jax.sharding import Parallel
from er_jax.steps import Banks, Params, Steps, device_banks
from input_pipeline import files
from input_pipeline.loaders import Dataset, ExampleSet, eval_batches, examples

METRICS = {"precision@1": 1, "precision@5": 5}


class Predictions(NamedTuple):
  """Scores of N videos for the C classes of a split.

  Attributes:
    names: (N,) str.
    logits: (N, C) float32.
    targets: (N,) int32 in [0, C).
    class_ids: (C,) int, positions of the columns' classes in the dataset's list.
  """
  names: np.ndarray
  logits: np.ndarray
  targets: np.ndarray
  class_ids: np.ndarray

  def metrics(self) -> dict[str, float]:
    """Percent of videos whose class is the first guess, and among the first five."""
    return {name: metrics.precision_at(self.logits, self.targets, k) for name, k in METRICS.items()}

  def save(self, path: str | os.PathLike) -> None:
    """Writes names, logits and targets as .npz, atomically."""
    with files.replacing(path) as file:
      np.savez(file, names=self.names.astype(np.str_), logits=self.logits.astype(np.float32),
               targets=self.targets.astype(np.int32))


def unseen_classes(dataset: Dataset, part: str) -> list[int]:
  """The classes that any of the splits has in `part` ("val" or "test"), in ascending order."""
  return sorted({index for split in getattr(dataset.splits, part) for index in split})


def unseen_videos(dataset: Dataset, part: str) -> ExampleSet:
  """The videos of `part` of all its classes."""
  return examples(dataset, part, unseen_classes(dataset, part))


class Evaluator:
  """Scores the videos of one part of a dataset ("val" or "test") for all its splits in one pass."""

  def __init__(self, videos: ExampleSet, part: str, class_lists: Sequence[Sequence[int]], builder: BatchBuilder,
               parallel: Parallel, method: Method, config: ConfigDict):
    """Prepares the pass.

    Args:
      videos: whose labels are in the class lists; others are not scored.
      part: begins the names of the splits.
      class_lists: the classes of each split, as positions in the dataset's list.
      builder: made with `videos`.
      parallel: the devices.
      method: the model.
      config: the experiment's config.
    """
    self._videos, self._part, self._builder = videos, part, builder
    self._parallel, self._batch_size = parallel, config.eval_batch_size
    self._class_lists = [np.asarray(classes) for classes in class_lists]
    self._classes = np.unique(np.concatenate(self._class_lists))
    class_set = builder.class_set(self._classes)
    self._steps = Steps(parallel, method, builder, class_set)
    self._class_set = parallel.shard(class_set)

  def __call__(self, params: Params, banks: Banks) -> dict[str, Predictions]:
    """Predictions of every split. `params` and `banks` are on the devices."""
    embeddings = self._steps.encode_classes(params, self._class_set, banks)
    scored = []
    for batch in eval_batches(self._videos, self._batch_size):
      step_batch = self._parallel.shard(self._builder.batch(batch, self._videos, step=0))
      scored.append((self._steps.score(params, step_batch, embeddings, banks), batch.mask))
    logits = np.concatenate([self._parallel.fetch(logits)[:len(mask)][mask] for logits, mask in scored])
    return {f"{self._part}{k}": self._of_split(logits, classes) for k, classes in enumerate(self._class_lists)}

  def _of_split(self, logits: np.ndarray, classes: np.ndarray) -> Predictions:
    rows = np.isin(self._videos.labels, classes)
    position = {label: place for place, label in enumerate(classes)}
    return Predictions(
        names=self._videos.names[rows],
        logits=logits[rows][:, np.searchsorted(self._classes, classes)],
        targets=np.array([position[label] for label in self._videos.labels[rows]], np.int32),
        class_ids=classes)


def evaluate(experiment: Experiment, checkpoint: str | None = None) -> tuple[dict, dict[str, Predictions], ExampleSet]:
  """Tests every split by the checkpoint that its validation chose; writes results.json and the predictions.

  Args:
    experiment: config, workdir, dataset.
    checkpoint: test these parameters instead, on every split.

  Returns:
    What results.json holds, each split's predictions ("test0", ...), and the videos that were scored.

  Raises:
    UserError: if there is no checkpoint, or it belongs to another model.
  """
  dataset, parallel, method, workdir = (experiment.dataset, experiment.parallel, experiment.method, experiment.workdir)
  videos = unseen_videos(dataset, "test")
  builder = BatchBuilder(dataset, experiment.config, method, [videos], parallel.num_devices, rehearse=False)
  test = Evaluator(videos, "test", dataset.splits.test, builder, parallel, method, experiment.config)
  splits = [f"test{k}" for k in range(len(dataset.splits.test))]
  if checkpoint:
    chosen = dict.fromkeys(splits, Path(checkpoint))
  else:
    folder = workdir / "checkpoints"
    best = Checkpoints(folder).record().best
    chosen = {f"test{k}": folder / str(best[f"val{k}"]["precision@1"]["step"]) for k in range(len(splits))}

  banks, predictions = None, {}
  for path in sorted(set(chosen.values())):
    params = experiment.load_params(path)
    banks = banks or device_banks(builder, parallel, method, params, experiment.cache_bytes)   # of frozen layers
    tested = test(parallel.replicate(params), banks)
    predictions |= {split: tested[split] for split in splits if chosen[split] == path}

  results = _results(experiment, predictions, chosen)
  if experiment.is_main:
    for split, prediction in predictions.items():
      prediction.save(workdir / "predictions" / f"{split}.npz")
    files.write_json(workdir / "results.json", results)
  return results, predictions, videos


def _results(experiment: Experiment, predictions: dict[str, Predictions], chosen: dict[str, Path]) -> dict:
  splits = {}
  for k in range(len(predictions)):
    prediction, step = predictions[f"test{k}"], chosen[f"test{k}"].name
    splits[str(k)] = {"step": int(step) if step.isdigit() else None, **prediction.metrics(),
                      "num_videos": len(prediction.targets), "num_classes": len(prediction.class_ids)}
  summary = {name: metrics.mean_and_std([split[name] for split in splits.values()]) for name in METRICS}
  return {"method": experiment.config.method, "dataset": experiment.dataset.name, "splits": splits,
          "mean": {name: mean for name, (mean, _) in summary.items()},
          "std": {name: std for name, (_, std) in summary.items()}}
