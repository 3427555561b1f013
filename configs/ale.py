"""ALE (Akata et al., CVPR 2013): DEVISE with violations weighted by the target's rank.

    python -m er_jax.main --config=configs/ale.py
    python -m er_jax.main --config=configs/ale.py:precomputed     # published on Kinetics: 23.4 top-1
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.bilinear("ale", dataset)
  config.loss.reduction = "weighted"
  return sizes.adapt(config)
