"""SJE (Akata et al., CVPR 2015): DEVISE with the worst violation alone.

    python -m er_jax.main --config=configs/sje.py
    python -m er_jax.main --config=configs/sje.py:precomputed     # published on Kinetics: 22.3 top-1
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.bilinear("sje", dataset)
  config.loss.max_violation = True
  return sizes.adapt(config)
