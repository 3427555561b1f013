"""All shards of an extraction as an Apache Beam pipeline, on whatever runs it.

    extract_all(options, runner="FlinkRunner", beam_options="--flink_master=host:8081 --parallelism=8")

The pipeline is the list of shards, spread over the workers; a worker loads the weights once and runs one shard after
another. Features go to the work folder, not through Beam: launcher and workers must share the file system of DATA_DIR
and of the videos, under the same paths. Needs requirements-beam.txt.
"""

import shlex
from collections.abc import Iterator
from types import ModuleType

from input_pipeline import errors
from input_pipeline.errors import Failure, UserError
from input_pipeline.preparation import shards
from input_pipeline.preparation.feature_sources import describe, feature_source
from input_pipeline.preparation.options import PrepareOptions

RUNNERS = ("DataflowRunner", "DirectRunner", "FlinkRunner", "PortableRunner", "PrismRunner", "SparkRunner")


def extract_all(options: PrepareOptions, runner: str, beam_options: str, digest: str) -> None:
  """Runs every shard; returns when all are done.

  Args:
    options: what to extract, in how many shards.
    runner: one of `RUNNERS`.
    beam_options: further options of Beam's, as on a command line.
    digest: `shards.entries_digest` of the raw dataset that the launcher sees.

  Raises:
    UserError: Beam is not installed, there is no such runner or option, or as `shards.fill` on a worker.
    Failure: the pipeline failed; shards that are done stay done.
    KeyboardInterrupt: the worker, in this process, was interrupted.
  """
  if runner not in RUNNERS:
    raise errors.unknown("--beam_runner", runner, RUNNERS)
  beam = _beam()
  try:
    pipeline_options = beam.options.pipeline_options.PipelineOptions(
        [f"--runner={runner}", *shlex.split(beam_options)])
    pipeline_options.get_all_options()
  except (SystemExit, ValueError) as error:      # its parser ends the program
    raise UserError(f"--beam_options={beam_options!r}: Beam does not take these (it says why above); "
                    "expected options as on a command line, --name=value and a space between two.") from error
  try:
    with beam.Pipeline(options=pipeline_options) as pipeline:
      _ = (pipeline
           | "Shards" >> beam.Create(range(options.num_shards))
           | "Spread" >> beam.Reshuffle()
           | "Extract" >> beam.ParDo(_worker(beam)(options, digest)))
  except Exception as error:      # each runner has its own; what a worker raised is in its text
    raise _as_raised_by_a_worker(error, runner) from error


def _as_raised_by_a_worker(error: Exception, runner: str) -> BaseException:
  """What to raise for a failed pipeline; where the worker is another process, only its traceback's text says why."""
  text = str(error)
  _, found, message = text.rpartition(f"{UserError.__name__}: ")
  if found or isinstance(error, UserError):
    return UserError(message.split(" [while running")[0].strip())
  reason = (text.strip() or "no reason given").splitlines()[-1]
  if KeyboardInterrupt.__name__ in reason:
    return KeyboardInterrupt()
  return Failure(f"The Beam pipeline failed on {runner}: {reason}\nShards that are done stay done. Put that right, "
                 "then give the same command again to go on.")


def _beam() -> ModuleType:
  """Raises: UserError with the command that installs it."""
  try:
    import apache_beam  # an extra; takes seconds to import
  except ImportError as error:
    raise UserError(f"--beam_runner needs Apache Beam, which cannot be imported ({error}). Install it:\n"
                    "  pip install -r requirements.txt -r requirements-beam.txt") from error
  return apache_beam


def _worker(beam: ModuleType) -> type:
  """The class that runs shards on a worker; made here, because Beam is an extra."""

  class ExtractShard(beam.DoFn):
    """Shard index -> the same index, when the shard is done."""

    def __init__(self, options: PrepareOptions, digest: str):
      self._options, self._digest = options, digest

    def setup(self) -> None:
      """Once a worker. Raises: UserError if it sees other videos than the launcher."""
      self._raw_dataset = self._options.raw_dataset()
      if shards.entries_digest(self._raw_dataset) != self._digest:
        raise UserError(f"This worker finds other videos below {self._options.root} than the launcher. They must share "
                        "the file system of the videos and of --data_dir, under the same paths.")
      self._features = feature_source(self._options)
      self._source = describe(self._options, self._features)
      self._work = shards.work_folder(self._options.extractions, self._raw_dataset, self._source)

    def process(self, index: int) -> Iterator[int]:
      shards.fill(shards.Shard(index, self._options.num_shards), self._work, self._raw_dataset, self._features,
                  self._source)
      yield index

  return ExtractShard
