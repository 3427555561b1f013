"""One file over HTTP: resumed, tried again, and checked. Nothing but the standard library.

    source = Source("https://host/vocab.txt", size=231508, sha256="07eced37...")
    fetch(source, Path("data/vocab.txt.part"), Patience(timeout=60, retries=3, wait=1))     # whole when this returns
    os.replace("data/vocab.txt.part", "data/vocab.txt")

What arrives is kept in the .part file, also when the connection breaks or the program is stopped, and the next call
asks for the rest. Beside it, .part.json says where the part is from, and of which version of the file, so that parts of
two different files are never joined.
"""

import dataclasses
import hashlib
import http.client
import json
import os
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

CHUNK = 1 << 18     # bytes read at a time, at most
PAGES = {b"<!doctype": "a web page", b"<html": "a web page", b"<?xml": "an XML document",
         b"version https://git-lfs": "a Git LFS pointer"}      # how what is served in place of a file begins
TEMPORARY = (408, 425, 429)     # statuses below 500 after which another try may do


class Refusal(Exception):
  """An address does not give the file, and asking again would not help. The message says why."""


class Unreachable(Refusal):
  """The same, and nothing else at that host would answer."""


class CannotWrite(Exception):
  """What arrives cannot be written down. The message says where and why."""


class Interruption(Exception):
  """Something went wrong that may go well the next time."""


class NoAnswer(Interruption):
  """The host did not answer at all."""


@dataclasses.dataclass(frozen=True)
class Source:
  """A place that has a file. `size` in bytes and `sha256` in hex are checked if known.

  With `member`, the address is of a .tar.gz or .zip archive, whose size and hash these are, and the file is in it under
  that name.
  """

  address: str
  size: int | None = None
  sha256: str | None = None
  member: str | None = None


@dataclasses.dataclass(frozen=True)
class Patience:
  """How long to wait for a byte and before another try (doubled after every one), in seconds, and how often to try."""

  timeout: float = 60.0
  retries: int = 3      # after a try that brought nothing new
  wait: float = 1.0


def fetch(source: Source, part: Path, patience: Patience,
          progress: Callable[[int, int | None], None] = lambda have, total: None) -> None:
  """Downloads into `part`, going on from what is there already; returns when it is whole and right.

  Args:
    source: the address, and what is known of what it has.
    part: where to; its folder exists.
    patience: how long, and how often.
    progress: called with the bytes that are there and, if the server tells, those of the whole file.

  Raises:
    Refusal: if this address does not give the file.
    CannotWrite: if the disk does not take it.
  """
  tries, furthest = 0, _size(part)
  while True:
    try:
      return _try(source, part, patience.timeout, progress)
    except Interruption as error:
      tries = 0 if _size(part) > furthest else tries + 1
      furthest = max(furthest, _size(part))
      if tries > patience.retries:
        kind = Unreachable if isinstance(error, NoAnswer) else Refusal
        raise kind(f"{error} (in {tries} tries)" if tries > 1 else str(error)) from error
      time.sleep(patience.wait * 2 ** max(tries - 1, 0))
    except OSError as error:
      raise CannotWrite(f"Cannot write {part}: {error.strerror or error}.") from error


def flaw(path: Path, size: int | None, sha256: str | None) -> str | None:
  """What is wrong with a file, of the size and hash that it should have; None if nothing is.

  Of a file without a known hash, at least that it is empty or a page in place of the file is noticed.
  """
  if size is not None and path.stat().st_size != size:
    return f"it has {path.stat().st_size:,} bytes, not {size:,}"
  if sha256 is not None:
    with open(path, "rb") as file:
      actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
      return f"its sha256 is {actual}, not {sha256}"
    return None
  with open(path, "rb") as file:
    first = file.read(CHUNK)
  if not first:
    return None if size == 0 else "it is empty"
  page = _page(first)
  return page and f"it is {page}"


def discard(part: Path) -> None:
  """Removes a part and what is noted of it."""
  part.unlink(missing_ok=True)
  _note(part).unlink(missing_ok=True)


def _try(source: Source, part: Path, timeout: float, progress: Callable[[int, int | None], None]) -> None:
  """One request. An OSError that it raises is the disk's; the network's are Interruptions and Refusals."""
  have, noted = _read_note(part, source)
  resumed = have > 0
  if not (resumed and have == noted.get("total")):     # else it was stopped between the last byte and the check
    resumed = _receive(source, part, have, noted, timeout, progress)
  if wrong := flaw(part, source.size, source.sha256):
    discard(part)
    raise (Interruption if resumed else Refusal)(f"what arrived is not the expected file: {wrong}; it was deleted")


def _receive(source: Source, part: Path, have: int, noted: dict, timeout: float,
             progress: Callable[[int, int | None], None]) -> bool:
  """Appends what is missing, or, where that cannot be had, begins anew; returns whether it went on from `have`."""
  with _open(source.address, have, timeout, part) as response:
    resumed = response.status == 206 and have > 0
    have = have if resumed else 0
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    note = {"address": source.address, "total": total,
            "version": response.headers.get("ETag") or response.headers.get("Last-Modified")}
    if resumed and (note != noted or not response.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
      discard(part)
      raise Interruption("the file has changed since a part of it arrived; that part is not used")
    if source.size is not None and total is not None and total != source.size:
      raise Refusal(f"it has a file of {total:,} bytes, expected {source.size:,}")
    data = _read(response, have, total)
    if not (data or have or total or source.size == 0):
      raise Refusal("it serves an empty file")
    is_html = "text/html" in response.headers.get("Content-Type", "")
    if page := "a web page" if is_html else None if resumed else _page(data):
      raise Refusal(f"it serves {page} in place of the file")
    if not resumed:
      discard(part)
      _note(part).write_text(json.dumps(note), encoding="utf-8")
    _check_room(part, (total or 0) - have)
    with open(part, "ab" if resumed else "wb") as file:
      while data:
        file.write(data)
        have += len(data)
        progress(have, total)
        data = _read(response, have, total)
      file.flush()
      os.fsync(file.fileno())
  if total is not None and have < total:
    raise Interruption(f"the connection ended after {have:,} of {total:,} bytes")
  return resumed


def _page(first: bytes) -> str | None:
  """What kind of page is in place of a file, if one is, by its first bytes."""
  return next((what for start, what in PAGES.items() if first.lstrip()[:len(start)].lower() == start), None)


def _open(address: str, have: int, timeout: float, part: Path) -> http.client.HTTPResponse:
  headers = {"User-Agent": "er_jax (urllib)", "Accept-Encoding": "identity"}
  if have:
    headers["Range"] = f"bytes={have}-"
  try:
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout)
  except urllib.error.HTTPError as error:
    error.close()
    if error.code == 416:        # the part is as long as the file, or longer
      discard(part)
    again = error.code in TEMPORARY or error.code == 416 or error.code >= 500
    raise (Interruption if again else Refusal)(f"{error.code} {error.reason}") from error
  except (http.client.InvalidURL, UnicodeError, ValueError) as error:
    raise Refusal(f"not an address: {error}") from error
  except (OSError, http.client.HTTPException) as error:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
      raise Unreachable(f"its certificate is not trusted ({cause.verify_message}); SSL_CERT_FILE can name "
                        "the file of your network's own") from error
    if isinstance(cause, socket.gaierror):
      raise Unreachable("no host of this name is known here; is there a network?") from error
    silent = isinstance(error, (urllib.error.URLError, TimeoutError))
    raise (NoAnswer if silent else Interruption)(_reason(cause, timeout)) from error


def _read(response: http.client.HTTPResponse, have: int, total: int | None) -> bytes:
  """The next bytes; none at the end."""
  try:
    return response.read1(CHUNK if total is None else min(CHUNK, total - have))
  except (OSError, http.client.HTTPException) as error:
    raise Interruption(f"the connection broke after {have:,} bytes: {_reason(error)}") from error


def _reason(error: object, timeout: float | None = None) -> str:
  if isinstance(error, TimeoutError):
    return "nothing came" + (f" for {timeout:g} s" if timeout else " for too long")
  return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _check_room(part: Path, needed: int) -> None:
  free = shutil.disk_usage(part.parent).free
  if needed > free:
    raise CannotWrite(f"{part.parent} has room for {free / 1e6:,.0f} MB, and {needed / 1e6:,.0f} MB are to come.")


def _size(part: Path) -> int:
  return part.stat().st_size if part.is_file() else 0


def _note(part: Path) -> Path:
  return part.with_name(f"{part.name}.json")


def _read_note(part: Path, source: Source) -> tuple[int, dict]:
  """How many bytes can be built upon, and what is noted of them; 0 if they may be of another file or version."""
  try:
    note = json.loads(_note(part).read_text(encoding="utf-8"))
    if note["address"] == source.address and (note["version"] or source.sha256):
      return _size(part), note
  except (OSError, ValueError, KeyError, TypeError):
    pass
  return 0, {}
