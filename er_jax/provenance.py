"""The data that a run and its results rest on: the prepared dataset, its manifest, class splits and descriptions, by their hashes.

    data = provenance.of(config, dataset, config.data.corrections)      # in results.json
    # {"path": "data/ucf101_zsar/1.0.0", "manifest": {"path": ..., "sha256": ...}, "class_splits": {...},
    #  "descriptions": {"class_text": "name_description", "path": ..., "sha256": ..., "corrections": None},
    #  "views": {"stored": 1, "average": "features"}}
    provenance.keep(workdir, data, training=True, write=True)      # refuses to train on with other data than the run began with
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from input_pipeline import files, manifest, paths
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.metadata import descriptions

DATA_FILE = "data.json"      # in a workdir


def of(config: ConfigDict, dataset: Dataset, corrected: str | Path | None) -> dict[str, Any]:
  """Names and hashes of the files behind a result.

  Args:
    config: the experiment's config.
    dataset: whose classes are already described as the corrections want.
    corrected: the file of corrections; None or "" for none.

  Returns:
    "path" of the dataset; "manifest" and "class_splits", None for a dataset without; "descriptions", with "corrections"
    None or the file and the number of classes that it describes otherwise; "views".

  Raises:
    UserError: the manifest was changed since it was written, or the class splits are not those that it lists.
  """
  where, splits, listed = (dataset.path / name for name in (manifest.NAME, "class_splits.json", "classes.jsonl"))
  corrections = None
  if corrected:
    changed = sum(action.description != original.description
                  for action, original in zip(dataset.classes, descriptions.read_classes(listed)))
    corrections = {**files.cite(paths.absolute(corrected, "corrections")), "num_changed": changed}
  return {"path": str(dataset.path),
          "manifest": manifest.cite(where, dataset.classes, dataset.class_splits) if where.exists() else None,
          "class_splits": files.cite(splits) if splits.exists() else None,
          "descriptions": {"class_text": config.data.class_text, **files.cite(listed), "corrections": corrections},
          "views": {"stored": dataset.num_views, "average": config.data.average_views}}


def keep(workdir: Path, data: dict[str, Any], training: bool, write: bool) -> None:
  """Notes in a workdir what its training rests on; another time, compares.

  Args:
    workdir: of one model.
    data: from `of`.
    training: whether the run is to train (on); if it is only to be evaluated, other videos are no matter.
    write: whether this process writes files.

  Raises:
    UserError: the run was trained with other videos, classes, class splits or descriptions.
  """
  path = workdir / DATA_FILE
  if not path.exists():
    if training and write:
      files.write_json(path, data)
    return
  then, now = (_hashes(found) for found in (files.read_json(path), data))
  if not training:
    then, now = ({**hashes, "videos (manifest.json)": None} for hashes in (then, now))
  different = [what for what in now if then[what] != now[what]]
  if different:
    raise UserError(f"{workdir} was trained with other data than {data['path']} has now: different are its "
                    f"{', '.join(different)}. What it was trained with is in {path}. Give another --workdir, or the old "
                    "data.")


def _hashes(data: dict[str, Any]) -> dict[str, str | None]:
  texts = data["descriptions"]
  files_of = {"videos (manifest.json)": data["manifest"], "class splits (class_splits.json)": data["class_splits"],
              "classes (classes.jsonl)": texts, "corrections": texts["corrections"]}
  return {what: file and file["sha256"] for what, file in files_of.items()}
