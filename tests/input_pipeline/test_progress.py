"""Progress on a terminal and in a log."""

import io
import sys

from input_pipeline.progress import Progress


def test_what_is_in_brackets_is_shown_on_a_terminal(monkeypatch):
  terminal = io.StringIO()
  monkeypatch.setattr(terminal, "isatty", lambda: True)
  monkeypatch.setattr(sys, "stderr", terminal)
  monkeypatch.setenv("COLUMNS", "200")
  with Progress("train [red]", 2, "steps") as progress:
    progress.advance(note="in [/old] runs")
  assert "train [red]" in terminal.getvalue() and "in [/old] runs" in terminal.getvalue()
