"""Class splits: the seen classes, and the unseen ones that validate and test; one `ClassSplit` a split of the protocol.

    splits = read_splits("class_splits.json", num_classes=620)
    splits[k].seen, splits[k].val, splits[k].test     # class indices
    random_splits(num_classes=101, seed=0, num_splits=10)
    for group in by_seen(splits):     # a model each
      group[0].seen

In Kinetics-ZSAR every split trains on the same seen classes; the unseen ones are divided anew into validation and
test (Chen & Huang 2021, section 4). Random halves have seen classes of their own, and so a model of their own.
"""

import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from input_pipeline import files
from input_pipeline.errors import UserError


class ClassSplit(NamedTuple):
  """Class indices; a position in such a list is the label that models see.

  Attributes:
    seen: classes of the training videos.
    val: unseen classes that choose the checkpoint; none where the last checkpoint is taken.
    test: unseen classes that are reported.
  """

  seen: tuple[int, ...]
  val: tuple[int, ...]
  test: tuple[int, ...]


def by_seen(splits: Iterable[ClassSplit]) -> list[tuple[ClassSplit, ...]]:
  """The splits in their order, neighbours with the same seen classes together: one model serves such a group."""
  return [tuple(group) for _, group in itertools.groupby(splits, key=lambda split: split.seen)]


def random_splits(num_classes: int, seed: int, num_splits: int = 10) -> tuple[ClassSplit, ...]:
  """Halves of the classes, seen and unseen, drawn `num_splits` times; of an odd number one more is seen.

  Split k depends on (num_classes, seed, k) alone. Indices are ascending; no class validates.

  Raises:
    UserError: for fewer than two classes or no split.
  """
  if num_classes < 2 or num_splits < 1:
    raise UserError(f"Cannot draw {num_splits} random splits of {num_classes} classes into seen and unseen; expected at "
                    "least 1 split and 2 classes.")
  num_seen = -(-num_classes // 2)
  orders = [np.random.default_rng([seed, k]).permutation(num_classes).tolist() for k in range(num_splits)]
  return tuple(ClassSplit(tuple(sorted(order[:num_seen])), (), tuple(sorted(order[num_seen:]))) for order in orders)


def check_splits(splits: Sequence[ClassSplit], num_classes: int, where: str) -> tuple[ClassSplit, ...]:
  """Returns `splits` if no list repeats a class, leaves [0, num_classes), overlaps another or, but for `val`, is empty.

  Raises:
    UserError: beginning with `where`, naming list and class.
  """
  for k, split in enumerate(splits):
    owner = {}
    for name, indices in (("seen", split.seen), (f"val[{k}]", split.val), (f"test[{k}]", split.test)):
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
  return tuple(splits)


def read_splits(path: str | os.PathLike, num_classes: int) -> tuple[ClassSplit, ...]:
  """Reads {"seen": [...], "val": [[...], ...], "test": [[...], ...]}, or {"seed", "divisions": [of these]}.

  A list of "val" and one of "test" make a split, in the order of the file. "seed" says what random halves were drawn
  from; it is not there where several lists of seen classes were given.

  Raises:
    UserError: if it is not of this form, or not a valid division of `num_classes` classes.
  """
  value = files.read_json(path)
  if not isinstance(value, dict) or "divisions" not in value:
    return _read_division(value, num_classes, str(path))
  divisions = value["divisions"]
  if not isinstance(divisions, list) or not divisions or type(value.get("seed", 0)) is not int:
    raise UserError(f'{path}: expected {{"seed": a number, "divisions": [...]}} with at least one division.')
  return tuple(split for k, division in enumerate(divisions)
               for split in _read_division(division, num_classes, f"{path}: division {k}"))


def _read_division(value: Any, num_classes: int, where: str) -> tuple[ClassSplit, ...]:
  """The splits that have the same seen classes."""
  try:
    seen, val, test = tuple(value["seen"]), list(map(tuple, value["val"])), list(map(tuple, value["test"]))
  except (KeyError, TypeError) as error:
    form = '{"seen": [...], "val": [[...], ...], "test": [[...], ...]}'
    raise UserError(f"{where}: expected {form} ({error}).") from error
  if len(val) != len(test) or not test:
    raise UserError(f"{where}: 'val' and 'test' hold {len(val)} and {len(test)} splits; "
                    "expected the same number, at least one.")
  return check_splits([ClassSplit(seen, *unseen) for unseen in zip(val, test)], num_classes, where)


def write_splits(path: str | os.PathLike, splits: Sequence[ClassSplit], seed: int | None = None) -> None:
  """Writes what `read_splits` reads, atomically; `seed` is what random splits were drawn from."""
  groups = by_seen(splits) if seed is None else [(split,) for split in splits]
  divisions = [{"seen": group[0].seen, "val": [split.val for split in group], "test": [split.test for split in group]}
               for group in groups]
  if seed is not None:
    files.write_json(path, {"seed": seed, "divisions": divisions})
  else:
    files.write_json(path, divisions[0] if len(divisions) == 1 else {"divisions": divisions})
