"""The numbers that may lie beside a dataset: class vectors, a word list with its table, a classifier's rows.

    read_class_vectors("class_vectors.npy", num_classes=620)      # (620, 300) float32, a row a class
    read_word_list("word_list.json")                              # a word's position is its id
    read_word_table("word_table.th")                              # (words, 300) float32, a row a word
    read_classifier_rows("classifier_rows.npy")                   # (400, 2048) float32, a row a seen class
"""

import os
import sys
from pathlib import Path

import numpy as np

from input_pipeline import array_files, files, numpy_files
from input_pipeline.errors import UserError

WITHOUT_TORCH = (".npy", ".npz", ".safetensors")
TABLE_SUFFIXES = (*WITHOUT_TORCH, ".th", ".pth", ".pt")     # of a word table, in order of preference


def read_class_vectors(path: str | os.PathLike, num_classes: int) -> np.ndarray:
  """A vector for each class, (num_classes, V) float32. Raises: UserError naming the file and what is wrong."""
  vectors = _read_matrix(path)
  require_rows(str(path), vectors, num_classes, "class", "It belongs to another class list.")
  return vectors


def require_rows(source: str, matrix: np.ndarray, count: int, of: str, otherwise: str) -> None:
  """Asks that a matrix has a row for each of what there are `count` of.

  One that is square could lie either way: that its rows are taken is said on stderr.

  Args:
    source: what messages call the matrix.
    matrix: (N, E).
    count: of rows.
    of: what a row is of, "class" or "word".
    otherwise: what to say where the number is another, and the matrix is not transposed.

  Raises:
    UserError: it has another number of rows.
  """
  rows, columns = matrix.shape
  if rows != count:
    advice = (f"It looks transposed; store its transpose, ({columns}, {rows})." if columns == count else otherwise)
    raise UserError(f"{source} holds {rows} rows of {columns} numbers; expected float ({count}, V), a row a {of}. {advice}")
  if rows == columns and rows > 1:
    print(f"{source} is square, {rows} x {columns}, and could be transposed; each row is taken as that of a {of}.",
          file=sys.stderr)


def read_classifier_rows(path: str | os.PathLike) -> np.ndarray:
  """The rows of a classifier of seen classes, (R, F) float32. Raises: UserError naming the file."""
  return _read_matrix(path)


def read_word_list(path: str | os.PathLike) -> list[str]:
  """A JSON list of different words; a word's id is its position. Raises: UserError naming the word at fault."""
  words = files.read_json(path)
  if not isinstance(words, list) or not words:
    raise UserError(f"{path}: expected a JSON list of words, got {str(words)[:60]}.")
  position: dict[str, int] = {}
  for index, word in enumerate(words):
    if not isinstance(word, str) or not word:
      raise UserError(f"{path}: entry {index} is {word!r}, expected a word.")
    if word in position:
      raise UserError(f"{path}: {word!r} is entry {position[word]} and entry {index}; words must differ, "
                      "their positions are their ids.")
    position[word] = index
  return words


def read_word_table(path: str | os.PathLike) -> np.ndarray:
  """A vector for each word, (words, E) float32.

  Args:
    path: a .npy file; or another that `array_files.read_arrays` reads, in which exactly one array, of whatever name,
      is a matrix of floats.

  Raises:
    UserError: naming the file, if it cannot be read or holds no such matrix, several, or one that is not finite.
  """
  if Path(path).suffix == ".npy":
    return _read_matrix(path)
  arrays = array_files.read_arrays(path)
  matrices = [name for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "f"]
  if len(matrices) != 1:
    held = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items()) or "nothing"
    raise UserError(f"{path}: expected exactly one matrix of floats, a row a word; it holds {held}.")
  return _checked(path, arrays[matrices[0]])


def _read_matrix(path: str | os.PathLike) -> np.ndarray:
  try:
    return _checked(path, numpy_files.read_npy(path))
  except (OSError, ValueError) as error:
    raise UserError(f"Cannot read {path} as a .npy file of numbers: {error}. Is it whole?") from error


def _checked(path: str | os.PathLike, array: np.ndarray) -> np.ndarray:
  if array.ndim != 2 or not array.size or array.dtype.kind != "f":
    raise UserError(f"{path} holds {array.dtype} {array.shape}; expected a matrix of floats.")
  with np.errstate(over="ignore"):
    array = array.astype(np.float32)
  finite = np.isfinite(array)
  if not finite.all():
    row, column = np.argwhere(~finite)[0].tolist()
    raise UserError(f"{path}: row {row}, column {column} is {array[row, column]}; expected finite numbers.")
  return array
