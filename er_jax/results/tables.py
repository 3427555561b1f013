"""Tables of a run's accuracies, on the terminal and in Markdown.

    print_results(results)                                      # the content of results.json, as a table
    rows = [("ER-ZSAR", summary([results, of_another_seed])), ("chance", chance([24, 24, 24], num_seen=56))]
    comparison_table(rows), comparison_markdown(rows)           # a row a method
"""

import math
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from er_jax import metrics
from er_jax.metrics import CLASS_MEAN, GENERALIZED, METRICS, SEEN

LOG_WIDTH = 100      # characters, of tables that are not printed on a terminal
# What methods are compared by: heading, and name in the "mean" and "std" of `summary` and `chance`.
COLUMNS = {"unseen top-1": "precision@1", "unseen top-5": "precision@5", "seen top-1": SEEN}


def chance(num_classes: Sequence[int], num_seen: int | None = None) -> dict[str, dict[str, float]]:
  """Accuracy of guessing.

  Args:
    num_classes: unseen classes of each split.
    num_seen: seen classes, where there are held-out videos of them.

  Returns:
    {"mean": {"precision@1", "precision@5"}, "std": {...}} as in results.json: percent, over the splits (std of the
    population); with `num_seen` also "seen", top-1 among the seen classes.
  """
  values = {name: [100.0 * min(k, classes) / classes for classes in num_classes] for name, k in METRICS.items()}
  return metrics.means_and_stds(values | ({SEEN: [100.0 / num_seen]} if num_seen else {}))


def summary(runs: Sequence[dict]) -> dict[str, dict[str, float]]:
  """What several runs of one method come to, in the form of `chance`.

  Args:
    runs: the content of each run's results.json.

  Returns:
    "precision@1" and "precision@5" over all splits of all runs; "seen", top-1 on held-out videos of the seen classes,
    over the runs, where each has it.
  """
  values = {name: [split[name] for run in runs for split in run["splits"].values()] for name in METRICS}
  if all(SEEN in run for run in runs):
    values[SEEN] = [run[SEEN]["precision@1"] for run in runs]
  return metrics.means_and_stds(values)


def results_table(results: dict, chance: dict | None = None) -> Table:
  """A run's results, a row a split, then mean ± std, and held-out videos of the seen classes where there are any.

  Args:
    results: the content of results.json.
    chance: from `chance`; adds a row.
  """
  table = Table(title=Text(f"{results['method']} on {results['dataset']}: accuracy on unseen classes, %"))
  table.add_column("split")
  for column in ("top-1", "top-5", "class mean", "videos", "classes", "checkpoint"):
    table.add_column(column, justify="right")
  shown = (*METRICS, CLASS_MEAN)
  for name, split in results["splits"].items():
    step = split.get("step")
    table.add_row(Text(name), *(percent(split[metric]) for metric in shown), str(split["num_videos"]),
                  str(split["num_classes"]), "given" if step is None else f"step {step}")
  table.add_section()
  table.add_row("mean ± std", *(mean_and_std(results, metric) for metric in shown), style="bold")
  if SEEN in results:
    seen = results[SEEN]
    table.add_row("seen classes", *(percent(seen[metric]) for metric in shown), str(seen["num_videos"]),
                  str(seen["num_classes"]), style="dim")
  if chance is not None:
    table.add_row("chance", *(mean_and_std(chance, metric) for metric in shown), style="dim")
  if GENERALIZED in results:
    competing = results[GENERALIZED]
    table.caption = Text("Seen and unseen classes competing, class means, %: " + ", ".join(
        f"{title} {mean_and_std(competing, name)}" for title, name in (
            ("seen", "seen"), ("unseen", "unseen"), ("harmonic mean", "harmonic_mean"),
            ("without calibration", "uncalibrated_harmonic_mean"))))
  return table


def print_results(results: dict, console: Console | None = None) -> None:
  """Prints `results_table` with chance level; `console` is stdout's if not given, where a log is wide enough."""
  level = chance([split["num_classes"] for split in results["splits"].values()])
  console = console or Console(width=None if sys.stdout.isatty() else LOG_WIDTH)
  console.print(results_table(results, level))


def transfer_table(results: dict) -> Table:
  """A trained model on another dataset, with and without the classes that it knows from training.

  Args:
    results: from `er_jax.transfer`.
  """
  table = Table(title=Text(f"{results['method']}, trained on {results['trained_on']}, on {results['dataset']}, %"))
  table.add_column("test classes")
  for column in ("top-1", "top-5", "videos", "classes", "top-1 without seen twins", "videos", "classes"):
    table.add_column(column, justify="right")
  splits = [(f"split {name}", split) for name, split in results["splits"].items()]
  for name, split in [*splits, ("all together", results["all_classes"])]:
    kept = split["without_twins"] or {}
    table.add_row(Text(name), *(percent(split[metric]) for metric in METRICS), str(split["num_videos"]),
                  str(split["num_classes"]), percent(kept.get("precision@1")),
                  *(str(kept.get(count, 0)) for count in ("num_videos", "num_classes")))
  without = results["without_twins"] or {"mean": {}, "std": {}}
  table.add_section()
  table.add_row("mean ± std of the splits", *(mean_and_std(results, metric) for metric in METRICS), "", "",
                mean_and_std(without, "precision@1"), "", "", style="bold")
  table.caption = Text(f"{len(results['overlap'])} of {results['all_classes']['num_classes']} test classes have the name "
                       "or the description of a class that was trained on; results.json lists them.")
  return table


def print_transfer(results: dict, console: Console | None = None) -> None:
  """Prints `transfer_table`; `console` is stdout's if not given, where a log is wide enough."""
  (console or Console(width=None if sys.stdout.isatty() else LOG_WIDTH)).print(transfer_table(results))


def comparison_columns(rows: Sequence[tuple[str, dict]]) -> dict[str, str]:
  """Those of COLUMNS in which any row has a number."""
  return {heading: name for heading, name in COLUMNS.items() if any(name in row["mean"] for _, row in rows)}


def comparison_table(rows: Sequence[tuple[str, dict]], title: str = "Mean ± std over splits and seeds, %") -> Table:
  """Methods side by side, the best of each column bold.

  Args:
    rows: (label, what `summary` or `chance` gives, or results.json holds); only "mean" and "std" are read.
    title: of the table.
  """
  table = Table(title=Text(title))
  table.add_column("method")
  for heading in comparison_columns(rows):
    table.add_column(heading, justify="right")
  for label, cells in _comparison(rows):
    table.add_row(Text(label), *(Text(cell, style="bold" if best else "") for cell, best in cells))
  return table


def comparison_markdown(rows: Sequence[tuple[str, dict]]) -> str:
  """The table of `comparison_table` as Markdown, ending with a line break."""
  headings = [f"{heading}, %" for heading in comparison_columns(rows)]
  lines = [f"| {' | '.join(['method', *headings])} |", "|---|" + "---:|" * len(headings)]
  for label, cells in _comparison(rows):
    shown = [f"**{cell}**" if best else cell for cell, best in cells]
    lines.append("| " + " | ".join([label.replace("|", "\\|"), *shown]) + " |")
  return "\n".join(lines) + "\n"


def _comparison(rows: Sequence[tuple[str, dict]]) -> list[tuple[str, list[tuple[str, bool]]]]:
  """(label, [(cell, whether it is the best of its column and has rivals)])."""
  names = comparison_columns(rows).values()
  best = {name: max(row["mean"][name] for _, row in rows if name in row["mean"]) for name in names}
  return [(label, [(mean_and_std(row, name), len(rows) > 1 and row["mean"].get(name) == best[name])
                   for name in names]) for label, row in rows]


def percent(value: float | None) -> str:
  """One decimal; a dash for nothing and not-a-number."""
  return "–" if value is None or math.isnan(value) else f"{value:.1f}"


def mean_and_std(row: dict, name: str) -> str:
  """ "42.0 ± 1.0" of a row of a comparison; a dash if it has no such number."""
  if name not in row["mean"]:
    return "–"
  return f"{percent(row['mean'][name])} ± {percent(row['std'][name])}"
