"""The record of a run: the lines of metrics.jsonl, TensorBoard's, and the best validation values so far.

    log = MetricsLog(workdir / "metrics.jsonl")
    log.write({"step": 10, "epoch": 0, "loss": 1.5})       # a resumed run leaves no line twice

    best = BestSoFar().with_value("val0", "precision@1", 33.3, step=10)
    best.splits["val0"]["precision@1"]                     # {"step": 10, "value": 33.3}
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline.errors import Failure, UserError


class BestSoFar(NamedTuple):
  """Best validation values so far.

  Attributes:
    splits: {split: {metric: {"step", "value"}}}.
    evaluated: the last step that was validated, -1 before the first.
    complete: whether training has come to its end.
  """
  splits: dict[str, dict[str, dict[str, Any]]] = {}
  evaluated: int = -1
  complete: bool = False

  def with_value(self, split: str, metric: str, value: float, step: int) -> "BestSoFar":
    """What is best after a validation; an equal value does not take the place of an earlier one."""
    entry = self.splits.get(split, {}).get(metric)
    if entry is not None and entry["value"] >= value:
      return self._replace(evaluated=step)
    split_best = {**self.splits.get(split, {}), metric: {"step": step, "value": value}}
    return BestSoFar({**self.splits, split: split_best}, step)

  @property
  def best_steps(self) -> frozenset[int]:
    """The steps that are the best of some split and metric."""
    return frozenset(entry["step"] for split in self.splits.values() for entry in split.values())

  def to_json(self) -> dict:
    """As plain values."""
    return {"best": self.splits, "evaluated": self.evaluated, "complete": self.complete}

  @classmethod
  def from_json(cls, value: dict) -> "BestSoFar":
    """What `to_json` gave."""
    return cls(value["best"], value["evaluated"], value.get("complete", False))


class MetricsLog:
  """Appends JSON lines. A line about a step that is already written down (by a run that was killed) is not repeated."""

  def __init__(self, path: str | os.PathLike, enabled: bool = True):
    """Opens the log; a last line that was cut off is removed. `enabled` False writes nothing."""
    self._path, self._enabled = Path(path), enabled
    self._written: set[tuple] = set()
    if enabled and self._path.exists():
      self._take_up()

  def write(self, line: dict) -> None:
    """Appends a line with a "step" and, for an evaluation, a "split"."""
    if not self._enabled or self._key(line) in self._written:
      return
    self._written.add(self._key(line))
    try:
      with open(self._path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    except OSError as error:
      raise Failure(f"Cannot write to {self._path}: {error}.") from error

  def _take_up(self) -> None:
    whole = 0
    with open(self._path, "rb+") as file:
      for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
          break
        whole += len(line)
        try:
          self._written.add(self._key(json.loads(line)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
          raise UserError(f"{self._path}:{number}: not a line of this program's metrics: {line[:60]!r}.") from error
      file.truncate(whole)

  @staticmethod
  def _key(line: dict) -> tuple:
    return line["step"], line.get("split")


class Board:
  """TensorBoard's files of a run."""

  def __init__(self, folder: str | os.PathLike, first_step: int):
    """What was written there for `first_step` and beyond, by a run that was killed, no longer counts."""
    with _without_torch():
      import tensorboardX
    self._folder, self._writer = folder, tensorboardX.SummaryWriter(str(folder), purge_step=first_step)

  def write(self, prefix: str, values: dict[str, float], step: int) -> None:
    """A point of the curve PREFIX/NAME for each value. Raises: Failure if the files could not be written to."""
    self._require_writing()
    for name, value in values.items():
      self._writer.add_scalar(f"{prefix}/{name}", value, step)

  def close(self) -> None:
    """Writes what is waiting. Raises: Failure if it could not be."""
    self._require_writing()
    self._writer.close()

  def _require_writing(self) -> None:
    """The thread that writes ends at its first error; then all who give it something would wait for ever."""
    thread: Any = self._writer.file_writer.event_writer._worker      # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    if not thread.is_alive():
      raise Failure(f"Cannot write to {self._folder} (is there room on the disk?). The same command goes on from the last "
                    "checkpoint.")


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
  """Lets no PyTorch be imported in the block: tensorboardX would, where it is installed, for seconds and for nothing."""
  if "torch" in sys.modules:
    yield
    return
  sys.modules["torch"] = None     # pyright: ignore[reportArgumentType]
  try:
    yield
  finally:
    del sys.modules["torch"]
