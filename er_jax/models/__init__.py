"""The methods that there are, by name: a file NAME.py with a `METHOD` is one (spec.py says what it declares).

    METHODS.names()                  # ["ale", ...]
    METHODS.load("dem").title        # "DEM"; `load` gives a MethodSpec
"""

from input_pipeline.registry import Registry

METHODS = Registry("er_jax.models", "METHOD", "config.method")
