"""What a dataset declares of itself, and that one module is enough to add one."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.datasets import DATASETS
from input_pipeline.raw_dataset import RawDataset
from tests.plugs import copy_of_the_tree

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"summary": "mine", "readme": ROOT / "README.md", "size": "small", "read": lambda source: None, "options": {},
        "features_from": "videos"}

MODULE = '''"""hand_signs: features of signs, in a folder a sign."""

from pathlib import Path

from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry, entry_name


def read(source: Path, split_seed: int) -> RawDataset:
  names = sorted(path.name for path in source.iterdir())
  entries = [VideoEntry(entry_name(path, source), path, label, "train" if label else "test")
             for label, name in enumerate(names) for path in sorted((source / name).iterdir())]
  classes = [ActionClass(name, f"to show {name}") for name in names]
  return RawDataset(entries, classes, [], (ClassSplit((1, 2), (), (0,)),), {}, split_seed)


DATASET = DatasetSpec(
    summary="signs that a hand makes",
    readme=Path(__file__).with_name("hand_signs.md"),
    size="small",
    read=read,
    options={"split_seed": 4},
    features_from="files",
    num_videos=6,
)
'''


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_dataset_declares_itself(name):
  spec = DATASETS.load(name)
  assert spec.summary and name in spec.readme.read_text() and spec.readme.parent.name == name
  assert all(path.is_file() for path in spec.weights.values())


@pytest.mark.parametrize("change, message", [
    ({"size": "medium"}, "size is 'medium', expected one of .'toy', 'small', 'large'"),
    ({"features_from": "film"}, "features_from is 'film'"),
    ({"options": {"seed": 0}}, "options are .'seed',., expected some of .'metadata'"),
    ({"readme": ROOT / "absent.md"}, "There is no .*absent.md; a dataset says there"),
])
def test_a_declaration_that_cannot_be_fails_where_it_is_made(change, message):
  with pytest.raises(ValueError, match=message):
    DatasetSpec(**{**GOOD, **change})


@pytest.mark.parametrize("field", GOOD)
def test_a_declaration_that_lacks_a_field_fails_where_it_is_made(field):
  with pytest.raises(TypeError, match=f"missing 1 required keyword-only argument: '{field}'"):
    DatasetSpec(**{name: value for name, value in GOOD.items() if name != field})


def test_options_that_are_not_given_are_as_declared():
  def read(source: Path, split_seed: int, num_splits: int) -> RawDataset:
    return RawDataset([], [], [], (), {"given": Path(f"{source}-{split_seed}-{num_splits}")})

  spec = dataclasses.replace(DatasetSpec(**GOOD), read=read, options={"split_seed": 0, "num_splits": 10})
  assert spec.raw_dataset(Path("a"), split_seed=3).extras["given"] == Path("a-3-10")


@pytest.fixture
def tree(tmp_path) -> Path:
  """A copy of the project, without its tests, to which the dataset hand_signs is added: one module and its README."""
  folder = copy_of_the_tree(tmp_path / "tree") / "input_pipeline" / "datasets"
  (folder / "hand_signs.py").write_text(MODULE)
  (folder / "hand_signs.md").write_text("# hand_signs\n\nMade up.\n")
  return tmp_path / "tree"


def run(tree: Path, *command: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, *command], cwd=tree, capture_output=True, text=True, timeout=300)


def test_a_dataset_is_added_by_one_module(tree, tmp_path):
  for number, name in enumerate(("fist", "ok", "victory")):
    (tmp_path / "signs" / name).mkdir(parents=True)
    for take in range(2):
      np.save(tmp_path / "signs" / name / f"{take}.npy", np.arange(4, dtype=np.float32) + 10 * number + take)
  flags = ["--dataset=hand_signs", "--data_dir=data"]
  prepared = run(tree, "-m", "input_pipeline.prepare", *flags, f"--source={tmp_path / 'signs'}")
  assert prepared.returncode == 0, prepared.stderr
  folder = tree / "data" / "hand_signs" / "1.0.0"
  info = json.loads((folder / "dataset_info.json").read_text())
  assert (info["name"], info["description"]) == ("hand_signs", "# hand_signs\n\nMade up.")
  assert json.loads((folder / "manifest.json").read_text())["seed"] == 4
  assert json.loads((folder / "source.json").read_text())["options"] == {"split_seed": 4}
  verified = run(tree, "-m", "input_pipeline.verify", *flags)
  assert verified.returncode == 0, verified.stderr
  assert "The published dataset has 6 videos; here 6 are expected." in verified.stdout
  assert verified.stdout.endswith("Complete: 6 expected, 6 found, 6 readable, 6 prepared.\n")
  of_its_size = run(tree, "-c", "from configs import vse; print(vse.get_config('hand_signs').batch_size)")
  assert of_its_size.stdout == "64\n"
  refused = run(tree, "-m", "input_pipeline.prepare", *flags, "--num_splits=3")
  assert refused.returncode == 2 and "hand_signs does not take it; hmdb51_zsar, olympics_zsar, " in refused.stderr


def test_an_unknown_name_lists_the_near_ones_the_new_one_among_them(tree):
  for command in ("prepare", "verify"):
    result = run(tree, "-m", f"input_pipeline.{command}", "--dataset=hand_sign")
    assert result.returncode == 2 and "Unknown dataset 'hand_sign'. Did you mean hand_signs?" in result.stderr
