"""Action classes: their names, their elaborative descriptions, and the text that stands for a class.

    classes = read_classes("classes.jsonl")     # {"name": "juggling balls", "description": "keep a ..."}
    class_text(classes[0], "name_description")  # "juggling balls: keep a ..."

A class is known by its position in the list: labels are positions.
"""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from input_pipeline import errors, files
from input_pipeline.errors import UserError, near_matches

FIELDS = ("name", "description", "split")      # of a line; the last is read by datasets/video_folder
MODES = ("name", "description", "name_description", "pair")


class ActionClass(NamedTuple):
  """One action.

  Attributes:
    name: as people write it, "playing squash or racquetball".
    description: one or more sentences that say what is done with what; "" if there is none.
    where: "FILE:LINE" the class was read from, for error messages; "" if it does not come from a file.
  """

  name: str
  description: str
  where: str = ""


def read_classes(path: str | os.PathLike) -> list[ActionClass]:
  """Reads {"name", "description"} lines in label order; a class may lack its description, and have further fields.

  Raises:
    UserError: naming file and line, if a line has no name, a field is not a text, or has almost the name of one of
      `FIELDS` that is lacking; a name comes twice; or a line among others is empty.
  """
  classes, lines = [], {}
  for number, row in files.read_numbered_jsonl(path, fields=("name",), by_place=True):
    _refuse_misspelt(row, f"{path}:{number}")
    name, description = row["name"], row.get("description") or ""
    if not isinstance(name, str) or not name.strip() or not isinstance(description, str):
      raise UserError(
          f"{path}:{number}: 'name' and 'description' must be texts and the name not empty, got {row}.")
    if name in lines:
      raise UserError(f"{path}:{number}: class {name!r} is already on line {lines[name]}; names must differ.")
    lines[name] = number
    classes.append(ActionClass(name, description, f"{path}:{number}"))
  if not classes:
    raise UserError(f"{path}: no classes in it; expected one {{\"name\", \"description\"}} a line.")
  return classes


def _refuse_misspelt(row: dict[str, Any], where: str) -> None:
  lacking = [field for field in FIELDS if not row.get(field)]
  for field in row:
    if field not in FIELDS and (near := near_matches(field.casefold(), lacking)):
      raise UserError(f"{where}: nothing reads the field {field!r}; did you mean {near[0]!r}? Write it so, or give the "
                      "field a name that is not like it.")


def write_classes(path: str | os.PathLike, classes: Iterable[ActionClass]) -> None:
  """Writes what `read_classes` reads, atomically."""
  files.write_jsonl(path, ({"name": action.name, "description": action.description} for action in classes))


def class_text(action: ActionClass, mode: str, separator: str = ": ") -> str | tuple[str, str]:
  """The text of a class.

  Args:
    action: the class.
    mode: "name"; "description"; "name_description", the paper's elaborative description `name: description`;
      or "pair", (name, description) to be tokenised as a sentence pair.
    separator: what stands between name and description; word-level tokenizers know words, not colons.

  Raises:
    UserError: if the mode is unknown, or needs a description that the class does not have.
  """
  if mode not in MODES:
    raise errors.unknown("class text", mode, MODES)
  if mode == "name":
    return action.name
  if not action.description.strip():
    where = f"{action.where}: " if action.where else ""
    raise UserError(
        f"{where}class {action.name!r} has no description, but class text {mode!r} needs one. "
        "Write it there, or use config.data.class_text=name.")
  if mode == "description":
    return action.description
  if mode == "name_description":
    return f"{action.name}{separator}{action.description}"
  return action.name, action.description
