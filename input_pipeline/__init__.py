"""Videos to batches of numbers and ids: preparation, prepared datasets, loading."""

import os

from input_pipeline import xla_flags

os.environ["XLA_FLAGS"] = xla_flags.with_guards(os.environ.get("XLA_FLAGS", ""))     # JAX reads it when it first computes
