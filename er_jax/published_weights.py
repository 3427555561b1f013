"""The published system's trained models as our parameters, name by name.

    arrays = published_weights.read("ervse.th", config)
    method = published_weights.method_of(config, arrays)              # of the sizes that the file says
    params, ignored = published_weights.to_params(arrays, method, "ervse.th")

`arrays` is the published state dict, {"vis_encoder.ft_embed.weight": array, ...}. The names that should be there come
from our model and from what its file declares.
"""

import os
import re

from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from er_jax import methods, steps
from er_jax.methods import Method
from er_jax.models import METHODS
from er_jax.models.spec import DTYPES, TEXTS, MethodSpec
from er_jax.text.tower import TOWERS
from input_pipeline import array_files
from input_pipeline.array_files import Arrays
from input_pipeline.errors import UserError
from input_pipeline.state_dicts import Unneeded, as_they_are, kernels_transposed, renamed, to_variables, unwrapped

TEXT_BACKBONE = "txt_backbone"      # published names of a text tower's parameters begin with it
UNNEEDED = (Unneeded(r"txt_backbone\.bert\.pooler\..*", "BERT's pooler, which the method does not use"),
            Unneeded(r"txt_backbone\.bert\.embeddings\.(position_ids|token_type_ids)", "a constant, not a parameter"))


def read(path: str | os.PathLike, config: ConfigDict) -> Arrays:
  """The arrays of a published file, by their names in the published system. Raises: UserError if there are none."""
  spec = METHODS.load(config.method)
  arrays = plain_names(array_files.read_arrays(path), spec)
  if not arrays:
    raise UserError(f"{path} holds no arrays; expected a state dict, {{name: array}}.")
  alone = spec.published_alone
  return {alone: next(iter(arrays.values()))} if alone and len(arrays) == 1 else arrays


def plain_names(arrays: Arrays, spec: MethodSpec) -> Arrays:
  """The arrays without what stands before names, such as the "module." of PyTorch's DataParallel, also that of BERT."""
  roots = {template.split(".")[0] for template in spec.published_names.values()} | {TEXT_BACKBONE}
  plain = unwrapped(arrays, "|".join(map(re.escape, sorted(roots))))
  return {re.sub(r"(?<=bert\.)module\.", "", name): array for name, array in plain.items()}


def method_of(config: ConfigDict, arrays: Arrays) -> Method:
  """The method that a config describes, of the sizes that a published state dict says.

  Raises:
    UserError: for a wrong value in the config.
  """
  spec = methods.check_values(config)
  tower = None
  if TEXTS in spec.needs:
    backbone = config.model.text_backbone
    tower = TOWERS.load(backbone.kind).module_of(backbone, arrays, DTYPES[config.dtype])
  return methods.of_sizes(config, spec.published_sizes(arrays), tower)


def published_names(method: Method, config: ConfigDict) -> dict[str, str]:
  """{"video_encoder/dense/kernel": "vis_encoder.ft_embed.weight", ...} of all parameters of a method."""
  patterns = dict(method.spec.published_names)
  if TEXTS in method.needs:
    of_tower = TOWERS.load(config.model.text_backbone.kind).published_names
    patterns |= {f"text_backbone/{ours}": f"{TEXT_BACKBONE}.{theirs}" for ours, theirs in of_tower.items()}
  return renamed(flatten_dict(steps.params_like(method), sep="/"), patterns)


def to_params(arrays: Arrays, method: Method, config: ConfigDict, source: str) -> tuple[dict, dict[str, str]]:
  """The published arrays as our parameters.

  Args:
    arrays: the state dict.
    method: from `method_of`.
    config: of the experiment.
    source: what messages call it.

  Returns:
    The parameters as a tree of float32 arrays, and the names that are not needed with why.

  Raises:
    UserError: lists every missing name, every unexpected one, every wrong shape, and what is not finite.
  """
  shapes = {name: leaf.shape for name, leaf in flatten_dict(steps.params_like(method), sep="/").items()}
  flat, ignored = to_variables(
      arrays, shapes, published_names(method, config), as_they_are if method.spec.published_alone else kernels_transposed,
      f"{source} is not a state dict of the model that the config describes", UNNEEDED)
  return unflatten_dict(flat, sep="/"), ignored
