"""Features that somebody has extracted already: one .npy file a video, and one JSON file of all their concepts.

    features = FeatureFiles(predictions=Path("features/bit-m-r50x1_top20_preds.json"))
    skipped = features.fill(raw_dataset, store)      # {video index: reason}
    store[0].views, store[0].concept_ids            # (V, D) float32, (20,) int32

The path of a video is that of its feature: (V, D) floats, a row for each of V views, V < D, or (D,) floats, which are
one view. All files have the same V and D. A video without a file is left out; a file that is there and no good is an
error, so that nobody trains on half a dataset without knowing.
"""

import collections
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from input_pipeline import faults, files, numpy_files
from input_pipeline.errors import UserError
from input_pipeline.features.object_predictions import Predictions, no_predictions, read_predictions
from input_pipeline.features.store import NO_STAMP, FeatureStore, VideoFeatures, stamp
from input_pipeline.near_names import differences, no_file
from input_pipeline.progress import Progress
from input_pipeline.raw_dataset import RawDataset, VideoEntry

FORMAT = 2              # to be raised when the same files would give other features
BAD_SHOWN = 10          # files that an error lists
Shape = tuple[int, int]      # V, D


class BadFile(Exception):
  """A feature file that cannot be used; the message says why, without the file's name."""


class FeatureFiles:
  """Features in files, as a source of features."""

  def __init__(self, predictions: Path | None):
    """Args: predictions: the JSON file of concepts; None if there is none, then no video has concepts."""
    self._predictions = predictions

  def fingerprint(self) -> str:
    """Hexadecimal digest of what decides the features, besides each video's own file: the content of the concepts.

    Raises:
      UserError: the file of concepts cannot be read.
    """
    try:
      content = None if self._predictions is None else files.cite(self._predictions)["sha256"]
    except OSError as error:
      raise UserError(f"Cannot read {self._predictions}: {error}.") from error
    return hashlib.sha256(repr((FORMAT, content)).encode()).hexdigest()

  def fill(self, raw_dataset: RawDataset, store: FeatureStore) -> dict[int, str]:
    """Puts the features of every video that has a file into `store`, except of those it already has.

    Args:
      raw_dataset: its videos' paths are those of their features.
      store: where results go; flushed when this ends, also by an exception.

    Returns:
      Why the other videos were skipped, by position in `raw_dataset.entries`, in rising order.

    Raises:
      UserError: listing the first feature files that are no good, or naming what is wrong with the concepts.
      Failure: the machine cannot read a file.
    """
    entries = raw_dataset.entries
    predictions = self._read_predictions(raw_dataset)
    skipped: dict[int, str] = {}
    bad: dict[int, str] = {}
    by_shape: dict[Shape, list[int]] = collections.defaultdict(list)      # those of the first shape are stored
    stored = [index for index in range(len(entries)) if index in store]
    pending = [index for index in range(len(entries)) if index not in store]
    if stored:
      by_shape[store[stored[0]].views.shape] = stored
    with Progress("read features", len(entries), "videos", done=len(stored)) as progress:
      try:
        for index in pending:
          entry, read_as = entries[index], stamp(entries[index].path)
          if read_as == NO_STAMP:
            skipped[index] = no_file(entry.path)
          else:
            try:
              views = read_feature(entry.path)
            except BadFile as error:
              bad[index] = str(error)
            else:
              by_shape[views.shape].append(index)
              if len(by_shape) == 1:
                store.add(index, read_as, VideoFeatures(
                    views, predictions.ids[index], predictions.scores[index], entry.num_frames or 0))
          progress.advance()
      finally:
        store.flush()
    _require_good(entries, bad, by_shape)
    return skipped

  def _read_predictions(self, raw_dataset: RawDataset) -> Predictions:
    names = [entry.name for entry in raw_dataset.entries]
    if self._predictions is None:
      return no_predictions(len(names))
    predictions = read_predictions(self._predictions, names, len(raw_dataset.concepts) or None)
    if without := int(np.sum(~predictions.found)):
      print(f"{without} videos have no entry in {self._predictions}; they are kept, without objects.", file=sys.stderr)
    if near := predictions.near:
      shown = [f"  {name!r} is {other!r} there, which differs in {differences(name, other)}"
               for name, other in list(near.items())[:BAD_SHOWN]]
      print("\n".join([f"{len(near)} of them are there under a name that is written in another way:", *shown,
                       *["  ..."] * (len(near) > BAD_SHOWN)]), file=sys.stderr)
    return predictions


def read_feature(path: Path) -> np.ndarray:
  """The (V, D) float32 feature in a file of shape (V, D), or (D,) for V = 1, and any float type.

  Raises:
    BadFile: it is no good.
    Failure: the machine cannot read it.
  """
  try:
    files.require_regular(path)
    array = numpy_files.read_npy(path)
  except (OSError, ValueError) as error:
    if isinstance(error, OSError):
      faults.require_own(path, error)
    raise BadFile(f"cannot be read as a .npy file of numbers ({error}); is it whole?") from error
  if array.dtype.kind != "f":
    raise BadFile(f"holds {array.dtype}, expected floating-point numbers")
  if array.ndim not in (1, 2) or not array.size:
    raise BadFile(f"has shape {array.shape}, expected (D,) or (V, D)")
  _require_rows(array.shape)
  with np.errstate(over="ignore"):
    views = np.atleast_2d(array).astype(np.float32)
  if not np.isfinite(views).all():
    view, position = np.argwhere(~np.isfinite(views))[0]
    raise BadFile(f"holds {views[view, position]} at position {position} of view {view}, expected finite numbers")
  if (constant := (views == views[:, :1]).all(axis=1)).any():
    view = int(np.argmax(constant))
    raise BadFile(f"holds nothing but {views[view, 0]} in view {view}, expected numbers that differ; was it never filled?")
  return views


def _require_rows(shape: tuple[int, ...]) -> None:
  """Raises: BadFile if the rows cannot be views: a feature has more numbers than there are views."""
  if shape[-1] == 1:
    raise BadFile(f"has shape {shape}, {'one number' if len(shape) == 1 or shape[0] == 1 else 'rows of one number'}; "
                  "expected (D,) or (V, D)" + (f". It looks transposed: store it as ({shape[0]},)" if shape[0] > 1 else ""))
  if len(shape) == 2 and shape[0] >= shape[1]:
    raise BadFile(f"has shape {shape}, which would be {shape[0]} views of {shape[1]} numbers each; expected (V, D), with "
                  f"fewer views than numbers. It looks transposed, ({shape[1]}, {shape[0]}); if these are views, or frames, "
                  f"store their mean, ({shape[1]},)")


def _require_good(entries: Sequence[VideoEntry], bad: dict[int, str], by_shape: dict[Shape, list[int]]) -> None:
  """Raises: UserError that lists the first files that are no good, or unlike most of the others."""
  usual = max(by_shape, key=lambda shape: len(by_shape[shape]), default=(0, 0))
  odd = {index: f"has {_size(shape)}, most others have {_size(usual)}"
         for shape, indices in by_shape.items() if shape != usual for index in indices}
  reasons = sorted({**bad, **odd}.items())
  if reasons:
    shown = [f"  {entries[index].path}: {reason}" for index, reason in reasons[:BAD_SHOWN]]
    raise UserError("\n".join([
        f"{len(reasons)} of {len(entries)} feature files are no good; " + (
            "the first are" if len(reasons) > len(shown) else "they are"), *shown,
        "Put right or remove them (a video without a file is left out), then give the same command again to go on."]))


def _size(shape: Shape) -> str:
  views, dim = shape
  return f"{views} view{'s' * (views > 1)} of {dim} numbers"
