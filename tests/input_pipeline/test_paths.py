"""What a path of a flag or a config means, and folders with names that libraries would misread."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from input_pipeline import array_files, files, paths
from input_pipeline.dataset import dataset_path
from input_pipeline.errors import UserError
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.prepare import prepare
from tests.input_pipeline.published_layout import write_layout

ODD = ["run [lr=1]", "a[/b]", "[!a]", "*?{0}%s#%5B", "back\\slash", "new\nline", "-x", "gs:", "é漢", "a.orbax-checkpoint-tmp",
       "n" * 250]


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  (tmp_path / "here").mkdir()
  monkeypatch.chdir(tmp_path / "here")
  return tmp_path / "home"


def test_home_and_current_folder_are_where_a_shell_has_them(home):
  here = home.with_name("here")
  expected = {"~": home, "~/data": home / "data", "~root/x": Path("/root/x"), "data": here / "data", "./~": here / "~",
              "a/../b": here / "a/../b", "$HOME/*": here / "$HOME" / "*", "/x/~": Path("/x/~"), "-x": here / "-x",
              " x ": here / " x "}
  assert {text: paths.absolute(text, "--data_dir") for text in expected} == expected
  assert paths.absolute(Path("x"), "--data_dir") == here / "x" and paths.absolute(None, "--data_dir") is None


@pytest.mark.parametrize("text, message", [
    ("", "--output is empty, expected a path"), (" \n", "--output is empty"), ("a\0b", "--output='a.*NUL character"),
    ("~nobody-of-this-name/x", "no home folder of ~nobody-of-this-name.*is ./~nobody"), ("a\udcff", "not UTF-8"),
    ("é" * 128, "--output=éé.*too long"), ("a/" * 2100, "too long")])
def test_what_cannot_be_a_path_is_refused(text, message):
  with pytest.raises(UserError, match=message):
    paths.absolute(text, "--output")


def test_every_path_of_the_preparation_means_the_same_and_travels(home):
  data = home.with_name("here") / "~"
  asked_for: dict[str, Any] = {"dataset": "precomputed", "data_dir": "./~", "source": "~/x [1]"}
  options = PrepareOptions(**asked_for)
  assert options.data_dir == data and options.source == home / "x [1]"
  given: dict[str, Any] = dict(word[2:].split("=", 1) for word in shlex.split(options.command()) if word.startswith("--"))
  assert PrepareOptions(**given) == options
  for path in (home / "data" / "toy_actions" / "1.0.0", data / "toy_actions" / "2.0.0"):
    files.write_json(path / "dataset_info.json", {})
  assert dataset_path("~/data", "toy_actions") == home / "data" / "toy_actions" / "1.0.0"
  assert dataset_path("./~", "toy_actions") == data / "toy_actions" / "2.0.0"


def test_an_alias_is_a_link_only_where_it_must_be_and_goes_with_it(tmp_path, monkeypatch):
  plain = tmp_path / "lr=1,a"
  assert paths.Alias(plain).path == plain
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "[tmp]"))      # not to be used for aliases
  for folder in map(Path, ("/s3/mounted", "/data/[a]", "/data/a/../b")):
    with paths.Alias(folder) as alias:
      assert os.readlink(alias) == str(folder) and "[" not in str(alias)
    assert not alias.parent.exists()


@pytest.mark.parametrize("name", ODD)
def test_weights_in_any_folder_come_back_to_the_bit(tmp_path, name):
  tree = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}, "c": np.array(3)}
  array_files.write_orbax(tmp_path / name / name, tree)
  assert [path.name for path in (tmp_path / name).iterdir()] == [Path(name).name] or "/" in name
  read = array_files.read_orbax(tmp_path / name / name)
  assert read.keys() == {("a", "b"), ("c",)} and read["c",] == 3 and read["c",].dtype == tree["c"].dtype
  np.testing.assert_array_equal(read["a", "b"], tree["a"]["b"])


def test_weights_that_do_not_read_back_are_not_called_written(tmp_path, monkeypatch):
  read = array_files._read_leaves
  monkeypatch.setattr(array_files, "_read_leaves", lambda path: {name: -array for name, array in read(path).items()})
  with pytest.raises(UserError, match="does not read back"):
    array_files.write_orbax(tmp_path / "weights", {"a": np.zeros(3)})      # -0.0 is equal, but of other bits
  assert not list(tmp_path.iterdir())


def test_the_summary_of_a_preparation_names_its_folder_whatever_it_is_called(tmp_path, capsys):
  layout = write_layout(tmp_path / "[/a] {0}")
  path = prepare("precomputed", tmp_path / "x [/b]", layout.source)
  assert f"precomputed: {path}\n" in capsys.readouterr().out and (path / "dataset_info.json").is_file()


def test_a_file_with_the_longest_name_is_written(tmp_path):
  files.write_json(tmp_path / ("é" * 127), 1)
  assert files.read_json(tmp_path / ("é" * 127)) == 1


def test_paths_need_nothing_but_the_standard_library():
  code = "import sys; sys.path.insert(0, '.'); from input_pipeline import paths; print(paths.absolute('x', 'x'), 'absl' in sys.modules)"
  done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True,
                        cwd=Path(__file__).parents[2])
  assert done.stdout.split()[-1] == "False"
