"""The optimiser against torch.optim over 50 steps, the schedule against PyTorch's recursion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common
from er_jax import optimizer
from input_pipeline.errors import UserError

W, T, G, BASE = 5, 60, 8, 0.01


def optimizer_config(**fields) -> ConfigDict:
  config = common.get_config("ervse", "toy_actions", ("a", "b", "text_encoder")).optimizer
  config.update({"learning_rate": BASE, "warmup_steps": W, "decay_steps": T, **fields})
  return config


def published_rates(warmup: str, steps: int) -> list[float]:
  """Warm-up, then the recursive update of torch's CosineAnnealingLR (eta_min 0), step by step."""
  rates = []
  for t in range(steps):
    if t <= W:
      fraction = t / W
      rates.append(BASE * G ** (fraction - 1) if warmup == "exp" else BASE / G + (BASE - BASE / G) * fraction)
    else:
      rates.append(rates[-1] * (1 + np.cos(np.pi * t / T)) / (1 + np.cos(np.pi * (t - 1) / T)))
  return rates


@pytest.mark.parametrize("warmup", ["exp", "linear"])
def test_cosine_schedule_follows_the_recursion(warmup):
  rate = optimizer.schedule(optimizer_config(warmup=warmup), batch_size=G)
  np.testing.assert_allclose([rate(t) for t in range(T)], published_rates(warmup, T), rtol=1e-4)
  assert rate(T) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("W, T", [(5, 60), (50, 20), (70, 20)])
def test_cosine_schedule_equals_torch_beyond_its_end(W, T):
  torch = pytest.importorskip("torch")

  class WarmedUp(torch.optim.lr_scheduler.CosineAnnealingLR):
    def get_lr(self):
      if self.last_epoch <= W:
        return [base * G ** (self.last_epoch / W - 1) for base in self.base_lrs]
      return super().get_lr()

  sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
  scheduler, rates = WarmedUp(sgd, T_max=T), []
  for _ in range(W + 2 * T + 5):
    rates.append(sgd.param_groups[0]["lr"])
    sgd.step()
    scheduler.step()
  rate = optimizer.schedule(optimizer_config(warmup_steps=W, decay_steps=T), batch_size=G)
  np.testing.assert_allclose([rate(t) for t in range(W + 2 * T + 5)], rates, rtol=1e-4, atol=1e-7)


def test_a_batch_of_one_has_no_warmup():
  rate = optimizer.schedule(optimizer_config(), batch_size=1)
  np.testing.assert_allclose([rate(t) for t in range(W + 1)], BASE, rtol=1e-6)


def test_step_schedule_and_constant():
  rate = optimizer.schedule(optimizer_config(schedule="step", warmup_steps=0, decay_steps=10, decay_rate=0.5), G)
  np.testing.assert_allclose([rate(0), rate(9), rate(10), rate(25)], [0.01, 0.01, 0.005, 0.0025], rtol=1e-6)
  rate = optimizer.schedule(optimizer_config(schedule="step", warmup_steps=12, decay_steps=10, decay_rate=0.5), G)
  np.testing.assert_allclose([rate(12), rate(19), rate(20)], [0.01, 0.01, 0.005], rtol=1e-6)     # from base after warm-up
  rate = optimizer.schedule(optimizer_config(warmup_steps=0, decay_steps=0), G, num_steps=50)     # the whole training
  np.testing.assert_allclose([rate(t) for t in (0, 25, 50)], [BASE, BASE / 2, 0], atol=1e-9)
  rate = optimizer.schedule(optimizer_config(warmup_steps=10, decay_steps=0), G, num_steps=10)    # a tenth of it is warm-up
  assert rate(0) < rate(1) and rate(1) > rate(2) > rate(9) > 0
  rate = optimizer.schedule(optimizer_config(schedule="constant"), G)
  np.testing.assert_allclose([rate(W), rate(1000)], BASE, rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_fifty_steps_equal_torch(name):
  torch = pytest.importorskip("torch")
  config = optimizer_config(name=name, clip_norm=1.0, warmup="exp", learning_rate=BASE)
  config.weight_decay.update({"a": 0.1})
  config.lr_multiplier.update({"b": 0.5})
  random = np.random.default_rng(0)
  start = {"a/w": random.normal(size=(3, 4)), "a/bias": random.normal(size=4), "b/w": random.normal(size=(4, 2))}
  start = {key: value.astype(np.float32) for key, value in start.items()}
  grads = [{key: (3 * random.normal(size=value.shape)).astype(np.float32) for key, value in start.items()}
           for _ in range(50)]

  learning_rate = optimizer.schedule(config, G)
  ours = optimizer.build(config, learning_rate, start)
  params, state = {key: jnp.array(value) for key, value in start.items()}, ours.init(start)
  update = jax.jit(ours.update)
  for grad in grads:
    updates, state = update(grad, state, params)
    params = jax.tree.map(lambda p, u: p + u, params, updates)

  theirs = {key: torch.nn.Parameter(torch.tensor(value)) for key, value in start.items()}
  groups = [{"params": [theirs["a/w"], theirs["a/bias"]], "weight_decay": 0.1, "factor": 1.0},
            {"params": [theirs["b/w"]], "weight_decay": 0.0, "factor": 0.5}]
  make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
  peer = make(groups, lr=1.0)
  for rate, grad in zip(published_rates("exp", 50), grads):
    for group in peer.param_groups:
      group["lr"] = rate * group["factor"]
    for key, value in grad.items():
      theirs[key].grad = torch.tensor(value)
    torch.nn.utils.clip_grad_norm_(theirs.values(), 1.0)
    peer.step()
  for key, value in theirs.items():
    np.testing.assert_allclose(params[key], value.detach().numpy(), rtol=1e-4, atol=1e-6, err_msg=key)


def test_unknown_names_are_told_with_the_near_ones():
  with pytest.raises(UserError, match="cosine"):
    optimizer.schedule(optimizer_config(schedule="cosin"), G)
  with pytest.raises(UserError, match="adam"):
    optimizer.build(optimizer_config(name="adma"), lambda t: t, [])


def test_a_frozen_submodule_is_all_its_parameters():
  config = optimizer_config()
  config.freeze.update({"text_encoder": True})
  names = ["text_encoder/dense/kernel", "text_encoder/dense/bias", "video_encoder/dense/kernel"]
  assert optimizer.frozen_submodules(config, names) == set(names[:2])
