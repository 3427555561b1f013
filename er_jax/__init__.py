"""Zero-shot action recognition: batches to accuracy."""

import input_pipeline as _  # sets what XLA needs before JAX starts
