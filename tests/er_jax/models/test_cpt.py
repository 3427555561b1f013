"""How separate objects are weighted, by hand and without the ones that are not there."""

import jax.numpy as jnp
import numpy as np
import pytest

from er_jax.models.cpt import concept_weights


def test_an_object_that_repeats_another_counts_less():
  objects = jnp.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
  distinct = np.exp(10 * np.array([1 / 2, 1 / 2, 1.0]))          # r = 1 / (1 + 1 + 0), the same, 1 / (0 + 0 + 1)
  np.testing.assert_allclose(concept_weights(objects, jnp.ones((1, 3), bool))[0], distinct / distinct.sum(), rtol=1e-5)


def test_opposite_objects_do_not_make_each_other_distinct():
  objects = jnp.array([[[1.0, 0.0], [-1.0, 0.0]]])
  np.testing.assert_allclose(concept_weights(objects, jnp.ones((1, 2), bool))[0], [0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("present, expected", [([True, False, True], [0.5, 0.0, 0.5]), ([False] * 3, [0.0] * 3)])
def test_absent_objects_have_no_weight_and_change_none(present, expected):
  objects = jnp.array([[[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]]])
  np.testing.assert_allclose(concept_weights(objects, jnp.array([present]))[0], expected, rtol=1e-6)
