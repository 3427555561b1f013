"""The list of what there is to download: the file downloads.json, or a copy of it with other addresses.

    for download in read_downloads(ADDRESSES, "pretrained", bit="BiT-M-R50x3"):
      download.path, download.sources[0].address      # "BiT-M-R50x3.npz", "https://storage.googleapis.com/..."

A list has the kinds `pretrained` and `metadata`. The `files` of a kind are named by their paths below a folder; each
has `addresses`, in the order in which they are tried; those without http:// stand for one below each of the `bases`.
`size`, in bytes, and `sha256`, in hex, are given where they are known. An address may instead be that of an archive,
{"address", "member", "size", "sha256"}, in which the file is called `member`. {bit} stands for the size of BiT.
"""

import dataclasses
import json
import re
from pathlib import Path

from scripts.downloading.fetch import Source

ADDRESSES = Path(__file__).resolve().parents[1] / "downloads.json"
BIT = ("BiT-M-R50x1", "BiT-M-R50x3", "BiT-M-R101x1", "BiT-M-R101x3", "BiT-M-R152x2", "BiT-M-R152x4")


class WrongArgument(Exception):
  """The message says which, what was expected and what to do."""


@dataclasses.dataclass(frozen=True)
class Download:
  """A file to get. `installed` is a path outside the folder where a system may have it; `hint` is for when it fails."""

  path: str
  sources: tuple[Source, ...]
  size: int | None = None
  sha256: str | None = None
  installed: str | None = None
  hint: str | None = None


def read_downloads(path: Path, kind: str, bit: str = BIT[0]) -> list[Download]:
  """What a list such as downloads.json says of one kind.

  Args:
    path: the list.
    kind: `pretrained` or `metadata`.
    bit: takes the place of {bit} in names and addresses.

  Raises:
    WrongArgument: if it cannot be read, or what it says cannot be.
  """
  try:
    group = json.loads(path.read_text(encoding="utf-8-sig").replace("{bit}", bit))[kind]
    return [_read_entry(name, entry, group.get("bases", []), f"{path}: {kind}: {name}")
            for name, entry in group["files"].items()]
  except json.JSONDecodeError as error:
    raise WrongArgument(f"{path}:{error.lineno}: not valid JSON ({error.msg} at column {error.colno}).") from error
  except (OSError, UnicodeDecodeError) as error:
    raise WrongArgument(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
  except (KeyError, TypeError, AttributeError) as error:
    raise WrongArgument(f"{path} has no {kind!r} with 'bases' and 'files' as in {ADDRESSES}; begin with a copy of that."
                        ) from error


def _read_entry(name: str, entry: dict, bases: list[str], where: str) -> Download:
  known = {field: entry[field] for field in ("size", "sha256") if field in entry}
  given = entry.get("addresses")
  if not isinstance(given, list) or not given:
    raise WrongArgument(f"{where}: 'addresses' is {given!r}, expected a list of addresses.")
  try:
    sources = [Source(**(address if isinstance(address, dict) else {"address": address, **known})) for address in given]
    download = Download(name, tuple(each for source in sources for each in _below(bases, source)),
                        **{field: value for field, value in entry.items() if field != "addresses"})
  except TypeError as error:
    raise WrongArgument(f"{where}: a field is missing or unknown ({error}).") from error
  if name.startswith("/") or ".." in name.split("/") or not name:
    raise WrongArgument(f"{where}: expected a path below the folder, without '..'.")
  for source in download.sources:
    if not re.match(r"https?://[^/]", source.address):
      raise WrongArgument(f"{where}: {source.address!r} is no address; expected http://... or https://...")
  for thing in (download, *download.sources):
    if thing.size is not None and (type(thing.size) is not int or thing.size < 0):
      raise WrongArgument(f"{where}: 'size' is {thing.size!r}, expected a number of bytes.")
    if thing.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", str(thing.sha256)):
      raise WrongArgument(f"{where}: 'sha256' is {thing.sha256!r}, expected 64 hexadecimal digits in lower case.")
  return download


def _below(bases: list[str], source: Source) -> list[Source]:
  """The source itself, or, if its address is a relative one, the one below each base."""
  if "://" in str(source.address) or not bases:
    return [source]
  return [dataclasses.replace(source, address=f"{base}{source.address}") for base in bases]
