"""The small BiT of toy_actions, trained on pictures of single objects.

    python -m input_pipeline.datasets.toy_actions.train_backbones --config=configs/bit.py \
        --output=input_pipeline/datasets/toy_actions/bit.npz
"""

from ml_collections import ConfigDict

from configs import tsm


def get_config(arg: str | None = None) -> ConfigDict:
  """What differs from TSM's training; fields are explained in configs/tsm.py."""
  config = tsm.get_config(arg)
  config.network = "bit"
  config.variant = "bit_toy"
  config.num_examples = 40000      # 12 kB each
  config.num_heldout = 2000
  config.num_epochs = 7
  config.batch_size = 64
  config.weight_decay = 1e-2
  config.label_smoothing = 0.0
  return config
