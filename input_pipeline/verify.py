"""Counts a dataset's videos: expected, found, readable, prepared and evaluated, by split and class.

    python -m input_pipeline.verify --dataset=ucf101_zsar --source=/data/UCF-101     # before it is prepared
    python -m input_pipeline.verify --dataset=ucf101_zsar                            # after: options are as prepared
    python -m input_pipeline.verify --dataset=ucf101_zsar --workdir=runs/ervse-ucf101_zsar --output=problems.jsonl

A video is found if its file is there and not empty. What readable means, and costs, --read says:

  frames    the frames that extraction takes can be decoded: some 40 to 400 ms a video and core (default)
  packets   it can be opened and its frames counted: some 5 ms; damage inside is not noticed
  none      it is not read

Like extraction, both take what is left of a video that breaks off, and name it in a warning. Files of features are read as a whole.

A video is prepared if it is an example, of its class, in DATA_DIR/NAME/VERSION; it is evaluated if it is in
WORKDIR/predictions for each class split that tests its class. The run's results must also rest on this very dataset.

Where a dataset has no list of videos, those that are there are expected; the report says how many were published.

Exit status: 0 if nothing falls short; 1 if something does, after the report; 2 for wrong input, or where --output cannot
be written. A dataset that is not prepared yet falls short only with --require_prepared.
"""

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from input_pipeline import errors, files, paths, startup
from input_pipeline.errors import UserError
from input_pipeline.preparation import flags as flag_lib

if TYPE_CHECKING:
  from input_pipeline.preparation.options import PrepareOptions
  from input_pipeline.verification.report import Verification

READS = ("frames", "packets", "none")
OPTIONS = ("source", "metadata", "classes", "videos", "split_seed", "num_splits", "features", "num_workers")


def define_flags() -> None:
  """The command's flags."""
  flag_lib.define_flags()
  flags.DEFINE_enum("read", "frames", READS, "What to read of each video.")
  flags.DEFINE_string("workdir", None, "A run's folder: count what it evaluated.")
  flags.DEFINE_boolean("require_prepared", False, "A dataset that is not prepared falls short.")
  flags.DEFINE_boolean("all_classes", False, "List all classes, not only those that fall short.")
  flags.DEFINE_string("output", None, "A .jsonl file to be written: every video with a problem.")


def main(argv: list[str]) -> None:
  """Verifies what the flags say."""
  del argv
  values: Any = flags.FLAGS
  flag_lib.require_dataset(values.dataset)
  workdir, output = paths.of_flags(values, "workdir", "output")
  if output:
    _require_writable(output)

  from input_pipeline.verification.count import verify  # only now, so that a wrong flag answers at once
  from input_pipeline.verification.expected import options_of

  logging.set_verbosity(logging.WARNING)
  signal.signal(signal.SIGTERM, startup.interrupt)
  try:
    options = options_of(values.dataset, values.data_dir, **{name: getattr(values, name) for name in OPTIONS})
    verification = verify(options, values.read, workdir, values.require_prepared)
  except KeyboardInterrupt as interrupt:
    raise KeyboardInterrupt(
        "\nInterrupted. Nothing was written; give the same command to begin again.") from interrupt
  report(verification, options, values.all_classes, output)
  sys.exit(0 if verification.is_complete else 1)


def report(verification: "Verification", options: "PrepareOptions", all_classes: bool, output: Path | None) -> None:
  """Prints the report, then writes each video with a problem to `output`. Raises: UserError if that cannot be done."""
  from input_pipeline.verification.report import print_report, rows

  print_report(verification, options.dataset, options.spec.num_videos, all_classes)
  if output:
    try:
      files.write_jsonl(output, rows(verification))
    except OSError as error:
      raise UserError(f"The report is whole, but --output={output} could not be written: {error}. Put that right, and give "
                      "the command again for the file.") from error


def _require_writable(output: Path) -> None:
  """Raises: UserError if there could not be a file `output`."""
  if output.is_dir():
    raise UserError(f"--output={output} is a folder, expected a file to be written, such as problems.jsonl.")
  try:
    output.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=output.parent).close()
  except OSError as error:
    raise UserError(f"--output={output} cannot be written: {error}. Give another file.") from error


if __name__ == "__main__":
  define_flags()
  errors.run(main)
