"""How methods learn: sums that lose no digits, and a closed form that does not depend on batches or devices."""

import jax
import numpy as np
import pytest

from er_jax import train
from er_jax.experiment import Experiment
from er_jax.models.eszsl import Sum
from tests.er_jax.small import small_config, small_dataset


def test_a_running_sum_keeps_what_float32_would_lose():
  random = np.random.default_rng(0)
  terms = (1000 + random.random((3000, 5))).astype(np.float32)
  total, plus = Sum.zeros(5), jax.jit(Sum.plus)
  for term in terms:
    total = plus(total, term)
  exact = terms.astype(np.float64).sum(axis=0)
  assert np.abs(total.float64() - exact).max() < 1e-5
  assert np.abs(np.cumsum(terms, axis=0, dtype=np.float32)[-1] - exact).max() > 0.1      # what it is compared with


@pytest.mark.parametrize("devices, batch_size, epochs", [(1, 5, 1), (8, 16, 1), (8, 42, 3)])
def test_the_closed_form_is_the_same_by_any_batches_on_any_devices(tmp_path, devices, batch_size, epochs):
  def weights(name, devices, batch_size, epochs=1):
    config = small_config("eszsl", "", batch_size=batch_size, num_epochs=epochs)
    (tmp_path / name).mkdir()
    experiment = Experiment(config, tmp_path / name, small_dataset(tmp_path), jax.devices()[:devices])
    assert train.train(experiment)
    last = max((tmp_path / name / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    return experiment.load_params(last)["eszsl"]["dense"]["kernel"]

  ours = weights("a", devices, batch_size, epochs)          # each video counts once, whatever the config says
  np.testing.assert_allclose(ours, weights("b", 1, 42), rtol=1e-4, atol=1e-9)
