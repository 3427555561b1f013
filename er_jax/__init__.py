"""Zero-shot action recognition: batches to accuracy."""

import input_pipeline as _  # noqa: F401, it sets what XLA needs before JAX starts
