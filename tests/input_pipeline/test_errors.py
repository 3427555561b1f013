"""A command says what it has to say whatever the terminal can show."""

import io
import sys

from absl import app

from input_pipeline import errors


def test_names_that_the_terminal_cannot_show_are_escaped(monkeypatch):
  streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
  for name, stream in streams.items():
    monkeypatch.setattr(sys, name, stream)
  monkeypatch.setattr(app, "run", lambda guarded, flags_parser: guarded(["command"]))
  errors.run(lambda argv: print("caf\u00e9 \udce9"))
  streams["stdout"].flush()
  assert streams["stdout"].buffer.getvalue() == b"caf\\xe9 \\udce9\n"
