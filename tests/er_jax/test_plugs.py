"""A method and a text tower are added as one file each (a method's config besides), and run by the commands."""

import json
import os
import subprocess
import sys

import pytest

from input_pipeline import prepare
from tests.input_pipeline.published_layout import write_layout
from tests.plugs import copy_of_the_tree

METHOD = '''
"""Cosine of the mapped feature and the class vector: a method of this test."""

from ml_collections import FrozenConfigDict

from er_jax.models.bilinear import Bilinear
from er_jax.models.encoders import l2_normalize
from er_jax.models.spec import FEATURES, VECTORS, MethodSpec, dense_names, read_sizes


class Cosine(Bilinear):

  def score(self, videos, classes):
    return l2_normalize(videos) @ classes.T


def build(config, sizes, tower):
  return Cosine("cosine", sizes.vector_dim, FrozenConfigDict(config.model), FrozenConfigDict(config.loss))


METHOD = MethodSpec(title="Cosine", paper="nowhere", year=2026, losses=("ce",), needs=frozenset({FEATURES, VECTORS}),
                    build=build, published_names=dense_names({"cosine/dense": "bilinear"}),
                    published_sizes=read_sizes(("bilinear.weight", 1), ("bilinear.weight", 0)))
'''
CONFIG = '''
from configs import common


def get_config(dataset="toy_actions"):
  config = common.bilinear("cosine", dataset)
  config.loss.kind, config.num_epochs, config.batch_size = "ce", 2, 8
  return config
'''
TOWER = '''
"""Letters as a text tower: a table of 128 characters, a tower of this test."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from er_jax.text.tower import TextTower, TowerSpec


class Letters(nn.Module):
  width: int = 8
  can_be_cached: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, texts, deterministic):
    return nn.Embed(128, self.width, name="embedding")(texts.tokens)


class Tokenizer:
  vocab_size, separator = 128, ": "

  def encode(self, texts, max_tokens):
    return [np.array([ord(letter) % 128 for letter in text][:max_tokens], np.int32) for text in texts]


TOWER = TowerSpec(build=lambda config, dtype, dataset, frozen: TextTower(Letters(), Tokenizer(), {}, frozenset(), 1 << 20),
                  module_of=lambda config, arrays, dtype: Letters(), published_names={})
'''


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  """A copy of the tree with a new method and a new tower in it, and a prepared dataset beside it."""
  folder = tmp_path_factory.mktemp("plugs")
  tree = copy_of_the_tree(folder / "tree")
  for name, text in (("er_jax/models/cosine.py", METHOD), ("configs/cosine.py", CONFIG), ("er_jax/text/letters.py", TOWER)):
    (tree / name).write_text(text)
  prepare.prepare("precomputed", folder / "data", write_layout(folder / "layout").source)
  return tree


def main(tree, *flags) -> subprocess.CompletedProcess:
  return subprocess.run(
      [sys.executable, "-m", "er_jax.main", *flags, f"--config.data.data_dir={tree.parent / 'data'}"], cwd=tree,
      capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": str(tree)})


def test_a_method_is_one_file_and_its_config(tree):
  ran = main(tree, "--config=configs/cosine.py:precomputed", f"--workdir={tree}/run")
  assert ran.returncode == 0, ran.stderr
  results = json.loads((tree / "run" / "results.json").read_text())
  assert results["method"] == "cosine" and len(results["splits"]) == 3
  wrong = main(tree, "--config=configs/cosine.py:precomputed", "--config.method=cosin")
  assert wrong.returncode == 2 and "Unknown config.method 'cosin'. Did you mean cosine?" in wrong.stderr


def test_a_text_tower_is_one_file(tree):
  flags = "--config=configs/vse.py:precomputed", "--config.batch_size=8", "--config.num_epochs=1"
  ran = main(tree, *flags, "--config.model.text_backbone.kind=letters", f"--workdir={tree}/letters")
  assert ran.returncode == 0, ran.stderr
  assert json.loads((tree / "letters" / "results.json").read_text())["mean"]["precision@1"] >= 0
  wrong = main(tree, *flags, "--config.model.text_backbone.kind=leters")
  assert wrong.returncode == 2 and "Unknown config.model.text_backbone.kind 'leters'. Did you mean letters?" in wrong.stderr
