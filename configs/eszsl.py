"""ESZSL (Romera-Paredes & Torr, ICML 2015): bilinear compatibility in closed form, in one pass over the videos.

    python -m er_jax.main --config=configs/eszsl.py
    python -m er_jax.main --config=configs/eszsl.py:precomputed     # published on Kinetics: 22.9 top-1
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("eszsl", dataset, ("eszsl",))
  config.num_epochs = 1
  config.model = ConfigDict({
      "feature_regularizer": 1e3,      # added to the diagonal of X Xt
      "class_regularizer": 1.0,        # added to the diagonal of S St
  })
  config.loss.kind = "mse"
  sizes.size_of(dataset)      # an unknown one is refused; the experiment is the same at every size
  return config
