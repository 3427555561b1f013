"""A user's corrections of descriptions, laid over a published list that stays as it is.

    classes = corrections.apply("corrections.jsonl", classes)   # {"name": "punch", "description": "strike with ..."}

One {"name", "description"} a line, for those classes whose description is to be another; in any order. The check of
descriptions, scripts/check_descriptions.py, writes a file to begin with.
"""

import os
from collections.abc import Sequence

from input_pipeline import files
from input_pipeline.errors import UserError, near_matches
from input_pipeline.metadata.descriptions import ActionClass

FIELDS = ("name", "description")
EXPECTED = '{"name": "a class of the list", "description": "what stands in place of its description"}'


def apply(path: str | os.PathLike, classes: Sequence[ActionClass]) -> list[ActionClass]:
  """The classes in their order, with the descriptions of a corrections file in place of their own.

  Args:
    path: the corrections file.
    classes: what it corrects; their names differ.

  Returns:
    As many classes. `where` of those that the file names points at its line, also if the description is as before.

  Raises:
    UserError: naming file and line, if a line has another field or lacks one, a name or description is empty or not a
      text, or a name comes twice; naming all names that are of no class, with those they are like; or if the file
      holds nothing.
  """
  corrected = _read(path)
  names = [action.name for action in classes]
  if unknown := [action for name, action in corrected.items() if name not in names]:
    raise UserError("\n".join([
        f"{path}: {len(unknown)} of {len(corrected)} corrections are of no class in the list of {len(names)}:",
        *(_describe_unknown(action, names) for action in unknown),
        "Write each name as the list has it, or remove these lines."]))
  return [corrected.get(action.name, action) for action in classes]


def _read(path: str | os.PathLike) -> dict[str, ActionClass]:
  """The corrections by name, in the order of the file."""
  corrected: dict[str, ActionClass] = {}
  for number, row in files.read_numbered_jsonl(path, fields=FIELDS):
    where = f"{path}:{number}"
    if others := sorted(set(row) - set(FIELDS)):
      raise UserError(f"{where}: unexpected field {', '.join(map(repr, others))}; expected {EXPECTED}.")
    for field in FIELDS:
      if not isinstance(row[field], str) or not row[field].strip():
        raise UserError(f"{where}: {field!r} is {row[field]!r}, expected a text that is not empty.")
    if row["name"] in corrected:
      raise UserError(f"{where}: class {row['name']!r} is corrected already at {corrected[row['name']].where}; "
                      "keep one of the two.")
    corrected[row["name"]] = ActionClass(row["name"], row["description"], where)
  if not corrected:
    raise UserError(f"{path}: no corrections in it; expected {EXPECTED} on each line.")
  return corrected


def _describe_unknown(action: ActionClass, names: Sequence[str]) -> str:
  """A line about a correction of no class."""
  near = near_matches(action.name, names)
  return f"  {action.where}: {action.name!r}" + (f" (did you mean {' or '.join(map(repr, near))}?)" if near else "")
