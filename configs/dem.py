"""DEM (Zhang et al., CVPR 2017): class vectors mapped into the space of video features.

    python -m er_jax.main --config=configs/dem.py
    python -m er_jax.main --config=configs/dem.py:precomputed     # published on Kinetics: 23.6 top-1
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("dem", dataset, ("dem",))
  config.num_epochs = 30
  config.model = ConfigDict({"hidden_dim": 512, "dropout_rate": 0.5})
  config.loss.kind = "mse"
  config.optimizer.update({"warmup_steps": 2000, "decay_steps": 50000})
  config.optimizer.weight_decay.dem = 1e-5
  return sizes.adapt(config)
