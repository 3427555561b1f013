"""What a result rests on, for results.json: the prepared dataset, its manifest, and which descriptions were read.

    provenance.of(config, dataset, config.data.corrections)
    # {"path": "data/ucf101_zsar/1.0.0", "manifest": {"path": ..., "sha256": ...},
    #  "descriptions": {"class_text": "name_description", "path": ..., "sha256": ..., "corrections": None}}
"""

from typing import Any

from ml_collections import ConfigDict

from input_pipeline import descriptions, files, manifest
from input_pipeline.loaders import Dataset


def of(config: ConfigDict, dataset: Dataset, corrected: str) -> dict[str, Any]:
  """Names and hashes of the files behind a result.

  Args:
    config: the experiment's config.
    dataset: whose classes are already described as the corrections want.
    corrected: the file of corrections; "" for none.

  Returns:
    "path" of the dataset; "manifest", None for a dataset without one; "descriptions", with "corrections" None or the
    file and the number of classes that it describes otherwise.

  Raises:
    UserError: the manifest was changed since it was written.
  """
  where, listed = dataset.path / manifest.NAME, dataset.path / "classes.jsonl"
  corrections = None
  if corrected:
    changed = sum(action.description != original.description
                  for action, original in zip(dataset.classes, descriptions.read_classes(listed)))
    corrections = {**files.cite(corrected), "num_changed": changed}
  return {"path": str(dataset.path), "manifest": manifest.cite(where) if where.exists() else None,
          "descriptions": {"class_text": config.data.class_text, **files.cite(listed), "corrections": corrections}}
