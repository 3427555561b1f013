"""A registry that is a package: what its modules declare, by the module's name.

    DATASETS = Registry("input_pipeline.datasets", "DATASET", "dataset")
    DATASETS.names()              # ["hmdb51_zsar", ...]: the modules with a line `DATASET = ...`
    DATASETS.load("toy_actions")  # the value of toy_actions.DATASET

To add a thing is to add a module. It is imported when it is asked for by name.
"""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline.errors import unknown


class Registry(NamedTuple):
  """The modules of `package` that assign `variable` at their top level; `kind` is what messages call such a thing."""

  package: str
  variable: str
  kind: str

  def names(self) -> list[str]:
    """In alphabetical order; nothing is imported but the package."""
    folders = importlib.import_module(self.package).__path__
    return sorted({module.name for folder in folders for module in pkgutil.iter_modules([folder])
                   if self._declares(Path(folder, module.name), module.ispkg)})

  def check(self, name: object, field: str = "") -> None:
    """Raises: UserError with the near matches if there is none of that name; it calls it `field`, or else `kind`."""
    known = self.names()
    if name not in known:
      raise unknown(field or self.kind, name, known)

  def load(self, name: str, field: str = "") -> Any:
    """What the module of that name declares. Raises: UserError as `check`."""
    self.check(name, field)
    return getattr(importlib.import_module(f"{self.package}.{name}"), self.variable)

  def _declares(self, module: Path, is_package: bool) -> bool:
    source = module / "__init__.py" if is_package else module.with_suffix(".py")
    return re.search(rf"^{self.variable}\b.*=", source.read_text(encoding="utf-8"), re.MULTILINE) is not None
