"""Every method on features that came as files, of an odd width, and on word vectors built for their classes.

No video file is there, no network of ours looked at anything: what `prepare` and training need is what is written here.
"""

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax.traverse_util import flatten_dict

from er_jax import run
from er_jax.experiment import Experiment
from er_jax.models import METHODS
from input_pipeline import files
from input_pipeline.prepare import prepare
from scripts import build_word_vectors
from tests.er_jax.small import CONCEPTS, MOTIONS, OBJECTS, VOCABULARY, WAYS, lines_of, small_config, write_bert_folder

WIDTH = 7          # of a feature; nothing else has this size
VECTOR_DIM = 5     # of the word vectors
SPLITS = {"push": "seen", "lift": "val", "spin": "test"}
PER_CLASS = 3
ENTRANCES = {      # the matrices that meet the features; CPT looks at the objects alone
    "ervse": {"video_encoder/dense/kernel": (WIDTH, 12)},
    "vse": {"video_encoder/dense/kernel": (WIDTH, 12)},
    "vse_wordembed": {"video_encoder/dense/kernel": (WIDTH, 12)},
    "cpt": {},
    "devise": {"devise/dense/kernel": (WIDTH, VECTOR_DIM)},
    "ale": {"ale/dense/kernel": (WIDTH, VECTOR_DIM)},
    "sje": {"sje/dense/kernel": (WIDTH, VECTOR_DIM)},
    "dem": {"dem/output/kernel": (9, WIDTH)},
    "eszsl": {"eszsl/dense/kernel": (WIDTH, VECTOR_DIM)},
    "gcn": {"gcn/layer_2/dense/kernel": (6, WIDTH), "gcn/layer_2/loop_weight": (6, WIDTH)},
}
FROZEN_BERT = {"model__text_backbone__trainable_from": ""}      # it is not what is tested here
FIELDS = {"ervse": FROZEN_BERT, "vse": FROZEN_BERT, "cpt": FROZEN_BERT,
          "gcn": {"model__targets": "class_means", "model__hidden_dims": (8, 6), "model__num_neighbors": 3,
                  "num_epochs": 4, "eval_every_steps": 2},
          "dem": {"model__hidden_dim": 9}}


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
  """Programs run a few times each here, so compiling them is most of the time."""
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
  """video_folder, prepared from a folder of features with the class list and the word vectors in it."""
  folder = tmp_path_factory.mktemp("other_features")
  source, random, predictions = folder / "features", np.random.default_rng(0), {}
  names = [f"{motion} {thing}" for motion in MOTIONS for thing in OBJECTS]
  for label, name in enumerate(names):
    (source / name).mkdir(parents=True)
    for take in range(PER_CLASS):
      np.save(source / name / f"{take}.npy", random.normal(np.eye(12)[label, :WIDTH], 0.1).astype(np.float64))
      predictions[f"{name}/{take}"] = [[label % 4, 4 + take], [0.9, 0.3]]
  files.write_jsonl(source / "classes.jsonl", (
      {"name": name, "description": f"A {name.split()[1]} is moved {WAYS[name.split()[0]]}.",
       "split": SPLITS[name.split()[0]]} for name in names))
  files.write_jsonl(folder / "concepts.jsonl", (
      {"wnid": f"n{index}", "name": name, "definition": "A thing"} for index, name in enumerate(CONCEPTS)))
  files.write_json(folder / "predictions.json", predictions)
  vectors = random.normal(size=(len(VOCABULARY), VECTOR_DIM)).round(4)
  (folder / "glove.txt").write_text("".join(
      f"{word} {' '.join(map(str, vector))}\n" for word, vector in zip(VOCABULARY, vectors.tolist())))
  subprocess.run([sys.executable, build_word_vectors.__file__, f"--classes={source}", f"--output={source}",
                  f"--vectors={folder / 'glove.txt'}", f"--concepts={folder / 'concepts.jsonl'}"], check=True)
  prepare("video_folder", folder / "data", features=source, concept_predictions=folder / "predictions.json",
          concepts=folder / "concepts.jsonl")
  (folder / "data" / "bert").mkdir()
  write_bert_folder(folder / "data" / "bert", layers=1)
  return folder / "data"


@pytest.mark.parametrize("method", METHODS.names())
def test_every_method_trains_on_features_of_any_width_and_is_tested(data_dir, tmp_path, monkeypatch, method):
  monkeypatch.setattr(run, "Experiment", functools.partial(Experiment, devices=jax.devices()[:1]))
  monkeypatch.setattr(run.plots, "write_pictures", lambda *args: None)
  monkeypatch.setattr(run.plots, "contact_sheet", lambda *args: None)
  config = small_config(method, str(data_dir / "bert"), data__dataset="video_folder", data__data_dir=str(data_dir),
                        **FIELDS.get(method, {}))
  run.run(config, str(tmp_path))

  losses = [line["loss"] for line in lines_of(tmp_path) if "loss" in line]
  assert losses and np.isfinite(losses).all()
  results = json.loads((tmp_path / "results.json").read_text())
  assert results["dataset"] == "video_folder" and results["data"]["manifest"]["path"].startswith(str(data_dir))
  assert results["splits"]["0"]["num_videos"] == 4 * PER_CLASS and results["splits"]["0"]["num_classes"] == 4
  shapes = shapes_of(tmp_path)
  assert {name: shape for name, shape in shapes.items() if WIDTH in shape and len(shape) == 2} == ENTRANCES[method]


def shapes_of(workdir: Path) -> dict[str, tuple[int, ...]]:
  """Of the newest checkpoint's parameters, by name."""
  step = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
  with ocp.PyTreeCheckpointer() as checkpointer:
    state = checkpointer.restore(workdir / "checkpoints" / str(step) / "state")
  return {name: np.shape(value) for name, value in flatten_dict(state["params"], sep="/").items()}
