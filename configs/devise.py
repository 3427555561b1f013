"""DEVISE (Frome et al., NIPS 2013): bilinear compatibility of video features and class vectors, hinge ranking.

    python -m er_jax.main --config=configs/devise.py
    python -m er_jax.main --config=configs/devise.py:precomputed     # published on Kinetics: 23.8 top-1
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  return sizes.adapt(common.bilinear("devise", dataset))
