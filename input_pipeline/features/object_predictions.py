"""Every video's best concepts, from one large JSON file that is read entry by entry.

    predictions = read_predictions("bit-m-r50x1_top20_preds.json", names, num_concepts=21843)
    predictions.ids[i], predictions.scores[i]     # (20,) of the video names[i]; -1 and 0 where it has fewer
    predictions.found[i]                          # False: the file has no entry for it

The file holds {name: [[concept ids, best first], [their scores]]}, a name being a video's path without the
extension. What is in memory at a time is one entry and the arrays.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ijson
import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import NO_CONCEPT, TOP_CONCEPTS
from input_pipeline.near_names import ASPECTS, differences, fold
from input_pipeline.progress import Progress

MOST_IDS = np.iinfo(np.int32).max
FORM = "[[concept ids, best first], [their scores]]"


class Predictions(NamedTuple):
  """The best concepts of N videos.

  Attributes:
    ids: (N, 20) int32 concepts, best first; -1 on unused slots.
    scores: (N, 20) float32; 0 on unused slots.
    found: (N,) bool, False where the file says nothing of the video.
    near: of such videos, those of which it says something under a name that is written in another way: {name: the other}.
  """

  ids: np.ndarray
  scores: np.ndarray
  found: np.ndarray
  near: Mapping[str, str] = {}


def no_predictions(count: int) -> Predictions:
  """All slots of `count` videos unused, and none of them found."""
  return Predictions(
      np.full((count, TOP_CONCEPTS), NO_CONCEPT, np.int32),
      np.zeros((count, TOP_CONCEPTS), np.float32),
      np.zeros(count, bool))


def read_predictions(path: str | os.PathLike, names: Sequence[str], num_concepts: int | None) -> Predictions:
  """The concepts of the videos `names`; entries of other videos are passed over.

  Args:
    path: the JSON file.
    names: of N videos; a name may come more than once.
    num_concepts: size of the vocabulary, if it is known.

  Raises:
    UserError: naming the file and the video, if it is not whole JSON, an entry is malformed, a concept is not in the
      vocabulary, a video comes twice, or not one entry is of one of the videos.
  """
  row_of = {name: row for row, name in enumerate(dict.fromkeys(names))}
  name_of, near = {fold(name): name for name in row_of}, {}
  rows = no_predictions(len(row_of))
  count, last = 0, None
  try:
    with open(path, "rb") as file, Progress("read concepts", len(row_of), "videos") as progress:
      _require_object(path, file.read(256))
      file.seek(0)
      for count, (last, entry) in enumerate(ijson.kvitems(file, "", use_float=True), start=1):
        row = row_of.get(last)
        if row is not None:
          if rows.found[row]:
            raise UserError(f"{path}: video {last!r} is in it twice; the second time is entry {count}.")
          _fill(rows, row, entry, num_concepts, f"{path}: video {last!r} (entry {count})")
          progress.advance()
        elif name := name_of.get(fold(last)) or name_of.get(fold(last, ASPECTS)):
          near.setdefault(name, last)
  except ijson.JSONError as error:
    where = f"after entry {count}, of video {last!r}" if count else "before its first entry is whole"
    raise UserError(f"{path}: not valid JSON {where} ({_first_line(error)}). Is the file cut short?") from error
  except OSError as error:
    raise UserError(f"Cannot read {path}: {error}.") from error
  if row_of and not rows.found.any():
    seen = f"{count} entries, the last of {last!r}" if count else "no entries"
    name, other = next(iter(near.items()), (next(iter(row_of)), None))
    differs = f", where it has {other!r}, which differs in {differences(name, other)}" if other else ""
    raise UserError(f"{path} has {seen}, but none of one of the {len(row_of)} videos, such as {name!r}{differs}. "
                    "Its keys must be the videos' names without the extension.")
  order = np.fromiter((row_of[name] for name in names), np.int64, len(names))
  near = {name: other for name, other in near.items() if not rows.found[row_of[name]]}
  return Predictions(rows.ids[order], rows.scores[order], rows.found[order], near)


def _fill(rows: Predictions, row: int, entry: Any, num_concepts: int | None, where: str) -> None:
  """Puts one entry into its row. Raises: UserError beginning with `where`, if it is not of the form."""
  if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, list) for part in entry)):
    raise UserError(f"{where}: expected {FORM}, got {str(entry)[:80]}.")
  ids, scores = entry
  if len(ids) != len(scores):
    raise UserError(f"{where}: expected {FORM}, got {len(ids)} ids and {len(scores)} scores.")
  limit = MOST_IDS if num_concepts is None else num_concepts
  for index in ids:
    if type(index) is not int or not 0 <= index < limit:
      known = "ids are whole numbers from 0" if num_concepts is None else (
          f"the vocabulary (concepts.jsonl) has {num_concepts} concepts, 0 to {num_concepts - 1}")
      form = f" Expected {FORM}, not the scores first, nor pairs." if type(index) is float else ""
      raise UserError(f"{where}: there is no concept {index!r}; {known}.{form}")
  for score in scores:
    if type(score) not in (int, float) or not 0 <= score <= 1:
      raise UserError(f"{where}: {score!r} is no score; expected {FORM}, scores being numbers from 0 to 1"
                      + (", such as sigmoids of logits." if type(score) in (int, float) else "."))
  if any(score < further for score, further in itertools.pairwise(scores)):
    raise UserError(f"{where}: the scores rise somewhere; expected {FORM}, both in the order of the scores, the highest "
                    "first.")
  kept = min(len(ids), TOP_CONCEPTS)
  rows.ids[row, :kept] = ids[:kept]
  rows.scores[row, :kept] = scores[:kept]
  rows.found[row] = True


def _require_object(path: str | os.PathLike, start: bytes) -> None:
  if not start.lstrip().startswith(b"{"):
    raise UserError(f"{path}: expected one JSON object {{name: {FORM}}}, but it begins with {start[:20]!r}.")


def _first_line(error: Exception) -> str:
  """What the parser says, without the picture of the place that it draws below."""
  text = error.args[0] if error.args else ""
  return (text.decode(errors="replace") if isinstance(text, bytes) else str(text)).split("\n")[0].strip()
