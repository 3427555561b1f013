"""Pictures of runs: confusion matrices, accuracies of classes and methods, videos with what was predicted.

    write_pictures(workdir, "test0", predictions, class_names)  # confusion_test0.png, per_class_test0.png
    contact_sheet(workdir / "contact_sheet.png", predictions, dataset, videos)
    comparison("comparison.png", rows, report.chance([24, 24, 24]), title, subtitle)      # methods side by side

N videos, C classes. matplotlib is imported when something is drawn, so that training starts without it.
"""

import collections
import functools
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from er_jax import metrics
from er_jax.results import tables
from er_jax.results.predictions import Predictions
from input_pipeline import files
from input_pipeline.dataset import Dataset
from input_pipeline.errors import Failure
from input_pipeline.loaders import ExampleSet
from input_pipeline.metadata.concepts import NO_CONCEPT, Concept
from input_pipeline.videos import decode, sampling

BLUE, GREY, INK, QUIET, LINE = "#2f6db5", "#b4bcc6", "#1f2630", "#66707c", "#d9dee4"
RIGHT, WRONG = "#1a7f37", "#c22f2f"
DPI = 150
LABELLED_CLASSES = 320       # more names than this would be smaller than print
NUMBERED_CLASSES = 32        # cells of larger matrices are too small for numbers
SHARE_TICKS = (0, 3, 10, 25, 50, 75, 100)
OWN_FONT = "DejaVu Sans"      # comes with matplotlib
SHOWN_CHARACTERS = 20        # that no font shows
BEST, OBJECTS, FRAMES = 3, 5, 4     # on a contact sheet, of each video


def write_pictures(folder: Path, split: str, predictions: Predictions, class_names: Sequence[str]) -> None:
  """Writes confusion_{split}.png and per_class_{split}.png, atomically.

  Args:
    folder: made if needed.
    split: name of the split, for titles and file names.
    predictions: of its videos.
    class_names: (C,) of the columns of `predictions.logits`.

  Raises:
    ValueError: if there is not one name for each class.
  """
  if len(class_names) != predictions.logits.shape[1]:
    raise ValueError(f"{len(class_names)} class names for {predictions.logits.shape[1]} classes")
  _draw_confusion(split, predictions, class_names).save(Path(folder) / f"confusion_{split}.png")
  _draw_per_class(split, predictions, class_names).save(Path(folder) / f"per_class_{split}.png")


def contact_sheet(path: Path, predictions: Predictions, dataset: Dataset, videos: ExampleSet,
                  num_videos: int = 12, seed: int = 0) -> None:
  """Draws some videos with what was predicted and which objects were detected; writes a PNG, atomically.

  The choice depends on the seed and the targets alone; a class has a second video only after each has one.
  A video that cannot be read any more is a grey box that says why.

  Args:
    path: the PNG file.
    predictions: of one split.
    dataset: has the names of classes and concepts, and knows where the videos are.
    videos: the predicted videos, perhaps among others; their concepts are looked up by video name.
    num_videos: at most so many.
    seed: of the choice.
  """
  chosen = _choose(predictions.targets, num_videos, seed)
  columns = 2 if len(chosen) > 1 else 1
  frames_wide, text_wide, high = FRAMES * 1.26, 3.2, 1.42
  card_wide = frames_wide + 0.1 + text_wide
  page = _Page(columns * card_wide + (columns - 1) * 0.35, -(-len(chosen) // columns) * high - 0.1)
  page.title("Unseen videos", f"Four frames in time order, the true class, the best {BEST} guesses among "
             f"{predictions.logits.shape[1]} unseen classes with their scores, and the objects detected")
  class_names = [dataset.classes[label].name for label in predictions.class_ids]
  row_of = {name: row for row, name in enumerate(videos.names)}
  for place, index in enumerate(chosen):
    name = str(predictions.names[index])
    left, top = place % columns * (card_wide + 0.35), place // columns * high
    _draw_frames(page, left, top, _frames(dataset, name))
    left += frames_wide + 0.1
    _draw_guesses(page, left, top, text_wide, predictions, index, class_names)
    ids = videos.concept_ids[row_of[name]][:OBJECTS] if name in row_of else ()
    objects = ", ".join(_object_name(dataset.concepts[concept]) if dataset.concepts else f"concept {concept}"
                        for concept in ids if concept != NO_CONCEPT)
    objects = textwrap.fill(f"objects: {objects or 'none'}", 47, max_lines=2, placeholder=" …")
    page.text(left, top + 0.93, objects, 8, QUIET, style="italic", va="top", linespacing=1.15)
  page.save(path)


def comparison(path: str | os.PathLike, rows: Sequence[tuple[str, dict]], chance: dict, title: str,
               subtitle: str) -> None:
  """Draws methods side by side, a panel of bars for each column of `report.comparison_table`; writes a PNG, atomically.

  Args:
    path: the PNG file.
    rows: (label, what `report.summary` gives) of each method, top to bottom; a bar is a mean, its whiskers ± std.
    chance: what `report.chance` gives; a dashed line. Bars that are not above it are grey.
    title: first line.
    subtitle: second line.
  """
  font, pitch, bar_wide, top, columns = 9, 0.3, 2.1, 0.28, tables.comparison_columns(rows)
  names_wide = max(min(_width(label, font), 2.6) for label, _ in rows) + 0.1
  panel_wide, bottom = bar_wide + 1.0, top + len(rows) * pitch
  middles = top + (np.arange(len(rows)) + 0.5) * pitch
  page = _Page(names_wide + len(columns) * panel_wide, bottom + 0.42)
  page.title(title, subtitle)
  for (label, _), middle in zip(rows, middles):
    page.text(names_wide - 0.08, middle, label, font, INK, fit=2.6, ha="right")
  for panel, (heading, name) in enumerate(columns.items()):
    left = names_wide + panel * panel_wide
    means, stds = (np.nan_to_num([row[part].get(name, 0.0) for _, row in rows]) for part in ("mean", "std"))
    level = chance["mean"].get(name, 0.0)
    high = np.minimum(means + stds, 100)
    whiskers = np.stack([np.minimum(stds, means), high - means])
    page.text(left, top / 2 - 0.03, f"{heading}, %", font, INK, weight="bold")
    _draw_scale(page, left, top, bottom, bar_wide)
    page.axes.barh(middles, means / 100 * bar_wide, height=pitch * 0.66, left=left,
                   color=[BLUE if mean > level else GREY for mean in means])
    page.axes.errorbar(left + means / 100 * bar_wide, middles, xerr=whiskers / 100 * bar_wide, fmt="none", ecolor=INK,
                       elinewidth=0.9, capsize=2.2, capthick=0.9)
    if name in chance["mean"]:
      page.axes.vlines(left + level / 100 * bar_wide, top, bottom, INK, linewidth=1, linestyle=(0, (2, 2)))
    for (_, row), middle, end in zip(rows, middles, high):
      page.text(left + end / 100 * bar_wide + 0.07, middle, tables.mean_and_std(row, name), font - 1.5, QUIET,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85})
  page.axes.plot([names_wide, names_wide + 0.3], [bottom + 0.36] * 2, color=INK, linestyle=(0, (2, 2)), linewidth=1)
  page.text(names_wide + 0.37, bottom + 0.36, "chance", font - 1, INK)
  page.save(path)


def _draw_scale(page: "_Page", left: float, top: float, bottom: float, wide: float) -> None:
  """Lines at 0 to 100% behind horizontal bars, and what they stand for below."""
  ticks = np.array([0, 25, 50, 75, 100])
  page.axes.vlines(left + ticks / 100 * wide, top, bottom, [QUIET] + [LINE] * 4, linewidth=0.6, zorder=0)
  for tick in ticks:
    page.text(left + tick / 100 * wide, bottom + 0.12, f"{tick}%", 7, QUIET, ha="center")


def _draw_confusion(split: str, predictions: Predictions, class_names: Sequence[str]) -> "_Page":
  """Row-normalised confusion matrix; cells keep a readable size, so the page grows with the classes."""
  from matplotlib import colormaps
  from matplotlib.colors import PowerNorm

  counts = metrics.confusion_matrix(predictions.logits, predictions.targets)
  classes, totals = len(counts), counts.sum(axis=1, keepdims=True)
  shares = np.ma.masked_invalid(100.0 * counts / np.where(totals, totals, np.nan))
  labelled, numbered = classes <= LABELLED_CLASSES, classes <= NUMBERED_CLASSES
  cell = float(np.clip(8.2 / classes, 0.1, 0.4)) if labelled else 14.0 / classes
  side, font = cell * classes, float(np.clip(cell * 48, 4.6, 8.5))
  names_wide = max((min(_width(name, font), 2.6) for name in class_names), default=0.0) if labelled else 0.0
  left = names_wide + 0.35

  page = _Page(left + side + 0.9, side + names_wide + 0.35)
  page.title(f"Confusion on {split}", f"{_summary(predictions)}. Rows add up to 100%")
  colours = colormaps["Blues"].with_extremes(bad="#e3e6ea")     # bad: rows without videos
  strength = PowerNorm(0.6, 0, 100)     # percent to [0, 1]; rare confusions show too
  page.image(strength(shares), left, 0, side, side, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
  edges = np.linspace(0, side, classes + 1)
  thickness = 0.5 if numbered else 0.25 if labelled else 0.0
  page.axes.vlines(left + edges[1:-1], 0, side, LINE, linewidth=thickness)
  page.axes.hlines(edges[1:-1], left, left + side, LINE, linewidth=thickness)
  page.axes.vlines([left, left + side], 0, side, QUIET, linewidth=0.8)
  page.axes.hlines([0, side], left, left + side, QUIET, linewidth=0.8)
  if labelled:
    for name, middle in zip(class_names, edges[:-1] + cell / 2):
      page.text(left - 0.05, middle, name, font, INK, fit=2.6, ha="right")
      page.text(left + middle, side + 0.05, name, font, INK, fit=2.6, rotation=90, ha="center", va="top")
  if numbered:
    for row, column in np.argwhere(counts > 0):
      page.text(left + (column + 0.5) * cell, (row + 0.5) * cell, f"{shares[row, column]:.0f}", font * 0.85,
                "white" if shares[row, column] > 45 else INK, ha="center")
  page.text(left - names_wide - 0.22, side / 2, "true class", 9, QUIET, rotation=90, ha="center")
  page.text(left + side / 2, side + names_wide + 0.22, "predicted class", 9, QUIET, ha="center")
  scale_high = min(side, 4.0)
  page.image(np.linspace(1, 0, 256)[:, None], left + side + 0.2, 0, 0.15, scale_high, cmap=colours)
  for tick in SHARE_TICKS:
    page.text(left + side + 0.42, scale_high * (1 - float(strength(tick))), f"{tick}%", 7.5, QUIET)
  return page


def _draw_per_class(split: str, predictions: Predictions, class_names: Sequence[str]) -> "_Page":
  """Bars of the classes' accuracy, best first, in as many columns as make the page about slide-shaped."""
  accuracy = metrics.per_class_accuracy(predictions.logits, predictions.targets)
  classes, totals = len(accuracy), np.bincount(predictions.targets, minlength=len(accuracy))
  order = np.argsort(np.where(totals, -accuracy, 1), kind="stable")
  guess, mean = 100.0 / classes, float(np.mean(accuracy[totals > 0])) if totals.any() else math.nan
  columns = max(1, round(math.sqrt(classes / 15)))
  bars = -(-classes // columns)
  font, pitch, bar_wide = 8, 0.195, 5.0 if columns == 1 else 2.0
  names_wide = max(min(_width(name, font), 2.6) for name in class_names) + 0.06
  column_wide = names_wide + bar_wide + 0.8

  page = _Page(columns * column_wide + (columns - 1) * 0.1, bars * pitch + 0.5)
  page.title(f"Accuracy of each class on {split}", _summary(predictions))
  for column in range(columns):
    shown = order[column * bars:(column + 1) * bars]
    left, bottom = column * (column_wide + 0.1) + names_wide, len(shown) * pitch
    values, middles = np.where(totals[shown], accuracy[shown], 0.0), (np.arange(len(shown)) + 0.5) * pitch
    _draw_scale(page, left, 0, bottom, bar_wide)
    page.axes.barh(middles, values / 100 * bar_wide, height=pitch * 0.72, left=left,
                   color=[BLUE if value > guess else GREY for value in values])
    page.axes.vlines(left + guess / 100 * bar_wide, 0, bottom, INK, linewidth=1, linestyle=(0, (2, 2)))
    page.axes.vlines(left + mean / 100 * bar_wide, 0, bottom, WRONG, linewidth=1)
    for index, value, middle in zip(shown, values, middles):
      page.text(left - 0.06, middle, class_names[int(index)], font, INK, fit=2.6, ha="right")
      page.text(left + value / 100 * bar_wide + 0.05, middle,
                f"{value:.0f}% of {totals[index]}" if totals[index] else "no videos", font - 1.5, QUIET,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85})
  left, top = names_wide, bars * pitch + 0.42
  for text, colour, linestyle in ((f"mean of the classes {tables.percent(mean)}%", WRONG, "-"),
                                  (f"chance {guess:.1f}%", INK, (0, (2, 2)))):
    page.axes.plot([left, left + 0.3], [top, top], color=colour, linestyle=linestyle, linewidth=1)
    page.text(left + 0.37, top, text, font, INK)
    left += _width(text, font) + 0.65
  page.box(left, top - 0.06, 0.3, 0.12, GREY)
  page.text(left + 0.37, top, "not above chance", font, INK)
  return page


def _summary(predictions: Predictions) -> str:
  top = [tables.percent(metrics.precision_at(predictions.logits, predictions.targets, k)) for k in metrics.METRICS.values()]
  videos, classes = predictions.logits.shape
  return f"{videos} videos, {classes} unseen classes, top-1 {top[0]}%, top-5 {top[1]}%"


def _choose(targets: np.ndarray, count: int, seed: int) -> np.ndarray:
  """Positions of `count` videos in random order: one of each class, then a second one of each, ..."""
  order = np.random.default_rng(seed).permutation(len(targets))
  seen, turns = collections.Counter(), []
  for target in targets[order]:
    turns.append(seen[target])
    seen[target] += 1
  return order[np.argsort(turns, kind="stable")][:count]


def _object_name(concept: Concept) -> str:
  """The first of its synonyms."""
  return concept.name.split(",")[0].strip().replace("_", " ")


def _frames(dataset: Dataset, name: str) -> list[np.ndarray] | str:
  """Centre squares, uint8 (S, S, 3), of frames in time order; or why there are none."""
  try:
    path = dataset.video_path(name)
    if path is None:
      return f"{name}: no video of this name below {dataset.source_root}"
    frames = decode.read_frames(path, sampling.tsm_indices(decode.count_frames(path), segments=FRAMES).tolist())
    return [decode.preprocess(frame, shorter_side=184, crop=184) for frame in frames]
  except (decode.VideoError, OSError, Failure) as error:
    return f"{name}: {error}"


def _draw_frames(page: "_Page", left: float, top: float, frames: list[np.ndarray] | str) -> None:
  """Frames side by side, or a grey box with the reason why there are none."""
  if isinstance(frames, str):
    wide = FRAMES * 1.26 - 0.04
    page.box(left, top, wide, 1.22, "#e3e6ea")
    reason = textwrap.fill(frames, 70, max_lines=4, placeholder=" …")
    page.text(left + wide / 2, top + 0.61, f"video not shown\n{reason}", 8, QUIET, ha="center", va="center",
              linespacing=1.5)
    return
  for place, frame in enumerate(frames):
    page.image(frame, left + place * 1.26, top, 1.22, 1.22)


def _draw_guesses(page: "_Page", left: float, top: float, wide: float, predictions: Predictions, index: int,
                  class_names: Sequence[str]) -> None:
  """The true class of video `index` and its rank, and the best guesses with their scores."""
  scores, target = predictions.logits[index], predictions.targets[index]
  ranking = metrics.top_classes(scores[None], len(scores))[0]
  rank = int(np.flatnonzero(ranking == target)[0]) + 1
  page.text(left, top + 0.10, class_names[int(target)], 9.5, INK, fit=wide, weight="bold")
  page.text(left, top + 0.28, f"the true class, ranked {rank} of {len(ranking)}", 7.5, QUIET)
  for place, guess in enumerate(ranking[:BEST]):
    middle, weight = top + 0.46 + place * 0.165, "bold" if guess == target else "normal"
    colour, mark = (RIGHT, "✓") if guess == target else (WRONG, "✗")
    page.text(left, middle, mark, 9, colour, weight="bold")
    page.text(left + 0.17, middle, class_names[int(guess)], 8.5, colour, fit=wide - 0.75, weight=weight)
    page.text(left + wide, middle, f"{scores[guess]:.2f}", 8.5, colour, ha="right", weight=weight)


class _Page:
  """A white page measured in inches; (0, 0) is its top left corner below the title and inside the margin."""

  MARGIN, TITLE = 0.25, 0.55

  def __init__(self, wide: float, high: float):
    """`wide` x `high` is what is drawn on; margin and title come on top of it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    self._size, self._title_wide = (wide, high), 0.0
    self._figure = Figure(dpi=DPI, facecolor="white")
    FigureCanvasAgg(self._figure)
    self.axes = self._figure.add_axes((0, 0, 1, 1))
    self.axes.axis("off")
    self._text = ""

  def title(self, title: str, subtitle: str) -> None:
    """Two lines at the top, as wide as they need to be."""
    self.text(0, -0.42, title, 13, INK, weight="bold")
    self.text(0, -0.18, subtitle, 9, QUIET)
    self._title_wide = max(_width(title, 13, "bold"), _width(subtitle, 9))

  def text(self, x: float, y: float, text: str, font: float, colour: str, fit: float = math.inf,
           **style) -> None:
    """Text (no mathematics in it) of at most `fit` inches, by default to the right of x and centred on y."""
    if fit < math.inf:
      text = _shorten(text, fit, font, style.get("weight", "normal"))
    self._text += text
    self.axes.text(x, y, text, fontsize=font, color=colour, parse_math=False, family=_fonts(text),
                   **{"va": "center_baseline" if "rotation" not in style else "center", **style})

  def image(self, pixels: np.ndarray, left: float, top: float, wide: float, high: float, **style) -> None:
    """A picture, stretched to `wide` x `high`."""
    self.axes.imshow(pixels, extent=(left, left + wide, top + high, top), aspect="auto", **style)

  def box(self, left: float, top: float, wide: float, high: float, colour: str) -> None:
    """A filled rectangle."""
    self.axes.barh(top + high / 2, wide, height=high, left=left, color=colour)

  def save(self, path: str | os.PathLike) -> None:
    """Writes a PNG, atomically."""
    right, bottom = max(self._size[0], self._title_wide) + self.MARGIN, self._size[1] + self.MARGIN
    left, top = -self.MARGIN, -self.MARGIN - self.TITLE
    self.axes.set(xlim=(left, right), ylim=(bottom, top))
    self._figure.set_size_inches(right - left, bottom - top)
    with files.replacing(path) as file, warnings.catch_warnings():
      warnings.filterwarnings("ignore", r"Glyph \d+ ")      # `_say_what_no_font_shows` says it once
      self._figure.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    _say_what_no_font_shows("".join(sorted(sign for sign in set(self._text)
                                           if sign.isprintable() and _font_of(sign) is None)))


def _fonts(text: str) -> list[str]:
  """matplotlib's own font, and for the characters that it lacks those among the installed ones that have them."""
  return list(dict.fromkeys([OWN_FONT, *filter(None, map(_font_of, text))]))


@functools.lru_cache(maxsize=4096)
def _font_of(character: str) -> str | None:
  """The name of a font that shows a character: matplotlib's own, if it does; None if no installed one does."""
  return next((name for name, characters in _installed_fonts() if ord(character) in characters), None)


def _installed_fonts() -> Iterator[tuple[str, Collection[int]]]:
  """Name and characters of each installed font, matplotlib's own first."""
  from matplotlib.font_manager import FontManager, fontManager

  manager: FontManager = fontManager
  for entry in sorted(manager.ttflist, key=lambda entry: (entry.name != OWN_FONT, entry.name, entry.fname)):
    if entry.style == "normal" and not entry.name.startswith("Last Resort"):      # which has a box for everything
      yield entry.name, _characters(entry.fname)


@functools.cache
def _characters(font_file: str) -> frozenset[int]:
  """The characters that a font shows; none if the file cannot be read."""
  from matplotlib.font_manager import get_font

  try:
    return frozenset(get_font(font_file).get_charmap())
  except (OSError, RuntimeError):
    return frozenset()


@functools.cache
def _say_what_no_font_shows(characters: str) -> None:
  if characters:
    shown = characters[:SHOWN_CHARACTERS] + "..." * (len(characters) > SHOWN_CHARACTERS)
    print(f"warning: no installed font shows {shown}; in pictures there is a box in place of each. Install a font that "
          "has them, such as the package fonts-noto-cjk for Chinese, Japanese and Korean.", file=sys.stderr)


@functools.lru_cache(maxsize=4096)
def _width(text: str, font: float, weight: str = "normal") -> float:
  """Inches that a text is wide."""
  return 1.02 * font * sum(_advance(character, weight) for character in text)     # 1.02: hinting


@functools.lru_cache(maxsize=4096)
def _advance(character: str, weight: str) -> float:
  """Inches that a character of one point is wide."""
  from matplotlib.font_manager import FontProperties
  from matplotlib.textpath import text_to_path

  properties = FontProperties(size=100, weight=weight, family=_fonts(character))
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"Glyph \d+ ")
    return text_to_path.get_text_width_height_descent(character, properties, ismath=False)[0] / 7200


def _shorten(text: str, inches: float, font: float, weight: str) -> str:
  """`text`, its end replaced by "…" if it is wider than so many inches."""
  if _width(text, font, weight) <= inches:
    return text
  ends = np.cumsum([_advance(character, weight) * font for character in text]) + _advance("…", weight) * font
  return text[:np.searchsorted(ends, inches, side="right")].rstrip(" ,;:") + "…"
