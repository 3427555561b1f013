"""What `toy_actions` changes in an experiment: small networks, few steps, a text backbone that starts untrained."""

from pathlib import Path

from ml_collections import ConfigDict

BERT = Path(__file__).resolve().parents[1] / "input_pipeline" / "datasets" / "toy_actions" / "bert"


def adapt(config: ConfigDict) -> ConfigDict:
  """The config as it is, or, where its dataset is toy_actions, at the toy's size."""
  if config.data.dataset != "toy_actions" or config.method in ("gcn", "eszsl"):     # these are quick as they are
    return config
  config.num_epochs = 30
  config.log_every_steps = 10
  config.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 20, "decay_steps": 400})
  config.data.concept_definitions.input = False     # short object sequences: the toy's steps take a third of the time
  if "text_backbone" in config.model:
    config.model.embed_dim = 128
    config.model.text_backbone.name_or_path = str(BERT)
    config.model.text_backbone.trainable_from = "embeddings"
    config.model.text_backbone.hidden_dim = 128
  return config
