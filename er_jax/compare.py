"""Methods side by side on one dataset: trains and evaluates each, and puts their accuracies in a table and a picture.

    python scripts/compare.py                                          # all methods on toy_actions, one seed
    python scripts/compare.py --methods=ervse,vse --seeds=3 --workdir=runs/two
    python scripts/compare.py --dataset=precomputed --data_dir=/data --workdir=runs/kinetics

Leaves WORKDIR/table.md, WORKDIR/comparison.png and a run in WORKDIR/METHOD-SEED for each method and seed. Runs that are
finished are used as they are; the same command goes on where it was stopped.
"""

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging
from ml_collections import ConfigDict
from rich.console import Console

from er_jax import config_files
from er_jax.models import METHODS
from er_jax.results import tables
from input_pipeline import errors, files, paths, prepare
from input_pipeline.datasets import DATASETS
from input_pipeline.errors import Failure, UserError

NOTE = ("Top-1 and top-5 accuracy on videos of unseen classes, told apart among the unseen classes of a split; where "
        "there is a column of seen classes, top-1 on held-out videos of those, told apart among the seen ones. Mean ± "
        "population standard deviation over {splits} x {seeds}; of seen classes, over the seeds. On {videos}.")


def all_methods() -> list[str]:
  """The names of all methods: the newest first, and of a year those that need most."""
  declared = {name: METHODS.load(name) for name in METHODS.names()}
  return sorted(declared, key=lambda name: (-declared[name].year, -len(declared[name].needs), declared[name].title))


def compare(
    methods: Sequence[str] | None, dataset: str, seeds: int, workdir: str | Path, data_dir: str
) -> list[tuple[str, dict]]:
  """Trains and evaluates what is not there yet; writes and prints the comparison.

  Args:
    methods: names, in the order of the table; None for all.
    dataset: the dataset's name; toy_actions is prepared if need be.
    seeds: how many trainings a method, with seeds 0, 1, ...
    workdir: see above.
    data_dir: where datasets lie.

  Returns:
    The rows of the table: (title, `tables.summary`) of each method, and chance.

  Raises:
    UserError: for an unknown name, or anything wrong in the data or the workdir; nothing is trained if a name is wrong.
    Failure: stopped on the way.
  """
  DATASETS.check(dataset)
  methods = list(dict.fromkeys(all_methods() if methods is None else methods))
  for method in methods:
    METHODS.check(method, "method in --methods")
  if not methods:
    raise UserError(f"Which methods? Give --methods=NAME,NAME,... with some of {', '.join(METHODS.names())}.")
  workdir, where = paths.absolute(workdir, "--workdir"), paths.absolute(data_dir, "--data_dir")
  configs = {method: [_config(method, dataset, seed, data_dir) for seed in range(seeds)] for method in methods}
  seconds, runs = {}, {}
  if not DATASETS.load(dataset).needs_source:
    started = time.monotonic()
    prepare.prepare(dataset, data_dir)
    seconds["prepare"] = time.monotonic() - started
  for method in methods:
    started = time.monotonic()
    runs[method] = [_results(config, workdir / f"{method}-{config.seed}") for config in configs[method]]
    seconds[method] = time.monotonic() - started

  first = runs[methods[0]][0]
  chance = tables.chance([split["num_classes"] for split in first["splits"].values()],
                         first[tables.SEEN]["num_classes"] if tables.SEEN in first else None)
  rows = [(METHODS.load(method).title, tables.summary(runs[method])) for method in methods]
  counts = {"splits": _count(len(first["splits"]), "class split"), "seeds": _count(seeds, "seed"),
            "videos": _videos(first)}
  _write(workdir, dataset, rows, chance, counts)
  _print(workdir, dataset, where, methods, [*rows, ("chance", chance)], counts, seconds)
  return [*rows, ("chance", chance)]


def _config(method: str, dataset: str, seed: int, data_dir: str) -> ConfigDict:
  config = config_files.load(method, dataset)
  config.seed, config.data.data_dir = seed, data_dir
  return config


def _results(config: ConfigDict, workdir: Path) -> dict:
  """What results.json of a run holds; the run is made, or finished, unless it is there, of this config and data."""
  from er_jax import provenance  # only now, so that a wrong flag answers at once
  from er_jax import run as run_lib
  from er_jax.workdir import as_written

  if (workdir / "results.json").exists():
    results = files.read_json(workdir / "results.json", finite=False)
    of_this = results.get("config") == as_written(config) and "checkpoint" not in results
    if of_this and results.get("data") == provenance.of(config, run_lib.open_dataset(config), config.data.corrections):
      print(f"{workdir} is there already.", flush=True)
      return results
  print(f"{METHODS.load(config.method).title}, seed {config.seed}: {workdir}", flush=True)
  results = run_lib.run(config, workdir)
  if results is None:
    raise Failure("Stopped. The same command goes on from there.")
  return results


def _write(workdir: Path, dataset: str, rows: list[tuple[str, dict]], chance: dict, counts: dict[str, str]) -> None:
  """Writes table.md and comparison.png."""
  from er_jax.results import plots

  with files.replacing(workdir / "table.md") as file:
    table = tables.comparison_markdown([*rows, ("chance", chance)])
    file.write(f"# {_title(rows, dataset)}\n\n{table}\n{NOTE.format(**counts)}\n".encode())
  plots.comparison(workdir / "comparison.png", rows, chance, _title(rows, dataset),
                   f"Mean ± std over {counts['splits']} x {counts['seeds']}")


def _print(workdir: Path, dataset: str, data_dir: Path, methods: list[str], rows: list[tuple[str, dict]],
           counts: dict[str, str], seconds: dict[str, float]) -> None:
  """The table, how long it took, and where everything is."""
  Console().print(tables.comparison_table(rows, f"{dataset}, {counts['splits']} x {counts['seeds']}, %"))
  print(f"On {counts['videos']}.")
  print("Seconds: " + ", ".join(f"{name} {spent:.0f}" for name, spent in seconds.items()))
  videos = data_dir / "sources" / dataset
  if not DATASETS.load(dataset).needs_source:
    print((f"Videos: {videos}; features: " if videos.is_dir() else "Features: ") + str(data_dir / dataset))
  sheets = sorted((workdir / f"{methods[0]}-0").glob("**/contact_sheet.png"))
  print(f"Results, predictions and pictures: {workdir}/METHOD-SEED" + (f" (begin with {sheets[0]})" if sheets else ""))
  print(f"This table: {workdir}/table.md; as a picture: {workdir}/comparison.png", flush=True)


def _videos(results: dict) -> str:
  """How many videos the accuracies of a run rest on: "240, 240 and 236 unseen videos, 168 seen ones"."""
  numbers = [str(split["num_videos"]) for split in results["splits"].values()]
  unseen = " and ".join(filter(None, [", ".join(numbers[:-1]), numbers[-1]])) + " unseen videos"
  return unseen + (f", {results[tables.SEEN]['num_videos']} seen ones" if tables.SEEN in results else "")


def _title(rows: list[tuple[str, dict]], dataset: str) -> str:
  return f"{_count(len(rows), 'method')} on {dataset}"


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}{'' if number == 1 else 's'}"


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_list("methods", None, "Which methods, in the order of the table. Default: all.")
  flags.DEFINE_string("dataset", "toy_actions", "On which dataset.")
  flags.DEFINE_integer("seeds", 1, "How many trainings a method, with seeds 0, 1, ...", lower_bound=1)
  flags.DEFINE_string("workdir", "runs/compare", "Where the runs, the table and the picture are kept.")
  flags.DEFINE_string("data_dir", "data", "Where datasets are, or toy_actions will be.")


def main(argv: list[str]) -> None:
  """Compares what the flags say."""
  del argv
  logging.set_verbosity(logging.ERROR)    # libraries' remarks; ours are printed
  values = flags.FLAGS
  compare(values.methods, values.dataset, values.seeds, values.workdir, values.data_dir)


if __name__ == "__main__":
  define_flags()
  errors.run(main)
