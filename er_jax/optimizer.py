"""Learning rate, gradient clipping and per-module decay of the published training (PyTorch's rules, in optax).

    learning_rate = schedule(config.optimizer, batch_size=128)
    optimizer = build(config.optimizer, learning_rate, trainable)       # an optax.GradientTransformation
    updates, opt_state = optimizer.update(grads, opt_state, trainable)

`trainable` is a flat dictionary {"video_encoder/dense/kernel": array}; the first part of a name is the submodule that
weight_decay, lr_multiplier and freeze speak of.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from er_jax.types import Array
from input_pipeline.errors import UserError, unknown

Flat = dict[str, Array]


def schedule(config: ConfigDict, batch_size: int, num_steps: int = 0) -> optax.Schedule:
  """The learning rate as a function of the step, 0-based.

  Args:
    config: `learning_rate` (base), `schedule` (cosine, constant or step), `warmup` (exp or linear), `warmup_steps`
      W, `decay_steps` T (0: `num_steps`, and W a tenth of it at most), and for `step` also `decay_rate`: the factor after each T steps.
    batch_size: the global batch size g; warm-up starts at base / g.
    num_steps: of the whole training.

  Returns:
    step -> learning rate. Up to W: base * g^(t/W - 1), or the straight line from base/g to base. After: for cosine
    base * (1 + cos(pi t/T)) / (1 + cos(pi W/T)), which is PyTorch's recursive CosineAnnealingLR continued from base;
    beyond T, where that passes through 0 and starts afresh, base * (1 + cos(pi t/T)) / 2. (If W is beyond T, for T
    read its first odd multiple beyond W.)
  """
  base, warmup_steps, decay_steps = config.learning_rate, config.warmup_steps, config.decay_steps
  if not decay_steps:
    warmup_steps, decay_steps = min(warmup_steps, num_steps // 10), max(num_steps, 1)
  if config.schedule != "constant" and decay_steps < 1:
    raise UserError(f"config.optimizer.decay_steps is {decay_steps}; schedule {config.schedule} needs at least 1.")
  if config.schedule == "cosine" and warmup_steps % (2 * decay_steps) == decay_steps:
    raise UserError(f"config.optimizer.warmup_steps is {warmup_steps}, where the cosine of decay_steps, {decay_steps}, is "
                    "0 and does not get away from it. Give another number, best a smaller one.")

  def warm(t: Array) -> Array:
    fraction = t / max(warmup_steps, 1)
    if config.warmup == "exp":
      return base * batch_size ** (fraction - 1)
    return base * (1 / batch_size + (1 - 1 / batch_size) * fraction)

  def decayed(t: Array) -> Array:
    if config.schedule == "constant":
      return jnp.full_like(t, base)
    if config.schedule == "step":
      return base * config.decay_rate ** (jnp.floor(t / decay_steps) - warmup_steps // decay_steps)
    zero = decay_steps * (2 * ((warmup_steps // decay_steps + 1) // 2) + 1)      # T, if W is below it
    start = jnp.where(t > zero, 2.0, 1 + math.cos(math.pi * warmup_steps / decay_steps))
    return base * (1 + jnp.cos(jnp.pi * t / decay_steps)) / start

  if config.schedule not in ("cosine", "constant", "step"):
    raise unknown("config.optimizer.schedule", config.schedule, ("cosine", "constant", "step"))
  if config.warmup not in ("exp", "linear"):
    raise unknown("config.optimizer.warmup", config.warmup, ("exp", "linear"))

  def learning_rate(step):
    t = jnp.asarray(step, jnp.float32)
    return jnp.where((t <= warmup_steps) & (warmup_steps > 0), warm(t), decayed(t))

  return learning_rate


def clip_by_global_norm(max_norm: float) -> optax.GradientTransformation:
  """Scales all gradients by min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ does."""

  def update(updates: Any, state: Any, params: Any = None):
    del params
    scale = jnp.minimum(1.0, max_norm / (optax.tree.norm(updates) + 1e-6))
    return {name: grad * scale for name, grad in updates.items()}, state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def build(config: ConfigDict, learning_rate: optax.Schedule, trainable: Iterable[str]) -> optax.GradientTransformation:
  """The transformation that turns gradients into updates of the parameters named in `trainable`.

  Adam and SGD take weight decay as L2 (added to the clipped gradient, before the moments); AdamW decouples it.
  `config.clip_norm` 0 means no clipping.
  """
  decay = {name: config.weight_decay.get(_submodule(name), 0.0) for name in trainable}
  multiplier = {name: config.lr_multiplier.get(_submodule(name), 1.0) for name in trainable}
  moments = {"adam": optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
             "adamw": optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
             "sgd": optax.trace(decay=config.get("momentum", 0.0))}
  if config.name not in moments:
    raise unknown("config.optimizer.name", config.name, moments)

  def add_decay(grads: Any, params: Any) -> Flat:
    return {name: grad + decay[name] * params[name] if decay[name] else grad for name, grad in grads.items()}

  def multiply(updates: Any, params: Any) -> Flat:
    del params
    return {name: update * multiplier[name] for name, update in updates.items()}

  decays, scale_by_module = optax.stateless(add_decay), optax.stateless(multiply)
  order = [moments[config.name], decays] if config.name == "adamw" else [decays, moments[config.name]]
  clip = [clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
  return optax.chain(*clip, *order, scale_by_module, optax.scale_by_learning_rate(learning_rate))


def frozen_submodules(config: ConfigDict, names: Iterable[str]) -> set[str]:
  """Names of the parameters whose submodule is frozen. A submodule without parameters may be named, too."""
  return {name for name in names if config.freeze.get(_submodule(name), False)}


def _submodule(name: str) -> str:
  return name.split("/", 1)[0]
