"""Published weights -> an Orbax checkpoint that the project's commands take in their place.

    python scripts/convert_checkpoint.py --kind=tsm --input=TSM_kinetics_[...].pth --output=weights/tsm
    python scripts/convert_checkpoint.py --kind=bit --input=BiT-M-R50x1.npz --output=weights/bit
    python scripts/convert_checkpoint.py --kind=ervse --input=epoch.9.step.17000.th --output=weights/ervse
    python scripts/convert_checkpoint.py --kind=word_embedding --input=word.glove42b.th --output=weights/words

KIND is a backbone's name, a method's, or word_embedding: the word vectors alone, for `--config.init_from` of a method
that reads words. What is read: PyTorch files (.th, .pth, .tar), .npz of the same names, .npy of a single array. With
a method, --config tells of its model where that is not the published one; the default is configs/KIND.py:precomputed.
A file that lacks a name, or holds one that cannot be explained, is refused with a list of all of them.
"""

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags, logging
from ml_collections import ConfigDict

from er_jax import config_files
from er_jax.models import METHODS
from input_pipeline import errors, paths
from input_pipeline.backbones import BACKBONES
from input_pipeline.errors import UserError


class Converted(NamedTuple):
  """What a published file holds: a description, the tree of arrays to write, and unneeded names with why."""

  description: str
  tree: Any
  ignored: dict[str, str]


def _backbone(name: str) -> Callable[[Path, ConfigDict | None], Converted]:
  def convert(path: Path, config: ConfigDict | None) -> Converted:
    backbone = BACKBONES.load(name)
    sizes, variables, ignored = backbone.load(path)
    return Converted(f"a {backbone.title}, {sizes}", variables, ignored)

  return convert


def _method(name: str) -> Callable[[Path, ConfigDict | None], Converted]:
  def convert(path: Path, config: ConfigDict | None) -> Converted:
    config = config or config_files.load(name, "precomputed")
    from er_jax import published_weights

    arrays = published_weights.read(path, config)
    method = published_weights.method_of(config, arrays)
    params, ignored = published_weights.to_params(arrays, method, config, str(path))
    return Converted(f"method {name}", params, ignored)

  return convert


def _word_embedding(path: Path, config: ConfigDict | None) -> Converted:
  from flax.traverse_util import unflatten_dict

  from er_jax.text.embedding import WORD_TABLE
  from input_pipeline.metadata.vectors import read_word_table

  table = read_word_table(path)
  tree = unflatten_dict({f"text_backbone/{WORD_TABLE}": table}, sep="/")
  return Converted(f"{len(table)} word vectors of {table.shape[1]} numbers", tree, {})


def require_fitting(config: ConfigDict | None, kind: str) -> None:
  """Raises: UserError if there is a config of another method, or one where the file says all."""
  if config is not None and kind not in METHODS.names():
    raise UserError(f"--config goes with a method's weights; --kind={kind} is known by its file.")
  if config is not None and config.method != kind:
    raise UserError(f"--config is of method {config.method}, but --kind is {kind}.")


KINDS: dict[str, Callable[[Path, ConfigDict | None], Converted]] = {
    **{name: _backbone(name) for name in BACKBONES.names()},
    "word_embedding": _word_embedding,
    **{name: _method(name) for name in METHODS.names()},
}


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_string("kind", None, f"What the weights are of: {', '.join(KINDS)}.", required=True)
  flags.DEFINE_string("input", None, "The published file.", required=True)
  flags.DEFINE_string("output", None, "Folder to write; must not exist.", required=True)
  config_files.define_flag("With a method: a name or file of configs/, with :DATASET behind it.")


def main(_: list[str]) -> None:
  """Reads, checks, writes, reports."""
  logging.set_verbosity(logging.WARNING)   # Orbax tells every step
  kind = flags.FLAGS.kind
  if kind not in KINDS:
    raise errors.unknown("--kind", kind, KINDS)
  require_fitting(flags.FLAGS.config, kind)
  source, output = paths.of_flags(flags.FLAGS, "input", "output")
  if os.path.lexists(output):
    raise UserError(f"{output} is there already; remove it or choose another --output.")
  import jax  # only now, so that a wrong flag answers at once

  from input_pipeline import array_files, devices

  devices.require()
  converted = KINDS[kind](source, flags.FLAGS.config)
  array_files.write_orbax(output, converted.tree)
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
