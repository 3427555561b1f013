"""The console command `er-jax COMMAND ...`: the project's commands by one word, from any folder.

    er-jax train --config=ervse
    er-jax eval --config=ervse --workdir=runs/ervse-toy_actions
    er-jax prepare --help

A command is a module that also runs as `python -m MODULE ...`; it is imported when it is asked for.
"""

import runpy
import sys
from typing import NamedTuple

from input_pipeline import startup


class Command(NamedTuple):
  """`python -m MODULE ARGUMENTS...`, and in a line what it does."""

  module: str
  arguments: tuple[str, ...]
  does: str


COMMANDS = {
    "train": Command("er_jax.main", (), "trains a method and evaluates it on unseen classes"),
    "eval": Command("er_jax.main", ("--mode=eval",), "evaluates a trained method, or a checkpoint"),
    "prepare": Command("input_pipeline.prepare", (), "makes a dataset from videos or published features"),
    "verify": Command("input_pipeline.verify", (), "counts which of a dataset's videos are found, read and prepared"),
    "compare": Command("er_jax.compare", (), "trains several methods and puts their accuracies in a table"),
    "convert": Command("er_jax.convert", (), "makes a checkpoint of published weights"),
}


def usage() -> str:
  """What `er-jax --help` prints."""
  lines = [f"  {name:9}{command.does}" for name, command in COMMANDS.items()]
  return "\n".join(["Zero-shot action recognition in video.", "", "usage: er-jax COMMAND [--name=value ...]", "",
                    *lines, "", "er-jax COMMAND --help lists a command's options."])


def main() -> None:
  """Runs the command that the arguments name; exits with status 2 if there is none of that name."""
  startup.begin()
  name, *arguments = sys.argv[1:] or ["--help"]
  if name in ("--help", "-h", "help"):
    print(usage())
    return
  if name not in COMMANDS:
    from input_pipeline import errors

    print(f"error: {errors.unknown('command', name, COMMANDS)}", file=sys.stderr)
    sys.exit(errors.UserError.status)
  command = COMMANDS[name]
  sys.argv[1:] = [*command.arguments, *arguments]
  runpy.run_module(command.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
  main()
