"""One file makes a backbone: it is put into a copy of the tree, and the commands know it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from input_pipeline.datasets import toy_actions
from input_pipeline.videos import decode
from tests.plugs import copy_of_the_tree

ROOT = Path(__file__).parents[3]
LIGHT = '''"""Mean colour of the first and the last frame, projected."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.array_files import read_npz
from input_pipeline.backbones.declaration import FEATURE, Backbone, Loaded
from input_pipeline.videos.sampling import ClipSampling, centre_box


@dataclasses.dataclass(frozen=True)
class Config:
  feature_dim: int


def shapes(config):
  return {"kernel": jax.ShapeDtypeStruct((3, config.feature_dim), jnp.float32)}


def feature(config, variables, frames, mask):
  return jnp.mean(frames / 255, axis=(1, 2, 3)) @ variables["kernel"]


def sampling(config, views):
  return ClipSampling(24, lambda n: np.array([[0, n - 1]]), lambda width, height: [centre_box(width, height, 20)])


def load(path):
  arrays = read_npz(path)
  return Loaded(Config(arrays["kernel"].shape[1]), arrays, {})


BACKBONE = Backbone("light meter", {"light": Config(4)}, shapes, {FEATURE: feature}, sampling, load)
'''


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
  """The code, with one more file."""
  tree = copy_of_the_tree(tmp_path_factory.mktemp("plug") / "tree")
  (tree / "input_pipeline" / "backbones" / "light.py").write_text(LIGHT)
  np.savez(tree / "light.npz", kernel=np.arange(12, dtype=np.float32).reshape(3, 4))
  return tree


def run(tree: Path, *command: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, *command], cwd=tree, capture_output=True, text=True, timeout=300)


def test_prepare_takes_its_weights_and_stores_its_features(tree, tmp_path):
  rows = [{"name": name, "description": name, "split": split} for name, split in (("a", "seen"), ("b", "test"))]
  for i, row in enumerate(rows):
    frames = np.random.default_rng(i).integers(0, 256, (3 + i, 1, 1, 3), np.uint8).repeat(48, 1).repeat(64, 2)
    decode.write_video(tmp_path / "videos" / row["name"] / "clip.mp4", frames)
  (tmp_path / "videos" / "classes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
  result = run(tree, "-m", "input_pipeline.prepare", "--dataset=video_folder", f"--source={tmp_path / 'videos'}",
               f"--data_dir={tmp_path / 'data'}", "--light=light.npz", f"--bit={toy_actions.FOLDER / 'bit.npz'}",
               f"--concepts={toy_actions.FOLDER / 'concepts.jsonl'}")
  assert result.returncode == 0, result.stderr
  folder = next((tmp_path / "data" / "video_folder").glob("[0-9]*"))
  built = tfds.builder_from_directory(str(folder))
  examples = [example for split in built.info.splits for example in built.as_data_source(split)]
  assert {example["name"] for example in examples} == {b"a/clip", b"b/clip"}
  for example in examples:
    path = tmp_path / "videos" / f"{example['name'].decode()}.mp4"
    first, last = decode.read_frames(path, [0, example["num_frames"] - 1])
    colour = np.mean([decode.preprocess(frame, 24, 20) for frame in (first, last)], axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(example["feature"], colour @ np.arange(12).reshape(3, 4), rtol=1e-5)
    assert (example["concept_ids"] >= 0).all()      # of BiT, which sees other squares of other frames


def test_two_backbones_for_the_feature_are_refused(tree, tmp_path):
  result = run(tree, "-m", "input_pipeline.prepare", "--dataset=toy_actions", f"--data_dir={tmp_path}",
               "--light=light.npz", "--tsm=tsm.npz")
  assert result.returncode == 2 and "Traceback" not in result.stderr
  assert f"--light={tree}/light.npz and --tsm={tree}/tsm.npz were given, but each of them gives the feature" in (
      result.stderr)


def test_convert_checkpoint_knows_its_kind(tree, tmp_path):
  result = run(
      tree, "scripts/convert_checkpoint.py", "--kind=light", "--input=light.npz", f"--output={tmp_path / 'new'}")
  assert result.returncode == 0, result.stderr
  assert "a light meter, Config(feature_dim=4)" in result.stdout and "1 arrays, 12 numbers" in result.stdout
