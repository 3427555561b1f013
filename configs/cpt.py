"""CPT, concepts only: a video is the names and definitions of the objects seen in it, without any motion.

    python -m er_jax.main --config=configs/cpt.py
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("cpt", dataset, ("text_backbone", "text_encoder"))
  config.model = common.text_model()
  common.objects(config.model)
  config.loss.rehearsal_weight = 1.0
  config.optimizer.weight_decay.update({"text_encoder": 1e-4, "text_backbone": 1e-4})
  return sizes.adapt(config)
