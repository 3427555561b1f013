"""Zero-shot accuracy: every class embedded once, every video scored once, then each split looks at its own part.

    evaluator = Evaluator(videos, class_ids, builder, parallel, method, config)
    scores = evaluator(params, banks)                 # all videos by all these classes
    predictions = scores.among(dataset.splits.test[0])
    predictions.metrics()                             # {"precision@1": 42.1, "precision@5": 73.1, ...}
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jax import Array
from ml_collections import ConfigDict

from er_jax import gzsl, metrics
from er_jax.batch_builder import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.experiment import Experiment
from er_jax.methods import Method
from er_jax.results.predictions import CLASS_MEAN, GENERALIZED, METRICS, SEEN, Predictions, Scores
from er_jax.sharding import Parallel
from er_jax.steps import Banks, Params, Steps, device_banks
from input_pipeline import files
from input_pipeline.errors import UserError
from input_pipeline.loaders import Dataset, ExampleSet, eval_batches, examples


class Evaluator:
  """Scores videos for classes, each video and each class looked at once."""

  def __init__(self, videos: ExampleSet, class_ids: Sequence[int], builder: BatchBuilder, parallel: Parallel,
               method: Method, config: ConfigDict):
    """Prepares the pass.

    Args:
      videos: what to score.
      class_ids: positions in the dataset's list.
      builder: made with `videos`.
      parallel: the devices.
      method: the model.
      config: the experiment's config.
    """
    self._videos, self._builder, self._parallel, self._batch_size = videos, builder, parallel, config.eval_batch_size
    self._class_ids = np.unique(class_ids)
    self._views = [videos]
    if config.data.average_views == "scores" and builder.num_views > 1:
      self._views = [videos.of_view(view) for view in range(builder.num_views)]
    class_set = builder.class_set(self._class_ids)
    self._steps = Steps(parallel, method, builder, class_set, config.eval_batch_size)
    self._class_set = parallel.shard(class_set)

  def __call__(self, params: Params, banks: Banks) -> Scores:
    """All scores, of several views their mean. Arguments are on the devices."""
    embeddings = self._steps.encode_classes(params, self._class_set, banks)
    logits = [self._score(videos, params, embeddings, banks) for videos in self._views]
    return Scores(self._videos, self._class_ids, np.mean(logits, axis=0) if len(logits) > 1 else logits[0])

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
  videos = examples(dataset, part, sorted(set().union(*getattr(dataset.splits, part))))
  require_every_split(dataset, part, videos, getattr(dataset.splits, part))
  return videos


def held_out_videos(dataset: Dataset, part: str) -> ExampleSet:
  """The videos of `unseen_videos`, and those of the seen classes that `part` holds out, if any."""
  if dataset.split_seed is not None:      # every video of a seen class is trained on
    return unseen_videos(dataset, part)
  unseen = set().union(*getattr(dataset.splits, part))
  wanted = (unseen | set(dataset.splits.seen)) & set(dataset.table(part).labels.tolist())
  videos = examples(dataset, part, sorted(wanted or unseen))
  require_every_split(dataset, part, videos, getattr(dataset.splits, part))
  return videos


def require_every_split(dataset: Dataset, part: str, videos: ExampleSet, class_lists: Sequence[Sequence[int]]) -> None:
  """Raises: UserError if any of the class lists, one a split, has no video."""
  for k, classes in enumerate(class_lists):
    if classes and not np.isin(videos.labels, classes).any():
      raise UserError(f"{dataset.path}: there is no video of any of the {len(classes)} classes of split {k} in "
                      f"{part!r}.")


def evaluate(experiment: Experiment, checkpoint: str | None = None) -> tuple[dict, dict[str, Predictions], ExampleSet]:
  """Tests every split by the checkpoint that its validation chose, or by the last one where nothing validates.

  Writes results.json and the predictions.

  Where videos of seen classes are held out, the results say two things more: how well those are told apart
  ("seen"), and how well videos are recognised when seen and unseen classes compete ("generalized", see
  `er_jax.gzsl`).

  Args:
    experiment: config, workdir, dataset.
    checkpoint: test these parameters instead, on every split.

  Returns:
    What results.json holds, each split's predictions ("test0", ...), and the videos that were scored.

  Raises:
    UserError: if there is no checkpoint, or it belongs to another model.
  """
  config, dataset, parallel, method = (experiment.config, experiment.dataset, experiment.parallel, experiment.method)
  splits, chosen = dataset.splits, chosen_checkpoints(experiment, checkpoint)
  sets = {"test": held_out_videos(dataset, "test")}
  holds_seen = np.isin(sets["test"].labels, splits.seen).any()
  competing = holds_seen and all(splits.val) and np.isin(dataset.table("val").labels, splits.seen).any()
  if competing:
    sets["val"] = held_out_videos(dataset, "val")
  builder = BatchBuilder(dataset, config, method, list(sets.values()), parallel.num_devices, rehearse=False)
  seen = splits.seen if holds_seen else ()
  evaluators = {part: Evaluator(videos, sorted({*seen}.union(*getattr(splits, part))), builder, parallel, method, config)
                for part, videos in sets.items()}

  banks, predictions, entries = None, {}, {}
  for path in sorted(set(chosen)):
    params = experiment.load_params(path)
    banks = banks or device_banks(builder, parallel, method, params, experiment.cache_bytes)   # of frozen layers
    params = parallel.replicate(params)
    scores = {part: evaluator(params, banks) for part, evaluator in evaluators.items()}
    for k in (k for k, of_split in enumerate(chosen) if of_split == path):
      predictions[f"test{k}"] = scores["test"].among(splits.test[k])
      entries[k] = entry(path, predictions[f"test{k}"])
      if competing:
        test = scores["test"].among([*seen, *splits.test[k]])
        entries[k][GENERALIZED] = {
            **gzsl.evaluate(scores["val"].among([*seen, *splits.val[k]]), test, len(seen)),
            "num_videos": len(test.targets)}
      if k == config.data.split_index and holds_seen:
        entries[SEEN] = entry(path, scores["test"].among(seen))

  predictions = dict(sorted(predictions.items()))
  results = {**summarize(config.method, dataset.name, [entries[k] for k in range(len(chosen))], entries.get(SEEN)),
             "data": experiment.data}
  if experiment.is_main:
    for split, prediction in predictions.items():
      prediction.save(experiment.workdir / "predictions" / f"{split}.npz")
    files.write_json(experiment.workdir / "results.json", results)
  return results, predictions, sets["test"]


def chosen_checkpoints(experiment: Experiment, checkpoint: str | None) -> list[Path]:
  """For each split the checkpoint to test: the given one, or the one that was best on the split's validation."""
  val = experiment.dataset.splits.val
  if checkpoint:
    return [Path(checkpoint) for _ in val]
  folder = experiment.workdir / "checkpoints"
  checkpoints = Checkpoints(folder)
  record = checkpoints.record()
  if not all(val) and not record.complete:
    raise UserError(f"{folder}: training stopped at step {checkpoints.latest_step}, and there are no validation classes by "
                    "which to choose a checkpoint but the last. Train to the end with --mode=train, or name a checkpoint "
                    "with --checkpoint.")
  best = record.best
  missing = [f"val{k}" for k, classes in enumerate(val) if classes and f"val{k}" not in best]
  if missing:
    raise UserError(f"{folder} was not validated on {', '.join(missing)}. Train to the end with --mode=train; or, if "
                    "the dataset has been given more splits since, in a new --workdir.")
  return [folder / str(best[f"val{k}"]["precision@1"]["step"] if classes else checkpoints.latest_step)
          for k, classes in enumerate(val)]


def entry(checkpoint: Path, predictions: Predictions) -> dict:
  """What results.json says of a set of predictions: accuracies, and on how many videos and classes they rest."""
  return {"step": int(checkpoint.name) if checkpoint.name.isdigit() else None, **predictions.metrics(),
          CLASS_MEAN: predictions.mean_class_accuracy(),
          "num_videos": len(predictions.targets), "num_classes": len(predictions.class_ids)}


def summarize(method: str, dataset: str, splits: Sequence[dict], seen: dict | None = None) -> dict:
  """What results.json holds of these splits: each of them, and their means and standard deviations.

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
