"""Videos, or files of features -> a TFDS dataset of features and concepts.

    python -m input_pipeline.prepare --dataset=toy_actions --data_dir=data
    python -m input_pipeline.prepare --dataset=precomputed --data_dir=data --source=DIR

Each video is decoded once; all backbones see it. Features that are files already are read as they are. A run that is
stopped at any point, also by kill -9 or a full disk, goes on where it was when the same command is given again:
features wait in DATA_DIR/extraction/NAME/ until the dataset, DATA_DIR/NAME/VERSION/, is there as a whole. A video
that cannot be read is left out and listed with its reason in skipped.jsonl beside the dataset; if that is the fault of
the machine, the command ends instead.

The work can be divided among machines (--num_shards with --shard_index and --merge, or --beam_runner): EXTRACTION.md.
"""

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import dataclasses
import signal
import sys
from pathlib import Path
from typing import Any

from absl import flags, logging

from input_pipeline import errors, files, startup
from input_pipeline.backbones import BACKBONES
from input_pipeline.preparation import flags as flag_lib


def prepare(dataset: str, data_dir: str | Path, source: str | Path | None = None, **fields: Any) -> Path:
  """Makes a dataset, or finds that it is there; see `input_pipeline.preparation.make`, which is imported only now."""
  from input_pipeline.preparation import make

  return make.prepare(dataset, data_dir, source, **fields)


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands import this module."""
  flag_lib.define_flags()
  for name in BACKBONES.names():
    flags.DEFINE_string(name, None, f"Weights of the backbone input_pipeline/backbones/{name}.py, a published file or a "
                        "converted checkpoint. Default: the dataset's, if it has some.")
  flags.DEFINE_string("concepts", None, "Names and definitions of the objects: a concepts.jsonl. "
                      "Default: the dataset's.")
  flags.DEFINE_integer("temporal_samples", 1, "Clips of 8 frames for the feature of a video, at different times.")
  flags.DEFINE_integer("spatial_crops", 1, "Squares of each frame for the feature of a video: 1, 3 or 5.")
  flags.DEFINE_integer("dense_stride", 0, "Frames from one of the 8 frames to the next; 0 spreads them over the video.")
  flags.DEFINE_string("concept_predictions", None, "JSON file of the objects in the videos of --features.")
  flags.DEFINE_integer("batch_size", 8, "Videos a batch and device.")
  flags.DEFINE_integer("num_shards", 1, "Into how many parts to divide the extraction (EXTRACTION.md).")
  flags.DEFINE_integer("shard_index", None, "Extract this part only, 0 to NUM_SHARDS - 1.")
  flags.DEFINE_boolean("merge", False, "Make the dataset of NUM_SHARDS parts that are done.")
  flags.DEFINE_string("beam_runner", None, "Extract all parts by Apache Beam, on DirectRunner, FlinkRunner, "
                      "SparkRunner, ... Needs requirements-beam.txt.")
  flags.DEFINE_string("beam_options", "", "Options of Beam's runner, in quotes: \"--flink_master=... --x=y\".")


def main(argv: list[str]) -> None:
  """Prepares what the flags say."""
  del argv
  values = flags.FLAGS
  flag_lib.require_dataset(values.dataset)
  from input_pipeline.preparation.options import PrepareOptions  # only now, so that a wrong flag answers at once

  names = [field.name for field in dataclasses.fields(PrepareOptions) if field.name != "weights"]
  names += [*BACKBONES.names(), "shard_index", "merge", "beam_runner", "beam_options"]
  given = {name: getattr(values, name) for name in names}

  logging.set_verbosity(logging.WARNING)
  signal.signal(signal.SIGTERM, startup.interrupt)
  try:
    prepare(**given)
  except OSError as error:
    advice = "Make room on the disk" if error.errno in files.DISK_IS_FULL else "Put that right"
    print(f"error: cannot write the dataset: {error}. {advice}, then give the same command again to go on.", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
  define_flags()
  errors.run(main)
