"""The report of a verification: tables of counts, what is wrong, and one line that sums up.

    verification.is_complete
    print_report(verification, "ucf101_zsar", published=13_320, all_classes=False)
    rows(verification)      # [{"name", "split", "class", "path", "problem"}, ...]
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from input_pipeline.raw_dataset import SPLITS, RawDataset
from input_pipeline.verification.expected import SplitVideos
from input_pipeline.videos.find_files import describe

UNCHECKED_CELLS = {"expected": "", "found": "", "readable": "not read", "prepared": "not yet"}      # what a cell says
SHOWN = 20      # classes, or files, that are listed
MIN_WIDTH = 100      # columns of the report where it goes to a file


class Verification(NamedTuple):
  """See `verification`; N videos.

  Attributes:
    raw_dataset: what is expected.
    splits: its class splits.
    found: (N,) bool.
    readable: the same; None where nothing was read.
    prepared: the same; None where nothing is prepared.
    evaluated: the same of the test videos of each class split; None where no run was given.
    problems: what is wrong with a entry, by its position.
    remarks: what is wrong besides.
  """

  raw_dataset: RawDataset
  splits: list[SplitVideos]
  found: np.ndarray
  readable: np.ndarray | None
  prepared: np.ndarray | None
  evaluated: list[np.ndarray] | None
  problems: dict[int, str]
  remarks: list[str]

  @property
  def is_complete(self) -> bool:
    """Whether nothing is wrong."""
    return not (self.problems or self.remarks)

  def stages(self) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """(name, which videos should have got so far, which have), in order; None where it was not looked at."""
    all_entries = np.ones(len(self.found), bool)
    stages = [("expected", all_entries, all_entries), ("found", all_entries, self.found),
              ("readable", all_entries, self.readable), ("prepared", all_entries, self.prepared)]
    if self.evaluated is not None:
      tested, everywhere = ~all_entries, all_entries.copy()      # everywhere: in each class split that it should be in
      for split, evaluated in zip(self.splits, self.evaluated):
        tested |= split.videos["test"]
        everywhere &= evaluated | ~split.videos["test"]
      stages.append(("evaluated", tested, tested & everywhere))
    return stages


def rows(verification: Verification) -> Iterator[dict[str, str]]:
  """A row for each video with a problem, in their order."""
  raw_dataset = verification.raw_dataset
  for index, problem in sorted(verification.problems.items()):
    entry = raw_dataset.entries[index]
    yield {"name": entry.name, "split": entry.split, "class": raw_dataset.classes[entry.label].name, "path": str(entry.path),
           "problem": problem}


def print_report(verification: Verification, dataset: str, published: int | None, all_classes: bool) -> None:
  """Prints it all to stdout.

  Args:
    verification: what was found.
    dataset: its name.
    published: how many videos the published dataset has, if known.
    all_classes: list every class, instead of the first that fall short.
  """
  console = Console(highlight=False)
  console.width = max(console.width, MIN_WIDTH)
  print(f"{dataset}: its videos, by the split that they are stored in")
  console.print(_stored_splits(verification))
  if published:
    count = len(verification.raw_dataset.entries)
    print(f"The published dataset has {published} videos; here {count} are expected"
          + (f", {abs(count - published)} {'fewer' if count < published else 'more'}." if count != published else "."))
  if unused := verification.raw_dataset.unused:
    print(f"Not used: {describe(unused)}.")
  if verification.splits:
    print("Class splits: how many classes (empty: no video is expected of them), and videos expected of these")
    console.print(_class_splits(verification))
  _print_classes(console, verification, all_classes)
  for number, row in enumerate(rows(verification)):
    if number == SHOWN:
      print(f"  ... {len(verification.problems)} in all; --output=FILE.jsonl lists them.")
      break
    print(f"  {row['path']}: {row['problem']}")
  for remark in verification.remarks:
    print(remark)
  print(_summary(verification))


def _stored_splits(verification: Verification) -> Table:
  stages = [(name, done) for name, _, done in verification.stages()[:len(UNCHECKED_CELLS)]]
  table = _table(["split"], [name for name, _ in stages])
  stored = np.array([entry.split for entry in verification.raw_dataset.entries], object)
  wheres = {split: stored == split for split in SPLITS if (stored == split).any()}
  for title, where in {**wheres, "all splits": True}.items():
    table.add_row(title, *(UNCHECKED_CELLS[name] if done is None else str(np.sum(done & where)) for name, done in stages))
  return table


def _class_splits(verification: Verification) -> Table:
  parts = ("train", "val", "test")
  headings = [f"{part}\n{what}" for part in parts for what in ("classes", "videos")]
  if verification.evaluated is not None:
    headings.append("\nevaluated")
  table = _table(["class split"], headings)
  labels = np.array([entry.label for entry in verification.raw_dataset.entries], np.int64)
  for k, split in enumerate(verification.splits):
    cells = []
    for part in parts:
      videos = split.videos[part]
      without = len(set(split.classes[part]) - set(np.unique(labels[videos]).tolist()))
      cells += [str(len(split.classes[part])) + f" ({without} empty)" * bool(without), str(np.sum(videos))]
    if verification.evaluated is not None:
      cells.append(str(np.sum(verification.evaluated[k])))
    table.add_row(str(k), *cells)
  return table


def _print_classes(console: Console, verification: Verification, all_classes: bool) -> None:
  """A row for each class and split that its videos are stored in, or for the first of those that fall short."""
  entries, stages = verification.raw_dataset.entries, verification.stages()
  num_classes = len(verification.raw_dataset.classes)
  codes = np.array([SPLITS.index(entry.split) * num_classes + entry.label for entry in entries], np.int64)
  lengths = {"minlength": len(SPLITS) * num_classes}
  wanted = [np.bincount(codes[should], **lengths) for _, should, _ in stages]
  counts = [None if done is None else np.bincount(codes[done], **lengths) for _, _, done in stages]
  short = [code for code in np.nonzero(wanted[0])[0].tolist()
           if any(count is not None and count[code] < want[code] for want, count in zip(wanted, counts))]
  listed = np.nonzero(wanted[0])[0].tolist() if all_classes else short[:SHOWN]
  if not listed:
    return
  more = f"; the first {SHOWN} (--all_classes lists every class)" if len(short) > SHOWN and not all_classes else ""
  print("All classes" if all_classes else f"Classes that fall short: {len(short)}{more}")
  table = _table(["class", "split"], [name for name, _, _ in stages])
  for code in listed:
    split, label = divmod(code, num_classes)
    cells = ["-" if count is None or not want[code] else str(count[code]) for want, count in zip(wanted, counts)]
    table.add_row(Text(verification.raw_dataset.classes[label].name), SPLITS[split], *cells)
  console.print(table)


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
  table = Table()
  for heading in left:
    table.add_column(heading)
  for heading in right:
    table.add_column(heading, justify="right")
  return table


def _summary(verification: Verification) -> str:
  """The last line; a video that falls short counts where it does so first."""
  stages = [(name, should, should & done) for name, should, done in verification.stages() if done is not None]
  if verification.is_complete:
    return f"Complete: {', '.join(f'{np.sum(done)} {name}' for name, _, done in stages)}."
  lacks, so_far = [], np.ones(len(verification.found), bool)
  for name, should, done in stages:
    if count := np.sum(so_far & should & ~done):
      lacks.append(f"{count} of {np.sum(should)} videos are not {name}")
    so_far &= done | ~should
  lacks += ["something else is wrong, see above"] * bool(verification.remarks)
  return f"Falls short: {'; '.join(lacks)}."
