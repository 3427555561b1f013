"""NumPy's files, .npy and .npz, whose headers are not believed before they are compared with what is there.

    read_npy("feature.npy")                        # an array
    read_npz("chunk.npz", ("views", "stamps"))     # {name: array}

Nothing is unpickled. A header that tells of more numbers than the file holds takes no memory.
"""

import contextlib
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy_format

HEADERS = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
ZIP = b"PK\x03\x04"      # how an archive begins
MOST_TIMES, ALWAYS_BYTES = 100, 1 << 28      # by how much an archive of weights or features may grow; and however much
WRONG = (      # what NumPy, its parser of headers and zipfile raise for what is damaged
    EOFError, KeyError, TypeError, OverflowError, MemoryError, RecursionError, SyntaxError, RuntimeError, IndexError,
    struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile)


def read_npy(path: str | os.PathLike) -> np.ndarray:
  """The array of an .npy file. Raises: OSError; ValueError, saying what is wrong with it."""
  with _told(), open(path, "rb") as file:
    beginning = file.read(len(npy_format.MAGIC_PREFIX))
    if beginning.startswith(ZIP):
      raise ValueError("it is an archive of arrays (.npz), expected a single array (.npy)")
    if beginning != npy_format.MAGIC_PREFIX:
      raise ValueError(f"it begins with {beginning!r}, which no .npy file does")
    file.seek(0)
    return _read(file, os.fstat(file.fileno()).st_size)


def read_npz(path: str | os.PathLike, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
  """The arrays of an .npz archive, or those of these names.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no whole archive of arrays, lacks a name, has one twice, or would take far more memory than its size.
  """
  with _told(), open(path, "rb") as file:
    if file.read(len(npy_format.MAGIC_PREFIX)) == npy_format.MAGIC_PREFIX:
      raise ValueError("it holds a single array")
    with zipfile.ZipFile(file) as archive:
      members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
      if len(members) < len(archive.infolist()):
        raise ValueError("it holds two arrays of one name")
      if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members.values()):
        raise ValueError("it is packed in a way that NumPy does not use")
      if missing := [name for name in names or () if name not in members]:
        raise ValueError(f"it lacks {', '.join(missing)}; it has {', '.join(list(members)[:10]) or 'nothing'}")
      size = sum(member.file_size for member in members.values())
      if size > MOST_TIMES * os.fstat(file.fileno()).st_size + ALWAYS_BYTES:
        raise ValueError(f"it would unpack to {size} bytes, {MOST_TIMES} times its size and more")
      arrays = {}
      for name in members if names is None else names:
        with archive.open(members[name]) as content:
          arrays[name] = _read(content, members[name].file_size)
      return arrays


def _read(file, size: int) -> np.ndarray:
  """The array in a file of that many bytes."""
  version = npy_format.read_magic(file)
  if version not in HEADERS:
    raise ValueError(f"it is of version {version}, expected one of {', '.join(map(str, HEADERS))}")
  shape, is_fortran, dtype = HEADERS[version](file)
  if dtype.hasobject:
    raise ValueError("it holds Python objects, expected numbers")
  expected, there = math.prod(shape) * dtype.itemsize, size - file.tell()
  if expected != there or any(length < 0 for length in shape):
    raise ValueError(f"its header tells of {dtype} {shape}, {expected} bytes, but {there} follow")
  content = bytearray(expected)
  if _fill(file, content) < expected:
    raise ValueError("it is cut short")
  return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _fill(file: BinaryIO, content: bytearray) -> int:
  """Reads into `content`, and to the end, where an archive compares a checksum; returns how many bytes there were."""
  done, view = 0, memoryview(content)
  while done < len(content) and (count := file.readinto(view[done:])):     # pyright: ignore[reportAttributeAccessIssue]
    done += count
  file.read(1)
  return done


@contextlib.contextmanager
def _told() -> Iterator[None]:
  """Everything that is wrong with a file is a ValueError."""
  try:
    yield
  except WRONG as error:
    raise ValueError(str(error).strip() or type(error).__name__) from error
