"""The published system's trained models as our parameters, name by name.

    arrays = published_weights.plain_names(array_files.read_arrays("ervse.th"))
    method = published_weights.method_of(config, arrays)              # of the sizes that the file says
    params, ignored = published_weights.to_params(arrays, published_weights.shapes(method, arrays), "ervse.th")

`arrays` is the published state dict, {"vis_encoder.ft_embed.weight": array, ...}. The names that should be there come
from our model; each name of the file is used, or known not to be needed, or an error.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from er_jax import methods, steps
from er_jax.methods import DTYPES, TEXT_MODELS, Method
from er_jax.text import backbone as text_backbone
from er_jax.text import bert_weights
from input_pipeline.array_files import Arrays, axis_length
from input_pipeline.errors import UserError

BERT_BASE = bert_weights.BertConfig(vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
                                    intermediate_size=3072)      # bert-base-uncased
FEATURE_DIM, VECTOR_DIM, NUM_WORDS = 2048, 300, 13561            # where the file does not say

# Our names, as patterns, and the published ones. A dense kernel is the transpose of the published weight.
_MODULES = (
    (r"video_encoder/dense", "vis_encoder.ft_embed"),
    (r"text_encoder/dense", "txt_encoder.ft_embed"),
    (r"text_encoder/attention_hidden", "txt_encoder.ft_attn.0"),
    (r"text_encoder/attention_score", "txt_encoder.ft_attn.3"),
    (r"fusion/mlp/hidden", "mm_fusion.0"),
    (r"fusion/mlp/output", "mm_fusion.3"),
    (r"fusion/action_gate/hidden", "act_gate_fc.0"),
    (r"fusion/action_gate/output", "act_gate_fc.3"),
    (r"fusion/object_gate/hidden", "obj_gate_fc.0"),
    (r"fusion/object_gate/output", "obj_gate_fc.3"),
    (r"(?:devise|ale|sje)/dense", "bilinear"),
    (r"dem/hidden", "t2vfc.0"),
    (r"dem/output", "t2vfc.2"),
    (r"gcn/layer_(\d+)/dense", r"gcn.\1.fc"),
)
_RNN = {"input_kernel": "weight_ih", "hidden_kernel": "weight_hh", "input_bias": "bias_ih", "hidden_bias": "bias_hh"}
_IGNORED = (
    (re.compile(r"txt_backbone\.bert\.pooler\..*"), "BERT's pooler, which the method does not use"),
    (re.compile(r"txt_backbone\.bert\.embeddings\.(position_ids|token_type_ids)"), "a constant, not a parameter"),
)


def plain_names(arrays: Arrays) -> dict[str, np.ndarray]:
  """The arrays without the "module." that PyTorch's DataParallel puts before names, of the model or of its BERT."""
  return {re.sub(r"^module\.|(?<=bert\.)module\.", "", name): array for name, array in arrays.items()}


def published_name(ours: str, bert_names: Mapping[str, str]) -> str:
  """"video_encoder/dense/kernel" -> "vis_encoder.ft_embed.weight"; `bert_names`: theirs of BERT's, by ours."""
  if ours.startswith("text_backbone/bert/"):
    return f"txt_backbone.bert.{bert_names[ours.removeprefix('text_backbone/bert/')]}"
  if ours == "text_backbone/embedding/embedding":
    return "txt_backbone.embedding.weight"
  if match := re.fullmatch(r"text_backbone/rnn/(forward|backward)/(\w+)", ours):
    return f"txt_backbone.rnn.{_RNN[match[2]]}_l0{'_reverse' if match[1] == 'backward' else ''}"
  if ours == "eszsl/dense/kernel":
    return "W"
  if match := re.fullmatch(r"gcn/layer_(\d+)/loop_weight", ours):
    return f"gcn.{match[1]}.loop_weight"
  module, leaf = ours.rsplit("/", 1)
  for pattern, theirs in _MODULES:
    if match := re.fullmatch(pattern, module):
      return f"{match.expand(theirs)}.{'weight' if leaf == 'kernel' else leaf}"
  raise KeyError(ours)


def is_transposed(ours: str) -> bool:
  """Whether our array is the transpose of the published one."""
  return ours.endswith("kernel") and not ours.startswith("eszsl/")


def method_of(config: ConfigDict, arrays: Arrays) -> Method:
  """The method that a config describes, of the sizes that a published state dict says.

  Raises:
    UserError: for a wrong value in the config.
  """
  methods.check_values(config)
  if config.method not in TEXT_MODELS:
    return methods.vector_method(config, _vector_dim(arrays), _feature_dim(arrays))
  backbone, dtype = config.model.text_backbone, DTYPES[config.dtype]
  methods.check("config.model.text_backbone.kind", backbone.kind, text_backbone.KINDS)
  if backbone.kind == "bert":
    return methods.text_method(config, text_backbone.bert_module(backbone, _bert_sizes(backbone), dtype)[0])
  num_words = axis_length(arrays, "txt_backbone.embedding.weight", 0, NUM_WORDS)
  word_dim = axis_length(arrays, "txt_backbone.embedding.weight", 1, backbone.word_dim)
  return methods.text_method(config, text_backbone.word_module(backbone, num_words, word_dim, dtype))


def shapes(method: Method, arrays: Arrays) -> dict[str, jax.ShapeDtypeStruct]:
  """Our parameters {"video_encoder/dense/kernel": shape and dtype, ...} of a method from `method_of`."""
  return flatten_dict(steps.params_like(method, _feature_dim(arrays), _vector_dim(arrays)), sep="/")


def to_params(arrays: Arrays, wanted: Mapping[str, Any], source: str) -> tuple[dict, dict[str, str]]:
  """The published arrays as our parameters.

  Args:
    arrays: the state dict.
    wanted: from `shapes`.
    source: what messages call it.

  Returns:
    The parameters as a tree of float32 arrays, and the names that are not needed with why.

  Raises:
    UserError: lists every missing name, every unexpected one, every wrong shape, and what is not finite.
  """
  ignored = {name: why for name in arrays for pattern, why in _IGNORED if pattern.fullmatch(name)}
  bert_names = _bert_names(wanted)
  theirs = {published_name(ours, bert_names): ours for ours in wanted}
  problems = [f"  missing {name}" for name in theirs if name not in arrays]
  problems += [f"  unexpected {name or 'array without a name'} {array.shape}" for name, array in arrays.items()
               if name not in theirs.keys() | ignored.keys()]
  flat = {}
  for name, ours in theirs.items():
    if name not in arrays:
      continue
    array = np.asarray(arrays[name])
    array = array.T if is_transposed(ours) else array
    if array.shape != wanted[ours].shape:
      expected = wanted[ours].shape[::-1] if is_transposed(ours) else wanted[ours].shape
      problems.append(f"  {name} has shape {arrays[name].shape}, expected {expected}")
    elif array.dtype.kind != "f" or not np.isfinite(array).all():
      problems.append(f"  {name} holds {array.dtype}" + (" that are not finite" if array.dtype.kind == "f" else "")
                      + ", expected finite floating-point numbers")
    flat[ours] = np.ascontiguousarray(array, dtype=np.float32)
  if problems:
    raise UserError(f"{source} is not a state dict of the model that the config describes:\n" + "\n".join(problems))
  return unflatten_dict(flat, sep="/"), ignored


def _bert_names(wanted: Mapping[str, Any]) -> dict[str, str]:
  layers = {int(match[1]) for match in (re.match(r"text_backbone/bert/layer_(\d+)/", name) for name in wanted) if match}
  sizes = bert_weights.BertConfig(1, 1, len(layers), 1, 1)
  return {"/".join(ours): theirs for theirs, ours in bert_weights.hf_names(sizes)}


def _bert_sizes(backbone: ConfigDict) -> bert_weights.BertConfig:
  """Of the folder or id that the config names; bert-base-uncased is known without asking the hub."""
  if backbone.name_or_path == "bert-base-uncased" and not Path(backbone.name_or_path).is_dir():
    return BERT_BASE
  return bert_weights.load_bert(backbone.name_or_path)[0]


def _feature_dim(arrays: Arrays) -> int:
  last = max((int(name.split(".")[1]) for name in arrays if re.match(r"gcn\.\d+\.fc\.weight", name)), default=0)
  places = (("vis_encoder.ft_embed.weight", 1), ("bilinear.weight", 1), ("t2vfc.2.weight", 0), ("W", 0),
            (f"gcn.{last}.fc.weight", 0))
  return next((axis_length(arrays, name, axis, 0) for name, axis in places if name in arrays), FEATURE_DIM)


def _vector_dim(arrays: Arrays) -> int:
  places = (("bilinear.weight", 0), ("t2vfc.0.weight", 1), ("W", 1), ("gcn.0.fc.weight", 1))
  return next((axis_length(arrays, name, axis, 0) for name, axis in places if name in arrays), VECTOR_DIM)
