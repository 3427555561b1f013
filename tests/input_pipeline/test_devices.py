"""JAX without the device that it was told to use."""

import os
import subprocess
import sys

import jax
import pytest

from input_pipeline import devices
from input_pipeline.errors import UserError


def test_the_devices_that_are_there_are_accepted():
  devices.require()


@pytest.mark.parametrize("error, reason", [
    (AssertionError(), "no such device, or no driver"), (RuntimeError("Unable to initialize backend 'x': no\nmore"), "'x': no$")])
def test_a_device_that_is_not_there_is_told_with_what_is(monkeypatch, error, reason):
  found = jax.devices

  def fail():
    if jax.config.jax_platforms is None:
      return found("cpu")
    raise error

  monkeypatch.setattr(jax, "devices", fail)
  monkeypatch.setenv("JAX_PLATFORMS", "x")
  with pytest.raises(UserError, match=f"(?m)^JAX_PLATFORMS=x, but JAX cannot use it: .*{reason}"):
    devices.require()
  with pytest.raises(UserError, match="Here there is cpu. Set JAX_PLATFORMS=cpu"):
    devices.require()


def test_a_command_says_so_without_a_traceback(tmp_path):
  (tmp_path / "a.npz").touch()
  result = subprocess.run(
      [sys.executable, "scripts/convert_checkpoint.py", "--kind=bit", f"--input={tmp_path}/a.npz", f"--output={tmp_path}/b"],
      env={**os.environ, "JAX_PLATFORMS": "gpu0"}, capture_output=True, encoding="utf-8", timeout=100)
  assert result.returncode == 2 and "Here there is cpu" in result.stderr and "Traceback" not in result.stderr
