"""Checkpoints: kept ones, whole ones, and a disk that fills up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from er_jax import checkpoints as checkpoints_lib
from er_jax.checkpoints import Checkpoints
from er_jax.inputs import TrainState
from er_jax.run_log import BestSoFar
from input_pipeline import array_files
from input_pipeline.errors import Failure, UserError

ROOT = Path(__file__).parents[2]


def state_at(step) -> TrainState:
  kernel = np.full((3, 2), float(step), np.float32)
  return TrainState(np.int32(step), {"devise": {"kernel": kernel}}, {"mu": kernel + 1})


def test_the_latest_and_the_best_are_kept_and_come_back(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  record = BestSoFar()
  for step, value in ((0, 1.0), (5, 9.0), (10, 3.0), (15, 4.0)):
    record = record.with_value("val0", "precision@1", value, step)
    checkpoints.save(state_at(step), record)
  assert sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) == [5, 15]
  state, restored = Checkpoints(tmp_path).restore(like=state_at(0))
  assert restored == record and int(state.step) == 15
  np.testing.assert_array_equal(state.params["devise"]["kernel"], state_at(15).params["devise"]["kernel"])
  params = checkpoints_lib.load_params(tmp_path / "5", state_at(0).params)
  np.testing.assert_array_equal(params["devise"]["kernel"], 5.0)


def test_what_a_killed_run_was_writing_is_cleared_away(tmp_path):
  (tmp_path / "12.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
  assert Checkpoints(tmp_path).latest_step is None and not list(tmp_path.iterdir())


def test_converted_parameters_come_back(tmp_path):
  params = state_at(3).params
  array_files.write_orbax(tmp_path / "converted", params)
  loaded = checkpoints_lib.load_params(tmp_path / "converted", params)
  np.testing.assert_array_equal(loaded["devise"]["kernel"], 3.0)
  with pytest.raises(UserError, match="there already"):
    array_files.write_orbax(tmp_path / "converted", params)
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match="not a checkpoint"):
    checkpoints_lib.load_params(tmp_path / "empty", params)
  with pytest.raises(UserError, match="No checkpoint folder"):
    checkpoints_lib.load_params(tmp_path / "absent", params)


def test_a_full_disk_leaves_no_checkpoint_that_looks_whole(tmp_path, bert_folder):
  def run(**overrides):
    overrides = {"num_epochs": 1, "log_every_steps": 1, **overrides}
    command = [sys.executable, "-m", "tests.er_jax.run_small", str(tmp_path / "run"), bert_folder,
               json.dumps(overrides)]
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
                   "JAX_COMPILATION_CACHE_DIR": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)

  full = run(largest_file=8000)       # a file of the checkpoint is larger than what may be written
  assert full.returncode == 1, full.stderr
  assert "error: Cannot write the checkpoint of step 0" in full.stderr and "Traceback" not in full.stderr
  assert Checkpoints(tmp_path / "run" / "checkpoints").latest_step is None
  with_room = run()
  assert with_room.returncode == 0, with_room.stderr
  steps = [(json.loads(line)["step"], json.loads(line).get("split"))
           for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  assert len(steps) == len(set(steps)) and (3, None) in steps


@pytest.mark.parametrize("name", ["run [lr=1]", "[!a]", "back\\slash", "gs:"])
def test_a_workdir_of_any_name_keeps_its_checkpoints(tmp_path, name):
  checkpoints = Checkpoints(tmp_path / name)
  checkpoints.save(state_at(5), BestSoFar())
  checkpoints.close()
  state, _ = Checkpoints(tmp_path / name).restore(like=state_at(0))
  np.testing.assert_array_equal(state.params["devise"]["kernel"], 5.0)
  params = checkpoints_lib.load_params(tmp_path / name / "5", state_at(0).params)
  np.testing.assert_array_equal(params["devise"]["kernel"], 5.0)


def test_a_checkpoint_that_does_not_read_back_is_a_failure(tmp_path, monkeypatch):
  checkpoints = Checkpoints(tmp_path)
  monkeypatch.setattr(checkpoints, "_shapes", lambda step: {})
  with pytest.raises(Failure, match="does not read back"):
    checkpoints.save(state_at(5), BestSoFar())


def test_training_is_not_over_without_its_best_checkpoint(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  record = BestSoFar().with_value("val0", "precision@1", 1.0, 5)
  checkpoints.save(state_at(5), record)
  checkpoints.save(state_at(6), record)
  checkpoints.require(record)
  shutil.rmtree(tmp_path / "5")
  with pytest.raises(Failure, match="step 5.*not in"):
    Checkpoints(tmp_path).require(record)


def test_checkpoint_that_holds_what_is_not_finite_is_refused(tmp_path):
  good, bad = state_at(3), state_at(3)
  bad.params["devise"]["kernel"][1, 0] = np.nan
  array_files.write_orbax(tmp_path / "converted", bad.params)
  checkpoints = Checkpoints(tmp_path / "run")
  checkpoints.save(bad, BestSoFar())
  for read in (lambda: checkpoints_lib.load_params(tmp_path / "converted", good.params),
               lambda: checkpoints_lib.load_params(tmp_path / "run" / "3", good.params),
               lambda: checkpoints.restore(like=good)):
    with pytest.raises(UserError, match="holds numbers that are not finite, in (params/)?devise/kernel"):
      read()


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_converted_parameters_of_another_width_come_as_ours(tmp_path, dtype):
  params = state_at(3).params
  array_files.write_orbax(tmp_path / "converted", {"devise": {"kernel": params["devise"]["kernel"].astype(dtype)}})
  loaded = checkpoints_lib.load_params(tmp_path / "converted", params)
  assert loaded["devise"]["kernel"].dtype == np.float32
  np.testing.assert_array_equal(loaded["devise"]["kernel"], 3.0)
