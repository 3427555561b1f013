"""Published weights of a backbone -> Flax variables, and back.

    config, variables, ignored = load("BiT-M-R50x1.npz", bit.FORMAT)
    save_npz("bit.npz", bit.FORMAT, variables)           # the published names and layout, float16

`load` reads the published file, what `save_npz` writes, and what scripts/convert_checkpoint.py makes of either. The
network's size is worked out from the names and shapes in the file.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike

from input_pipeline import files, state_dicts
from input_pipeline.array_files import Arrays, read_arrays, read_orbax
from input_pipeline.backbones.declaration import Loaded
from input_pipeline.errors import UserError
from input_pipeline.state_dicts import Axes, Unneeded

Key = tuple[str, ...]   # of a variable, e.g. ("params", "layer1_0", "conv1", "kernel")


class Format(NamedTuple):
  """How one kind of network lies in its published file."""

  title: str                            # of the backbone
  shapes: Callable[[Any], Any]          # of the backbone
  plain: Callable[[Arrays], Arrays]     # a file's arrays under their published names
  config: Callable[[Arrays], Any]       # from names and shapes; None: not this kind
  name: Callable[[Key], str]            # of a variable in the file
  axes: Axes
  unneeded: tuple[Unneeded, ...]


def load(path: str | os.PathLike, form: Format) -> Loaded:
  """Weights in the published format or from a converted folder.

  Raises:
    UserError: if it cannot be read, or is not a whole network: names all that is missing, too much or misshapen.
  """
  path = Path(path)
  arrays = published(form, unflatten_dict(read_orbax(path))) if path.is_dir() else form.plain(read_arrays(path))
  config = form.config(arrays)
  if config is None:
    raise UserError(f"{path} does not hold a {form.title}: none of its {len(arrays)} names looks like one of "
                    f"it; the first are {', '.join(sorted(arrays)[:3])}.")
  shapes = {key: leaf.shape for key, leaf in flatten_dict(form.shapes(config)).items()}
  names = {key: form.name(key) for key in shapes}
  variables, ignored = state_dicts.to_variables(
      arrays, shapes, names, form.axes, f"{path} does not fit a {form.title} of {config}", form.unneeded)
  return Loaded(config, unflatten_dict(variables), ignored)


def published(form: Format, variables: dict) -> Arrays:
  """The arrays of variables, as the published file holds them."""
  flat = flatten_dict(jax.device_get(variables))
  return state_dicts.from_variables(flat, {key: form.name(key) for key in flat}, form.axes)


def save_npz(path: str | os.PathLike, form: Format, variables: dict, dtype: DTypeLike = np.float16) -> None:
  """Writes variables under their published names, atomically. Raises: ValueError if one overflows `dtype`."""
  with np.errstate(over="ignore"):
    arrays = {name: array.astype(dtype) for name, array in published(form, variables).items()}
  overflown = [name for name, array in arrays.items() if not np.isfinite(array).all()]
  if overflown:
    raise ValueError(f"Not finite as {np.dtype(dtype)}: {', '.join(overflown)}.")
  with files.replacing(path) as file:
    np.savez(file, allow_pickle=False, **arrays)


def block_counts(names: Iterable[str], pattern: str, first: int) -> tuple[int, ...]:
  """Blocks of each stage, from names that hold the stage (from 1) and the block (from `first`)."""
  found = [tuple(map(int, match.groups())) for match in map(re.compile(pattern).match, names) if match]
  stages = range(1, max((stage for stage, _ in found), default=0) + 1)
  return tuple(max((block + 1 - first for stage, block in found if stage == k), default=1) for k in stages)
