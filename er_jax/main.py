"""Trains and evaluates a method: zero-shot accuracy on classes that no training video shows.

    python -m er_jax.main --config=configs/ervse.py                       # on toy_actions, prepared on the way
    python -m er_jax.main --config=configs/ervse.py:precomputed --config.data.data_dir=/data --workdir=runs/a
    python -m er_jax.main --config=configs/ervse.py --workdir=runs/a --mode=eval
    python -m er_jax.main --config=configs/ervse.py:kinetics_zsar --workdir=runs/k --mode=eval --test_dataset=ucf101_zsar

The same command again goes on where it stopped. Several machines: start it on each with --coordinator_address,
--num_processes and --process_id.

JAX and all that computes is imported after the flags are read, so that --help and a wrong flag answer at once.
"""

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import contextlib

from absl import flags, logging

from er_jax import config_files, processes
from input_pipeline import errors, paths
from input_pipeline.errors import UserError

MODES = ("train_and_eval", "train", "eval")


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands have flags of their own."""
  config_files.define_flag("A name or file of configs/, with :DATASET behind it if wanted.")
  flags.DEFINE_string("workdir", None, "Where the run is kept; runs/METHOD-DATASET if not given.")
  flags.DEFINE_enum("mode", "train_and_eval", MODES, "What to do.")
  flags.DEFINE_string("checkpoint", None, "With --mode=eval: evaluate this checkpoint folder.")
  flags.DEFINE_string("test_dataset", None, "With --mode=eval: test the trained model on another dataset, that lies in "
                      "the same config.data.data_dir; results go to WORKDIR/on_NAME.")
  flags.DEFINE_string("test_corrections", None, "With --test_dataset: a corrections.jsonl for the classes of that.")
  flags.DEFINE_string("coordinator_address", None, "HOST:PORT of process 0, for several processes.")
  flags.DEFINE_integer("num_processes", None, "How many processes run together.")
  flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")


def main(argv: list[str]) -> None:
  """Runs what the flags say."""
  del argv
  logging.set_verbosity(logging.ERROR)    # libraries' remarks; ours are printed
  values = flags.FLAGS
  if values.config is None:
    raise UserError("Which experiment? Give --config=configs/ervse.py, or another file of configs/.")
  try:
    values.config.method  # noqa: B018
  except (OSError, AttributeError) as error:   # ml_collections tells of a missing file when a field is asked for
    raise UserError(f"--config names no experiment of this project; it has no method. {error}") from error
  workdir, checkpoint, test_corrections = paths.of_flags(values, "workdir", "checkpoint", "test_corrections")
  if checkpoint and values.mode != "eval":
    raise UserError("--checkpoint goes with --mode=eval; to start training from it, use --config.init_from.")
  if values.test_dataset and values.mode != "eval":
    raise UserError("--test_dataset goes with --mode=eval, of a model that is trained.")
  if test_corrections and not values.test_dataset:
    raise UserError("--test_corrections goes with --test_dataset; for the dataset that is trained on, give "
                    "--config.data.corrections.")
  others = contextlib.nullcontext()
  together = values.coordinator_address, values.num_processes, values.process_id
  if any(value is not None for value in together):
    if any(value is None for value in together) or not 0 <= values.process_id < values.num_processes:
      raise UserError("Several processes need all of --coordinator_address=HOST:PORT, --num_processes=N and "
                      "--process_id from 0 to N-1.")
    others = processes.joined(*together)
  with others:
    from er_jax.run import run

    run(values.config, workdir, values.mode, checkpoint, values.test_dataset, test_corrections)


if __name__ == "__main__":
  define_flags()
  errors.run(main)
