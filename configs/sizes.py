"""Changes by a dataset's size to an experiment whose published values are those of Kinetics.

    config = sizes.adapt(config)
    sizes.size_of("ucf101_zsar")      # "small"

A dataset declares its size as a literal, `size="small"`. It is read from the text of its module, because configs import
nothing of the packages.
"""

import difflib
import re
from importlib.util import find_spec
from pathlib import Path

from ml_collections import ConfigDict


def _package() -> Path:
  """Folder of input_pipeline, found without being imported."""
  found = find_spec("input_pipeline")
  if found is None or found.origin is None:
    raise ModuleNotFoundError("input_pipeline is not installed; it comes with er_jax.")
  return Path(found.origin).resolve().parent


DATASETS = _package() / "datasets"
BERT = DATASETS / "toy_actions" / "bert"


def size_of(dataset: str) -> str:
  """"toy", "small" (some hundred to some thousand videos) or "large". Raises: ValueError with the near names."""
  sizes = {}
  for path in (*DATASETS.glob("*.py"), *DATASETS.glob("*/__init__.py")):
    declared = re.search(r'^DATASET\b.*?\bsize="(\w+)"', path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if declared:
      sizes[path.parent.name if path.name == "__init__.py" else path.stem] = declared[1]
  if dataset not in sizes:
    near = difflib.get_close_matches(dataset, sizes)
    raise ValueError(f"Unknown dataset {dataset!r}. "
                     + (f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(sorted(sizes))}."))
  return sizes[dataset]


def adapt(config: ConfigDict) -> ConfigDict:
  """The config as it is, or at the size of its dataset."""
  size = size_of(config.data.dataset)
  if size == "small":
    config.batch_size = 64
    config.num_epochs = 30
    config.log_every_steps = 10
    config.optimizer.update({"warmup_steps": 10, "decay_steps": 0})     # Kinetics' warm-up would never end
  if size == "toy":
    _to_toy(config)
  return config


def _to_toy(config: ConfigDict) -> None:
  """Small networks, few steps, a text backbone that starts untrained."""
  config.num_epochs = 30
  config.log_every_steps = 10
  config.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 20, "decay_steps": 400})
  config.data.concept_definitions.input = False     # short object sequences: the toy's steps take a third of the time
  if "text_backbone" in config.model:
    config.model.embed_dim = 128
    config.model.text_backbone.name_or_path = str(BERT)
    config.model.text_backbone.trainable_from = "embeddings"
    config.model.text_backbone.hidden_dim = 128
