"""The guard against sums that XLA computes wrongly: where it is set, and that it works."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline import xla_flags


@pytest.mark.parametrize("rows", [32_768, 32_769, 40_000])
def test_sums_over_products_of_many_rows_are_right(rows):
  matrix = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
  points = np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32)
  got = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(points)
  expected = np.square(points.astype(np.float64) @ matrix.T.astype(np.float64)).sum(axis=1)
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_importing_a_package_sets_the_guard():
  assert os.environ["XLA_FLAGS"] == xla_flags.with_guards(os.environ["XLA_FLAGS"])


@pytest.mark.parametrize("jaxlib", ["0.10.2", "0.11.0", "0.11.2.dev20260901"])
def test_faulty_releases_are_guarded_beside_other_flags(jaxlib):
  assert xla_flags.with_guards("", jaxlib) == xla_flags.GUARD
  assert xla_flags.with_guards("--other=1", jaxlib) == f"--other=1 {xla_flags.GUARD}"


@pytest.mark.parametrize("jaxlib", ["0.9.2", "0.10.1", "0.12.0", "1.0"])
def test_releases_that_may_not_know_the_flag_are_left_alone(jaxlib):
  assert xla_flags.with_guards("--other=1", jaxlib) == "--other=1"


def test_what_somebody_has_set_stays():
  own = "--xla_cpu_experimental_ynn_fusion_type=dot"
  assert xla_flags.with_guards(own, "0.10.2") == own
