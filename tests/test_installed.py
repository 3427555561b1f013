"""What `pip install .` leaves: the console command `er-jax`, run in an environment of its own and from another folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.input_pipeline.published_layout import write_layout

ROOT = Path(__file__).parents[1]


class Installed:
  """An environment with the wheel and, behind it, the packages of the one that runs the tests."""

  def __init__(self, folder: Path):
    source, self.folder = folder / "source", folder / "elsewhere"
    self.folder.mkdir()
    for name in ("er_jax", "input_pipeline", "configs"):
      shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
      shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", source])
    _run([sys.executable, "-m", "venv", "--without-pip", folder / "environment"])
    self.bin = folder / "environment" / "bin"
    (wheel,) = folder.glob("*.whl")
    _run([*pip, "--python", self.bin / "python", "install", "--quiet", "--no-deps", "--no-index", wheel])
    paths = sysconfig.get_paths(vars={"base": str(self.bin.parent), "platbase": str(self.bin.parent)})
    self.packages = Path(paths["purelib"])
    (self.packages / "behind.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

  def run(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    """`er-jax ARGUMENTS...` in a folder that has nothing of the repository, with these environment variables."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run([self.bin / "er-jax", *map(str, arguments)], cwd=self.folder, env=environment,
                          capture_output=True, text=True, timeout=300, check=False)


def _run(command: list) -> None:
  done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
  pytest.importorskip("setuptools", "77.0.3", reason="the wheel is built with setuptools, which is not installed here")
  return Installed(tmp_path_factory.mktemp("installed"))


def test_only_the_two_packages_are_installed_at_the_top_with_their_licence_and_data(installed):
  names = {path.name for path in installed.packages.iterdir()}
  assert names == {"er_jax", "input_pipeline", "er_jax-0.1.0.dist-info", "behind.pth"}
  assert (installed.packages / "er_jax-0.1.0.dist-info" / "licenses" / "LICENSE").is_file()
  tracked = {path.relative_to(ROOT) for path in (ROOT / "input_pipeline").rglob("*")
             if path.suffix in (".npz", ".npy", ".json", ".jsonl", ".txt", ".md", ".py")}
  assert [path for path in sorted(tracked) if not (installed.packages / path).is_file()] == []
  assert {path.name for path in (ROOT / "configs").glob("*.py")} == {
      path.name for path in (installed.packages / "er_jax" / "configs").glob("*.py")}


@pytest.mark.parametrize("arguments, status, said", [
    ([], 0, "usage: er-jax COMMAND"), (["--help"], 0, "usage: er-jax COMMAND"),
    (["trian"], 2, "error: Unknown command 'trian'. Did you mean train?"),
    (["train", "--help"], 1, "--workdir"), (["eval", "--config=ervs"], 2, "error: Unknown config 'ervs'. Did you mean ervse"),
    (["prepare", "--help"], 1, "--source"), (["verify", "--help"], 1, "--require_prepared"),
    (["compare", "--help"], 1, "--seeds"), (["compare", "--methods=ervse,vsee"], 2, "'vsee'. Did you mean vse"),
    (["compare", "--dataset=toy_action"], 2, "'toy_action'. Did you mean toy_actions"),
    (["convert", "--help"], 1, "--kind"),
    (["convert", "--kind=bitt", "--input=a", "--output=b"], 2, "error: Unknown --kind 'bitt'. Did you mean bit?"),
    (["convert", "--kind=dem", "--input=a", "--output=b", "--config=sje"], 2, "--config is of method sje")])
def test_help_and_a_wrong_name_are_answered_before_anything_that_computes_is_imported(installed, arguments, status, said):
  done = installed.run(*arguments, PYTHONPROFILEIMPORTTIME="1")
  assert done.returncode == status and said in done.stdout + done.stderr and "Traceback" not in done.stderr
  imported = set(re.findall(r"^import time:.*\| +(\w+)$", done.stderr, re.MULTILINE))
  assert "er_jax" in imported and not imported & {"jax", "flax", "orbax", "tensorflow_datasets", "matplotlib"}


@pytest.mark.parametrize("arguments, said", [
    (["eval", "--config=ervse:ucf101_zsar"], "/runs/ervse-ucf101_zsar: it has no checkpoints"),
    (["train", "--config=vse:ucf101_zsar", "--config.data.data_dir=nowhere"], "/nowhere --source=FOLDER")])
def test_a_mistake_ends_with_a_message_and_status_2(installed, arguments, said):
  done = installed.run(*arguments)
  assert done.returncode == 2 and said in done.stderr, done.stderr
  assert "Traceback" not in done.stderr


def test_from_published_features_to_an_accuracy(installed):
  layout = write_layout(installed.folder / "layout")
  (installed.folder / "mine.py").write_text(
      "from configs import eszsl\n\ndef get_config(dataset):\n  return eszsl.get_config(dataset)\n")
  prepared = installed.run("prepare", "--dataset=precomputed", "--source=layout")
  assert prepared.returncode == 0, prepared.stderr
  trained = installed.run("train", "--config=mine.py:precomputed", "--workdir=run", "--mode=train")
  assert trained.returncode == 0, trained.stderr
  evaluated = installed.run("eval", "--config=eszsl:precomputed", "--workdir=run")
  assert evaluated.returncode == 0, evaluated.stderr
  results = json.loads((installed.folder / "run" / "results.json").read_text())
  assert results["method"] == "eszsl" and results["splits"]["0"]["num_classes"] == 4
  assert layout.source == installed.folder / "layout"


def test_requirements_pin_the_oldest_releases_that_an_installation_takes():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
  assert dict(requirement.split(">=") for requirement in project["dependencies"]) == pinned
