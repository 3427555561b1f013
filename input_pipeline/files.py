"""Small text files, read with errors that name the line and written so that nobody ever sees half of one.

    classes = [ActionClass(**row) for row in files.read_jsonl(path, fields=("name", "description"))]
    files.write_json(path, {"mean": 0.5})

Writers write to a temporary name in the same folder and rename, so a crash or a full disk leaves the old file.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from input_pipeline.errors import UserError


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a binary file that takes the place of `path` when the block ends well, and vanishes when it does not."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:
    with open(temporary, "wb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes `value` as indented JSON, atomically."""
  with replacing(path) as file:
    file.write((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_jsonl(path: str | os.PathLike, rows: Iterable[dict]) -> None:
  """Writes one JSON object a line, atomically."""
  with replacing(path) as file:
    for row in rows:
      file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def cite(path: str | os.PathLike) -> dict[str, str]:
  """{"path", "sha256"} of a file, for a result to name what it rests on."""
  with open(path, "rb") as file:
    return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def read_text(path: str | os.PathLike) -> str:
  """The text of a file. Raises: UserError if it is missing, unreadable or not UTF-8."""
  try:
    return Path(path).read_text(encoding="utf-8")
  except (OSError, UnicodeDecodeError) as error:
    reason = "no such file" if isinstance(error, FileNotFoundError) else error
    raise UserError(f"Cannot read {path}: {reason}.") from error


def read_json(path: str | os.PathLike) -> Any:
  """The value in a JSON file. Raises: UserError naming file, line and column if it cannot be read."""
  try:
    return json.loads(read_text(path))
  except json.JSONDecodeError as error:
    raise UserError(
        f"{path}:{error.lineno}: not valid JSON at column {error.colno} ({error.msg}). Is the file cut short?"
    ) from error


def read_jsonl(path: str | os.PathLike, fields: Iterable[str] = ()) -> list[dict]:
  """The objects of a JSON-lines file; empty lines are skipped.

  Args:
    path: the file.
    fields: names that every object must have.

  Raises:
    UserError: naming file and line, if a line is not a JSON object or lacks a field.
  """
  rows = []
  for number, line in enumerate(read_text(path).split("\n"), start=1):
    if not line.strip():
      continue
    try:
      row = json.loads(line)
    except json.JSONDecodeError as error:
      raise UserError(f"{path}:{number}: not valid JSON ({error.msg} at column {error.colno}).") from error
    if not isinstance(row, dict):
      raise UserError(f"{path}:{number}: expected an object such as {{...}}, got {line[:40]!r}.")
    missing = [field for field in fields if field not in row]
    if missing:
      raise UserError(f"{path}:{number}: missing field {', '.join(map(repr, missing))}; it has {sorted(row)}.")
    rows.append(row)
  return rows
