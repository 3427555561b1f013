"""Every module imports, and imports run one way."""

import ast
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
