"""Which classes are seen, and which unseen ones validate and test, in each split.

    splits = read_splits("class_splits.json", num_classes=620)
    splits.seen, splits.val[k], splits.test[k]     # class indices of split k

Every split trains on the same seen classes; the unseen ones are divided anew into validation and test
(Chen & Huang 2021, section 4).
"""

import os
from typing import NamedTuple

from input_pipeline import files
from input_pipeline.errors import UserError


class ClassSplits(NamedTuple):
  """Class indices; a position in such a list is the label that models see.

  Attributes:
    seen: classes of the training videos.
    val: for each split, the unseen classes that choose the checkpoint.
    test: for each split, the unseen classes that are reported.
  """

  seen: tuple[int, ...]
  val: tuple[tuple[int, ...], ...]
  test: tuple[tuple[int, ...], ...]


def check_splits(splits: ClassSplits, num_classes: int, where: str) -> ClassSplits:
  """Returns `splits` if no list is empty, repeats a class, leaves [0, num_classes) or overlaps another.

  Raises:
    UserError: beginning with `where`, naming list and class.
  """
  if len(splits.val) != len(splits.test) or not splits.test:
    raise UserError(f"{where}: 'val' and 'test' hold {len(splits.val)} and {len(splits.test)} splits; "
                    "expected the same number, at least one.")
  for k, (val, test) in enumerate(zip(splits.val, splits.test)):
    owner = {}
    for name, indices in (("seen", splits.seen), (f"val[{k}]", val), (f"test[{k}]", test)):
      if not indices:
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


def read_splits(path: str | os.PathLike, num_classes: int) -> ClassSplits:
  """Reads {"seen": [...], "val": [[...], ...], "test": [[...], ...]}.

  Raises:
    UserError: if it is not of this form, or not a valid division of `num_classes` classes.
  """
  value = files.read_json(path)
  try:
    splits = ClassSplits(
        seen=tuple(value["seen"]),
        val=tuple(map(tuple, value["val"])),
        test=tuple(map(tuple, value["test"])),
    )
  except (KeyError, TypeError) as error:
    form = '{"seen": [...], "val": [[...], ...], "test": [[...], ...]}'
    raise UserError(f"{path}: expected {form} ({error}).") from error
  return check_splits(splits, num_classes, str(path))


def write_splits(path: str | os.PathLike, splits: ClassSplits) -> None:
  """Writes what `read_splits` reads, atomically."""
  files.write_json(path, splits._asdict())
