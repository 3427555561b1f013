"""Flags that XLA has to be given before JAX starts, so that it computes what the program says.

    os.environ["XLA_FLAGS"] = with_guards(os.environ.get("XLA_FLAGS", ""))
"""

import importlib.metadata
import re

# Sums over rows of matrix products come out wrong on CPUs, by up to 54% from 32,769 rows on, and others crash, where
# they are left to the library YNNPACK (https://github.com/jax-ml/jax/issues/39103, 39257 and 40412).
GUARD = "--xla_cpu_experimental_ynn_fusion_type=-reduce"
FAULTY = (0, 10, 2), (0, 12)     # releases of jaxlib: from, and up to but without; XLA ends a program at an unknown flag


def with_guards(flags: str, jaxlib: str | None = None) -> str:
  """XLA_FLAGS with what this release of jaxlib needs, but for a flag that is set there already.

  Args:
    flags: as they are.
    jaxlib: its version; None for the one that is installed.
  """
  try:
    release = tuple(map(int, re.findall(r"\d+", jaxlib or importlib.metadata.version("jaxlib"))[:3]))
  except importlib.metadata.PackageNotFoundError:      # nothing will be computed, as where files are downloaded
    return flags
  if GUARD.split("=")[0] in flags or not FAULTY[0] <= release < FAULTY[1]:
    return flags
  return f"{flags} {GUARD}".strip()
