"""Progress of long work: a bar with rate and time left on a terminal, a line now and then in a log.

    with Progress("extract", total=len(clips), unit="videos") as progress:
      for clip in clips:
        ...
        progress.advance(note=f"loss {loss:.3f}")
"""

import sys
import time

from rich import progress as rich_progress
from rich.console import Console

LOG_EVERY_S = 15.0


class Progress:
  """Counts finished items of `total`; `done` of them were finished before this run (they do not count in the rate)."""

  def __init__(self, description: str, total: int, unit: str, done: int = 0):
    self._description, self._total, self._unit = description, total, unit
    self._start_count = self._count = done
    self._start = self._last_line = time.monotonic()
    self._note = ""
    self._bar = None
    if sys.stderr.isatty():
      self._bar = rich_progress.Progress(
          rich_progress.TextColumn("{task.description}", markup=False),
          rich_progress.BarColumn(),
          rich_progress.MofNCompleteColumn(),
          rich_progress.TextColumn("{task.fields[rate]}", markup=False),
          rich_progress.TimeRemainingColumn(),
          rich_progress.TextColumn("{task.fields[note]}", markup=False),
          console=Console(stderr=True),
      )

  def __enter__(self) -> "Progress":
    if self._bar:
      self._bar.start()
      self._task = self._bar.add_task(self._description, total=self._total, completed=self._count, rate="", note="")
    return self

  def __exit__(self, *exception) -> None:
    if self._bar:
      self._bar.stop()
    elif self._count > self._start_count:
      self._line()

  @property
  def rate(self) -> float:
    """Items a second since this run began."""
    return (self._count - self._start_count) / max(time.monotonic() - self._start, 1e-9)

  def advance(self, by: int = 1, note: str | None = None) -> None:
    """Counts `by` more items as finished; `note` is shown behind the bar from now on."""
    self._count += by
    self._note = self._note if note is None else note
    if self._bar:
      self._bar.update(self._task, completed=self._count, rate=f"{self.rate:.1f} {self._unit}/s", note=self._note)
    elif time.monotonic() - self._last_line > LOG_EVERY_S:
      self._line()

  def _line(self) -> None:
    self._last_line = time.monotonic()
    left = (self._total - self._count) / self.rate if self.rate else float("inf")
    print(
        f"{self._description}: {self._count}/{self._total} {self._unit}, {self.rate:.1f} {self._unit}/s, "
        f"{left:.0f} s left {self._note}".rstrip(), file=sys.stderr, flush=True)
