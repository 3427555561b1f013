"""Types that every room speaks of."""

import jax
import numpy as np

Array = jax.Array | np.ndarray     # NumPy's on the host, JAX's in a step
