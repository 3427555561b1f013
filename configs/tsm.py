"""The small TSM of toy_actions, trained on clips of the seen classes.

    python -m input_pipeline.datasets.toy_actions.train_backbones --config=configs/tsm.py \
        --output=input_pipeline/datasets/toy_actions/tsm.npz
"""

from ml_collections import ConfigDict


def get_config(arg: str | None = None) -> ConfigDict:
  """The fields of both backbones' training."""
  del arg
  config = ConfigDict()
  config.network = "tsm"           # tsm or bit
  config.variant = "tsm_toy"       # one of the network's VARIANTS
  config.seed = 0                  # of the examples, the initial weights and the order
  config.num_examples = 11400      # drawn once, kept in memory (0.1 MB each), used every epoch
  config.num_heldout = 600
  config.num_epochs = 6
  config.batch_size = 16
  config.loss = "softmax"          # softmax or sigmoid
  config.learning_rate = 3e-3      # at the end of the warm-up; falls to 0 along a cosine
  config.warmup_fraction = 0.05    # of all steps
  config.weight_decay = 2e-2       # of AdamW
  config.clip_norm = 1.0           # of all gradients together
  config.label_smoothing = 0.1     # share of each target that all labels share
  return config
