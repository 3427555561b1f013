"""Which classes are seen, and which unseen ones validate and test, in each split.

    splits = read_splits("class_splits.json", num_classes=620)
    splits.seen, splits.val[k], splits.test[k]     # class indices of split k

    drawn = random_splits(num_classes=101, seed=0)
    drawn.divisions[k].seen, drawn.divisions[k].test[0]

In Kinetics-ZSAR every split trains on the same seen classes; the unseen ones are divided anew into validation and
test (Chen & Huang 2021, section 4). Random splits have seen classes of their own, and so a model of their own; a
video belongs to training or test as its class does.
"""

import os
from typing import Any, NamedTuple

import numpy as np

from input_pipeline import files
from input_pipeline.errors import UserError


class ClassSplits(NamedTuple):
  """Class indices; a position in such a list is the label that models see.

  Attributes:
    seen: classes of the training videos.
    val: for each split, the unseen classes that choose the checkpoint; none where the last checkpoint is taken.
    test: for each split, the unseen classes that are reported.
  """

  seen: tuple[int, ...]
  val: tuple[tuple[int, ...], ...]
  test: tuple[tuple[int, ...], ...]


class RandomSplits(NamedTuple):
  """Class splits that were drawn at random, each with seen classes of its own.

  Attributes:
    seed: that they were drawn from.
    divisions: each of one split, without validation classes.
  """

  seed: int
  divisions: tuple[ClassSplits, ...]


def divisions_of(splits: ClassSplits | RandomSplits | None) -> tuple[ClassSplits, ...]:
  """The class splits, those with the same seen classes together; () for None."""
  return splits.divisions if isinstance(splits, RandomSplits) else (splits,) if splits else ()


def random_splits(num_classes: int, seed: int, num_splits: int = 10) -> RandomSplits:
  """Halves of the classes, seen and unseen, drawn `num_splits` times; of an odd number one more is seen.

  Split k depends on (num_classes, seed, k) alone. Indices are ascending.

  Raises:
    UserError: for fewer than two classes or no split.
  """
  if num_classes < 2 or num_splits < 1:
    raise UserError(f"Cannot draw {num_splits} random splits of {num_classes} classes into seen and unseen; expected at "
                    "least 1 split and 2 classes.")
  num_seen = -(-num_classes // 2)
  divisions = []
  for k in range(num_splits):
    order = np.random.default_rng([seed, k]).permutation(num_classes).tolist()
    divisions.append(ClassSplits(tuple(sorted(order[:num_seen])), ((),), (tuple(sorted(order[num_seen:])),)))
  return RandomSplits(seed, tuple(divisions))


def check_splits(splits: ClassSplits, num_classes: int, where: str) -> ClassSplits:
  """Returns `splits` if no list repeats a class, leaves [0, num_classes), overlaps another or, but for `val`, is empty.

  Raises:
    UserError: beginning with `where`, naming list and class.
  """
  if len(splits.val) != len(splits.test) or not splits.test:
    raise UserError(f"{where}: 'val' and 'test' hold {len(splits.val)} and {len(splits.test)} splits; "
                    "expected the same number, at least one.")
  for k, (val, test) in enumerate(zip(splits.val, splits.test)):
    owner = {}
    for name, indices in (("seen", splits.seen), (f"val[{k}]", val), (f"test[{k}]", test)):
      if not indices and name != f"val[{k}]":
        raise UserError(f"{where}: {name!r} is empty.")
      for index in indices:
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < num_classes:
          raise UserError(f"{where}: {name!r} holds {index!r}, but there are {num_classes} classes "
                          f"(0 to {num_classes - 1}).")
        if index in owner:
          raise UserError(f"{where}: class {index} of {name!r} is in {owner[index]!r} already; "
                          "the lists of a split must not overlap.")
        owner[index] = name
  return splits


def read_splits(path: str | os.PathLike, num_classes: int) -> ClassSplits | RandomSplits:
  """Reads {"seen": [...], "val": [[...], ...], "test": [[...], ...]}, or {"seed", "divisions": [of these]}.

  Raises:
    UserError: if it is not of this form, or not a valid division of `num_classes` classes.
  """
  value = files.read_json(path)
  if not isinstance(value, dict) or "divisions" not in value:
    return _read_division(value, num_classes, str(path))
  divisions, seed = value["divisions"], value.get("seed")
  if not isinstance(divisions, list) or not divisions or type(seed) is not int:
    raise UserError(f'{path}: expected {{"seed": a number, "divisions": [...]}} with at least one division.')
  return RandomSplits(seed, tuple(_read_division(division, num_classes, f"{path}: division {k}")
                                  for k, division in enumerate(divisions)))


def _read_division(value: Any, num_classes: int, where: str) -> ClassSplits:
  try:
    splits = ClassSplits(
        seen=tuple(value["seen"]),
        val=tuple(map(tuple, value["val"])),
        test=tuple(map(tuple, value["test"])),
    )
  except (KeyError, TypeError) as error:
    form = '{"seen": [...], "val": [[...], ...], "test": [[...], ...]}'
    raise UserError(f"{where}: expected {form} ({error}).") from error
  return check_splits(splits, num_classes, where)


def write_splits(path: str | os.PathLike, splits: ClassSplits | RandomSplits) -> None:
  """Writes what `read_splits` reads, atomically."""
  if isinstance(splits, RandomSplits):
    files.write_json(path, {"seed": splits.seed, "divisions": [division._asdict() for division in splits.divisions]})
  else:
    files.write_json(path, splits._asdict())
