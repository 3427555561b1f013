"""Every config builds without data, for every dataset, and names the fields that others set."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from flax.traverse_util import flatten_dict

from configs import sizes
from input_pipeline.datasets import DATASETS

EXPERIMENTS = sorted(path.stem for path in Path("configs").glob("*.py")
                     if path.stem not in ("__init__", "common", "sizes", "tsm", "bit"))
SHARED_FIELDS = ["seed", "batch_size", "eval_batch_size", "num_epochs", "log_every_steps", "data.data_dir",
                 "data.shuffle", "data.split_index", "data.class_text", "data.max_tokens",
                 "data.concept_definitions.input", "data.concept_definitions.rehearsal", "optimizer.name",
                 "optimizer.learning_rate", "optimizer.schedule", "optimizer.warmup", "optimizer.warmup_steps",
                 "optimizer.decay_steps", "optimizer.clip_norm", "optimizer.weight_decay", "optimizer.lr_multiplier",
                 "optimizer.freeze", "loss.kind", "loss.temperature", "loss.rehearsal_weight", "loss.rehearsal_topk",
                 "loss.num_negative_concepts", "loss.margin", "loss.max_violation", "loss.topk", "loss.reduction",
                 "init_from", "dtype"]


def test_every_method_has_a_config():
  assert set(EXPERIMENTS) == {"ervse", "vse", "vse_wordembed", "cpt", "devise", "ale", "sje", "dem", "eszsl", "gcn"}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("dataset", ["toy_actions", "precomputed", "kinetics_zsar", "ucf101_zsar", "video_folder"])
def test_a_config_builds_and_has_the_shared_fields(experiment, dataset):
  config = importlib.import_module(f"configs.{experiment}").get_config(dataset)
  assert config.method == experiment and config.data.dataset == dataset
  for field in SHARED_FIELDS:
    value = config
    for part in field.split("."):
      assert part in value, field
      value = value[part]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_field_can_be_given_on_the_command_line(experiment):
  config = importlib.import_module(f"configs.{experiment}").get_config("precomputed")
  for name, value in flatten_dict(config.to_dict(), sep=".").items():
    assert isinstance(value, (bool, int, float, str, tuple)), name


def test_published_values_of_the_full_method():
  config = importlib.import_module("configs.ervse").get_config("kinetics_zsar")
  assert (config.batch_size, config.num_epochs, config.optimizer.learning_rate) == (128, 10, 1e-4)
  assert (config.optimizer.warmup_steps, config.optimizer.decay_steps, config.optimizer.clip_norm) == (1700, 17000, 10)
  assert (config.model.fusion, config.model.embed_dim, config.model.pooling) == ("gate", 512, "avg")
  assert config.optimizer.weight_decay.to_dict() == {
      "video_encoder": 1e-4, "text_encoder": 1e-4, "fusion": 1e-4, "text_backbone": 0.0}
  assert config.model.text_backbone.trainable_from == "encoder.layer.10" and config.loss.temperature == 0.1


# Epochs, warm-up steps, steps of the cosine, learning rate and weight decay by submodule (METHOD.md 8).
TEXTS = {"video_encoder": 1e-4, "text_encoder": 1e-4}
PUBLISHED = {
    "ervse": (10, 1700, 17000, 1e-4, {**TEXTS, "fusion": 1e-4, "text_backbone": 0.0}),
    "cpt": (10, 1700, 17000, 1e-4, {"text_encoder": 1e-4, "text_backbone": 1e-4}),
    "vse": (10, 1700, 17000, 1e-4, {**TEXTS, "text_backbone": 1e-4}),
    "vse_wordembed": (30, 2000, 50000, 1e-4, {**TEXTS, "text_backbone": 0.0}),
    "devise": (30, 2000, 50000, 1e-4, {"devise": 0.0}),
    "ale": (30, 2000, 50000, 1e-4, {"ale": 0.0}),
    "sje": (30, 2000, 50000, 1e-4, {"sje": 0.0}),
    "dem": (30, 2000, 50000, 1e-4, {"dem": 1e-5}),
    "gcn": (200, 20, 200, 1e-3, {"gcn": 1e-6}),
}


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_optimisation(method):
  config = importlib.import_module(f"configs.{method}").get_config("precomputed")
  options = config.optimizer
  assert (config.num_epochs, options.warmup_steps, options.decay_steps, options.learning_rate,
          options.weight_decay.to_dict()) == PUBLISHED[method]
  assert (options.name, options.schedule, options.warmup, options.clip_norm) == ("adam", "cosine", "exp", 10)


def test_published_losses_of_the_bilinear_methods():
  losses = {name: importlib.import_module(f"configs.{name}").get_config("precomputed").loss
            for name in ("devise", "ale", "sje")}
  assert all((loss.kind, loss.margin) == ("rank", 0.1) for loss in losses.values())
  assert [(loss.reduction, loss.max_violation, loss.topk) for loss in losses.values()] == [
      ("sum", False, 1), ("weighted", False, 1), ("sum", True, 1)]


@pytest.mark.parametrize("backbone", ["tsm", "bit"])
def test_backbone_configs_build(backbone):
  assert importlib.import_module(f"configs.{backbone}").get_config()


def test_the_default_dataset_is_registered():
  DATASETS.check("toy_actions")


@pytest.mark.parametrize("dataset", DATASETS.names())
def test_the_size_of_a_dataset_is_the_one_that_it_declares(dataset):
  assert sizes.size_of(dataset) == DATASETS.load(dataset).size


def test_small_datasets_have_small_batches_and_large_ones_the_published():
  of = importlib.import_module("configs.ervse").get_config
  assert [of(name).batch_size for name in ("ucf101_zsar", "video_folder", "kinetics_zsar", "precomputed")] == [
      64, 64, 128, 128]
  assert of("toy_actions").model.embed_dim == 128 and of("hmdb51_zsar").model.embed_dim == 512


@pytest.mark.parametrize("experiment", ["ervse", "gcn"])
def test_an_unknown_dataset_is_refused_with_the_near_names(experiment):
  of = importlib.import_module(f"configs.{experiment}").get_config
  with pytest.raises(ValueError, match="^Unknown dataset 'ucf101_zsr'. Did you mean ucf101_zsar"):
    of("ucf101_zsr")
  with pytest.raises(ValueError, match="^Unknown dataset '!'. Known: hmdb51_zsar, .*, video_folder."):
    of("!")


def test_the_command_says_of_an_unknown_dataset_what_is_wrong_and_no_more():
  command = """if True:
    from ml_collections import config_flags
    from input_pipeline import errors
    config_flags.DEFINE_config_file("config")
    errors.run(lambda argv: None)"""
  result = subprocess.run([sys.executable, "-c", command, "--config=configs/vse.py:toy_action"], capture_output=True,
                          text=True)
  assert result.returncode == 2 and "Traceback" not in result.stderr
  assert result.stderr.endswith(": Unknown dataset 'toy_action'. Did you mean toy_actions?\n")
  assert "ValueError" not in result.stderr
