"""Tables by hand; pictures by the pixels that carry their message."""

import io
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from er_jax import report
from er_jax.evaluate import Predictions
from input_pipeline import video
from input_pipeline.concepts import Concept
from input_pipeline.descriptions import ActionClass

RESULTS = {
    "method": "vse", "dataset": "toy_actions",
    "splits": {
        "0": {"step": 30, "precision@1": 41.0, "precision@5": 80.0, "num_videos": 240, "num_classes": 24},
        "1": {"step": None, "precision@1": 43.0, "precision@5": 90.0, "num_videos": 230, "num_classes": 20}},
    "mean": {"precision@1": 42.0, "precision@5": 85.0},
    "std": {"precision@1": 1.0, "precision@5": 5.0}}
SUMMARY = {"mean": {"precision@1": 50.04, "precision@5": 60.0},
           "std": {"precision@1": 0.26, "precision@5": 0.0}}
DARKEST = (8, 48, 107)     # of matplotlib's "Blues"


def shown(table) -> list[list[str]]:
  """The cells of a table as printed, row by row, title and lines left out."""
  console = Console(file=io.StringIO(), width=120)
  console.print(table)
  lines = console.file.getvalue().replace("┃", "│").splitlines()
  return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]


def predictions(logits, targets) -> Predictions:
  logits = np.asarray(logits, np.float32)
  return Predictions(np.array([f"clip{i}" for i in range(len(targets))], np.str_), logits,
                     np.asarray(targets, np.int32), np.arange(logits.shape[1]))


def pixels(path) -> np.ndarray:
  return np.asarray(Image.open(path).convert("RGB"))


def is_colour(image: np.ndarray, colour) -> np.ndarray:
  if isinstance(colour, str):
    colour = tuple(bytes.fromhex(colour[1:]))
  return np.all(image == np.array(colour, np.uint8), axis=-1)


def test_chance_is_one_class_and_five_classes_out_of_all():
  assert report.chance([10, 20]) == {"mean": {"precision@1": 7.5, "precision@5": 37.5},
                                     "std": {"precision@1": 2.5, "precision@5": 12.5}}


def test_five_guesses_among_four_classes_are_always_right():
  assert report.chance([4])["mean"] == {"precision@1": 25.0, "precision@5": 100.0}


def test_results_table_has_a_row_a_split_then_mean_and_chance():
  assert shown(report.results_table(RESULTS, report.chance([10, 20]))) == [
      ["split", "top-1", "top-5", "videos", "classes", "checkpoint"],
      ["0", "41.0", "80.0", "240", "24", "step 30"],
      ["1", "43.0", "90.0", "230", "20", "given"],
      ["mean ± std", "42.0 ± 1.0", "85.0 ± 5.0", "", "", ""],
      ["chance", "7.5 ± 2.5", "37.5 ± 12.5", "", "", ""]]


def test_printed_results_say_method_dataset_and_chance():
  console = Console(file=io.StringIO(), width=120)
  report.print_results(RESULTS, console)
  text = console.file.getvalue()
  assert "vse on toy_actions" in text
  assert "4.6 ± 0.4" in text     # 100/24 and 100/20


def test_comparison_has_a_row_a_method():
  rows = [("ER-ZSAR [gate]", SUMMARY), ("VSE", RESULTS), ("chance", report.chance([25]))]
  assert shown(report.comparison_table(rows)) == [
      ["method", "unseen top-1", "unseen top-5"],
      ["ER-ZSAR [gate]", "50.0 ± 0.3", "60.0 ± 0.0"],
      ["VSE", "42.0 ± 1.0", "85.0 ± 5.0"],
      ["chance", "4.0 ± 0.0", "20.0 ± 0.0"]]


def test_markdown_comparison_marks_the_best_of_each_column():
  assert report.comparison_markdown([("ER|ZSAR", SUMMARY), ("VSE", RESULTS)]) == (
      "| method | unseen top-1, % | unseen top-5, % |\n"
      "|---|---:|---:|\n"
      "| ER\\|ZSAR | **50.0 ± 0.3** | 60.0 ± 0.0 |\n"
      "| VSE | 42.0 ± 1.0 | **85.0 ± 5.0** |\n")


def test_a_split_without_videos_has_no_accuracy():
  unknown = {"precision@1": float("nan"), "precision@5": float("nan")}
  nothing = {"mean": unknown, "std": unknown}
  assert "| A | – ± – | – ± – |" in report.comparison_markdown([("A", nothing)])


def test_matplotlib_is_not_imported_before_something_is_drawn():
  code = "import sys, er_jax.report; sys.exit('matplotlib' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("classes", [2, 24, 40])
def test_pictures_leave_room_for_every_class(tmp_path, classes):
  random = np.random.default_rng(0)
  names = [f"playing a long sort of game number {i} with a ball or a racquet" for i in range(classes)]
  report.write_pictures(tmp_path / "run", "test1", predictions(
      random.normal(size=(3 * classes, classes)), np.repeat(np.arange(classes), 3)), names)
  paths = sorted((tmp_path / "run").iterdir())
  assert [path.name for path in paths] == ["confusion_test1.png", "per_class_test1.png"]
  confusion, per_class = map(pixels, paths)
  assert min(confusion.shape[:2]) > 15 * classes     # pixels a class, the names beside
  assert max(confusion.shape[:2]) < 3000
  height, width = per_class.shape[:2]
  assert height < 3000 and width < 3000
  assert height * width > 29 * 300 * classes     # of a line of print with its bar


def test_confusion_has_true_classes_in_rows_that_add_up_to_one(tmp_path):
  everything_is_class_0 = predictions([[1, 0]] * 4, [0, 0, 0, 1])
  report.write_pictures(tmp_path, "test0", everything_is_class_0, ["a", "b"])
  dark = is_colour(pixels(tmp_path / "confusion_test0.png"), DARKEST)
  columns = np.flatnonzero(dark.sum(axis=0) > 60)      # one cell is 60 pixels, the key of colours has few
  rows = np.flatnonzero(dark[:, columns].any(axis=1))
  assert np.ptp(rows) == pytest.approx(120, abs=4)     # 3 of 3 and 1 of 1 are both 100%
  assert np.ptp(columns) == pytest.approx(60, abs=4)


def test_per_class_bars_are_sorted_and_as_long_as_the_accuracy(tmp_path):
  half_of_a_all_of_b_none_of_c = predictions(
      [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]], [0, 0, 1, 1, 2])
  report.write_pictures(tmp_path, "test0", half_of_a_all_of_b_none_of_c, ["a", "b", "c"])
  blue = is_colour(pixels(tmp_path / "per_class_test0.png"), report.BLUE)
  lengths = [np.ptp(np.flatnonzero(row)) for row in blue if row.any()]
  assert lengths[0] == pytest.approx(2 * lengths[-1], rel=0.01)
  assert len(set(lengths)) == 2 and lengths == sorted(lengths, reverse=True)


def test_names_with_dollars_and_classes_and_splits_without_videos_are_drawn(tmp_path):
  names = [r"betting $5 or $\frac", "x" * 500, ""]
  report.write_pictures(tmp_path, "test0", predictions(np.zeros((1, 3)), [1]), names)
  report.write_pictures(tmp_path, "test1", predictions(np.zeros((0, 3)), []), names)
  assert len(list(tmp_path.iterdir())) == 4


def test_pictures_need_a_name_for_each_class(tmp_path):
  with pytest.raises(ValueError, match="2 class names for 3 classes"):
    report.write_pictures(tmp_path, "test0", predictions(np.zeros((1, 3)), [0]), ["a", "b"])


class Clips:
  """Stands in for a prepared dataset whose videos lie in one folder; notes which ones are looked for."""

  def __init__(self, folder, classes: int):
    self.source_root, self.asked = folder, []
    self.classes = [ActionClass(f"action {i}", "") for i in range(classes)]
    self.concepts = [Concept("", "dog, domestic_dog", ""), Concept("", "fire_engine", "")]

  def video_path(self, name: str):
    self.asked.append(name)
    path = self.source_root / f"{name}.mp4"
    return path if path.exists() else None

  @staticmethod
  def examples(names) -> types.SimpleNamespace:
    return types.SimpleNamespace(names=np.array(names), concept_ids=np.array([[1, 0, -1, -1]] * len(names)))


def box_colours(sheet: np.ndarray) -> np.ndarray:
  """(4, 3): the centres of the first video's frames, each 1.22 inches wide and 1.26 after the one before."""
  across = [round((0.25 + 0.61 + 1.26 * k) * report.DPI) for k in range(4)]
  return sheet[round((0.8 + 0.3) * report.DPI), across].astype(int)


def test_contact_sheet_shows_four_frames_in_time_order_and_marks_right_guesses(tmp_path):
  colours = np.array([[220, 30, 30], [30, 30, 220], [240, 240, 240], [20, 20, 20]])
  video.write_video(tmp_path / "clip0.mp4", [np.full((48, 64, 3), colour, np.uint8)
                                             for colour in colours for _ in range(5)])
  dataset = Clips(tmp_path, 5)
  for name, target, marked in (("right.png", 4, True), ("wrong.png", 0, False)):
    report.contact_sheet(tmp_path / name, predictions([[0.1, 0.2, 0.3, 0.4, 0.5]], [target]), dataset,
                         Clips.examples(["another", "clip0"]))
    sheet = pixels(tmp_path / name)
    np.testing.assert_allclose(box_colours(sheet), colours, atol=12)
    assert is_colour(sheet, report.RIGHT).any() == marked
    assert is_colour(sheet, report.WRONG).any()


@pytest.mark.parametrize("content", [None, b"", b"no video at all"])
def test_a_video_that_is_gone_or_broken_is_a_grey_box(tmp_path, content):
  if content is not None:
    (tmp_path / "clip0.mp4").write_bytes(content)
  report.contact_sheet(tmp_path / "sheet.png", predictions([[0.0, 1.0]], [0]), Clips(tmp_path, 2),
                       Clips.examples(["clip0"]))
  boxes = box_colours(pixels(tmp_path / "sheet.png"))
  assert np.all(boxes == boxes[0]) and np.ptp(boxes[0]) < 12 and 200 < boxes[0].min() < 250


def test_contact_sheet_takes_turns_among_classes_by_the_seed(tmp_path):
  targets = [0] * 20 + [1, 2]
  guesses = predictions(np.random.default_rng(0).normal(size=(22, 3)), targets)

  def asked(seed: int, num_videos: int) -> list[str]:
    dataset = Clips(tmp_path, 3)
    report.contact_sheet(tmp_path / "sheet.png", guesses, dataset, Clips.examples(guesses.names),
                         num_videos=num_videos, seed=seed)
    return dataset.asked

  first = asked(0, 4)
  assert sorted(targets[int(name[4:])] for name in first) == [0, 0, 1, 2]
  assert len({targets[int(name[4:])] for name in first[:3]}) == 3
  assert asked(0, 4) == first
  assert asked(1, 4) != first


def test_contact_sheet_of_no_videos_is_written(tmp_path):
  report.contact_sheet(tmp_path / "sheet.png", predictions(np.zeros((0, 3)), []), Clips(tmp_path, 3),
                       Clips.examples([]))
  assert (tmp_path / "sheet.png").exists()
