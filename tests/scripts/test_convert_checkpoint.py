"""scripts/convert_checkpoint.py as a user runs it."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from input_pipeline.backbones import bit, checkpoints

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert_checkpoint.py"


def convert(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=120)


def small_bit(path: Path) -> None:
  config = bit.BiTConfig((1,), base_width=32, num_concepts=7)
  shapes = jax.eval_shape(bit.BiT(config).init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
  checkpoints.save_npz(path, config, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes))


def test_converted_checkpoint_is_reported_and_loads_like_the_file(tmp_path):
  small_bit(tmp_path / "bit.npz")
  result = convert("--kind=bit", f"--input={tmp_path / 'bit.npz'}", f"--output={tmp_path / 'converted'}")
  assert result.returncode == 0, result.stderr
  assert "depths=(1,)" in result.stdout and "no name missing, none unexpected" in result.stdout
  config, variables = checkpoints.load_bit(tmp_path / "converted")
  expected_config, expected = checkpoints.load_bit(tmp_path / "bit.npz")
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


def test_unknown_kind_names_the_near_match(tmp_path):
  result = convert("--kind=bitt", f"--input={tmp_path / 'bit.npz'}", f"--output={tmp_path / 'converted'}")
  assert result.returncode == 2
  assert "Unknown --kind 'bitt'. Did you mean bit?" in result.stderr
