"""VSE: one video embedding, one class-text embedding, no objects; ER-ZSAR's base and its comparison.

    python -m er_jax.main --config=configs/vse.py
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("vse", dataset, common.TEXT_SUBMODULES)
  config.model = common.text_model()
  config.model.video_encoder = ConfigDict({"dropout_rate": 0.5})
  config.optimizer.weight_decay.update({"video_encoder": 1e-4, "text_encoder": 1e-4, "text_backbone": 1e-4})
  return sizes.adapt(config)
