"""The demonstration behind `bash scripts/demo.sh`: three methods on toy_actions, and a table.

    python -m scripts.demo --workdir=runs/demo --seeds=1

With --seeds=3 the figures of the README come out: mean and standard deviation over class splits and seeds.
"""

import importlib
import time
from pathlib import Path

from absl import flags, logging
from rich.console import Console

from er_jax import evaluate, main, metrics, report
from input_pipeline import errors, files, loaders, prepare

METHODS = {"ervse": "ER-ZSAR", "vse": "VSE", "devise": "DEVISE"}

_WORKDIR = flags.DEFINE_string("workdir", "runs/demo", "Where the runs are kept.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Where the dataset is, or will be.")
_SEEDS = flags.DEFINE_integer("seeds", 1, "How many trainings a method.", lower_bound=1)


def run(argv: list[str]) -> None:
  """Prepares, trains, evaluates and prints."""
  del argv
  logging.set_verbosity(logging.ERROR)
  started = time.monotonic()
  prepare.prepare("toy_actions", _DATA_DIR.value)
  times = {"prepare": time.monotonic() - started}
  rows, seen = [], []
  for method, title in METHODS.items():
    started = time.monotonic()
    runs = [train_and_evaluate(method, seed) for seed in range(_SEEDS.value)]
    rows.append((title, summary(runs)))
    mean, std = metrics.mean_and_std([run[evaluate.SEEN]["precision@1"] for run in runs])
    seen.append(f"{title} {mean:.1f} ± {std:.1f}")
    times[method] = time.monotonic() - started
  splits = loaders.open_dataset(_DATA_DIR.value, "toy_actions").splits
  rows.append(("chance", report.chance([len(classes) for classes in splits.test])))
  console = Console()
  console.print(report.comparison_table(rows))
  console.print(f"Top-1 on held-out videos of the seen classes: {', '.join(seen)}")
  console.print("Seconds: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in times.items()))
  console.print(f"Videos: {_DATA_DIR.value}/sources/toy_actions; features: {_DATA_DIR.value}/toy_actions\n"
                f"Results, predictions and pictures: {_WORKDIR.value}/METHOD-SEED "
                f"(begin with {_WORKDIR.value}/ervse-0/contact_sheet.png)")


def train_and_evaluate(method: str, seed: int) -> dict:
  """results.json of one run; one that is there already is read."""
  workdir = Path(_WORKDIR.value) / f"{method}-{seed}"
  config = importlib.import_module(f"configs.{method}").get_config("toy_actions")
  config.seed, config.data.data_dir = seed, _DATA_DIR.value
  if (workdir / "results.json").exists() and files.read_json(workdir / "config.json") == config.to_dict():
    print(f"{workdir} is there already.")
    return files.read_json(workdir / "results.json")
  results = main.run(config, str(workdir))
  if results is None:
    raise errors.UserError("Stopped. The same command goes on from there.")
  return results


def summary(runs: list[dict]) -> dict:
  """Mean and standard deviation over all splits of all runs, in the form of results.json."""
  values = {name: metrics.mean_and_std([split[name] for run in runs for split in run["splits"].values()])
            for name in evaluate.METRICS}
  return {"mean": {name: mean for name, (mean, _) in values.items()},
          "std": {name: std for name, (_, std) in values.items()}}


if __name__ == "__main__":
  errors.run(run)
