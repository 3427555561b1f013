"""Convolution and pooling against PyTorch's."""

import jax.numpy as jnp
import numpy as np
import pytest

from input_pipeline.backbones.convolution import convolve, max_pool

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("height, width", [(8, 8), (9, 7), (1, 2)])
@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_equals_torch_with_explicit_padding(height, width, size, stride):
  random = np.random.default_rng(0)
  x = random.standard_normal((2, height, width, 5), np.float32)
  kernel = random.standard_normal((size, size, 5, 4), np.float32)
  images, filters = torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(kernel).permute(3, 2, 0, 1)
  expected = torch.nn.functional.conv2d(images, filters, stride=stride, padding=size // 2)
  actual = convolve(jnp.asarray(x), jnp.asarray(kernel), stride)
  np.testing.assert_allclose(actual, expected.permute(0, 2, 3, 1), atol=1e-4)


@pytest.mark.parametrize("height, width", [(8, 8), (9, 7), (1, 2)])
def test_padding_of_minus_infinity_never_wins_the_max(height, width):
  x = np.random.default_rng(0).standard_normal((2, height, width, 5), np.float32) - 10
  expected = torch.nn.functional.max_pool2d(torch.tensor(x).permute(0, 3, 1, 2), 3, 2, padding=1)
  np.testing.assert_array_equal(max_pool(jnp.asarray(x), -jnp.inf), expected.permute(0, 2, 3, 1))


@pytest.mark.parametrize("height, width", [(8, 8), (9, 7), (1, 2)])
def test_padding_of_zeros_takes_part_in_the_max(height, width):
  x = np.random.default_rng(0).standard_normal((2, height, width, 5), np.float32) - 10
  padded = torch.nn.functional.pad(torch.tensor(x).permute(0, 3, 1, 2), (1, 1, 1, 1))
  expected = torch.nn.functional.max_pool2d(padded, 3, 2)
  np.testing.assert_array_equal(max_pool(jnp.asarray(x), 0), expected.permute(0, 2, 3, 1))
