"""What the experiments share: every field, with the published value and what it means.

    config = common.get_config("vse", "kinetics_zsar", ("video_encoder", "text_backbone", "text_encoder"))
"""

from collections.abc import Sequence

from ml_collections import ConfigDict


def get_config(method: str, dataset: str, submodules: Sequence[str]) -> ConfigDict:
  """Fields of every method, at the values of Chen & Huang (2021) on Kinetics; a method's own file changes some.

  Args:
    method: its name.
    dataset: its name.
    submodules: the parts of the model that have a weight decay, learning rate multiplier and freeze of their own.
  """
  config = ConfigDict()
  config.method = method
  config.seed = 0
  config.batch_size = 128                # over all devices
  config.eval_batch_size = 128
  config.num_epochs = 10
  config.log_every_steps = 100           # a training line in metrics.jsonl every so many steps
  config.eval_every_steps = 0            # validate and save so often; 0: after each epoch
  config.dtype = "float32"               # of activations; or bfloat16. Parameters are always float32
  config.parallel = "jit"                # how steps run on the devices: jit (with shardings) or pmap
  config.init_from = ""                  # a checkpoint folder whose parameters start the training

  config.data = ConfigDict()
  config.data.dataset = dataset
  config.data.data_dir = "data"
  config.data.split_index = 0            # the class split whose checkpoint the seen classes and pictures show; each
                                         # split is validated and tested by its own best checkpoint
  config.data.shuffle = True             # False: the stored order, every epoch
  config.data.class_text = "name_description"     # name, description, name_description or pair
  config.data.max_tokens = 100           # longer texts are cut
  config.data.concept_definitions = ConfigDict({"input": True, "rehearsal": True})

  config.model = ConfigDict()
  config.loss = ConfigDict({"kind": "ce", "temperature": 0.1, "margin": 0.2, "max_violation": False, "topk": 1,
                            "reduction": "sum", "rehearsal_weight": 0.0, "rehearsal_topk": 5,
                            "num_negative_concepts": 0})

  config.optimizer = ConfigDict()
  config.optimizer.name = "adam"         # adam (L2 decay, as published), adamw (decoupled decay) or sgd
  config.optimizer.learning_rate = 1e-4
  config.optimizer.schedule = "cosine"   # cosine, constant or step
  config.optimizer.warmup = "exp"        # exp or linear
  config.optimizer.warmup_steps = 1700
  config.optimizer.decay_steps = 17000
  config.optimizer.decay_rate = 0.1      # schedule "step": the factor after each decay_steps
  config.optimizer.clip_norm = 10.0      # of all gradients together; 0: no clipping
  config.optimizer.momentum = 0.0        # sgd
  config.optimizer.weight_decay = ConfigDict(dict.fromkeys(submodules, 0.0))
  config.optimizer.lr_multiplier = ConfigDict(dict.fromkeys(submodules, 1.0))
  config.optimizer.freeze = ConfigDict(dict.fromkeys(submodules, False))
  return config


def text_and_video_model() -> ConfigDict:
  """`config.model` of the methods that embed texts with BERT and videos in one space."""
  model = ConfigDict()
  model.embed_dim = 512
  model.pooling = "avg"                  # of a text's tokens: first, avg, max, last or attn
  model.l2_normalize = True
  model.topk_concepts = 5                # objects of a video that its object stream reads
  model.text_backbone = ConfigDict({
      "kind": "bert",
      "name_or_path": "bert-base-uncased",      # a Hugging Face id, or a folder
      "trainable_from": "encoder.layer.10",     # what comes before it in BERT is frozen; "": all is frozen
      "dropout_rate": 0.1,
      "frozen_dropout": False,                  # True: dropout in the frozen layers too, as published; slow
      "cache_gigabytes": 4.0,    # frozen layers' outputs are kept if those of all class and concept texts, and those
                                 # of all object sequences, need no more than this
  })
  model.text_encoder = ConfigDict({"dropout_rate": 0.5})
  model.video_encoder = ConfigDict({"dropout_rate": 0.5})
  return model
