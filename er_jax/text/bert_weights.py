"""A Hugging Face BERT folder: its config, its weights as our parameter tree, and which of them are trained.

    config, params, folder = load_bert("bert-base-uncased")
    frozen = frozen_names(config, "encoder.layer.10")    # {("embeddings", "word", "embedding"), ...}

Paths in our tree are tuples, as in flax.traverse_util. Dense kernels are (in, out), the transpose of the
published arrays.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from input_pipeline import files, paths
from input_pipeline.array_files import read_arrays
from input_pipeline.errors import UserError, unknown
from input_pipeline.state_dicts import Unneeded, kernels_transposed, to_variables, unwrapped

WEIGHTS = "model.safetensors"
FILES = ("config.json", "vocab.txt", "tokenizer_config.json", WEIGHTS)
LARGEST, MOST_LAYERS = 1 << 20, 1 << 10      # sizes that a config.json may tell
HIDDEN_ACTIVATIONS = ("gelu", "gelu_new", "relu")


@dataclasses.dataclass(frozen=True)
class BertConfig:
  """What `config.json` says of the network, under its names; `hidden_act` is one of HIDDEN_ACTIVATIONS."""

  vocab_size: int
  hidden_size: int
  num_hidden_layers: int
  num_attention_heads: int
  intermediate_size: int
  max_position_embeddings: int = 512
  type_vocab_size: int = 2
  layer_norm_eps: float = 1e-12
  hidden_act: str = "gelu"


_EMBEDDING_NAMES = (
    ("embeddings.word_embeddings.weight", "embeddings/word/embedding"),
    ("embeddings.position_embeddings.weight", "embeddings/position/embedding"),
    ("embeddings.token_type_embeddings.weight", "embeddings/token_type/embedding"),
    ("embeddings.LayerNorm.weight", "embeddings/norm/scale"),
    ("embeddings.LayerNorm.bias", "embeddings/norm/bias"),
)
_LAYER_MODULES = (
    ("attention.self.query", "attention/query", "kernel"),
    ("attention.self.key", "attention/key", "kernel"),
    ("attention.self.value", "attention/value", "kernel"),
    ("attention.output.dense", "attention/output", "kernel"),
    ("attention.output.LayerNorm", "attention_norm", "scale"),
    ("intermediate.dense", "intermediate", "kernel"),
    ("output.dense", "output", "kernel"),
    ("output.LayerNorm", "output_norm", "scale"),
)
# A parameter's path in our tree, as a pattern, and Hugging Face's name of it.
NAMES = {ours: theirs for theirs, ours in _EMBEDDING_NAMES} | {
    rf"layer_(\d+)/{ours}/{leaf}": rf"encoder.layer.\1.{theirs}.{their_leaf}" for theirs, ours, weight in _LAYER_MODULES
    for leaf, their_leaf in ((weight, "weight"), ("bias", "bias"))}
UNNEEDED = (Unneeded(r"(.*\.)?(cls|pooler)\..*", "a head, which the method does not use"),
            Unneeded(r"embeddings\.position_ids", "a constant, not a parameter"))


def hf_names(config: BertConfig) -> list[tuple[str, tuple[str, ...]]]:
  """(Hugging Face's name, path in our tree) of each parameter, in BERT's order; without the pooler."""
  names = list(_EMBEDDING_NAMES)
  for i in range(config.num_hidden_layers):
    for theirs, ours, weight in _LAYER_MODULES:
      names.append((f"encoder.layer.{i}.{theirs}.weight", f"layer_{i}/{ours}/{weight}"))
      names.append((f"encoder.layer.{i}.{theirs}.bias", f"layer_{i}/{ours}/bias"))
  return [(theirs, tuple(ours.split("/"))) for theirs, ours in names]


def frozen_names(config: BertConfig, trainable_from: str | None) -> frozenset[tuple[str, ...]]:
  """The paths in our tree that training leaves alone.

  Args:
    config: the network.
    trainable_from: Hugging Face's name of a parameter or a group, such as "encoder.layer.10": what comes
      before the first name that starts so, in BERT's order, is frozen. "embeddings" freezes nothing; None, "",
      "pooler" (which is not used) and a layer behind the last one freeze all.

  Raises:
    UserError: it is the beginning of no name.
  """
  names = hf_names(config)
  if not trainable_from:
    return frozenset(ours for _, ours in names)
  first = next((i for i, (theirs, _) in enumerate(names) if theirs.startswith(trainable_from)), len(names))
  if first == len(names) and not re.fullmatch(r"pooler.*|encoder\.layer\.\d+(\..*)?", trainable_from):
    raise UserError(f"config.model.text_backbone.trainable_from is {trainable_from!r}, with which no parameter of BERT "
                    "begins; expected a name such as encoder.layer.10 or embeddings, or '' to freeze all of it.")
  return frozenset(ours for _, ours in names[:first])


def num_frozen_layers(config: BertConfig, trainable_from: str | None) -> tuple[bool, int]:
  """What can be computed once: whether the embeddings are frozen, and how many leading layers wholly are."""
  frozen = frozen_names(config, trainable_from)
  trained = {ours[0] for _, ours in hf_names(config) if ours not in frozen}
  if "embeddings" in trained:
    return False, 0
  layers = range(config.num_hidden_layers)
  return True, next((i for i in layers if f"layer_{i}" in trained), config.num_hidden_layers)


def load_bert(name_or_path: str) -> tuple[BertConfig, dict | None, Path]:
  """Reads a BERT.

  Args:
    name_or_path: a local folder with config.json, vocab.txt and, optionally, model.safetensors; or a Hugging
      Face hub id, whose files are downloaded once.

  Returns:
    The config; the parameters of `Bert` as float32 NumPy arrays, None if the folder has no model.safetensors;
    and the folder, where the vocabulary is.

  Raises:
    UserError: there is no such folder or id, or its files are not those of a BERT that we have.
  """
  folder = _folder(name_or_path)
  config = _read_config(folder / "config.json")
  if not (folder / "vocab.txt").is_file():
    raise UserError(f"{folder} has no vocab.txt, the list of word pieces that BERT's tokenizer needs.")
  weights = folder / WEIGHTS
  if not weights.is_file():
    others = sorted(path.name for path in folder.glob("pytorch_model*")) + sorted(
        path.name for path in folder.glob("model*.safetensors*"))
    if others:
      raise UserError(f"{folder} has its weights in {', '.join(others)}; only model.safetensors is read. "
                      f"Save the model with transformers' save_pretrained to get that file.")
    return config, None, folder
  return config, params_from_state_dict(config, read_arrays(weights), source=str(weights)), folder


def files_of(name_or_path: str) -> dict[str, Path]:
  """Those of a BERT's files that are there, by name. Raises: UserError if there is no such folder or id."""
  folder = _folder(name_or_path)
  return {name: folder / name for name in FILES if (folder / name).is_file()}


def params_from_state_dict(config: BertConfig, state: Mapping[str, np.ndarray],
                           source: str = "the state dict") -> dict:
  """Published arrays as our parameter tree.

  Args:
    config: the network.
    state: arrays by Hugging Face name. All may have something before them, such as "bert.", and norms may be called
      gamma and beta; heads (cls.*, pooler.*) and embeddings.position_ids are left out.
    source: what error messages call it.

  Returns:
    Nested dict of float32 arrays.

  Raises:
    UserError: lists every missing name, every other unexpected name, every wrong shape and what is not finite.
  """
  arrays = {_modern(name): array for name, array in unwrapped(dict(state), "embeddings|encoder").items()}
  names = {ours: theirs for theirs, ours in hf_names(config)}
  flat, _ = to_variables(arrays, {ours: _shape(config, ours) for ours in names}, names, kernels_transposed,
                         f"{source} does not hold the weights of {config}", UNNEEDED)
  return flax.traverse_util.unflatten_dict(flat)


def _modern(name: str) -> str:
  return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name))


def _shape(config: BertConfig, ours: tuple[str, ...]) -> tuple[int, ...]:
  """Of a parameter of ours."""
  width, inner = config.hidden_size, config.intermediate_size
  special: dict[tuple[str, ...], tuple[int, ...]] = {
      ("word", "embedding"): (config.vocab_size, width),
      ("position", "embedding"): (config.max_position_embeddings, width),
      ("token_type", "embedding"): (config.type_vocab_size, width),
      ("intermediate", "kernel"): (width, inner),
      ("intermediate", "bias"): (inner,),
  }
  if ours[-2:] == ("output", "kernel") and ours[-3:-2] != ("attention",):
    return inner, width
  return special.get(ours[-2:], (width, width) if ours[-1] == "kernel" else (width,))


def is_folder(name_or_path: str) -> bool:
  """Whether it is a folder here, and no id of the hub's."""
  return _path(name_or_path).is_dir()


def _path(name_or_path: str) -> Path:
  return paths.absolute(name_or_path, "config.model.text_backbone.name_or_path")


def _folder(name_or_path: str) -> Path:
  path = _path(name_or_path)
  if path.is_dir():
    return path
  if os.path.isabs(name_or_path) or name_or_path.startswith((".", "~")) or name_or_path.count("/") > 1:
    raise UserError(f"There is no folder {path}. Expected one with config.json, vocab.txt and, optionally, "
                    f"model.safetensors, or a Hugging Face hub id such as bert-base-uncased.")
  import huggingface_hub  # slow to import, and most runs never require it

  try:
    folder = Path(huggingface_hub.snapshot_download(name_or_path, allow_patterns=list(FILES)))
  except (OSError, ValueError, RuntimeError) as error:   # no network, no such id, no such file, malformed id
    raise UserError(
        f"{name_or_path!r} is not a folder here, and could not be downloaded from the Hugging Face hub "
        f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}).\n"
        f"On a machine with network: hf download {name_or_path} {' '.join(FILES)} --local-dir FOLDER\n"
        f"then copy FOLDER here and set config.model.text_backbone.name_or_path=FOLDER.") from error
  if not (folder / "model.safetensors").is_file():
    raise UserError(f"{name_or_path!r} on the Hugging Face hub has no model.safetensors, the only file read.")
  return folder


def _read_config(path: Path) -> BertConfig:
  values: Any = files.read_json(path)
  if not isinstance(values, dict):
    raise UserError(f"{path}: expected an object with BERT's sizes, got {str(values)[:40]!r}.")
  fields = dataclasses.fields(BertConfig)
  required = [field.name for field in fields if field.default is dataclasses.MISSING]
  missing = [name for name in required if name not in values]
  if missing:
    raise UserError(f"{path}: missing {', '.join(missing)}; is it the config.json of a BERT?")
  for name, only in (("model_type", "bert"), ("position_embedding_type", "absolute")):
    if values.get(name, only) != only:
      raise UserError(f"{path}: {name} is {values[name]!r}; only {only!r} is implemented.")
  given = {field.name: values[field.name] for field in fields if field.name in values}
  for name in (field.name for field in fields if field.type is int and field.name in given):
    least, most = (0, MOST_LAYERS) if name == "num_hidden_layers" else (1, LARGEST)
    if type(given[name]) is not int or not least <= given[name] <= most:
      raise UserError(f"{path}: {name} is {str(given[name])[:40]}, expected a whole number from {least} to {most}.")
  if not isinstance(given.get("layer_norm_eps", 0.0), int | float):
    raise UserError(f"{path}: layer_norm_eps is {str(given['layer_norm_eps'])[:40]}, expected a number.")
  config = BertConfig(**given)
  if config.hidden_act not in HIDDEN_ACTIVATIONS:
    raise unknown(f"hidden_act in {path}", config.hidden_act, HIDDEN_ACTIVATIONS)
  if config.hidden_size % config.num_attention_heads:
    raise UserError(f"{path}: hidden_size {config.hidden_size} is not a multiple of num_attention_heads "
                    f"{config.num_attention_heads}.")
  return config
