"""Class names as people write them, to find the class that a folder of videos is about.

    index = class_index(["hand stand pushups", "massaging person's head"], where="classes.json")
    index.label("HandstandPushups")          # 0
    index.label("massaging_persons_head")    # 1
    index.label("hand stand pushup")         # None
    index.near("hand stand pushup")          # ["hand stand pushups"]

Names are compared by their letters and digits alone, in lower case.
"""

import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from input_pipeline.errors import UserError, near_matches

SHOWN = 20      # entries that a warning lists


def key(name: str) -> str:
  """What a class's name has in common with that of its folder: its letters and digits, in lower case.

  Accents stay, however they are encoded. A name without letters and digits is its own key.
  """
  composed = unicodedata.normalize("NFKC", name).casefold()
  return "".join(sign for sign in composed if unicodedata.category(sign)[0] in "LNM") or name


class ClassIndex(NamedTuple):
  """The classes of a list, to be found by names that are written in other ways.

  Attributes:
    names: as the list has them, in label order.
    labels: {key: label}.
    where: the file of the list, for error messages.
  """

  names: tuple[str, ...]
  labels: dict[str, int]
  where: str

  def label(self, name: str) -> int | None:
    """The position of the class in the list; None if it is not there."""
    return self.labels.get(key(name))

  def near(self, name: str) -> list[str]:
    """At most three classes of the list whose names are like this one, the most alike first."""
    near = near_matches(key(name), self.labels)
    return [self.names[self.labels[name]] for name in near]


def class_index(names: Sequence[str], where: str) -> ClassIndex:
  """The index of a list of classes.

  Raises:
    UserError: two names differ in nothing but signs, spaces and case.
  """
  labels: dict[str, int] = {}
  for label, name in enumerate(names):
    if (other := labels.setdefault(key(name), label)) != label:
      raise UserError(f"{where}: classes {names[other]!r} and {name!r} have the same letters and digits, so their "
                      "folders cannot be told apart; rename one.")
  return ClassIndex(tuple(names), labels, where)


def label_folders(folders: Collection[Path], index: ClassIndex) -> dict[Path, int]:
  """The label of each folder of videos. Two folders may be of one class.

  Classes of the list that have no folder are named on stderr.

  Raises:
    UserError: naming every folder whose name is not in the list, with the names in the list that are like it.
  """
  labels = {folder: label for folder in folders if (label := index.label(folder.name)) is not None}
  if unknown := [folder for folder in folders if folder not in labels]:
    raise UserError("\n".join([
        f"{len(unknown)} of {len(folders)} folders with videos have the name of no class in {index.where}:",
        *(describe_unknown(folder, index) for folder in unknown),
        "Rename these folders or move them away, or give another --source=DIR: each video must lie in the folder of "
        "its class."]))
  warn_of_classes_without("folder of videos", labels.values(), index)
  return labels


def warn_of_classes_without(what: str, labels: Iterable[int], index: ClassIndex) -> None:
  """Names on stderr the classes of the list that have no such thing; `labels` are those of the others."""
  if without := sorted(set(range(len(index.names))).difference(labels)):
    names = [index.names[label] for label in without]
    print(f"warning: {len(names)} of {len(index.names)} classes in {index.where} have no {what}: {', '.join(names)}.",
          file=sys.stderr)


def describe_unknown(folder: Path, index: ClassIndex) -> str:
  """A line about a folder whose name is not in the list."""
  near = index.near(folder.name)
  return f"  {folder}" + (f" (did you mean {' or '.join(map(repr, near))}?)" if near else "")
