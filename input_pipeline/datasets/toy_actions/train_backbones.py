"""Trains a small backbone from scratch: how the weights that come with toy_actions were made.

    python -m input_pipeline.datasets.toy_actions.train_backbones --config=configs/tsm.py --output=tsm.npz
    python -m input_pipeline.datasets.toy_actions.train_backbones --config=configs/bit.py --output=bit.npz --config.num_epochs=2

The examples are drawn first and kept in memory; the weights are written at the end, under the published names
and as float16, and the accuracy that is printed is the written file's on examples it was not trained on.
"""

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax import struct
from jax import Array
from ml_collections import ConfigDict, config_flags

from input_pipeline import errors, paths
from input_pipeline.backbones import bit, checkpoints, tsm
from input_pipeline.backbones.checkpoints import Format
from input_pipeline.datasets.toy_actions.backbone_data import backbone_clips, backbone_pictures
from input_pipeline.errors import UserError
from input_pipeline.progress import Progress

# (seed, start, count) -> examples start, start + 1, ...: frames uint8 (count, [T,] S, S, 3), labels (count,)
Examples = Callable[[int, int, int], tuple[np.ndarray, np.ndarray]]
# (model, variables, uint8 frames, whether to train) -> logits (B, C), and the batch statistics after them
Logits = Callable[[nn.Module, dict, Array, bool], tuple[Array, Any]]

DRAWN_AT_ONCE = 32


class Network(NamedTuple):
  """What differs between the two backbones when they are trained."""

  module: type[nn.Module]
  variants: dict[str, Any]
  outputs: str                                        # the config's field that holds the number of outputs
  normalize: Callable[[Array | np.ndarray], Array]
  logits: Logits
  form: Format
  examples: Examples                                  # of toy_actions


@struct.dataclass
class State:
  """What training changes; `batch_stats` is empty where there is no batch norm."""

  params: Any
  batch_stats: Any
  optimizer_state: Any


def tsm_logits(model: nn.Module, variables: dict, frames: Array, train: bool) -> tuple[Array, Any]:
  """`Logits` of clips (B, T, S, S, 3)."""
  (_, logits), updated = model.apply(variables, tsm.normalize(frames), train=train, mutable=["batch_stats"])
  return logits, updated["batch_stats"]


def bit_logits(model: nn.Module, variables: dict, frames: Array, train: bool) -> tuple[Array, Any]:
  """`Logits` of pictures (B, S, S, 3)."""
  del train
  return model.apply(variables, bit.normalize(frames), mutable=[])     # no statistics


NETWORKS = {
    "tsm": Network(tsm.TSM, tsm.VARIANTS, "num_classes", tsm.normalize, tsm_logits, tsm.FORMAT, backbone_clips),
    "bit": Network(bit.BiT, bit.VARIANTS, "num_concepts", bit.normalize, bit_logits, bit.FORMAT, backbone_pictures),
}


@functools.partial(jax.jit, static_argnames=("model", "logits_of", "optimizer", "loss", "label_smoothing"),
                   donate_argnames="state")
def train_step(state: State, frames: Array, labels: Array, *, model: nn.Module, logits_of: Logits,
               optimizer: optax.GradientTransformation, loss: str,
               label_smoothing: float) -> tuple[State, Array]:
  """One step on frames (B, ...) uint8 and labels (B,): the new state and the batch's mean loss.

  `loss` is `softmax`, cross entropy among the labels, or `sigmoid`, binary cross entropy of each label by
  itself, summed over labels; of `label_smoothing`, the share of each target that all labels share.
  """

  def mean_loss(params: Any) -> tuple[Array, Any]:
    variables = {"params": params, "batch_stats": state.batch_stats}
    logits, batch_stats = logits_of(model, variables, frames, True)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    if loss == "softmax":
      losses = optax.softmax_cross_entropy(logits, targets)
    else:
      losses = optax.sigmoid_binary_cross_entropy(logits, targets).sum(axis=-1)
    return losses.mean(), batch_stats

  (value, batch_stats), gradients = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
  updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
  return State(optax.apply_updates(state.params, updates), batch_stats, optimizer_state), value


@functools.partial(jax.jit, static_argnames=("model", "logits_of"))
def predict(variables: dict, frames: Array, *, model: nn.Module, logits_of: Logits) -> Array:
  """The best label (B,) of uint8 frames (B, ...)."""
  return jnp.argmax(logits_of(model, variables, frames, False)[0], axis=-1)


def train(config: ConfigDict, examples: Examples, output: str | os.PathLike) -> float:
  """Trains, writes the weights to `output`, and returns their accuracy, in percent, on held-out examples.

  Args:
    config: see configs/tsm.py. The same config gives the same weights on the same kind of machine.
    examples: where examples come from; the first `config.num_examples` are trained on, the next
      `config.num_heldout` are held out.
    output: .npz file.

  Raises:
    UserError: if a field of the config has a value that can't be.
  """
  network = _network(config)
  if not str(output).endswith(".npz"):
    raise UserError(f"--output is {str(output)!r}; weights are written to a file ending in .npz.")
  frames, labels = _draw(examples, config.seed, 0, config.num_examples)
  variant = network.variants[config.variant]
  model_config = dataclasses.replace(variant, **{network.outputs: int(labels.max()) + 1})
  model = network.module(model_config)

  steps_per_epoch = len(labels) // config.batch_size
  num_steps = steps_per_epoch * config.num_epochs
  schedule = optax.warmup_cosine_decay_schedule(
      0, config.learning_rate, math.ceil(num_steps * config.warmup_fraction), num_steps)
  optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm),
                          optax.adamw(schedule, weight_decay=config.weight_decay))
  key = jax.random.key(config.seed, impl="rbg")   # with the default, initialisation takes 15 s to compile
  variables = jax.jit(model.init)(key, network.normalize(frames[:1]))
  state = State(variables["params"], variables.get("batch_stats", {}), optimizer.init(variables["params"]))

  with Progress(f"train {config.variant}", num_steps, "steps") as progress:
    for step, rows in enumerate(_batches(config, len(labels))):
      state, loss = train_step(
          state, frames[rows], labels[rows], model=model, logits_of=network.logits, optimizer=optimizer,
          loss=config.loss, label_smoothing=config.label_smoothing)
      progress.advance(note=f"loss {loss:.3f}" if step % 10 == 0 else None)

  if not np.isfinite(loss):
    raise UserError(f"The loss ends at {loss}; is config.learning_rate, {config.learning_rate}, too high?")
  checkpoints.save_npz(output, network.form, {"params": state.params, "batch_stats": state.batch_stats})

  frames, labels = _draw(examples, config.seed, config.num_examples, config.num_heldout)
  variables = checkpoints.load(output, network.form).variables
  parts = np.array_split(np.arange(len(labels)), math.ceil(len(labels) / config.batch_size))
  right = [predict(variables, frames[part], model=model, logits_of=network.logits) == labels[part] for part in parts]
  return 100 * float(np.concatenate(right).mean())


def _network(config: ConfigDict) -> Network:
  """The network that the config names. Raises: UserError if the config can't be."""
  if config.network not in NETWORKS:
    raise errors.unknown("network", config.network, NETWORKS)
  network = NETWORKS[config.network]
  if config.variant not in network.variants:
    raise errors.unknown("variant", config.variant, network.variants)
  if config.loss not in ("softmax", "sigmoid"):
    raise errors.unknown("loss", config.loss, ("softmax", "sigmoid"))
  for field in ("batch_size", "num_epochs", "num_heldout"):
    if config[field] < 1:
      raise UserError(f"config.{field} is {config[field]}, expected at least 1.")
  if config.num_examples < config.batch_size:
    raise UserError(f"config.num_examples is {config.num_examples}, less than one batch of "
                    f"{config.batch_size}.")
  return network


def _draw(examples: Examples, seed: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  parts = []
  with Progress("draw examples", count, "examples") as progress:
    for first in range(start, start + count, DRAWN_AT_ONCE):
      parts.append(examples(seed, first, min(DRAWN_AT_ONCE, start + count - first)))
      progress.advance(len(parts[-1][1]))
  return np.concatenate([frames for frames, _ in parts]), np.concatenate([labels for _, labels in parts])


def _batches(config: ConfigDict, num_examples: int) -> Iterator[np.ndarray]:
  """Rows of each batch: a new order every epoch, the few that do not fill a batch left out."""
  for epoch in range(config.num_epochs):
    order = np.random.default_rng([config.seed, epoch]).permutation(num_examples)
    yield from order[:num_examples // config.batch_size * config.batch_size].reshape(-1, config.batch_size)


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  config_flags.DEFINE_config_file("config", None, "configs/tsm.py or configs/bit.py.")
  flags.DEFINE_string("output", None, "The .npz file to write.")


def main(_: list[str]) -> None:
  """Trains what the flags say on toy_actions."""
  config, output = flags.FLAGS.config, paths.absolute(flags.FLAGS.output, "--output")
  if config is None or output is None:
    raise UserError("Give --config=configs/tsm.py (or bit.py) and --output=FILE.npz.")
  accuracy = train(config, _network(config).examples, output)
  print(f"{output}: {accuracy:.1f} % of {config.num_heldout} held-out examples right")


if __name__ == "__main__":
  define_flags()
  errors.run(main)
