"""DEVISE (Frome et al., NIPS 2013): bilinear compatibility of video features and class vectors, hinge ranking.

    python -m er_jax.main --config=configs/devise.py
    python -m er_jax.main --config=configs/devise.py:kinetics_zsar    # published: 23.8 top-1
"""

from configs import common, toy
from ml_collections import ConfigDict


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("devise", dataset, ("devise",))
  config.num_epochs = 30
  config.model = ConfigDict({"dropout_rate": 0.5})
  config.loss.update({"kind": "rank", "margin": 0.1})
  config.optimizer.update({"warmup_steps": 2000, "decay_steps": 50000})
  return toy.adapt(config)
