"""What a dataset's size changes in an experiment whose published values are those of Kinetics.

    config = sizes.adapt(config)
"""

from importlib.util import find_spec
from pathlib import Path

from ml_collections import ConfigDict

SMALL = ("ucf101_zsar", "hmdb51_zsar", "olympics_zsar", "video_folder")     # some hundred to some thousand videos


def adapt(config: ConfigDict) -> ConfigDict:
  """The config as it is, or at the size of its dataset. GCN and ESZSL are the same at every size."""
  if config.method in ("gcn", "eszsl"):
    return config
  if config.data.dataset in SMALL:
    config.batch_size = 64
    config.num_epochs = 30
    config.log_every_steps = 10
    config.optimizer.update({"warmup_steps": 10, "decay_steps": 0})     # Kinetics' warm-up would never end
  if config.data.dataset == "toy_actions":
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
    config.model.text_backbone.name_or_path = str(_datasets() / "toy_actions" / "bert")
    config.model.text_backbone.trainable_from = "embeddings"
    config.model.text_backbone.hidden_dim = 128


def _datasets() -> Path:
  """Folder of the datasets' modules and files; nothing is imported."""
  return Path(find_spec("input_pipeline").origin).resolve().parent / "datasets"
