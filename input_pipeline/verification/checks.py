"""Checks of the videos that a dataset expects: are they there, can be read, are prepared, and were evaluated?

    found, readable, problems = check_files(options, raw_dataset, read="frames")
    prepared, problems, remarks = check_prepared(raw_dataset, dataset)
    evaluated, problems, remarks = check_evaluated(raw_dataset, class_splits(raw_dataset), dataset, Path("runs/mine"))

Masks have a place for each video of the raw dataset. Problems say what is wrong with a entry, by its position; remarks say
what else is wrong.
"""

import collections
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from input_pipeline import files, manifest, numpy_files
from input_pipeline.backbones import usual_samplings
from input_pipeline.dataset import Dataset
from input_pipeline.errors import Failure, UserError
from input_pipeline.features.from_files import BadFile, read_feature
from input_pipeline.near_names import no_file
from input_pipeline.preparation import made_of
from input_pipeline.preparation.feature_sources import reads_files
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.progress import Progress
from input_pipeline.raw_dataset import PARTS, RawDataset
from input_pipeline.verification.expected import SplitVideos
from input_pipeline.videos import decode

FILES_A_TASK, TASKS_AHEAD = 4, 512      # of the threads
SHOWN = 3      # names that a remark lists


def check_files(
    options: PrepareOptions, raw_dataset: RawDataset, read: str
) -> tuple[np.ndarray, np.ndarray | None, dict[int, str]]:
  """Looks at the file of every entry, in `options.num_workers` threads, with progress and damaged videos on stderr.

  Args:
    options: says whether these are videos or features, and which frames of videos are wanted.
    raw_dataset: the videos.
    read: what of a video: "frames", those that extraction would decode; "packets", which shows that it can be opened
      and how many frames it should have, but not that they can be decoded; or "none". Feature files are read as a
      whole, unless it is "none".

  Returns:
    Which are found: there and not empty. Which are readable; None if not read. Why others are not.
  """
  reader = None if read == "none" else _reader(options, read)
  paths = [entry.path for entry in raw_dataset.entries]
  found, problems, damaged = np.zeros(len(paths), bool), {}, []
  pool = ThreadPoolExecutor(options.num_workers, thread_name_prefix="verify")
  try:
    with Progress("look for files" if reader is None else "read files", len(paths), "files") as progress:
      for start in range(0, len(paths), FILES_A_TASK * TASKS_AHEAD):
        stop = min(start + FILES_A_TASK * TASKS_AHEAD, len(paths))
        tasks = [paths[first:min(first + FILES_A_TASK, stop)] for first in range(start, stop, FILES_A_TASK)]
        looked_at = pool.map(lambda task: [_look(path, reader) for path in task], tasks)
        for first, looked in zip(range(start, stop, FILES_A_TASK), looked_at):
          for index, (there, problem, is_damaged) in enumerate(looked, start=first):
            found[index] = there
            if problem:
              problems[index] = problem
            if is_damaged:
              damaged.append(paths[index])
          progress.advance(len(looked))
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
  decode.warn_of_damaged(damaged)
  readable = found.copy()
  readable[list(problems)] = False
  return found, None if reader is None else readable, problems


def _reader(options: PrepareOptions, read: str) -> Callable[[Path], np.ndarray | decode.Count | decode.ClipFrames]:
  """What reads a feature or a video, and raises VideoError, BadFile or Failure for one that cannot be read."""
  if reads_files(options):
    return read_feature
  samplings = usual_samplings(options.views)
  return decode.count if read == "packets" else lambda path: decode.read_clip(path, samplings)


def _look(path: Path, reader: Callable[[Path], Any] | None) -> tuple[bool, str | None, bool]:
  """Whether there is a file that is not empty, why it cannot be read, and whether it is a damaged video."""
  try:
    status = path.stat()
  except OSError as error:
    reason = str(error.strerror).lower()
    return False, no_file(path) if isinstance(error, FileNotFoundError) else f"cannot be looked at: {reason}", False
  if not stat.S_ISREG(status.st_mode):
    return False, "is not a file", False
  if not status.st_size:
    return False, "the file is empty (0 bytes)", False
  try:
    return True, None, reader is not None and getattr(reader(path), "damaged", False)
  except (decode.VideoError, BadFile, Failure) as error:
    return True, str(error), False
  except Exception as error:
    error.add_note(f"The file was {path}.")
    raise


def check_prepared(raw_dataset: RawDataset, dataset: Dataset) -> tuple[np.ndarray, dict[int, str], list[str]]:
  """Looks for every video among the examples of a prepared dataset, and compares what both say of the classes.

  Returns:
    Which videos are examples of their class, why others are not, and in what else the dataset differs.

  Raises:
    UserError: the dataset is not as it was written.
  """
  names, stored_names = ([action.name for action in of.classes] for of in (raw_dataset, dataset))
  splits = [split for split in PARTS if split in dataset.tables] if dataset.divides_videos else ["all"]
  examples = {}     # (split, name) -> class
  for split in splits:
    table = dataset.table(split)
    labels = table.labels.tolist()
    examples.update(((split, name), stored_names[label]) for name, label in zip(table.names.tolist(), labels))
  reasons = made_of.skip_reasons(dataset.path)

  prepared, problems = np.zeros(len(raw_dataset.entries), bool), {}
  keys = [(entry.split if dataset.divides_videos else "all", entry.name) for entry in raw_dataset.entries]
  for index, (key, entry) in enumerate(zip(keys, raw_dataset.entries)):
    if examples.get(key) == names[entry.label]:
      prepared[index] = True
    elif key in examples:
      problems[index] = f"prepared as a video of class {examples[key]!r}"
    elif entry.name in reasons:
      problems[index] = f"left out when the dataset was prepared: {reasons[entry.name]}"
    else:
      problems[index] = "not in the prepared dataset"

  remarks = _not_expected(f"{dataset.path} holds", [name for _, name in examples.keys() - keys])
  remarks += [f"{dataset.path} is not of what there is now: {difference}."
              for difference in made_of.differences(raw_dataset, dataset.path)]
  path = dataset.path / manifest.NAME
  if path.exists():
    manifest.cite(path, dataset.classes, dataset.class_splits)     # raises if it was changed
    listed = [name for of_split in files.read_json(path)["videos"].values() for of_class in of_split.values()
              for name in of_class]
    if collections.Counter(listed) != collections.Counter(name for _, name in examples):
      remarks.append(f"{path} lists other videos than the dataset holds. Prepare it again.")
  return prepared, problems, remarks


def check_evaluated(
    raw_dataset: RawDataset, splits: Sequence[SplitVideos], dataset: Dataset, run: Path
) -> tuple[list[np.ndarray], dict[int, str], list[str]]:
  """Looks for the videos of the test classes in the predictions of a run.

  Args:
    raw_dataset: the videos.
    splits: its class splits.
    dataset: the prepared one.
    run: folder with results.json and predictions/.

  Returns:
    For each class split which of its test videos were evaluated, in which class splits others were not, and what else
    is wrong with the results.

  Raises:
    UserError: there are no results of this dataset in `run`, or a file there cannot be read.
  """
  results = _read_results(run, dataset)
  remarks = _compare_manifests(run, results, dataset)
  evaluated, missed = [], collections.defaultdict(list)
  for k, split in enumerate(splits):
    members = np.nonzero(split.videos["test"])[0].tolist()
    index_of = {raw_dataset.entries[index].name: index for index in members}
    names, more = _evaluated_names(run, results["splits"].get(str(k)), k)
    remarks += more + _not_expected(f"The predictions of class split {k} are also of", set(names) - index_of.keys())
    mask = np.zeros(len(raw_dataset.entries), bool)
    mask[[index_of[name] for name in names if name in index_of]] = True
    evaluated.append(mask)
    for index in members:
      if not mask[index]:
        missed[index].append(k)
  problems = {index: f"not evaluated in class split {', '.join(map(str, ks))}" for index, ks in missed.items()}
  return evaluated, problems, remarks


def _read_results(run: Path, dataset: Dataset) -> dict[str, Any]:
  path = run / "results.json"
  if not path.exists():
    raise UserError(f"--workdir={run} holds no results.json: no run was evaluated there. Give another, or do so with\n"
                    f"  python -m er_jax.main --config=configs/METHOD.py:{dataset.name} --workdir={run} --mode=eval")
  results = files.read_json(path, finite=False)
  if not isinstance(results, dict) or not isinstance(results.get("splits"), dict):
    raise UserError(f"{path} is not what an evaluation leaves: it has no \"splits\". Evaluate again (--mode=eval).")
  if results.get("dataset") != dataset.name:
    other = run / f"on_{dataset.name}"
    advice = f"Those on {dataset.name} are in --workdir={other}." if other.is_dir() else "Give another --workdir."
    raise UserError(f"{path} has the results on {results.get('dataset')!r}, not on {dataset.name!r}. {advice}")
  return results


def _compare_manifests(run: Path, results: dict[str, Any], dataset: Dataset) -> list[str]:
  """A remark, if the results do not rest on this very dataset."""
  path = dataset.path / manifest.NAME
  there = manifest.cite(path, dataset.classes, dataset.class_splits)["sha256"] if path.exists() else "not there"
  try:
    cited = results["data"]["manifest"]["sha256"]
  except (KeyError, TypeError):     # of a dataset without a manifest
    cited = "not given"
  return [] if cited == there else [
      f"{run / 'results.json'} does not rest on {dataset.path} as it is now: the sha256 of the manifest is {cited} in "
      f"the results, {there} in the dataset. Evaluate again (--mode=eval)."]


def _evaluated_names(run: Path, reported: Any, k: int) -> tuple[list[str], list[str]]:
  """The videos that class split `k` was tested on, and remarks about them."""
  path = run / "predictions" / f"test{k}.npz"
  if reported is None or not path.exists():
    lacking = f"{run / 'results.json'} has no results of it" if reported is None else f"there is no {path}"
    return [], [f"Class split {k} was not evaluated: {lacking}."]
  try:
    names = numpy_files.read_npz(path, ("names",))["names"].tolist()
    num_videos = reported["num_videos"]
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise UserError(f"{path}, or results.json beside it, is not what an evaluation leaves ({type(error).__name__}: "
                    f"{error}). Evaluate again (--mode=eval).") from error
  if len(set(names)) == len(names) == num_videos:
    return names, []
  return names, [f"{run / 'results.json'} says that the accuracy of class split {k} rests on {num_videos} videos, but "
                 f"{path} has {len(set(names))} different ones in {len(names)} rows."]


def _not_expected(beginning: str, names: Iterable[str]) -> list[str]:
  """A remark about names that are of no expected video, if there are any."""
  names = sorted(names)
  return [f"{beginning} {len(names)} videos that are not expected: {', '.join(names[:SHOWN])}"
          f"{', ...' * (len(names) > SHOWN)}"] if names else []
