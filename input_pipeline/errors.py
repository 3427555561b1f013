"""Errors of a wrong flag, config, file or video: a message for the person, and exit status 2.

    if __name__ == "__main__":
      errors.run(main)          # absl flags; a UserError prints its message and exits with 2

    raise UserError(f"{path}:{line}: 'label' is 7, but the class list has 5 entries (0 to 4).")
"""

import difflib
import re
import sys
import traceback
from collections.abc import Callable, Iterable

from input_pipeline import startup

LONGEST = 200      # characters of a name that near ones are looked for of; comparing takes the square of that


class UserError(Exception):
  """A mistake in what the user gave us. The message says what, where, what was expected and what to do."""

  status = 2     # of the program that ends with it


class Failure(UserError):
  """Something that went wrong on the way, such as a full disk. The message says how to go on."""

  status = 1


def near_matches(name: str, known: Iterable[str]) -> list[str]:
  """At most three of `known` that are written much like `name`, the nearest first."""
  return difflib.get_close_matches(name[:LONGEST], list(known), n=3, cutoff=0.6)


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
  """The error for a name that is not among `known`: lists the near matches, or all names if none is near."""
  known = sorted(known)
  near = near_matches(str(name), known)
  hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}."
  return UserError(f"Unknown {kind} {str(name)!r}. {hint}")


EXPECTED = (UserError, OSError, KeyboardInterrupt)      # what a program may end with, without a traceback


def tell(error: BaseException) -> int:
  """Says on stderr why a program ends, and returns its exit status.

  That is 2 for a `UserError`, 1 for a `Failure` or an OSError, 130 for Ctrl-C, where the KeyboardInterrupt may have a
  message of its own; for all else 1, with a traceback.
  """
  if isinstance(error, KeyboardInterrupt):
    print(error or "Interrupted. The same command goes on from what is saved.", file=sys.stderr, flush=True)
    return startup.INTERRUPTED
  if isinstance(error, EXPECTED):
    print(f"error: {error}", file=sys.stderr, flush=True)
  else:
    traceback.print_exception(error)
  return getattr(error, "status", Failure.status)


def run(main: Callable[[list[str]], None]) -> None:
  """Runs `main` under absl; what is `EXPECTED` ends the program as `tell` says."""
  from absl import app, flags  # only here, so that scripts of the standard library alone have these errors too

  def guarded(argv: list[str]) -> None:
    try:
      if len(argv) > 1:
        raise UserError(f"Unexpected argument {argv[1]!r}; options are written --name=value (see --help).")
      main(argv)
    except EXPECTED as error:
      sys.exit(tell(error))
    finally:
      startup.end()

  def parse(argv: list[str]) -> list[str]:
    try:
      return flags.FLAGS(argv)
    except Exception as error:   # a wrong flag or config field, or whatever a config file raises while it is built
      expected = isinstance(error, (UserError, flags.Error, OSError, AttributeError))
      message = str(error).replace("\\n", "\n").replace("\\'", "'") if expected else f"{type(error).__name__}: {error}"
      lines = message.strip().splitlines()
      if any(line.startswith("Traceback") for line in lines):     # where a config file failed; the last line says why
        message = f"{lines[0]} {lines[-1].removeprefix('ValueError: ')}"
      print(f"error: {_unknown_field(argv, error) or message}", file=sys.stderr)
      sys.exit(2)

  startup.begin()
  app.run(guarded, flags_parser=parse)


def _unknown_field(argv: list[str], error: Exception) -> str | None:
  """What to say of a --config.a.b=value whose field is not there; None if that is not what went wrong."""
  from absl import flags

  if not isinstance(error, (AttributeError, KeyError, flags.UnrecognizedFlagError)):
    return None
  given = [argument[2:].split("=")[0] for argument in argv if argument.startswith("--config.")]
  if given and not any(argument.startswith("--config=") for argument in argv):
    return f"--{given[0]} changes a field of an experiment; give its file too, with --config=configs/METHOD.py."
  words = re.findall(r"\w+", str(error).replace("\\n", "\n"))
  field = next((name for name in given if any(part in words for part in name.split(".")[1:])), None)
  near = re.search(r'Did you mean "(\w+)"', str(error))
  return field and f"The experiment has no field {field}." + (f" Did you mean {near[1]}?" if near else "")
