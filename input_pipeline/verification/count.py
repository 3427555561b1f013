"""Everything that there is of a dataset, looked at: expected, found, readable, prepared and evaluated videos.

    verification = verify(options_of("ucf101_zsar", "data"), read="packets")
    verification.is_complete
"""

from pathlib import Path

from input_pipeline.dataset import dataset_path, open_dataset
from input_pipeline.errors import UserError
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.verification.checks import check_evaluated, check_files, check_prepared
from input_pipeline.verification.expected import class_splits, expected
from input_pipeline.verification.report import Verification


def verify(options: PrepareOptions, read: str = "frames", workdir: Path | None = None,
           require_prepared: bool = False) -> Verification:
  """Looks at everything that there is of a dataset.

  Args:
    options: from `expected.options_of`.
    read: "frames", "packets" or "none"; see `checks.check_files`.
    workdir: folder of a run, to count what it evaluated.
    require_prepared: a dataset that is not prepared is a problem.

  Raises:
    UserError: something about the source, the lists, the prepared dataset or the run is wrong.
  """
  path = dataset_path(options.data_dir, options.dataset)
  if workdir and path is None:
    raise UserError(f"--workdir={workdir} was given, but {options.dataset} is not prepared in {options.data_dir}. "
                    "Where does the dataset lie that the run was evaluated on? Give --data_dir=DIR.")
  raw_dataset = expected(options)
  splits = class_splits(raw_dataset)
  prepared = evaluated = None
  problems, remarks = {}, []
  if path:
    dataset = open_dataset(options.data_dir, options.dataset)
    prepared, problems, remarks = check_prepared(raw_dataset, dataset)
    if workdir:
      evaluated, missed, more = check_evaluated(raw_dataset, splits, dataset, workdir)
      problems, remarks = {**missed, **problems}, remarks + more
  elif require_prepared:
    remarks = [f"{options.dataset} is not prepared in {options.data_dir}. Prepare it with\n  {options.command()}"]
  found, readable, bad = check_files(options, raw_dataset, read)      # the last, because it takes long
  return Verification(raw_dataset, splits, found, readable, prepared, evaluated, {**problems, **bad}, remarks)
