"""Zero-shot accuracy: every class embedded once, every video scored once, then each split looks at its own part.

    evaluator = Evaluator(experiment, builder, videos, class_ids)
    scores = evaluator(params, banks)                 # all videos by all these classes
    predictions = scores.among(experiment.splits[0].test)
    predictions.metrics()                             # {"precision@1": 42.1, "precision@5": 73.1, ...}
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from er_jax import gzsl, metrics
from er_jax.batch_builder import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.experiment import Experiment
from er_jax.inputs import Banks, Params
from er_jax.metrics import CLASS_MEAN, GENERALIZED, METRICS, SEEN
from er_jax.results.predictions import Predictions, Scores
from er_jax.steps import Steps, device_banks
from er_jax.types import Array
from er_jax.workdir import as_written
from input_pipeline import files, paths
from input_pipeline.dataset import Dataset
from input_pipeline.errors import Failure, UserError
from input_pipeline.loaders import ExampleSet, eval_batches, examples


class Evaluator:
  """Scores videos for classes, each video and each class looked at once."""

  def __init__(self, experiment: Experiment, builder: BatchBuilder, videos: ExampleSet, class_ids: Sequence[int]):
    """Prepares the pass.

    Args:
      experiment: the config made real.
      builder: made with `videos`.
      videos: what to score.
      class_ids: positions in the dataset's list.
    """
    config = experiment.config
    self._videos, self._builder, self._parallel = videos, builder, experiment.parallel
    self._batch_size, self._class_ids = config.eval_batch_size, np.unique(class_ids)
    self._class_names = [experiment.dataset.classes[index].name for index in self._class_ids]
    self._views = [videos]
    if config.data.average_views == "scores" and builder.num_views > 1:
      self._views = [videos.of_view(view) for view in range(builder.num_views)]
    self._steps = Steps(experiment.parallel, experiment.method)
    self._class_set = experiment.parallel.shard(builder.class_set(self._class_ids))

  def __call__(self, params: Params, banks: Banks) -> Scores:
    """All scores, of several views their mean. Arguments are on the devices. Raises: Failure if one is not finite."""
    embeddings = self._steps.encode_classes(params, self._class_set, banks)
    logits = [self._score(videos, params, embeddings, banks) for videos in self._views]
    mean = np.mean(logits, axis=0) if len(logits) > 1 else logits[0]
    if not np.isfinite(mean).all():
      row, column = np.argwhere(~np.isfinite(mean))[0]
      raise Failure(f"The score of video {self._videos.names[row]!r} for class {self._class_names[column]!r} is "
                    f"{mean[row, column]}, though model and features are finite: they are too large. Train with a lower "
                    "config.optimizer.learning_rate, or scale the features.")
    return Scores(self._videos, self._class_ids, mean)

  def _score(self, videos: ExampleSet, params: Params, embeddings: Array, banks: Banks) -> np.ndarray:
    """(videos, classes) logits."""
    scored = []
    for batch in eval_batches(videos, self._batch_size):
      step_batch = self._parallel.shard(self._builder.batch(batch, self._videos))
      scored.append((self._steps.score(params, step_batch, embeddings, banks), batch.mask))
    logits = np.concatenate([self._parallel.fetch(logits)[:len(mask)][mask] for logits, mask in scored])
    return logits[:, :len(self._class_ids)]


def unseen_videos(dataset: Dataset, part: str) -> ExampleSet:
  """The videos of `part` ("val" or "test") of all classes that any of the splits has there.

  Raises:
    UserError: if one of the splits has no video there.
  """
  class_lists = [getattr(split, part) for split in dataset.class_splits]
  videos = examples(dataset, part, sorted(set().union(*class_lists)))
  require_every_split(dataset, part, videos, class_lists)
  return videos


def held_out_videos(dataset: Dataset, part: str) -> ExampleSet:
  """The videos of `unseen_videos`, and those of the seen classes that `part` holds out, if any."""
  if not dataset.divides_videos:      # every video of a seen class is trained on
    return unseen_videos(dataset, part)
  class_lists = [getattr(split, part) for split in dataset.class_splits]
  unseen = set().union(*class_lists)
  wanted = unseen.union(*(split.seen for split in dataset.class_splits)) & set(dataset.table(part).labels.tolist())
  videos = examples(dataset, part, sorted(wanted or unseen))
  require_every_split(dataset, part, videos, class_lists)
  return videos


def require_every_split(dataset: Dataset, part: str, videos: ExampleSet, class_lists: Sequence[Sequence[int]]) -> None:
  """Raises: UserError if any of the class lists, one a split, has no video."""
  for k, classes in enumerate(class_lists):
    if classes and not np.isin(videos.labels, classes).any():
      raise UserError(f"{dataset.path}: there is no video of any of the {len(classes)} classes of split {k} in "
                      f"{part!r}.")


def evaluate(experiment: Experiment, checkpoint: str | Path | None = None) -> tuple[dict, dict[str, Predictions], ExampleSet]:
  """Tests every split by the checkpoint that its validation chose, or by the last one where nothing validates.

  Writes results.json and the predictions.

  Where videos of seen classes are held out, the results say two things more: how well those are told apart
  ("seen"), and how well videos are recognised when seen and unseen classes compete ("generalized", see
  `er_jax.gzsl`).

  Args:
    experiment: config, workdir, dataset.
    checkpoint: test these parameters instead, on every split.

  Returns:
    The content of results.json, each split's predictions ("test0", ...), and the videos that were scored.

  Raises:
    UserError: if there is no checkpoint, or it belongs to another model.
  """
  config, dataset, parallel, splits = experiment.config, experiment.dataset, experiment.parallel, experiment.splits
  chosen = chosen_checkpoints(experiment, checkpoint)
  sets = {"test": held_out_videos(dataset, "test")}
  holds_seen = np.isin(sets["test"].labels, experiment.seen).any()
  competing = holds_seen and all(split.val for split in splits) and np.isin(dataset.table("val").labels,
                                                                            experiment.seen).any()
  if competing:
    sets["val"] = held_out_videos(dataset, "val")
  builder = BatchBuilder(dataset, config, experiment.method, list(sets.values()), parallel.num_devices, rehearse=False)
  experiment.warn(builder.alike.remarks)
  seen = experiment.seen if holds_seen else ()
  evaluators = {part: Evaluator(experiment, builder, videos, sorted({*seen}.union(*(getattr(s, part) for s in splits))))
                for part, videos in sets.items()}

  banks, predictions, entries = None, {}, {}
  for path in sorted(set(chosen)):
    params = experiment.load_params(path)
    banks = banks or device_banks(builder.banks, parallel, experiment.method, params, experiment.cache_bytes)
    params = parallel.replicate(params)
    scores = {part: evaluator(params, banks) for part, evaluator in evaluators.items()}
    for k in (k for k, of_split in enumerate(chosen) if of_split == path):
      predictions[f"test{k}"] = scores["test"].among(splits[k].test)
      entries[k] = entry(path, predictions[f"test{k}"])
      if competing:
        test = scores["test"].among([*seen, *splits[k].test])
        entries[k][GENERALIZED] = {
            **gzsl.evaluate(scores["val"].among([*seen, *splits[k].val]), test, len(seen)),
            "num_videos": len(test.targets)}
      if k == config.data.split_index and holds_seen:
        entries[SEEN] = entry(path, scores["test"].among(seen))

  predictions = dict(sorted(predictions.items()))
  results = {**summarize(config.method, dataset.name, [entries[k] for k in range(len(chosen))], entries.get(SEEN)),
             **builder.alike.results, "data": experiment.data, "config": as_written(config),
             **({"checkpoint": str(checkpoint)} if checkpoint else {})}
  if experiment.is_main:
    files.remove(experiment.workdir, "results.json", "predictions/test*.npz")      # there may have been more splits
    for split, prediction in predictions.items():
      prediction.save(experiment.workdir / "predictions" / f"{split}.npz")
    files.write_json(experiment.workdir / "results.json", results)
  return results, predictions, sets["test"]


def chosen_checkpoints(experiment: Experiment, checkpoint: str | Path | None) -> list[Path]:
  """For each split the checkpoint to test: the given one, or the one that was best on the split's validation."""
  splits = experiment.splits
  if checkpoint:
    return [paths.absolute(checkpoint, "--checkpoint") for _ in splits]
  folder = experiment.workdir / "checkpoints"
  checkpoints = Checkpoints(folder)
  best = checkpoints.best_so_far()
  if not all(split.val for split in splits) and not best.complete:
    raise UserError(f"{folder}: training stopped at step {checkpoints.latest_step}, and there are no validation classes by "
                    "which to choose a checkpoint but the last. Train to the end with --mode=train, or name a checkpoint "
                    "with --checkpoint.")
  missing = [f"val{k}" for k, split in enumerate(splits) if split.val and f"val{k}" not in best.splits]
  if missing:
    raise UserError(f"{folder} was not validated on {', '.join(missing)}. Train to the end with --mode=train; or, if "
                    "the dataset has been given more splits since, in a new --workdir.")
  return [folder / str(best.splits[f"val{k}"]["precision@1"]["step"] if split.val else checkpoints.latest_step)
          for k, split in enumerate(splits)]


def entry(checkpoint: Path, predictions: Predictions) -> dict:
  """The part of results.json about a set of predictions: accuracies, and on how many videos and classes they rest."""
  return {"step": int(checkpoint.name) if checkpoint.name.isdigit() else None, **predictions.metrics(),
          CLASS_MEAN: predictions.mean_class_accuracy(),
          "num_videos": len(predictions.targets), "num_classes": len(predictions.class_ids)}


def summarize(method: str, dataset: str, splits: Sequence[dict], seen: dict | None = None) -> dict:
  """The content of results.json about these splits: each of them, and their means and standard deviations.

  Args:
    method, dataset: their names.
    splits: the entry of each.
    seen: of held-out videos of the seen classes, if there are any.
  """
  results = {"method": method, "dataset": dataset, "splits": {str(k): split for k, split in enumerate(splits)},
             **metrics.means_and_stds({name: [split[name] for split in splits] for name in (*METRICS, CLASS_MEAN)})}
  if GENERALIZED in splits[0]:
    competing = [split[GENERALIZED] for split in splits]
    results[GENERALIZED] = metrics.means_and_stds({name: [split[name] for split in competing] for name in competing[0]
                                                   if name != "num_videos"})
  return results if seen is None else {**results, SEEN: seen}
