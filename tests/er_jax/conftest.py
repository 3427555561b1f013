"""Fixtures of the tests that train."""

from collections.abc import Iterator

import jax
import pytest

from input_pipeline.dataset import Dataset
from tests.er_jax import small


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
  """Programs are compiled in a third of the time and run slower, which does not count at this size."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")      # for processes that a test starts
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def small_dataset(tmp_path) -> Dataset:
  return small.small_dataset(tmp_path)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory) -> str:
  return str(small.write_bert_folder(tmp_path_factory.mktemp("bert")))
