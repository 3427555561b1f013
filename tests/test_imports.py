"""Every module imports, and imports run one way."""

import ast
import graphlib
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
                 for package in ("er_jax", "input_pipeline", "configs", "scripts")
                 for path in (ROOT / package).rglob("*.py") if path.stem != "__init__")
ALLOWED = {"input_pipeline": {"input_pipeline"}, "configs": {"configs"}, "er_jax": {"er_jax", "input_pipeline"}}


@pytest.mark.parametrize("name", MODULES)
def test_imports(name):
  importlib.import_module(name)


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_point_one_way(package):
  for path in (ROOT / package).rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      names = [node.module or ""] if isinstance(node, ast.ImportFrom) else (
          [alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
      for name in names:
        top = name.split(".")[0]
        if top in ("er_jax", "input_pipeline", "configs", "scripts", "tests"):
          assert top in ALLOWED[package], f"{path} imports {name}"


@pytest.mark.parametrize("package", ["input_pipeline", "er_jax"])
def test_rooms_of_a_package_stand_above_all_that_they_import(package):
  """A room is a folder or a module directly below the package; imports inside functions count."""
  modules = {name for name in MODULES if name.startswith(package)}
  rooms: dict[str, set[str]] = {}
  for path in (ROOT / package).rglob("*.py"):
    room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
      names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
      if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in modules else node.module or ""
                 for alias in node.names]
      rooms.setdefault(room, set()).update(
          name.split(".")[1] for name in names if name.startswith(f"{package}.") and name.split(".")[1] != room)
  graphlib.TopologicalSorter(rooms).prepare()      # raises where rooms import each other in a circle
  assert rooms
