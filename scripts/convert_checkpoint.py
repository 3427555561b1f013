"""Published weights -> an Orbax checkpoint that the project's commands take in their place.

    python scripts/convert_checkpoint.py --kind=tsm --input=TSM_kinetics_[...].pth --output=weights/tsm
    python scripts/convert_checkpoint.py --kind=bit --input=BiT-M-R50x1.npz --output=weights/bit

A file that lacks a name, or holds one that cannot be explained, is refused with a list of all of them.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # to run without being installed

import jax
from absl import flags, logging

from input_pipeline import errors
from input_pipeline.backbones import checkpoints, weight_files
from input_pipeline.errors import UserError


class Converted(NamedTuple):
  """What a published file holds: a description, the tree of arrays to write, and unneeded names with why."""

  description: str
  tree: Any
  ignored: dict[str, str]


def _backbone(form: checkpoints.Format) -> Callable[[str], Converted]:
  def convert(path: str) -> Converted:
    config, variables, ignored = checkpoints.read(path, form)
    return Converted(f"{form.title}, {config}", variables, ignored)

  return convert


KINDS: dict[str, Callable[[str], Converted]] = {
    "tsm": _backbone(checkpoints.TSM_FORMAT),
    "bit": _backbone(checkpoints.BIT_FORMAT),
}


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_string("kind", None, f"What the weights are of: {', '.join(KINDS)}.", required=True)
  flags.DEFINE_string("input", None, "The published file.", required=True)
  flags.DEFINE_string("output", None, "Folder to write; must not exist.", required=True)


def main(_: list[str]) -> None:
  """Reads, checks, writes, reports."""
  logging.set_verbosity(logging.WARNING)   # Orbax tells every step
  kind, source, output = flags.FLAGS.kind, flags.FLAGS.input, flags.FLAGS.output
  if kind not in KINDS:
    raise errors.unknown("--kind", kind, KINDS)
  if Path(output).exists():
    raise UserError(f"{output} is there already; remove it or choose another --output.")
  converted = KINDS[kind](source)
  weight_files.write_orbax(output, converted.tree)
  arrays = jax.tree.leaves(converted.tree)
  print(f"{source}: {converted.description}")
  total = sum(array.size for array in arrays)
  print(f"{len(arrays)} arrays, {total:,} numbers; no name missing, none unexpected")
  for why in sorted(set(converted.ignored.values())):
    names = [name for name, reason in converted.ignored.items() if reason == why]
    print(f"{len(names)} names not needed, such as {names[0]}: {why}")
  print(f"wrote {output}")


if __name__ == "__main__":
  define_flags()
  errors.run(main)
