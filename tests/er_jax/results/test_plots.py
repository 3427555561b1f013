"""Pictures by the pixels that carry their message."""

import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from er_jax.results import plots
from er_jax.results.predictions import Predictions
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.videos import decode

DARKEST = (8, 48, 107)     # of matplotlib's "Blues"


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


def test_matplotlib_is_not_imported_before_something_is_drawn():
  code = "import sys, er_jax.results.tables; sys.exit('matplotlib' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("classes", [2, 24, 40])
def test_pictures_leave_room_for_every_class(tmp_path, classes):
  random = np.random.default_rng(0)
  names = [f"playing a long sort of game number {i} with a ball or a racquet" for i in range(classes)]
  plots.write_pictures(tmp_path / "run", "test1", predictions(
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
  plots.write_pictures(tmp_path, "test0", everything_is_class_0, ["a", "b"])
  dark = is_colour(pixels(tmp_path / "confusion_test0.png"), DARKEST)
  columns = np.flatnonzero(dark.sum(axis=0) > 60)      # one cell is 60 pixels, the key of colours has few
  rows = np.flatnonzero(dark[:, columns].any(axis=1))
  assert np.ptp(rows) == pytest.approx(120, abs=4)     # 3 of 3 and 1 of 1 are both 100%
  assert np.ptp(columns) == pytest.approx(60, abs=4)


def test_per_class_bars_are_sorted_and_as_long_as_the_accuracy(tmp_path):
  half_of_a_all_of_b_none_of_c = predictions(
      [[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]], [0, 0, 1, 1, 2])
  plots.write_pictures(tmp_path, "test0", half_of_a_all_of_b_none_of_c, ["a", "b", "c"])
  blue = is_colour(pixels(tmp_path / "per_class_test0.png"), plots.BLUE)
  lengths = [np.ptp(np.flatnonzero(row)) for row in blue if row.any()]
  assert lengths[0] == pytest.approx(2 * lengths[-1], rel=0.01)
  assert len(set(lengths)) == 2 and lengths == sorted(lengths, reverse=True)


def test_names_with_dollars_and_classes_and_splits_without_videos_are_drawn(tmp_path):
  names = [r"betting $5 or $\frac", "x" * 500, ""]
  plots.write_pictures(tmp_path, "test0", predictions(np.zeros((1, 3)), [1]), names)
  plots.write_pictures(tmp_path, "test1", predictions(np.zeros((0, 3)), []), names)
  assert len(list(tmp_path.iterdir())) == 4


def test_characters_that_no_font_shows_are_told_once_and_others_are_drawn_in_a_font_that_has_them(
    tmp_path, monkeypatch, capfd, recwarn):
  fonts = [(plots.OWN_FONT, {ord(sign) for sign in "a $^_{\\é"}), ("DejaVu Sans Mono", {ord("Ω")})]
  monkeypatch.setattr(plots, "_installed_fonts", lambda: fonts)
  for cached in (plots._font_of, plots._advance, plots._width, plots._say_what_no_font_shows):
    cached.cache_clear()
  try:
    assert plots._fonts("aΩ\u6253Ω") == [plots.OWN_FONT, "DejaVu Sans Mono"]
    for name in ("1", "2"):
      page = plots._Page(3, 1)
      page.text(0, 0, "a $é$ ^_{\\Ω \u6253\u5f00\n", 9, plots.INK, fit=2.0)
      page.save(tmp_path / f"{name}.png")
  finally:
    for cached in (plots._font_of, plots._advance, plots._width):
      cached.cache_clear()
  assert capfd.readouterr().err.count("warning: no installed font shows \u5f00\u6253; in pictures") == 1
  assert [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)] == []


def test_pictures_need_a_name_for_each_class(tmp_path):
  with pytest.raises(ValueError, match="2 class names for 3 classes"):
    plots.write_pictures(tmp_path, "test0", predictions(np.zeros((1, 3)), [0]), ["a", "b"])


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
  across = [round((0.25 + 0.61 + 1.26 * k) * plots.DPI) for k in range(4)]
  return sheet[round((0.8 + 0.3) * plots.DPI), across].astype(int)


def test_contact_sheet_shows_four_frames_in_time_order_and_marks_right_guesses(tmp_path):
  colours = np.array([[220, 30, 30], [30, 30, 220], [240, 240, 240], [20, 20, 20]])
  decode.write_video(tmp_path / "clip0.mp4", [np.full((48, 64, 3), colour, np.uint8)
                                             for colour in colours for _ in range(5)])
  dataset = Clips(tmp_path, 5)
  for name, target, marked in (("right.png", 4, True), ("wrong.png", 0, False)):
    plots.contact_sheet(tmp_path / name, predictions([[0.1, 0.2, 0.3, 0.4, 0.5]], [target]), dataset,
                         Clips.examples(["another", "clip0"]))
    sheet = pixels(tmp_path / name)
    np.testing.assert_allclose(box_colours(sheet), colours, atol=12)
    assert is_colour(sheet, plots.RIGHT).any() == marked
    assert is_colour(sheet, plots.WRONG).any()


@pytest.mark.parametrize("content", [None, b"", b"no video at all"])
def test_a_video_that_is_gone_or_broken_is_a_grey_box(tmp_path, content):
  if content is not None:
    (tmp_path / "clip0.mp4").write_bytes(content)
  plots.contact_sheet(tmp_path / "sheet.png", predictions([[0.0, 1.0]], [0]), Clips(tmp_path, 2),
                       Clips.examples(["clip0"]))
  boxes = box_colours(pixels(tmp_path / "sheet.png"))
  assert np.all(boxes == boxes[0]) and np.ptp(boxes[0]) < 12 and 200 < boxes[0].min() < 250


def test_contact_sheet_takes_turns_among_classes_by_the_seed(tmp_path):
  targets = [0] * 20 + [1, 2]
  guesses = predictions(np.random.default_rng(0).normal(size=(22, 3)), targets)

  def asked(seed: int, num_videos: int) -> list[str]:
    dataset = Clips(tmp_path, 3)
    plots.contact_sheet(tmp_path / "sheet.png", guesses, dataset, Clips.examples(guesses.names),
                         num_videos=num_videos, seed=seed)
    return dataset.asked

  first = asked(0, 4)
  assert sorted(targets[int(name[4:])] for name in first) == [0, 0, 1, 2]
  assert len({targets[int(name[4:])] for name in first[:3]}) == 3
  assert asked(0, 4) == first
  assert asked(1, 4) != first


def test_contact_sheet_of_no_videos_is_written(tmp_path):
  plots.contact_sheet(tmp_path / "sheet.png", predictions(np.zeros((0, 3)), []), Clips(tmp_path, 3),
                       Clips.examples([]))
  assert (tmp_path / "sheet.png").exists()


def bars(image: np.ndarray, colour: str) -> list[int]:
  """Widths of the bars of a colour in pixels, from top to bottom, within the panel where the first one is."""
  mask = is_colour(image, colour)
  first = np.flatnonzero(mask.any(axis=0))[0]
  found, above = [], False
  for row in mask[:, first:first + 330]:
    if row.any() and not above:
      found.append(int(np.ptp(np.flatnonzero(row))))
    above = row.any()
  return found


def test_comparison_has_a_panel_a_column_and_bars_as_long_as_the_means(tmp_path):
  def method(top1: float, top5: float, **seen) -> dict:
    means = {"precision@1": top1, "precision@5": top5, **seen}
    return {"mean": means, "std": dict.fromkeys(means, 0.0)}

  chance = {"mean": {"precision@1": 4.0, "precision@5": 20.0}, "std": {"precision@1": 0.0, "precision@5": 0.0}}
  rows = [("A", method(80, 90)), ("B", method(40, 50)), ("at chance", method(4, 50))]
  plots.comparison(tmp_path / "two.png", rows, chance, "three methods", "mean")
  image = pixels(tmp_path / "two.png")
  first, second = bars(image, plots.BLUE)       # the third one is grey
  assert first == pytest.approx(2 * second, rel=0.03)
  assert len(bars(image, plots.GREY)) == 1

  rows[0] = ("A", method(80, 90, seen=70.0))
  plots.comparison(tmp_path / "three.png", rows, chance, "three methods", "mean")
  more = pixels(tmp_path / "three.png")
  assert more.shape[0] == image.shape[0] and more.shape[1] > 1.3 * image.shape[1]


def test_comparison_whiskers_reach_one_std_and_stay_on_the_scale(tmp_path):
  def picture(mean: float, std: float) -> int:
    rows = [("A", {"mean": {"precision@1": mean}, "std": {"precision@1": std}})]
    plots.comparison(tmp_path / "one.png", rows, {"mean": {}, "std": {}}, "t", "s")
    image = pixels(tmp_path / "one.png")
    middle = round((plots._Page.MARGIN + plots._Page.TITLE + 0.28 + 0.15) * plots.DPI)
    start = np.flatnonzero(is_colour(image, plots.BLUE).any(axis=0))[0]
    whisker = image[middle, start:].astype(int).sum(axis=1) < 150          # nearly black
    return int(np.flatnonzero(whisker[:int(2.15 * plots.DPI)])[-1])

  scale = 2.1 * plots.DPI / 100
  assert picture(50, 10) == pytest.approx(60 * scale, abs=5)
  assert picture(50, 20) == pytest.approx(70 * scale, abs=5)
  assert picture(95, 20) == pytest.approx(100 * scale, abs=5)


def test_comparison_of_methods_without_numbers_is_drawn(tmp_path):
  nothing = {"mean": {"precision@1": float("nan")}, "std": {"precision@1": float("nan")}}
  plots.comparison(tmp_path / "none.png", [("$x_1$" * 40, nothing)], nothing, "t", "s")
  assert (tmp_path / "none.png").exists()
