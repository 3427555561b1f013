"""Small text files, read with errors that name the line and written so that nobody ever sees half of one.

    classes = [ActionClass(**row) for row in files.read_jsonl(path, fields=("name", "description"))]
    files.write_json(path, {"mean": 0.5})

Writers write to a temporary name in the same folder and rename, so a crash or a full disk leaves the old file.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from input_pipeline.errors import UserError

ESCAPES = re.compile(      # of JSON: a surrogate pair, what is no character that a file's name can have, or any other
    r"\\(?:ud[89ab]..\\ud[c-f]..|(?P<unusable>u0000|ud[89a-f]..)|.)", re.IGNORECASE | re.DOTALL)

NO_TEXT = re.compile("[\0\udc80-\udcff]")      # the latter stand for bytes that are not UTF-8
TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)      # of valid JSON
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)
DEEPEST = 100             # lists and objects in one another, where Python's parser gives up
MOST_DIGITS = 4000        # of a number; Python refuses more than 4300


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a binary file that takes the place of `path` when the block ends well, and vanishes when it does not."""
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name[-50:]}.{os.getpid()}.tmp")      # no longer than a name can be
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


def require_regular(path: str | os.PathLike) -> None:
  """Raises: OSError for what a reader might wait at for ever; a folder gives its own error when it is opened."""
  mode = os.stat(path).st_mode
  if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
    raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", os.fspath(path))


def cite(path: str | os.PathLike) -> dict[str, str]:
  """{"path", "sha256"} of a file, for a result to name what it rests on."""
  with open(path, "rb") as file:
    return {"path": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def remove(folder: Path, *patterns: str) -> None:
  """Removes the files in a folder that match any of the patterns, if there are some."""
  for path in [path for pattern in patterns for path in folder.glob(pattern)]:
    path.unlink(missing_ok=True)


def read_text(path: str | os.PathLike) -> str:
  """The text of a file, without a byte-order mark. Raises: UserError if it is missing, unreadable or not UTF-8 text."""
  try:
    text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
  except OSError as error:
    reason = "no such file" if isinstance(error, FileNotFoundError) else error
    raise UserError(f"Cannot read {path}: {reason}.") from error
  if fault := NO_TEXT.search(text):
    what = "a NUL character" if fault[0] == "\0" else f"the byte 0x{ord(fault[0]) - 0xdc00:x}, which is not UTF-8"
    raise UserError(f"{path}:{_line(text, fault.start())}: holds {what}; expected text. Is it UTF-16 or Latin-1, as "
                    "spreadsheets write it, or damaged? Save it as UTF-8.")
  return text


def read_json(path: str | os.PathLike, finite: bool = True) -> Any:
  """The value in a JSON file.

  Args:
    path: the file.
    finite: refuse NaN and Infinity, which are not JSON but are what Python writes of such numbers.

  Raises:
    UserError: naming file and line, if it cannot be read; an object in it has a field twice; a number is not finite or
      has thousands of digits; it is nested too deep; or a text in it holds a NUL character or half a surrogate pair,
      which cannot be written to a file or be part of a file's name.
  """
  text = read_text(path)
  try:
    value = _parse(text, path, 1, finite)
  except json.JSONDecodeError as error:
    raise UserError(
        f"{path}:{error.lineno}: not valid JSON at column {error.colno} ({error.msg}). Is the file cut short?"
    ) from error
  _require_usable(path, text)
  return value


def read_jsonl(path: str | os.PathLike, fields: Iterable[str] = ()) -> list[dict]:
  """The objects of a JSON-lines file; empty lines are skipped.

  Args:
    path: the file.
    fields: names that every object must have.

  Raises:
    UserError: naming file and line, if a line is not a JSON object or lacks a field, or for what `read_json` refuses.
  """
  return [row for _, row in read_numbered_jsonl(path, fields)]


def read_numbered_jsonl(
    path: str | os.PathLike, fields: Iterable[str] = (), by_place: bool = False
) -> list[tuple[int, dict]]:
  """The objects of a JSON-lines file as `read_jsonl` reads them, each with the number of its line, from 1.

  Args:
    path: the file.
    fields: names that every object must have.
    by_place: the place of an object in the list says which it is: no line before the last may be empty.

  Raises:
    UserError: as `read_jsonl`, or for such a line.
  """
  rows = []
  text = read_text(path)
  for number, line in enumerate(text.split("\n"), start=1):
    if not line.strip():
      continue
    if by_place and number > len(rows) + 1:
      raise UserError(f"{path}:{len(rows) + 1}: the line is empty, but others follow, and each is known by its place. Write "
                      "what is missing there, or remove the line.")
    try:
      row = _parse(line, path, number)
    except json.JSONDecodeError as error:
      raise UserError(f"{path}:{number}: not valid JSON ({error.msg} at column {error.colno}).") from error
    if not isinstance(row, dict):
      raise UserError(f"{path}:{number}: expected an object such as {{...}}, got {line[:40]!r}.")
    missing = [field for field in fields if field not in row]
    if missing:
      raise UserError(f"{path}:{number}: missing field {', '.join(map(repr, missing))}; it has {sorted(row)}.")
    rows.append((number, row))
  _require_usable(path, text)
  return rows


def _parse(text: str, path: str | os.PathLike, line: int, finite: bool = True) -> Any:
  """The value of a JSON text that begins on this line. Raises: JSONDecodeError; UserError for what else is wrong."""
  number = _finite if finite else None
  try:
    return json.loads(text, object_pairs_hook=_fields, parse_float=number, parse_constant=number)
  except json.JSONDecodeError:
    raise
  except (ValueError, RecursionError) as error:      # neither says where
    offset, reason = next(_faults(text, finite), (0, str(error)))
    raise UserError(f"{path}:{line - 1 + _line(text, offset)}: {reason}.") from error


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  fields = dict(pairs)
  if len(fields) != len(pairs):
    raise ValueError("a field is there twice")
  return fields


def _finite(number: str) -> float:
  if not math.isfinite(value := float(number)):
    raise ValueError(f"{number} is not finite")
  return value


def _faults(text: str, finite: bool) -> Iterator[tuple[int, str]]:
  """(offset, reason) of what `_parse` refuses in valid JSON, in order."""
  fields: list[set[str]] = []      # of the objects and lists around
  previous = ""
  for token in TOKENS.finditer(text):
    offset, word = token.start(), token[0]
    if word in "{[":
      fields.append(set())
      if len(fields) == DEEPEST + 1:
        yield offset, f"lists and objects are nested more than {DEEPEST} deep, which no file of this project is"
    elif word in "}]":
      fields.pop()
    elif word == ":":
      if previous in fields[-1]:
        yield offset, f"the field {previous} is there twice in one object; keep one of the two"
      fields[-1].add(previous)
    elif len(word) > MOST_DIGITS and word[0] != '"':
      yield offset, f"a number has {len(word)} digits: {word[:20]}..."
    elif finite and word[0] in "-0123456789NI" and not _is_finite(word):
      yield offset, f"{word[:20]} is no finite number"
    previous = word


def _is_finite(word: str) -> bool:
  try:
    return math.isfinite(float(word))
  except ValueError:      # a number that is not finite and runs on: NaN0
    return False


def _require_usable(path: str | os.PathLike, text: str) -> None:
  """Raises: UserError naming line and escape, if valid JSON escapes a character that no text should hold."""
  for escape in ESCAPES.finditer(text) if "\\u" in text else ():
    if escape["unusable"]:
      raise UserError(f"{path}:{_line(text, escape.start())}: a text holds {escape[0]}, which is "
                      + ("a NUL character" if escape["unusable"] == "u0000" else "half a surrogate pair")
                      + ", no character that can be stored or be in a file's name. Write the text anew.")


def _line(text: str, offset: int) -> int:
  return text.count("\n", 0, offset) + 1
