"""The small BiT of toy_actions, trained on pictures of single objects.

    python -m input_pipeline.backbones.train --config=configs/bit.py \
        --output=input_pipeline/datasets/toy_actions/bit.npz
"""

from ml_collections import ConfigDict

from configs import tsm


def get_config(arg: str | None = None) -> ConfigDict:
  """What differs from TSM's training; fields are explained in configs/tsm.py."""
  config = tsm.get_config(arg)
  config.network = "bit"
  config.variant = "bit_toy"
  config.num_examples = 16384      # 12 kB each
  config.num_heldout = 1024
  config.batch_size = 64
  config.loss = "sigmoid"
  return config
