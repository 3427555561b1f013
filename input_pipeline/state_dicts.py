"""Weights under other systems' names and layouts as our variables, and back.

    names = renamed(shapes, {r"layer_(\\d+)/query/kernel": r"encoder.layer.\\1.query.weight", ...})   # {ours: theirs}
    variables, ignored = to_variables(arrays, shapes, names, kernels_transposed, source="model.safetensors")
    arrays = from_variables(variables, names, kernels_transposed)

Each name of the file is used, or known not to be needed, or an error.
"""

import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from input_pipeline.array_files import Arrays
from input_pipeline.errors import UserError

Key = TypeVar("Key", bound=Hashable)      # of one of our variables
# (our key, number of axes) -> where the axes of our variable are in their array; None for the same places.
Axes = Callable[[Key, int], tuple[int, ...] | None]


class Unneeded(NamedTuple):
  """Names that a file may hold though we have no use for them, as a pattern, and why."""
  pattern: str
  why: str


def as_they_are(key: Hashable, ndim: int) -> None:
  """`Axes` of arrays that lie as our variables do."""
  del key, ndim


def kernels_transposed(key: str | tuple[str, ...], ndim: int) -> tuple[int, ...] | None:
  """`Axes` of PyTorch's dense and recurrent layers, whose weights are (out, in)."""
  return (1, 0) if ndim == 2 and (key if isinstance(key, str) else key[-1]).endswith("kernel") else None


def renamed(ours: Any, patterns: Mapping[str, str]) -> dict[str, str]:
  """{our name: their name} by patterns of whole names and templates of theirs. Raises: KeyError for one without."""
  found = {}
  for name in ours:
    match, template = next(((match, theirs) for pattern, theirs in patterns.items()
                            if (match := re.fullmatch(pattern, name))), (None, ""))
    if match is None:
      raise KeyError(name)
    found[name] = match.expand(template)
  return found


def unwrapped(arrays: Arrays, roots: str, as_: str = "") -> Arrays:
  """The arrays without what stands before their names where a network was saved as a part of another one.

  That is "module." of PyTorch's DataParallel, "model." of a trainer, "backbone.", and so on; it must be the same of all.

  Args:
    arrays: by their names in the file.
    roots: a pattern of what names begin with; those that do so nowhere stay as they are.
    as_: what to put in its place.
  """
  found = {name: match[1] for name in arrays if (match := re.match(rf"((?:.*?[./])??)(?:{roots})(?:[./]|$)", name))}
  prefixes = set(found.values())
  if len(prefixes) != 1:
    return arrays
  return {as_ + name.removeprefix(found[name]) if name in found else name: array for name, array in arrays.items()}


def differences(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> list[str]:
  """A line for each name that is missing, unexpected, or has another shape than is wanted."""
  return [
      *(f"  missing {name} {shape}" for name, shape in wanted.items() if name not in found),
      *(f"  unexpected {name or 'array without a name'} {found[name]}" for name in found if name not in wanted),
      *(f"  {name} has shape {found[name]}, expected {shape}" for name, shape in wanted.items()
        if found.get(name, shape) != shape)]


def to_variables(
    arrays: Arrays, shapes: Mapping[Key, tuple[int, ...]], names: Mapping[Key, str], axes: Axes, source: str,
    unneeded: tuple[Unneeded, ...] = (),
) -> tuple[dict[Key, np.ndarray], dict[str, str]]:
  """The variables that are wanted, from a file's arrays.

  Args:
    arrays: by their names.
    shapes: of our variables.
    names: theirs of each.
    axes: how they lie in the file.
    source: the first line of the error, such as "FILE does not hold a TSM".
    unneeded: names that may be there.

  Returns:
    Our variables, float32; and the names that are not needed, with why.

  Raises:
    UserError: lists every missing name, every unexpected one, every wrong shape, and what is not finite.
  """
  ignored = {name: why for name in arrays for pattern, why in unneeded if re.fullmatch(pattern, name)}
  wanted = {names[key]: _theirs(key, shape, axes) for key, shape in shapes.items()}
  found = {name: array.shape for name, array in arrays.items() if name in wanted or name not in ignored}
  problems = differences(found, wanted)
  problems += [f"  {name} holds {array.dtype}" + (" that are not finite" if array.dtype.kind == "f" else "")
               + ", expected finite floating-point numbers" for name, array in arrays.items()
               if name in wanted and not (array.dtype.kind == "f" and np.isfinite(array).all())]
  if problems:
    raise UserError(f"{source}:\n" + "\n".join(problems))
  variables = {}
  for key in shapes:
    array = np.asarray(arrays[names[key]])
    places = axes(key, array.ndim)
    variables[key] = np.ascontiguousarray(array.transpose(places) if places else array, dtype=np.float32)
  return variables, ignored


def from_variables(variables: Mapping[Key, np.ndarray], names: Mapping[Key, str], axes: Axes) -> Arrays:
  """The arrays of variables, as a file of theirs holds them."""
  arrays = {}
  for key, variable in variables.items():
    places = axes(key, variable.ndim)
    arrays[names[key]] = variable.transpose(np.argsort(places)) if places else variable
  return arrays


def _theirs(key: Hashable, shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
  """The shape of their array for a variable of ours."""
  places = axes(key, len(shape))
  return tuple(shape[i] for i in np.argsort(places)) if places else tuple(shape)
