"""Eight simulated devices, programs compiled once a test run, and shapes that are held to what annotations say."""

import os
import tempfile

from jaxtyping import install_import_hook

DEVICES = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  COMPILED = tempfile.TemporaryDirectory(prefix="er_jax_test_compiled_")      # gone when the tests end
  os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")

install_import_hook(["er_jax.losses", "er_jax.models", "er_jax.steps", "input_pipeline.backbones"], "beartype.beartype")

LONG_FILES = ("test_train", "test_parity", "test_provenance", "test_main", "test_checkpoints", "test_benchmark", "test_extract")


def pytest_collection_modifyitems(items):
  """The files that take longest come first, or one worker would be left with one of them at the end."""
  items.sort(key=lambda item: LONG_FILES.index(item.path.stem) if item.path.stem in LONG_FILES else len(LONG_FILES))
