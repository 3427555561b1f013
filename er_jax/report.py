"""What a person reads of a run: tables of accuracies on the terminal and in Markdown.

    print_results(results)                                      # the content of results.json, as a table
    rows = [("ER-ZSAR", results), ("VSE", other_results), ("chance", chance([24, 24, 24]))]
    comparison_table(rows), comparison_markdown(rows)           # a row a method
"""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from er_jax import metrics
from er_jax.evaluate import METRICS


def chance(num_classes: Sequence[int]) -> dict[str, dict[str, float]]:
  """Accuracy of guessing, in the form of results.json.

  Args:
    num_classes: unseen classes of each split.

  Returns:
    {"mean": {"precision@1", "precision@5"}, "std": {...}}: percent, over the splits (std of the population).
  """
  values = {name: metrics.mean_and_std([100.0 * min(k, classes) / classes for classes in num_classes])
            for name, k in METRICS.items()}
  return {"mean": {name: mean for name, (mean, _) in values.items()},
          "std": {name: std for name, (_, std) in values.items()}}


def results_table(results: dict, chance: dict | None = None) -> Table:
  """A run's results, a row a split, then mean ± std, and held-out videos of the seen classes where there are any.

  Args:
    results: the content of results.json.
    chance: from `chance`; adds a row.
  """
  table = Table(title=Text(f"{results['method']} on {results['dataset']}: accuracy on unseen classes, %"))
  table.add_column("split")
  for column in ("top-1", "top-5", "videos", "classes", "checkpoint"):
    table.add_column(column, justify="right")
  for name, split in results["splits"].items():
    step = split.get("step")
    table.add_row(Text(name), *(percent(split[metric]) for metric in METRICS), str(split["num_videos"]),
                  str(split["num_classes"]), "given" if step is None else f"step {step}")
  table.add_section()
  table.add_row("mean ± std", *(_mean_and_std(results, metric) for metric in METRICS), style="bold")
  if "seen" in results:
    seen = results["seen"]
    table.add_row("seen classes", *(percent(seen[metric]) for metric in METRICS), str(seen["num_videos"]),
                  str(seen["num_classes"]), style="dim")
  if chance is not None:
    table.add_row("chance", *(_mean_and_std(chance, metric) for metric in METRICS), style="dim")
  return table


def print_results(results: dict, console: Console | None = None) -> None:
  """Prints `results_table` with chance level; `console` is stdout's if not given."""
  level = chance([split["num_classes"] for split in results["splits"].values()])
  (console or Console()).print(results_table(results, level))


def comparison_table(rows: Sequence[tuple[str, dict]]) -> Table:
  """Methods side by side, the best of each column bold.

  Args:
    rows: (label, what results.json holds or `chance` gives); only "mean" and "std" are read.
  """
  table = Table(title="Unseen classes, mean ± std over the splits, %")
  table.add_column("method")
  table.add_column("unseen top-1", justify="right")
  table.add_column("unseen top-5", justify="right")
  for label, cells in _comparison(rows):
    table.add_row(Text(label), *(Text(cell, style="bold" if best else "") for cell, best in cells))
  return table


def comparison_markdown(rows: Sequence[tuple[str, dict]]) -> str:
  """The table of `comparison_table` as Markdown, ending with a line break."""
  lines = ["| method | unseen top-1, % | unseen top-5, % |", "|---|---:|---:|"]
  for label, cells in _comparison(rows):
    shown = [f"**{cell}**" if best else cell for cell, best in cells]
    lines.append("| " + " | ".join([label.replace("|", "\\|"), *shown]) + " |")
  return "\n".join(lines) + "\n"


def _comparison(rows: Sequence[tuple[str, dict]]) -> list[tuple[str, list[tuple[str, bool]]]]:
  """(label, [(cell, whether it is the best of its column and has rivals)])."""
  best = {metric: max((results["mean"][metric] for _, results in rows), default=0.0) for metric in METRICS}
  return [(label, [(_mean_and_std(results, metric), len(rows) > 1 and results["mean"][metric] == best[metric])
                   for metric in METRICS]) for label, results in rows]


def percent(value: float | None) -> str:
  """One decimal; a dash for nothing and not-a-number."""
  return "–" if value is None or math.isnan(value) else f"{value:.1f}"


def _mean_and_std(results: dict, metric: str) -> str:
  return f"{percent(results['mean'][metric])} ± {percent(results['std'][metric])}"
