"""Training as a whole: the same numbers on any devices, after any interruption, without recompilation."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from er_jax import steps, train
from er_jax.checkpoints import Checkpoints
from er_jax.experiment import Experiment
from input_pipeline.errors import Failure, UserError
from tests.er_jax.small import lines_of, small_config, small_dataset

ROOT = Path(__file__).parents[2]
TWENTY_STEPS = {"num_epochs": 7, "eval_every_steps": 10}      # 42 videos, batches of 16: 3 steps an epoch


def run_here(tmp_path, name, bert_folder, devices=None, method="ervse", **overrides) -> Path:
  workdir = tmp_path / name
  workdir.mkdir()
  config = small_config(method, bert_folder, **overrides)
  assert train.train(Experiment(config, workdir, small_dataset(tmp_path), devices))
  return workdir


def losses_of(workdir) -> list[float]:
  return [line["loss"] for line in lines_of(workdir) if "loss" in line]


def start(workdir, bert_folder, overrides, *processes, devices=1) -> subprocess.Popen:
  environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
  command = [sys.executable, "-m", "tests.er_jax.run_small", str(workdir), bert_folder, json.dumps(overrides)]
  return subprocess.Popen([*command, *map(str, processes)], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def finish(process) -> str:
  output = process.communicate(timeout=300)[0]
  assert process.returncode == 0, output
  return output


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, bert_folder) -> Path:
  return run_here(tmp_path_factory.mktemp("one"), "run", bert_folder, jax.devices()[:1], **TWENTY_STEPS)


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_eight_devices_give_the_losses_of_one(tmp_path, bert_folder, one_device, parallel):
  workdir = run_here(tmp_path, parallel, bert_folder, jax.devices(), parallel=parallel, **TWENTY_STEPS)
  assert len(losses_of(workdir)) == 21
  np.testing.assert_allclose(losses_of(workdir), losses_of(one_device), rtol=1e-5)     # with dropout on


def start_two(workdir, bert_folder, overrides) -> list[subprocess.Popen]:
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  return [start(workdir, bert_folder, overrides, address, 2, i, devices=4) for i in range(2)]


def test_two_processes_of_four_devices_give_the_losses_of_one_and_write_once(tmp_path, bert_folder, one_device):
  workdir = tmp_path / "two"
  processes = start_two(workdir, bert_folder, {**TWENTY_STEPS, "pause": 0.2})
  wait_for_step(workdir, 4, processes[0])
  processes[1].send_signal(signal.SIGTERM)        # one is told to stop; both do, at the same step, and go on together
  outputs = [finish(process) for process in processes]
  assert "The same command goes on from there" in outputs[0] and not (workdir / "results.json").exists()
  assert len(losses_of(workdir)) < 21
  outputs = [finish(process) for process in start_two(workdir, bert_folder, TWENTY_STEPS)]
  np.testing.assert_allclose(losses_of(workdir), losses_of(one_device), rtol=1e-5)
  steps = [(line["step"], line.get("split")) for line in lines_of(workdir)]
  assert len(steps) == len(set(steps))
  assert json.loads((workdir / "results.json").read_text())["splits"].keys() == {"0", "1", "2"}
  assert "mean ± std" in outputs[0] and "mean ± std" not in outputs[1]


@pytest.mark.parametrize("fusion", ["early", "late", "fc"])
def test_every_fusion_trains_with_an_evaluation_batch_larger_than_the_training_batch(tmp_path, bert_folder, fusion):
  workdir = run_here(tmp_path, fusion, bert_folder, jax.devices()[:1], num_epochs=1, batch_size=4, eval_batch_size=16,
                     model__fusion=fusion, model__clamp_obj_logits=fusion == "late")
  assert np.isfinite(losses_of(workdir)).all() and len(losses_of(workdir)) == 11


def test_the_loss_falls(one_device):
  assert np.mean(losses_of(one_device)[-3:]) < 0.8 * np.mean(losses_of(one_device)[:3])


def test_a_step_is_compiled_once(tmp_path, bert_folder, monkeypatch):
  compiled = []
  make = steps.Steps.__init__

  def keep(self, *args, **kwargs):
    make(self, *args, **kwargs)
    compiled.append(self)

  monkeypatch.setattr(steps.Steps, "__init__", keep)
  run_here(tmp_path, "run", bert_folder, jax.devices()[:2], num_epochs=2)
  assert compiled[0].train._cache_size() == 1
  assert compiled[1].score._cache_size() == 1 and compiled[1].encode_classes._cache_size() == 1


def wait_for_step(workdir, step, process) -> None:
  deadline = time.monotonic() + 200
  while time.monotonic() < deadline and process.poll() is None:
    lines = lines_of_whole(workdir)
    if any(line["step"] >= step for line in lines):
      return
    time.sleep(0.02)
  raise AssertionError(f"step {step} was not reached: {process.communicate()[0]}")


def lines_of_whole(workdir) -> list[dict]:
  path = workdir / "metrics.jsonl"
  text = path.read_text() if path.exists() else ""
  return [json.loads(line) for line in text.split("\n")[:-1]]


def everything_of(workdir) -> dict[str, bytes]:
  files = [workdir / "metrics.jsonl", workdir / "results.json", *sorted((workdir / "predictions").iterdir())]
  return {path.name: path.read_bytes() for path in files}


def test_a_killed_and_a_stopped_run_go_on_to_the_same_bits(tmp_path, bert_folder):
  overrides = {"num_epochs": 4, "eval_every_steps": 3, "log_every_steps": 1}
  undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
  finish(start(undisturbed, bert_folder, overrides))

  slowly = {**overrides, "pause": 0.3}
  process = start(killed, bert_folder, slowly)
  wait_for_step(killed, int(np.random.default_rng().integers(4, 6)), process)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not (killed / "results.json").exists()

  process = start(killed, bert_folder, slowly)
  wait_for_step(killed, 8, process)
  process.send_signal(signal.SIGTERM)
  assert "The same command goes on from there" in finish(process)
  assert not (killed / "results.json").exists()

  finish(start(killed, bert_folder, slowly))
  assert everything_of(killed) == everything_of(undisturbed)
  for ours, theirs in zip(jax.tree.leaves(final_state(killed)), jax.tree.leaves(final_state(undisturbed)), strict=True):
    np.testing.assert_array_equal(ours, theirs)


def final_state(workdir):
  assert Checkpoints(workdir / "checkpoints").latest_step == 12
  return restored(workdir, 12)


def restored(workdir, step):
  """What is in a checkpoint, without our own loading code."""
  with ocp.PyTreeCheckpointer() as checkpointer:
    return checkpointer.restore(workdir / "checkpoints" / str(step) / "state")


def test_a_workdir_serves_one_run_at_a_time(tmp_path, bert_folder):
  workdir = tmp_path / "busy"
  workdir.mkdir()
  with open(workdir / ".lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    process = start(workdir, bert_folder, {})
    output = process.communicate(timeout=200)[0]
  assert process.returncode == 2 and "in use by another run" in output and "Traceback" not in output


@pytest.mark.parametrize("batch_size, message", [
    (4, "The loss is nan at step 2"),
    (1000, "Step 1 made devise/dense/.* infinite or no number")])      # an epoch is one step, whose loss is a number
def test_a_loss_or_parameter_that_is_no_number_ends_training_and_is_not_saved(tmp_path, bert_folder, batch_size, message):
  with pytest.raises(Failure, match=f"{message}.* lower config.optimizer.learning_rate"):
    run_here(tmp_path, "run", bert_folder, jax.devices()[:1], method="devise", optimizer__learning_rate=1e39,
             optimizer__schedule="constant", optimizer__warmup_steps=0, batch_size=batch_size, log_every_steps=50)
  assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit()] == ["0"]


def test_a_signal_in_the_last_step_stops_what_would_follow(tmp_path, monkeypatch):
  monkeypatch.setattr(train._StopSignal, "agreed", lambda self, ask_others: True)
  config = small_config("devise", "", num_epochs=1, batch_size=1000)
  assert not train.train(Experiment(config, tmp_path, small_dataset(tmp_path)))
  assert Checkpoints(tmp_path / "checkpoints").latest_step == 1


def test_a_checkpoint_of_another_model_is_refused_with_names(tmp_path, bert_folder):
  workdir = run_here(tmp_path, "run", bert_folder, jax.devices()[:1], method="devise")
  config = small_config("devise", bert_folder)
  other = small_dataset(tmp_path, feature_dim=9)
  with pytest.raises(UserError, match=r"devise/dense/kernel has shape \(16, 6\), expected \(9, 6\)"):
    train.train(Experiment(config, workdir, other, jax.devices()[:1]))
  vse = Experiment(small_config("vse", bert_folder), workdir, small_dataset(tmp_path), jax.devices()[:1])
  with pytest.raises(UserError, match="missing video_encoder/dense/kernel(.|\n)*unexpected devise/dense/kernel"):
    vse.load_params(workdir / "checkpoints" / "6")
  with pytest.raises(UserError, match="Give one step's folder"):
    vse.load_params(workdir / "checkpoints")


def test_training_can_start_from_a_checkpoint(tmp_path, bert_folder):
  workdir = run_here(tmp_path, "run", bert_folder, jax.devices()[:1], method="devise")
  path = workdir / "checkpoints" / "6"
  experiment = Experiment(small_config("devise", bert_folder, init_from=str(path)), tmp_path, small_dataset(tmp_path))
  kernel = experiment.first_params()["devise"]["dense"]["kernel"]
  state = restored(workdir, 6)
  np.testing.assert_array_equal(kernel, state["params"]["devise"]["dense"]["kernel"])
