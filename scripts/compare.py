"""Methods side by side on one dataset: er_jax/compare.py, which says how it is used, without being installed."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()
  runpy.run_module("er_jax.compare", run_name="__main__", alter_sys=True)
