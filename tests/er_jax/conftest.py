"""Fixtures of the tests that train."""

import pytest

from input_pipeline.dataset import Dataset
from tests.er_jax import small


@pytest.fixture
def small_dataset(tmp_path) -> Dataset:
  return small.small_dataset(tmp_path)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory) -> str:
  return str(small.write_bert_folder(tmp_path_factory.mktemp("bert")))
