"""scripts/convert_checkpoint.py as a user runs it.

What it makes of each method's files is tested in tests/er_jax/test_published.py.
"""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from er_jax import convert as convert_lib
from input_pipeline import array_files
from input_pipeline.backbones import bit, checkpoints
from input_pipeline.errors import UserError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert_checkpoint.py"


def convert(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=120)


def small_bit(path: Path) -> None:
  shapes = bit.shapes(bit.BiTConfig((1,), base_width=32, num_concepts=7))
  checkpoints.save_npz(path, bit.FORMAT, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes))


def small_dem(path: Path, **renamed: str) -> dict[str, np.ndarray]:
  """Writes DEM's two weights of 5 class vector, 4 hidden and 3 feature numbers as .npz; `renamed` as {"0": "0_old"}."""
  random = np.random.default_rng(0)
  arrays = {"0": random.normal(size=(4, 5)).astype(np.float32), "2": random.normal(size=(3, 4)).astype(np.float32)}
  np.savez(path, **{f"t2vfc.{renamed.get(name, name)}.weight": array for name, array in arrays.items()})
  return arrays


def test_converted_checkpoint_is_reported_and_loads_like_the_file(tmp_path):
  small_bit(tmp_path / "bit.npz")
  result = convert("--kind=bit", f"--input={tmp_path / 'bit.npz'}", f"--output={tmp_path / 'converted'}")
  assert result.returncode == 0, result.stderr
  assert "depths=(1,)" in result.stdout and "no name missing, none unexpected" in result.stdout
  config, variables, _ = bit.load(tmp_path / "converted")
  expected_config, expected, _ = bit.load(tmp_path / "bit.npz")
  assert config == expected_config
  jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_file_that_lacks_a_name_ends_with_status_2_and_leaves_no_folder(tmp_path):
  small_bit(tmp_path / "bit.npz")
  arrays = dict(np.load(tmp_path / "bit.npz"))
  del arrays["resnet/group_norm/beta"]
  np.savez(tmp_path / "bit.npz", **arrays)
  result = convert("--kind=bit", f"--input={tmp_path / 'bit.npz'}", f"--output={tmp_path / 'converted'}")
  assert result.returncode == 2
  assert "missing resnet/group_norm/beta (128,)" in result.stderr and "Traceback" not in result.stderr
  assert [path.name for path in tmp_path.iterdir()] == ["bit.npz"]


def test_published_method_is_converted_by_the_config_that_its_flags_describe(tmp_path):
  arrays = small_dem(tmp_path / "dem.npz")
  result = convert("--kind=dem", f"--input={tmp_path / 'dem.npz'}", f"--output={tmp_path / 'converted'}",
                   "--config=configs/dem.py:precomputed", "--config.model.hidden_dim=4")
  assert result.returncode == 0, result.stderr
  assert "method dem" in result.stdout and "2 arrays, 32 numbers" in result.stdout
  found = array_files.read_orbax(tmp_path / "converted")
  assert found.keys() == {("dem", "hidden", "kernel"), ("dem", "output", "kernel")}
  np.testing.assert_array_equal(found["dem", "hidden", "kernel"], arrays["0"].T)
  np.testing.assert_array_equal(found["dem", "output", "kernel"], arrays["2"].T)


def test_renamed_array_of_a_method_ends_with_status_2_and_leaves_no_folder(tmp_path):
  small_dem(tmp_path / "dem.npz", **{"0": "1"})
  result = convert("--kind=dem", f"--input={tmp_path / 'dem.npz'}", f"--output={tmp_path / 'converted'}",
                   "--config=configs/dem.py:precomputed", "--config.model.hidden_dim=4")
  assert result.returncode == 2
  assert "missing t2vfc.0.weight" in result.stderr and "unexpected t2vfc.1.weight (4, 5)" in result.stderr
  assert "Traceback" not in result.stderr
  assert [path.name for path in tmp_path.iterdir()] == ["dem.npz"]


def test_pickle_that_is_not_weights_ends_with_status_2_and_is_not_run(tmp_path):
  class Harmful:
    def __reduce__(self):
      return Path.touch, (tmp_path / "harm",)

  (tmp_path / "a.th").write_bytes(pickle.dumps({"vis_encoder.ft_embed.weight": Harmful()}, protocol=2))
  pytest.importorskip("torch")
  result = convert("--kind=vse", f"--input={tmp_path / 'a.th'}", f"--output={tmp_path / 'converted'}")
  assert result.returncode == 2
  assert f"{tmp_path / 'a.th'} holds more than tensors and plain values" in result.stderr
  assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) <= 5
  assert [path.name for path in tmp_path.iterdir()] == ["a.th"]


def test_unknown_kind_names_the_near_match(tmp_path):
  result = convert("--kind=bitt", f"--input={tmp_path / 'bit.npz'}", f"--output={tmp_path / 'converted'}")
  assert result.returncode == 2
  assert "Unknown --kind 'bitt'. Did you mean bit?" in result.stderr


@pytest.mark.parametrize("kind, config, message", [
    ("dem", "devise", "--config is of method devise, but --kind is dem"),
    ("word_embedding", "vse_wordembed", "--kind=word_embedding is known by its file"),
    ("tsm", "devise", "--kind=tsm is known by its file"),
])
def test_config_that_does_not_go_with_the_kind_is_refused(kind, config, message):
  config = importlib.import_module(f"configs.{config}").get_config("precomputed")
  with pytest.raises(UserError, match=message):
    convert_lib.require_fitting(config, kind)
