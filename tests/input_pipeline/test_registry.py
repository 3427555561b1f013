"""A package as a registry: what is in it, what is not, and what an unknown name says."""

import sys

import pytest

from input_pipeline.errors import UserError
from input_pipeline.registry import Registry


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry:
  files = {"__init__.py": "", "apple.py": "FRUIT = 1\n", "pear/__init__.py": "FRUIT: int = 2\n",
           "helper.py": "def f():\n  FRUIT = 3\n", "broken.py": "FRUIT = undefined\n"}
  for name, text in files.items():
    path = tmp_path / "made_up_fruits" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  monkeypatch.syspath_prepend(tmp_path)
  return Registry("made_up_fruits", "FRUIT", "fruit")


def test_names_are_those_of_modules_that_declare_and_nothing_is_imported(registry):
  assert registry.names() == ["apple", "broken", "pear"]
  assert not [name for name in sys.modules if name.startswith("made_up_fruits.")]


def test_load_gives_what_the_module_declares(registry):
  assert [registry.load(name) for name in ("apple", "pear")] == [1, 2]


def test_unknown_name_lists_the_near_ones(registry):
  with pytest.raises(UserError, match="Unknown fruit 'aple'. Did you mean apple?"):
    registry.load("aple")
  with pytest.raises(UserError, match="Unknown --fruit 'xyz'. Known: apple, broken, pear."):
    registry.check("xyz", "--fruit")
