"""VSE: one video embedding, one class-text embedding, no objects; ER-ZSAR's base and its comparison.

    python -m er_jax.main --config=configs/vse.py
"""

from configs import common, toy
from ml_collections import ConfigDict


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("vse", dataset, ("video_encoder", "text_backbone", "text_encoder"))
  config.model = common.text_and_video_model()
  config.optimizer.weight_decay.update({"video_encoder": 1e-4, "text_encoder": 1e-4, "text_backbone": 1e-4})
  return toy.adapt(config)
