"""Published weights of TSM and BiT -> Flax variables, and back.

    config, variables = load_tsm("TSM_kinetics_RGB_resnet50_shift8_[...]_dense.pth")
    config, variables = load_bit("BiT-M-R50x1.npz")
    save_npz("tsm.npz", config, variables)           # the published names and layout, float16

`load_tsm` reads the published .pth file or an .npz of its state_dict, `load_bit` the published .npz files;
both read what `save_npz` and scripts/convert_checkpoint.py write. The network's size is worked out from the
names and shapes in the file.
"""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike

from input_pipeline import files
from input_pipeline.array_files import Arrays, axis_length, read_npz, read_orbax, read_pth
from input_pipeline.backbones import bit, tsm
from input_pipeline.backbones.bit import BiTConfig
from input_pipeline.backbones.tsm import TSMConfig
from input_pipeline.errors import UserError

Key = tuple[str, ...]   # of a variable, e.g. ("params", "layer1_0", "conv1", "kernel")


class Loaded(NamedTuple):
  """A network from a file: its size, its variables (float32), and names that are not needed, with why."""

  config: TSMConfig | BiTConfig
  variables: dict
  ignored: dict[str, str]


class Format(NamedTuple):
  """How one kind of network lies in its published file."""

  title: str
  module: type[nn.Module]
  read: Callable[[Path], Arrays]
  config: Callable[[Arrays], TSMConfig | BiTConfig | None]   # from names and shapes; None: not this kind
  name: Callable[[Key], str]            # of a variable in the file
  axes: dict[int, tuple[int, ...]]      # by number of axes, where those of a variable are in the file's array
  ignored: dict[str, str]               # endings of names that are not needed, and why


def load_tsm(path: str | os.PathLike) -> tuple[TSMConfig, dict]:
  """TSM's config and variables (`params`, `batch_stats`) from a published file or a converted folder.

  Raises:
    UserError: if it cannot be read, or is not a whole TSM: names all that is missing, too much or misshapen.
  """
  return read(path, TSM_FORMAT)[:2]


def load_bit(path: str | os.PathLike) -> tuple[BiTConfig, dict]:
  """BiT's config and variables (`params`) from a published file or a converted folder; see `load_tsm`."""
  return read(path, BIT_FORMAT)[:2]


def save_npz(path: str | os.PathLike, config: TSMConfig | BiTConfig, variables: dict,
             dtype: DTypeLike = np.float16) -> None:
  """Writes variables under their published names, atomically. Raises: ValueError if one overflows `dtype`."""
  form = TSM_FORMAT if isinstance(config, TSMConfig) else BIT_FORMAT
  arrays = _as_published(flatten_dict(jax.device_get(variables)), form)
  with np.errstate(over="ignore"):
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
  overflown = [name for name, array in arrays.items() if not np.isfinite(array).all()]
  if overflown:
    raise ValueError(f"Not finite as {np.dtype(dtype)}: {', '.join(overflown)}.")
  with files.replacing(path) as file:
    np.savez(file, **arrays)


def read(path: str | os.PathLike, form: Format) -> Loaded:
  """Weights in the published format or from a converted folder. Raises: UserError, see `load_tsm`."""
  path = Path(path)
  arrays = _as_published(read_orbax(path), form) if path.is_dir() else form.read(path)
  ignored = {name: why for name in arrays for ending, why in form.ignored.items() if name.endswith(ending)}
  arrays = {name: array for name, array in arrays.items() if name not in ignored}
  config = form.config(arrays)
  if config is None:
    raise UserError(f"{path} does not hold {form.title}: none of its {len(arrays)} names looks like one of "
                    f"it; the first are {', '.join(sorted(arrays)[:3])}.")
  shapes = flatten_dict(_variable_shapes(form, config))
  expected = {form.name(key): _transposed_shape(leaf.shape, form) for key, leaf in shapes.items()}
  differences = _differences(arrays, expected)
  if differences:
    raise UserError(f"{path} does not fit {form.title} of {config}:\n" + "\n".join(differences))
  variables = {key: jnp.asarray(_transposed(arrays[form.name(key)], form)) for key in shapes}
  return Loaded(config, unflatten_dict(variables), ignored)


def _variable_shapes(form: Format, config: TSMConfig | BiTConfig) -> dict:
  shape = (1, config.segments, 32, 32, 3) if isinstance(config, TSMConfig) else (1, 32, 32, 3)
  return jax.eval_shape(form.module(config).init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


def _transposed(array: np.ndarray, form: Format) -> np.ndarray:
  return array.transpose(form.axes[array.ndim]) if array.ndim in form.axes else array


def _transposed_shape(shape: tuple[int, ...], form: Format) -> tuple[int, ...]:
  """A variable's shape in the file."""
  axes = form.axes.get(len(shape), range(len(shape)))
  return tuple(shape[i] for i in np.argsort(axes))


def _as_published(variables: dict[Key, np.ndarray], form: Format) -> Arrays:
  return {form.name(key): value.transpose(np.argsort(form.axes.get(value.ndim, range(value.ndim))))
          for key, value in variables.items()}


def _differences(arrays: Arrays, expected: dict[str, tuple[int, ...]]) -> list[str]:
  """Lines about what keeps `arrays` from being what is expected."""
  lines = [f"  missing {name} {expected[name]}" for name in sorted(expected.keys() - arrays.keys())]
  lines += [f"  unexpected {name} {arrays[name].shape}" for name in sorted(arrays.keys() - expected.keys())]
  for name in sorted(expected.keys() & arrays.keys()):
    if arrays[name].shape != expected[name]:
      lines.append(f"  {name} has shape {arrays[name].shape}, expected {expected[name]}")
    elif arrays[name].dtype != np.float32:
      lines.append(f"  {name} holds {arrays[name].dtype}, expected floating-point numbers")
  return lines


def _tsm_name(key: Key) -> str:
  """("params", "layer1_0", "conv1", "kernel") -> "module.base_model.layer1.0.conv1.net.weight"."""
  *modules, leaf = key[1:]
  leaf = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}.get(leaf, leaf)
  if modules == ["new_fc"]:
    return f"module.new_fc.{leaf}"
  name = ".".join(modules)
  name = re.sub(r"^(layer\d+)_(\d+)", r"\1.\2", name)
  name = re.sub(r"^(layer\d+\.\d+\.conv1)$", r"\1.net", name)   # the published shift wraps this convolution
  name = name.replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")
  return f"module.base_model.{name}.{leaf}"


def _bit_name(key: Key) -> str:
  """("params", "block1_unit01", "norm_a", "gamma") -> "resnet/block1/unit01/a/group_norm/gamma"."""
  *modules, leaf = key[1:]
  name = "/".join(modules)
  name = re.sub(r"^(block\d+)_(unit\d+)", r"\1/\2", name)
  name = re.sub(r"\bconv_([abc])$", r"\1/standardized_conv2d", name)
  name = re.sub(r"\bnorm_([abc])$", r"\1/group_norm", name)
  name = re.sub(r"\bproj$", "a/proj/standardized_conv2d", name)
  whole = {"root": "root_block/standardized_conv2d", "norm": "group_norm", "head": "head/conv2d"}
  return f"resnet/{whole.get(name, name)}/{leaf}"


def _tsm_config(arrays: Arrays) -> TSMConfig | None:
  stages = _counts(arrays, r"module\.base_model\.layer(\d+)\.(\d+)\.", first=0)
  if not stages:
    return None
  width = axis_length(arrays, "module.base_model.conv1.weight", axis=0, otherwise=64)
  same = [known for known in tsm.VARIANTS.values() if (known.stage_sizes, known.width) == (stages, width)]
  like = same[0] if same else TSMConfig()
  num_classes = axis_length(arrays, "module.new_fc.bias", axis=0, otherwise=like.num_classes)
  return dataclasses.replace(like, stage_sizes=stages, width=width, num_classes=num_classes)


def _bit_config(arrays: Arrays) -> BiTConfig | None:
  depths = _counts(arrays, r"resnet/block(\d+)/unit(\d+)/", first=1)
  if not depths:
    return None
  width = axis_length(arrays, "resnet/root_block/standardized_conv2d/kernel", axis=3, otherwise=64)
  same = [known for known in bit.VARIANTS.values() if (known.depths, known.width) == (depths, width)]
  like = same[0] if same else BiTConfig(depths, base_width=width)
  num_concepts = axis_length(arrays, "resnet/head/conv2d/bias", axis=0, otherwise=like.num_concepts)
  if width % like.num_groups:
    raise UserError(
        f"A BiT of depths {depths} and root width {width} is not one of {', '.join(bit.VARIANTS)}, and its "
        f"{width} channels cannot be normalised in {like.num_groups} groups.")
  return dataclasses.replace(like, num_concepts=num_concepts)


def _counts(arrays: Arrays, pattern: str, first: int) -> tuple[int, ...]:
  """Blocks of each stage, from names that hold the stage (from 1) and the block (from `first`)."""
  found = [tuple(map(int, match.groups())) for match in map(re.compile(pattern).match, arrays) if match]
  stages = range(1, max((stage for stage, _ in found), default=0) + 1)
  return tuple(max((block + 1 - first for stage, block in found if stage == k), default=1) for k in stages)


def _read_tsm_file(path: Path) -> Arrays:
  return read_npz(path) if path.suffix == ".npz" else read_pth(path)


TSM_FORMAT = Format(
    "a TSM-ResNet", tsm.TSM, _read_tsm_file, _tsm_config, _tsm_name, axes={4: (2, 3, 1, 0), 2: (1, 0)},
    ignored={".num_batches_tracked": "counts training steps, which batch norm does not need to run"})
BIT_FORMAT = Format("a BiT", bit.BiT, read_npz, _bit_config, _bit_name, axes={}, ignored={})
