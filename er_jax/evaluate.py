"""Zero-shot accuracy: every class embedded once, every video scored once, then each split looks at its own part.

    evaluator = Evaluator(videos, {"test0": class_ids, ...}, builder, parallel, method, config)
    predictions = evaluator(params, banks)            # {"test0": Predictions, "test1": ..., "test2": ...}
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
from input_pipeline.errors import UserError
from input_pipeline.loaders import Dataset, ExampleSet, eval_batches, examples

METRICS = {"precision@1": 1, "precision@5": 5}
SEEN = "seen"     # in results.json: held-out videos of the seen classes, told apart among those


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


def unseen_videos(dataset: Dataset, part: str) -> ExampleSet:
  """The videos of `part` ("val" or "test") of all classes that any of the splits has there."""
  return examples(dataset, part, sorted({index for split in getattr(dataset.splits, part) for index in split}))


def test_videos(dataset: Dataset) -> ExampleSet:
  """The test videos of all unseen classes, and held-out ones of the seen classes where the dataset has any."""
  wanted = {index for split in dataset.splits.test for index in split} | set(dataset.splits.seen)
  return examples(dataset, "test", sorted(wanted & set(dataset.table("test").labels.tolist())))


class Evaluator:
  """Scores videos against all classes of several class lists in one pass, and gives each list its part."""

  def __init__(self, videos: ExampleSet, class_lists: dict[str, Sequence[int]], builder: BatchBuilder,
               parallel: Parallel, method: Method, config: ConfigDict):
    """Prepares the pass.

    Args:
      videos: what to score.
      class_lists: name of each list, such as "test0", and its classes as positions in the dataset's list.
      builder: made with `videos`.
      parallel: the devices.
      method: the model.
      config: the experiment's config.

    Raises:
      UserError: if a list has no video.
    """
    self._videos, self._builder, self._parallel, self._batch_size = videos, builder, parallel, config.eval_batch_size
    self._class_lists = {name: np.asarray(classes) for name, classes in class_lists.items()}
    self._classes = np.unique(np.concatenate(list(self._class_lists.values())))
    for name, classes in self._class_lists.items():
      if not np.isin(videos.labels, classes).any():
        raise UserError(f"There is no video of any of the {len(classes)} classes of {name}.")
    class_set = builder.class_set(self._classes)
    self._steps = Steps(parallel, method, builder, class_set, config.eval_batch_size)
    self._class_set = parallel.shard(class_set)

  def __call__(self, params: Params, banks: Banks) -> dict[str, Predictions]:
    """Predictions for every class list, of the videos whose class is in it. Arguments are on the devices."""
    embeddings = self._steps.encode_classes(params, self._class_set, banks)
    scored = []
    for batch in eval_batches(self._videos, self._batch_size):
      step_batch = self._parallel.shard(self._builder.batch(batch, self._videos))
      scored.append((self._steps.score(params, step_batch, embeddings, banks), batch.mask))
    logits = np.concatenate([self._parallel.fetch(logits)[:len(mask)][mask] for logits, mask in scored])
    return {name: self._among(classes, logits) for name, classes in self._class_lists.items()}

  def _among(self, classes: np.ndarray, logits: np.ndarray) -> Predictions:
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
  videos = test_videos(dataset)
  builder = BatchBuilder(dataset, experiment.config, method, [videos], parallel.num_devices, rehearse=False)
  class_lists = {f"test{k}": classes for k, classes in enumerate(dataset.splits.test)}
  chosen = _chosen_checkpoints(experiment, list(class_lists), checkpoint)
  if np.isin(videos.labels, dataset.splits.seen).any():
    class_lists[SEEN] = dataset.splits.seen
    chosen[SEEN] = chosen[f"test{experiment.config.data.split_index}"]
  test = Evaluator(videos, class_lists, builder, parallel, method, experiment.config)

  banks, predictions = None, {}
  for path in sorted(set(chosen.values())):
    params = experiment.load_params(path)
    banks = banks or device_banks(builder, parallel, method, params, experiment.cache_bytes)   # of frozen layers
    tested = test(parallel.replicate(params), banks)
    predictions |= {name: tested[name] for name in class_lists if chosen[name] == path}

  seen = predictions.pop(SEEN, None)
  results = _results(experiment, predictions, chosen, seen)
  if experiment.is_main:
    for split, prediction in predictions.items():
      prediction.save(workdir / "predictions" / f"{split}.npz")
    files.write_json(workdir / "results.json", results)
  return results, predictions, videos


def _chosen_checkpoints(experiment: Experiment, splits: Sequence[str], checkpoint: str | None) -> dict[str, Path]:
  """For each split the checkpoint to test: the given one, or the one that was best on the split's validation."""
  if checkpoint:
    return dict.fromkeys(splits, Path(checkpoint))
  folder = experiment.workdir / "checkpoints"
  best = Checkpoints(folder).record().best
  missing = [split for split in splits if split.replace("test", "val") not in best]
  if missing:
    raise UserError(f"{folder} was validated on {len(best)} splits; the dataset now has more: {', '.join(missing)}. "
                    "Train in a new --workdir.")
  return {split: folder / str(best[split.replace("test", "val")]["precision@1"]["step"]) for split in splits}


def _results(experiment: Experiment, predictions: dict[str, Predictions], chosen: dict[str, Path],
             seen: Predictions | None) -> dict:
  def entry(name: str, prediction: Predictions) -> dict:
    step = chosen[name].name
    return {"step": int(step) if step.isdigit() else None, **prediction.metrics(),
            "num_videos": len(prediction.targets), "num_classes": len(prediction.class_ids)}

  splits = {str(k): entry(f"test{k}", predictions[f"test{k}"]) for k in range(len(predictions))}
  summary = {name: metrics.mean_and_std([split[name] for split in splits.values()]) for name in METRICS}
  results = {"method": experiment.config.method, "dataset": experiment.dataset.name, "splits": splits,
             "mean": {name: mean for name, (mean, _) in summary.items()},
             "std": {name: std for name, (_, std) in summary.items()}}
  return results if seen is None else {**results, SEEN: entry(SEEN, seen)}
