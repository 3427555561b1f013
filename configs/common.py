"""The common fields of all experiments, with the published values and what they mean.

    config = common.get_config("vse", "precomputed", ("video_encoder", "text_backbone", "text_encoder"))
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
  config.data.split_index = 0            # the class split whose best checkpoint the seen classes and the pictures
                                         # are of; every split is tested by its own best checkpoint
  config.data.max_splits = 0             # of random class splits, each with a model of its own, only so many; 0: all
  config.data.average_views = "features" # of several views of a video: one score of their mean feature; or the mean of
                                         # their "scores". Training sees the mean feature
  config.data.corrections = ""           # a corrections.jsonl with other descriptions of some classes
  config.data.shuffle = True             # False: the stored order, every epoch
  config.data.class_text = "name_description"     # name, description, name_description ("name: description")
                                                  # or pair, BERT's sentence pair
  config.data.max_tokens = 100           # longer texts are cut
  config.data.concept_definitions = ConfigDict({"input": True, "rehearsal": True})

  config.model = ConfigDict()
  config.loss = ConfigDict()
  config.loss.kind = "ce"                # ce, rank or, for VSE, l2; methods that regress have mse and nothing else
  config.loss.temperature = 0.1          # ce: divides the scores
  config.loss.margin = 0.2               # rank: by how much the video's own class should win
  config.loss.max_violation = False      # rank: count only the `topk` worst violations of a video
  config.loss.topk = 1
  config.loss.reduction = "sum"          # rank, over classes: sum, mean or weighted (by the target's rank)
  config.loss.rehearsal_weight = 0.0     # of the rehearsal loss; 0: none
  config.loss.rehearsal_topk = 5         # objects of a video that it is asked to name
  config.loss.num_negative_concepts = 0  # random other objects a video that it is asked not to name

  config.optimizer = ConfigDict()
  config.optimizer.name = "adam"         # adam (L2 decay, as published), adamw (decoupled decay) or sgd
  config.optimizer.learning_rate = 1e-4
  config.optimizer.schedule = "cosine"   # cosine, constant or step
  config.optimizer.warmup = "exp"        # exp or linear
  config.optimizer.warmup_steps = 1700
  config.optimizer.decay_steps = 17000   # 0: those of the whole training
  config.optimizer.decay_rate = 0.1      # schedule "step": the factor after each decay_steps
  config.optimizer.clip_norm = 10.0      # of all gradients together; 0: no clipping
  config.optimizer.momentum = 0.0        # sgd
  config.optimizer.weight_decay = ConfigDict(dict.fromkeys(submodules, 0.0))
  config.optimizer.lr_multiplier = ConfigDict(dict.fromkeys(submodules, 1.0))
  config.optimizer.freeze = ConfigDict(dict.fromkeys(submodules, False))
  return config


TEXT_SUBMODULES = ("video_encoder", "text_backbone", "text_encoder")


def text_model() -> ConfigDict:
  """`config.model` of the methods that read texts."""
  model = ConfigDict()
  model.embed_dim = 512
  model.pooling = "avg"                  # of a text's tokens: first, avg, max, last or attn
  model.l2_normalize = True
  model.text_backbone = ConfigDict({
      "kind": "bert",                           # bert; rnn or embedding, on the dataset's word list and word vectors
      "dropout_rate": 0.1,
      # bert:
      "name_or_path": "bert-base-uncased",      # a Hugging Face id, or a folder
      "trainable_from": "encoder.layer.10",     # what comes before it in BERT is frozen; "": all is frozen
      "frozen_dropout": False,                  # True: dropout in the frozen layers too, as published; slow
      "cache_gigabytes": 4.0,    # frozen layers' outputs are kept if those of all class and concept texts, and those
                                 # of all object sequences, need no more than this
      # rnn and embedding:
      "frozen_embedding": True,                 # the word vectors do not train
      "word_dim": 300,                          # width of word vectors, where the dataset brings none
      # rnn:
      "cell": "gru",                            # gru or lstm
      "bidirectional": True,                    # the two directions are averaged
      "hidden_dim": 512,
  })
  model.text_encoder = ConfigDict({"dropout_rate": 0.5})
  return model


def objects(model: ConfigDict) -> None:
  """Adds the fields of the methods that read a video's objects."""
  model.topk_concepts = 5                # objects of a video that its object stream reads
  model.separate_concepts = False        # True: each object is a text of its own, weighted; only CPT has that


def bilinear(method: str, dataset: str) -> ConfigDict:
  """The experiment that DEVISE, ALE and SJE share; they differ in their ranking loss."""
  config = get_config(method, dataset, (method,))
  config.num_epochs = 30
  config.model = ConfigDict({"dropout_rate": 0.5})       # of video features and class vectors
  config.loss.update({"kind": "rank", "margin": 0.1})
  config.optimizer.update({"warmup_steps": 2000, "decay_steps": 50000})
  return config
