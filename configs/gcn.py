"""GCN (Wang et al., CVPR 2018): classifiers of unseen classes by a graph convolution over all classes' vectors.

    python -m er_jax.main --config=configs/gcn.py
    python -m er_jax.main --config=configs/gcn.py:precomputed     # published on Kinetics: 22.3 top-1
"""

from ml_collections import ConfigDict

from configs import common, sizes


def get_config(dataset: str = "toy_actions") -> ConfigDict:
  config = common.get_config("gcn", dataset, ("gcn",))
  config.batch_size = 1                # a step sees the whole graph and no video
  config.num_epochs = 200              # steps
  config.eval_every_steps = 10
  config.log_every_steps = 10
  config.model = ConfigDict({
      "hidden_dims": (512, 1024, 1024, 1024, 1024),
      "num_neighbors": 5,              # classes that each class is linked to, itself included
      "dropout_rate": 0.5,             # before the last layer
      "targets": "classifier",         # what the outputs of seen classes should be: the dataset's classifier_rows.npy;
                                       # or "class_means" of the training features, for networks without a classifier
  })
  config.loss.kind = "mse"
  config.optimizer.update({"learning_rate": 1e-3, "warmup_steps": 20, "decay_steps": 200})
  config.optimizer.weight_decay.gcn = 1e-6
  sizes.size_of(dataset)      # an unknown one is refused; the experiment is the same at every size
  return config
