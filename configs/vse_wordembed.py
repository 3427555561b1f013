"""VSE on word vectors: the class text as a bag of frozen word vectors, pooled by attention.

    python -m er_jax.main --config=configs/vse_wordembed.py
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("vse_wordembed", dataset, common.TEXT_SUBMODULES)
  config.num_epochs = 30
  config.model = common.text_model()
  config.model.update({"pooling": "attn", "video_encoder": {"dropout_rate": 0.5}})
  config.model.text_backbone.kind = "embedding"
  config.optimizer.update({"warmup_steps": 2000, "decay_steps": 50000})
  config.optimizer.weight_decay.update({"video_encoder": 1e-4, "text_encoder": 1e-4})
  return sizes.adapt(config)
