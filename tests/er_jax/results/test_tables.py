"""Tables of accuracies against hand-worked ones."""

import io

import pytest
from rich.console import Console

from er_jax.results import tables

RESULTS = {
    "method": "vse", "dataset": "toy_actions",
    "splits": {
        "0": {"step": 30, "precision@1": 41.0, "precision@5": 80.0, "mean_class_accuracy": 39.0, "num_videos": 240,
              "num_classes": 24},
        "1": {"step": None, "precision@1": 43.0, "precision@5": 90.0, "mean_class_accuracy": 41.0, "num_videos": 230,
              "num_classes": 20}},
    "mean": {"precision@1": 42.0, "precision@5": 85.0, "mean_class_accuracy": 40.0},
    "std": {"precision@1": 1.0, "precision@5": 5.0, "mean_class_accuracy": 1.0}}
SUMMARY = {"mean": {"precision@1": 50.04, "precision@5": 60.0},
           "std": {"precision@1": 0.26, "precision@5": 0.0}}


def shown(table) -> list[list[str]]:
  """The cells of a table as printed, row by row, title and lines left out."""
  console = Console(file=io.StringIO(), width=120)
  console.print(table)
  lines = console.file.getvalue().replace("┃", "│").splitlines()
  return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]


def test_chance_is_one_class_and_five_classes_out_of_all():
  assert tables.chance([10, 20]) == {"mean": {"precision@1": 7.5, "precision@5": 37.5},
                                     "std": {"precision@1": 2.5, "precision@5": 12.5}}


def test_chance_among_seen_classes_is_given_where_there_are_any():
  level = tables.chance([10, 20], num_seen=50)
  assert level["mean"] == {"precision@1": 7.5, "precision@5": 37.5, "seen": 2.0} and level["std"]["seen"] == 0.0


def test_five_guesses_among_four_classes_are_always_right():
  assert tables.chance([4])["mean"] == {"precision@1": 25.0, "precision@5": 100.0}


def test_results_table_has_a_row_a_split_then_mean_and_chance():
  assert shown(tables.results_table(RESULTS, tables.chance([10, 20]))) == [
      ["split", "top-1", "top-5", "class mean", "videos", "classes", "checkpoint"],
      ["0", "41.0", "80.0", "39.0", "240", "24", "step 30"],
      ["1", "43.0", "90.0", "41.0", "230", "20", "given"],
      ["mean ± std", "42.0 ± 1.0", "85.0 ± 5.0", "40.0 ± 1.0", "", "", ""],
      ["chance", "7.5 ± 2.5", "37.5 ± 12.5", "–", "", "", ""]]


def test_results_table_tells_how_seen_and_unseen_classes_compete():
  names = ("seen", "unseen", "harmonic_mean", "bias", "uncalibrated_harmonic_mean")
  competing = {"mean": dict(zip(names, (61.0, 22.5, 32.9, 1.25, 8.0))), "std": dict(zip(names, (1.0, 2.0, 1.5, 0.1, 0.5)))}
  console = Console(file=io.StringIO(), width=160)
  console.print(tables.results_table({**RESULTS, "generalized": competing}))
  text = " ".join(console.file.getvalue().split())
  assert "seen 61.0 ± 1.0, unseen 22.5 ± 2.0, harmonic mean 32.9 ± 1.5, without calibration 8.0 ± 0.5" in text


def test_printed_results_say_method_dataset_and_chance():
  console = Console(file=io.StringIO(), width=120)
  tables.print_results(RESULTS, console)
  text = console.file.getvalue()
  assert "vse on toy_actions" in text
  assert "4.6 ± 0.4" in text     # 100/24 and 100/20


def test_summary_is_over_all_splits_of_all_runs_and_over_the_runs_for_seen_classes():
  other = {"splits": {"0": {"precision@1": 45.0, "precision@5": 70.0, "more": 1},
                      "1": {"precision@1": 47.0, "precision@5": 80.0}}}
  assert tables.summary([RESULTS, other]) == {     # 41, 43, 45, 47 and 80, 90, 70, 80
      "mean": {"precision@1": 44.0, "precision@5": 80.0},
      "std": {"precision@1": pytest.approx(5 ** 0.5), "precision@5": pytest.approx(50 ** 0.5)}}
  of_seeds = [{**RESULTS, "seen": {"precision@1": value, "precision@5": 99.0, "more": 2}} for value in (70.0, 80.0)]
  both = tables.summary(of_seeds)
  assert both["mean"]["seen"] == 75.0 and both["std"]["seen"] == 5.0
  assert "seen" not in tables.summary([*of_seeds, other])["mean"]


def test_comparison_shows_seen_classes_where_any_method_has_them():
  with_seen = tables.summary([{**RESULTS, "seen": {"precision@1": 71.0}}])
  rows = [("VSE", with_seen), ("CPT", SUMMARY), ("chance", tables.chance([25], num_seen=50))]
  assert shown(tables.comparison_table(rows, "One or two")) == [
      ["method", "unseen top-1", "unseen top-5", "seen top-1"],
      ["VSE", "42.0 ± 1.0", "85.0 ± 5.0", "71.0 ± 0.0"],
      ["CPT", "50.0 ± 0.3", "60.0 ± 0.0", "–"],
      ["chance", "4.0 ± 0.0", "20.0 ± 0.0", "2.0 ± 0.0"]]
  assert tables.comparison_markdown(rows).splitlines() == [
      "| method | unseen top-1, % | unseen top-5, % | seen top-1, % |",
      "|---|---:|---:|---:|",
      "| VSE | 42.0 ± 1.0 | **85.0 ± 5.0** | **71.0 ± 0.0** |",
      "| CPT | **50.0 ± 0.3** | 60.0 ± 0.0 | – |",
      "| chance | 4.0 ± 0.0 | 20.0 ± 0.0 | 2.0 ± 0.0 |"]


def test_comparison_has_a_row_a_method():
  rows = [("ER-ZSAR [gate]", SUMMARY), ("VSE", RESULTS), ("chance", tables.chance([25]))]
  assert shown(tables.comparison_table(rows)) == [
      ["method", "unseen top-1", "unseen top-5"],
      ["ER-ZSAR [gate]", "50.0 ± 0.3", "60.0 ± 0.0"],
      ["VSE", "42.0 ± 1.0", "85.0 ± 5.0"],
      ["chance", "4.0 ± 0.0", "20.0 ± 0.0"]]


def test_markdown_comparison_marks_the_best_of_each_column():
  assert tables.comparison_markdown([("ER|ZSAR", SUMMARY), ("VSE", RESULTS)]) == (
      "| method | unseen top-1, % | unseen top-5, % |\n"
      "|---|---:|---:|\n"
      "| ER\\|ZSAR | **50.0 ± 0.3** | 60.0 ± 0.0 |\n"
      "| VSE | 42.0 ± 1.0 | **85.0 ± 5.0** |\n")


def test_a_split_without_videos_has_no_accuracy():
  unknown = {"precision@1": float("nan"), "precision@5": float("nan")}
  nothing = {"mean": unknown, "std": unknown}
  assert "| A | – ± – | – ± – |" in tables.comparison_markdown([("A", nothing)])
