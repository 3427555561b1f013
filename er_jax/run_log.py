"""What a run writes down: the lines of metrics.jsonl, and the best validation values so far.

    log = MetricsLog(workdir / "metrics.jsonl")
    log.write({"step": 10, "epoch": 0, "loss": 1.5})       # a resumed run leaves no line twice

    record = BestSoFar().with_value("val0", "precision@1", 33.3, step=10)
    record.best["val0"]["precision@1"]                     # {"step": 10, "value": 33.3}
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline.errors import Failure, UserError


class BestSoFar(NamedTuple):
  """Best validation values so far.

  Attributes:
    best: {split: {metric: {"step", "value"}}}.
    evaluated: the last step that was validated, -1 before the first.
    complete: whether training has come to its end.
  """
  best: dict[str, dict[str, dict[str, Any]]] = {}
  evaluated: int = -1
  complete: bool = False

  def with_value(self, split: str, metric: str, value: float, step: int) -> "BestSoFar":
    """The record after a validation; an equal value does not take the place of an earlier one."""
    entry = self.best.get(split, {}).get(metric)
    if entry is not None and entry["value"] >= value:
      return self._replace(evaluated=step)
    split_best = {**self.best.get(split, {}), metric: {"step": step, "value": value}}
    return BestSoFar({**self.best, split: split_best}, step)

  @property
  def best_steps(self) -> frozenset[int]:
    """The steps that are the best of some split and metric."""
    return frozenset(entry["step"] for split in self.best.values() for entry in split.values())

  def to_json(self) -> dict:
    """As plain values."""
    return self._asdict()

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
        except (ValueError, TypeError, KeyError) as error:
          raise UserError(f"{self._path}:{number}: not a line of this program's metrics: {line[:60]!r}.") from error
      file.truncate(whole)

  @staticmethod
  def _key(line: dict) -> tuple:
    return line["step"], line.get("split")
