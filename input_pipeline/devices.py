"""The devices that JAX computes on: that there are any is asked before the work begins.

    devices.require()      # "JAX_PLATFORMS=cuda, but ... here there is cpu."
"""

import os

import jax

from input_pipeline.errors import UserError


def require() -> None:
  """Raises: UserError if JAX finds no device: what it was told to use, why that failed, and what there is."""
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    asked = os.environ.get("JAX_PLATFORMS") or jax.config.jax_platforms      # pyright: ignore[reportAttributeAccessIssue]
    told = f"JAX_PLATFORMS={asked}, but JAX" if asked else "JAX"
    reason = (str(error).strip() or "there is no such device, or no driver for it").splitlines()[0]
    there = _platform_without_wishes()
    raise UserError(f"{told} cannot use it: {reason}\nHere there is {there}. Set JAX_PLATFORMS={there}, or leave it unset to "
                    "take the best that there is.") from error


def _platform_without_wishes() -> str:
  """The platform that JAX takes where nothing is asked for; "cpu" is always there."""
  wish = jax.config.jax_platforms      # pyright: ignore[reportAttributeAccessIssue]
  try:
    jax.config.update("jax_platforms", None)
    return jax.devices()[0].platform
  except (RuntimeError, AssertionError):
    return "cpu"
  finally:
    jax.config.update("jax_platforms", wish)
