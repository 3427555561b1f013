"""scripts/compare.py on the small dataset: its table against results.json, what it reuses, and how it fails."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from er_jax import compare
from er_jax import run as run_lib
from input_pipeline.errors import Failure, UserError
from tests.er_jax.small import SlowTable, small_config, small_dataset

ROOT = Path(__file__).resolve().parents[2]
METRICS = ("precision@1", "precision@5")


@pytest.fixture
def small(tmp_path, monkeypatch) -> list[ConfigDict]:
  """Puts the small dataset in the place of toy_actions; the returned list gets the config of each training."""
  dataset, trained, run = small_dataset(tmp_path), [], run_lib.run
  held_out = dataset.table("train")
  held_out = SlowTable(*(part if part is None else part[:10] for part in held_out[:4]), None, pause=0.0)
  unseen = dataset.table("test")
  dataset.tables["test"] = SlowTable(
      *(np.concatenate([ours, theirs]) for ours, theirs in zip(unseen[:4], held_out[:4])), None, pause=0.0)

  def tiny(method: str, dataset_name: str, seed: int, data_dir: str) -> ConfigDict:
    config = small_config(method, "", num_epochs=1, seed=seed)
    config.data.data_dir = data_dir
    return config

  def noted(config: ConfigDict, workdir: str) -> dict:
    trained.append(config)
    return run(config, workdir)

  monkeypatch.setattr(run_lib, "open_dataset", lambda config: dataset)
  monkeypatch.setattr(compare.prepare, "prepare", lambda name, data_dir: None)
  monkeypatch.setattr(compare, "_config", tiny)
  monkeypatch.setattr(run_lib, "run", noted)
  return trained


def results_of(workdir: Path, method: str) -> list[dict]:
  return [json.loads((workdir / f"{method}-{seed}" / "results.json").read_text()) for seed in (0, 1)]


def numbers(line: str) -> list[tuple[float, float]]:
  """The means and standard deviations in a line of the table."""
  return [(float(mean), float(std)) for mean, std in re.findall(r"([\d.]+) ± ([\d.]+)", line)]


def test_table_is_over_splits_and_seeds_and_a_second_call_reuses_the_runs(tmp_path, small, capsys):
  workdir = tmp_path / "compared"
  compare.compare(["devise"], "toy_actions", 2, workdir, "somewhere")
  assert [(config.method, config.seed, config.data.data_dir) for config in small] == [
      ("devise", 0, "somewhere"), ("devise", 1, "somewhere")]
  runs = results_of(workdir, "devise")
  splits = [split for run in runs for split in run["splits"].values()]
  assert len(splits) == 6
  expected = [np.array([split[name] for split in splits]) for name in METRICS]
  expected.append(np.array([run["seen"]["precision@1"] for run in runs]))

  table = (workdir / "table.md").read_text()
  assert "On 16, 16 and 16 unseen videos, 10 seen ones." in table
  line = next(line for line in table.splitlines() if line.startswith("| DEVISE"))
  np.testing.assert_allclose(numbers(line), [(v.mean(), v.std()) for v in expected], atol=0.051)
  level = next(line for line in table.splitlines() if line.startswith("| chance"))
  np.testing.assert_allclose(numbers(level), [(25, 0), (100, 0), (100 / 6, 0)], atol=0.051)     # 4 unseen, 6 seen
  assert "3 class splits x 2 seeds" in table and table.startswith("# 1 method on toy_actions\n")
  assert (workdir / "comparison.png").stat().st_size > 5000

  printed = capsys.readouterr().out
  shown = next(line for line in printed.splitlines() if "DEVISE" in line and "±" in line)
  assert numbers(shown) == numbers(line)
  assert re.search(r"Seconds: prepare \d+, devise \d+", printed)
  for path in ("table.md", "comparison.png", "devise-0/contact_sheet.png"):
    assert f"{workdir}/{path}" in printed and (workdir / path).exists()
  assert f"Features: {Path('somewhere/toy_actions').absolute()}\n" in printed      # no videos are there to be named

  before = (workdir / "devise-0" / "metrics.jsonl").stat().st_mtime_ns
  compare.compare(["devise"], "toy_actions", 2, workdir, "somewhere")
  assert len(small) == 2 and (workdir / "devise-0" / "metrics.jsonl").stat().st_mtime_ns == before
  assert (workdir / "table.md").read_text() == table
  assert f"{workdir}/devise-1 is there already" in capsys.readouterr().out


def test_a_stopped_comparison_goes_on_with_what_is_missing(tmp_path, small, monkeypatch):
  workdir, run = tmp_path / "compared", run_lib.run
  monkeypatch.setattr(run_lib, "run", lambda config, folder: None if config.seed == 1 else run(config, folder))
  with pytest.raises(Failure, match="same command goes on"):
    compare.compare(["devise"], "toy_actions", 2, workdir, "data")
  assert not (workdir / "table.md").exists()
  monkeypatch.setattr(run_lib, "run", run)
  compare.compare(["devise"], "toy_actions", 2, workdir, "data")
  assert [config.seed for config in small] == [0, 1] and (workdir / "table.md").exists()


def test_a_finished_run_on_data_that_has_changed_is_not_taken_for_it(tmp_path, small):
  workdir = tmp_path / "compared"
  compare.compare(["devise"], "toy_actions", 1, workdir, "data")
  (tmp_path / "classes.jsonl").write_text('{"name": "other", "description": ""}\n')
  with pytest.raises(UserError, match="trained with other data"):
    compare.compare(["devise"], "toy_actions", 1, workdir, "data")


def test_a_workdir_with_runs_of_another_config_is_refused(tmp_path, small, monkeypatch):
  workdir, tiny = tmp_path / "compared", compare._config
  compare.compare(["devise"], "toy_actions", 1, workdir, "data")

  def other(*arguments) -> ConfigDict:
    config = tiny(*arguments)
    config.optimizer.learning_rate = 0.5
    return config

  monkeypatch.setattr(compare, "_config", other)
  with pytest.raises(UserError, match=r"learning_rate is 0.5(.|\n)*another --workdir"):
    compare.compare(["devise"], "toy_actions", 1, workdir, "data")


@pytest.mark.parametrize("methods, dataset, message", [
    (["devise", "vsee"], "toy_actions", "vsee.*Did you mean vse"),
    (["devise"], "toy_action", "toy_action.*Did you mean toy_actions"),
    ([], "toy_actions", "--methods.*ale, cpt, dem, devise"),
    (None, "toy_action", "toy_action.*Did you mean toy_actions")])
def test_a_wrong_name_is_told_before_anything_is_trained(tmp_path, small, methods, dataset, message):
  with pytest.raises(UserError, match=message):
    compare.compare(methods, dataset, 1, tmp_path / "compared", "data")
  assert not small and not (tmp_path / "compared").exists()


@pytest.mark.parametrize("command, flag, message", [
    ([ROOT / "scripts" / "compare.py"], "--methods=ervse,vsee", "Unknown method in --methods 'vsee'. Did you mean vse"),
    (["-m", "scripts.compare"], "--seeds=0", "--seeds=0")], ids=["as a file", "as a module"])
def test_a_wrong_flag_ends_with_status_2_however_the_command_is_called(tmp_path, command, flag, message):
  result = subprocess.run([sys.executable, *command, flag, f"--workdir={tmp_path / 'runs'}"], capture_output=True,
                          text=True, timeout=120, cwd=ROOT)
  assert result.returncode == 2
  assert message in result.stderr and "Traceback" not in result.stderr
  assert not (tmp_path / "runs").exists()


def test_every_method_has_a_config():
  assert compare.all_methods() == ["ervse", "cpt", "vse", "vse_wordembed", "gcn", "dem", "eszsl", "sje", "ale", "devise"]
  for method in compare.all_methods():
    config = compare._config(method, "toy_actions", 3, "elsewhere")
    assert (config.method, config.seed, config.data.data_dir) == (method, 3, "elsewhere")
