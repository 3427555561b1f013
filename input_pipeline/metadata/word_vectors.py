"""The vectors of some words, out of a large file of word vectors as they are published: GloVe, word2vec, fastText.

    vectors = read_word_vectors(Path("glove.42B.300d.zip"), ["guitar", "playing"])
    vectors["guitar"]      # (300,) float32

A line is a word and its numbers, separated by single spaces; before the first there may be one with the number of words
and that of the numbers, as word2vec writes it. The file may be in a .zip, which is read without being unpacked. What is
in memory is one line at a time, and the vectors that were asked for.
"""

import contextlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.progress import Progress

MEGABYTE = 10**6
SHOWN = 40      # characters that an error quotes
LINE = "expected a word and its numbers, separated by single spaces (the text format of GloVe or word2vec)"


class _Text(NamedTuple):
  """An open file of vectors, its length in bytes, and what errors call it."""

  file: BinaryIO
  size: int
  name: str


def read_word_vectors(path: Path, words: Iterable[str]) -> dict[str, np.ndarray]:
  """The vectors of those of `words` that the file has, all of the same length.

  Of a word that comes twice the first vector counts. Numbers are only looked at where the word is asked for.

  Args:
    path: a text file, or a .zip that holds one.
    words: to look for, as the file writes them.

  Returns:
    {word: (D,) float32}, in the order of the file.

  Raises:
    UserError: naming file and line, where a line is not of the format; or the file cannot be read or is cut short.
  """
  wanted = {word.encode(): word for word in words}
  found: dict[str, np.ndarray] = {}
  count = len(wanted)
  with _open(path) as text, Progress("read vectors", -(-text.size // MEGABYTE), "MB") as progress:
    num_bytes = done = 0
    for number, line in _entries(text):
      num_bytes += len(line)
      if step := num_bytes // MEGABYTE - done:
        done += step
        progress.advance(step, note=f"{len(found)} of {count} words found")
      word, _, values = line.partition(b" ")
      if word in wanted:
        found[wanted.pop(word)] = _vector(values, f"{text.name}:{number}")
  return found


@contextlib.contextmanager
def _open(path: Path) -> Iterator[_Text]:
  """Opens the file, or the only one in an archive. Raises: UserError, also for what goes wrong while it is read."""
  try:
    if path.suffix.lower() != ".zip":
      with open(path, "rb") as file:
        yield _Text(file, path.stat().st_size, str(path))
      return
    with zipfile.ZipFile(path) as archive:
      members = [member for member in archive.infolist() if not member.is_dir()]
      if len(members) != 1:
        raise UserError(f"{path} holds {len(members)} files ({', '.join(member.filename for member in members[:5])}); "
                        "expected one, of word vectors. Unpack it, and give that of them which is meant.")
      with archive.open(members[0]) as file:
        buffered = io.BufferedReader(file, MEGABYTE)     # pyright: ignore[reportArgumentType] (a ZipExtFile will do)
        yield _Text(buffered, members[0].file_size, f"{path}/{members[0].filename}")
  except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, IndexError) as error:
    reason = "no such file" if isinstance(error, FileNotFoundError) else error
    raise UserError(f"Cannot read {path}: {reason}. Is the download whole?") from error


def _entries(text: _Text) -> Iterator[tuple[int, bytes]]:
  """Number and content of each line that is a word, one space, and as many numbers as all lines have."""
  dim, announced, number = 0, None, 0
  for number, line in enumerate(text.file, start=1):
    line = line.rstrip()
    if number == 1:
      header = re.fullmatch(rb"(\d{1,18}) (\d{1,18})", line)
      announced, dim = map(int, header.groups()) if header else (None, line.count(b" "))
      if not dim or not header and not all(map(_is_number, line.split(b" ")[1:])):
        raise UserError(f"{text.name}:1: {LINE}, got {_shown(line)}. Is it another file, or a packed one?")
      if header:
        continue
    if line.count(b" ") == dim:
      yield number, line
    elif not _is_several_words(line, dim):
      word, *numbers = line.split(b" ")
      raise UserError(f"{text.name}:{number}: {len(numbers)} numbers behind {_shown(word)}, but the first line says "
                      f"{dim}; {LINE}. Is the file cut short or damaged?")
  if announced is not None and number - 1 != announced:
    raise UserError(f"{text.name}: {number - 1} words, but its first line announces {announced}. Is it cut short?")
  if not number:
    raise UserError(f"{text.name} is empty; {LINE} a line.")


def _is_several_words(line: bytes, dim: int) -> bool:
  """Whether the line has the right numbers behind several words, as ". . ." in glove.840B.300d: nothing to look for."""
  further = line.split(b" ")[1:-dim]
  return bool(further) and not any(map(_is_number, further))


def _is_number(value: bytes) -> bool:
  try:
    float(value)
  except ValueError:
    return False
  return True


def _shown(content: bytes) -> str:
  return repr(content.decode(errors="replace")[:SHOWN])


def _vector(values: bytes, where: str) -> np.ndarray:
  texts = values.split(b" ")
  if wrong := [text for text in texts if not _is_number(text)]:
    raise UserError(f"{where}: {_shown(wrong[0])} is not a number; {LINE}.")
  vector = np.array(texts, np.float64).astype(np.float32)
  if not np.isfinite(vector).all():
    raise UserError(f"{where}: it holds {vector[~np.isfinite(vector)][0]}; expected finite numbers.")
  return vector
