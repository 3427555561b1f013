"""ER-ZSAR, the full method: action and object streams, gate fusion, rehearsal (Chen & Huang, ICCV 2021).

    python -m er_jax.main --config=configs/ervse.py                # toy_actions, a minute on 2 CPU cores
    python -m er_jax.main --config=configs/ervse.py:precomputed    # published on Kinetics: 42.1 +- 1.4, 73.1 +- 0.3
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("ervse", dataset, (*common.TEXT_SUBMODULES, "fusion"))
  config.model = common.text_model()
  common.objects(config.model)
  config.model.video_encoder = ConfigDict({"dropout_rate": 0.0})
  config.model.fusion = "gate"                 # early, late, fc or gate
  config.model.fusion_mlp = ConfigDict({"dropout_rate": 0.5})
  config.model.clamp_obj_logits = True         # objects may only add to a class's score (fusion late and gate)
  config.loss.rehearsal_weight = 1.0
  config.optimizer.weight_decay.update({"video_encoder": 1e-4, "text_encoder": 1e-4, "fusion": 1e-4})
  return sizes.adapt(config)
