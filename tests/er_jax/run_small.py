"""Trains and evaluates on the small dataset in a process of its own, to be killed, joined by others, or told to stop.

    python -m tests.er_jax.run_small WORKDIR BERT_FOLDER '{"parallel": "jit"}' [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import contextlib
import json
import resource
import sys
from pathlib import Path

from er_jax import run
from er_jax.processes import joined
from input_pipeline import errors
from tests.er_jax.small import small_config, small_dataset


def main(argv: list[str]) -> None:
  """Runs `er_jax.run.run` with the small dataset in the place of a prepared one."""
  workdir, bert_folder, overrides, *others = argv
  overrides = json.loads(overrides)
  pause = overrides.pop("pause", 0.0)
  largest_file = overrides.pop("largest_file", None)
  if largest_file:     # writing beyond fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
  config = small_config("ervse", bert_folder, **overrides)
  run.open_dataset = lambda config: small_dataset(Path(workdir).parent, pause=pause)
  with joined(others[0], *map(int, others[1:])) if others else contextlib.nullcontext():
    run.run(config, workdir)


if __name__ == "__main__":
  try:
    main(sys.argv[1:])
  except errors.UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.status)
