"""The experiments of configs/, found by name from any folder.

    define_flag("The experiment.")             # --config=ervse, --config=ervse:ucf101_zsar, --config=my/own.py
    config = load("ervse", "ucf101_zsar")

er_jax/configs is a link to configs/ in the repository, and a folder of its own in an installed er_jax. Experiments, a
user's own too, import what they share as `from configs import common, sizes`, wherever they lie.
"""

import re
import sys
from importlib import import_module
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags.config_flags import ConfigFileFlagParser, DEFINE_config_file

from er_jax import configs
from input_pipeline import errors, paths

FOLDER = Path(configs.__file__).parent
sys.modules.setdefault("configs", configs)     # the name by which experiments import it, where only er_jax is installed


def find(name: str) -> Path:
  """The file of a packaged experiment. Raises: UserError with the near matches if there is none of that name."""
  path = FOLDER / f"{name}.py"
  if not path.is_file():
    takes_dataset = re.compile(r"^def get_config\(dataset\b", re.MULTILINE)     # what they share does not
    raise errors.unknown("config", name, [file.stem for file in FOLDER.glob("*.py")
                                          if takes_dataset.search(file.read_text(encoding="utf-8"))])
  return path


def load(name: str, dataset: str) -> ConfigDict:
  """The packaged experiment on a dataset, as its file has it."""
  return import_module(f"{configs.__name__}.{find(name).stem}").get_config(dataset)


def define_flag(description: str) -> None:
  """Defines --config=EXPERIMENT[:DATASET], a packaged experiment's name or a file, and with it --config.a.b=value."""
  DEFINE_config_file("config", None, description)
  flags.FLAGS["config"].parser = _Parser("config")


class _Parser(ConfigFileFlagParser):
  """Reads a path, as ml_collections does, or a name."""

  def parse(self, path: str) -> ConfigDict:
    name, *dataset = path.split(":", 1)
    is_name = re.fullmatch(r"\w+", name) and not Path(name).is_file()
    file = find(name) if is_name else paths.absolute(name, "--config")
    return super().parse(":".join([str(file), *dataset]))
