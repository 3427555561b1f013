"""What a run and its results rest on, by hashes: the prepared dataset and what lies beside it, a text backbone.

    data = provenance.of(config, dataset, config.data.corrections)      # in results.json
    # {"path": "data/ucf101_zsar/1.0.0", "manifest": {"path": ..., "sha256": ...}, "class_splits": {...},
    #  "descriptions": {"class_text": "name_description", "path": ..., "sha256": ..., "corrections": None},
    #  "features": "67ab...", "beside": {"concepts.jsonl": "a41c...", ...},
    #  "views": {"stored": 1, "average": "features"}, "text_backbone": {"path": ..., "files": {"vocab.txt": ..., ...}}}
    provenance.keep(workdir, config, data, training=True, write=True)      # refuses to train on with others than at first

Where all this lies is no matter: a run, its data and its text backbone may move.
"""

import copy
import hashlib
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from er_jax.text.tower import TOWERS
from input_pipeline import files, manifest, paths
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.metadata import descriptions

BESIDE = ("concepts.jsonl", "class_vectors.npy", "word_list.json", "classifier_rows.npy")      # files of a dataset
DATA_FILE = "data.json"      # in a workdir
NAME_OR_PATH, INIT_FROM = "model.text_backbone.name_or_path", "init_from"
PLACES = frozenset({NAME_OR_PATH, INIT_FROM})      # fields of a config whose content is compared


def of(config: ConfigDict, dataset: Dataset, corrected: str | Path | None) -> dict[str, Any]:
  """Names and hashes of the files behind a result.

  Args:
    config: the experiment's config.
    dataset: whose classes are already described as the corrections want.
    corrected: the file of corrections; None or "" for none.

  Returns:
    "path" of the dataset; "manifest" and "class_splits", None for a dataset without; "descriptions", with "corrections"
    None or the file and the number of classes that it describes otherwise; "features", the fingerprint of what they are
    computed with; "beside", hashes of the concepts, class vectors, words and classifier; "views"; "text_backbone", None
    where it is made of the dataset alone.

  Raises:
    UserError: the manifest was changed since it was written, the class splits are not those that it lists, or the files
      of the text backbone are not there.
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
          "features": dataset.source.get("fingerprint"),
          "beside": {name: files.cite(dataset.path / name)["sha256"] for name in BESIDE if (dataset.path / name).exists()},
          "views": {"stored": dataset.num_views, "average": config.data.average_views},
          "text_backbone": _text_backbone(config)}


def fixed(config: ConfigDict, data: dict[str, Any]) -> dict[str, str | None]:
  """What a training must not change of its data, by name: hashes, wherever the files lie."""
  return _hashes(data, config, training=True)


def keep(workdir: Path, config: ConfigDict, data: dict[str, Any], training: bool, write: bool) -> None:
  """Notes in a workdir what its training rests on; another time, compares.

  Args:
    workdir: of one model.
    config: of the run as it is now.
    data: from `of`.
    training: whether the run is to train (on); if it is only to be evaluated, other videos are no matter.
    write: whether this process writes files.

  Raises:
    UserError: the run was trained with other videos, classes, class splits, descriptions or another text backbone.
  """
  path = workdir / DATA_FILE
  if not path.exists() and training and write:
    files.write_json(path, {**data, "init_from": _folder(config.init_from)})
  elif names := different(workdir, config, data, training):
    raise UserError(f"{workdir} was trained with other data than {data['path']} has now: different are its "
                    f"{', '.join(names)}. What it was trained with is in {path}. Give another --workdir, or the old data.")


def different(workdir: Path, config: ConfigDict, data: dict[str, Any], training: bool = False) -> list[str]:
  """Names of what is not as a run was trained with, by what it noted in its workdir; see `keep`."""
  path = workdir / DATA_FILE
  if not path.exists():
    return []
  kept = files.read_json(path)
  then, now = (_hashes(found, config, training) for found in (kept, data))
  if not {"text_backbone", "features", "beside"} <= kept.keys():      # by an earlier version: see `is_same_place`
    now = {what: now.get(what) for what in then}
  return [what for what in {**then, **now} if then.get(what) != now.get(what)]


def is_same_place(workdir: Path, config: ConfigDict, field: str, was: str) -> bool:
  """Whether a field that names a folder, and was another text when the run began, means the same content.

  Runs of earlier versions did not keep hashes: then what lies in both places is compared; if one is gone, the names of
  the folders are, which is said on stderr.

  Args:
    workdir: of one model.
    config: of the run as it is now.
    field: one of `PLACES`.
    was: its value when the run began.
  """
  kept = files.read_json(workdir / DATA_FILE) if (workdir / DATA_FILE).exists() else {}
  if field == NAME_OR_PATH:
    if "text_backbone" in kept:
      return True      # `keep` compares it
    if TOWERS.load(config.model.text_backbone.kind).files is None:
      return True      # nothing is read there
    is_now, other = config.model.text_backbone.name_or_path, copy.deepcopy(config)
    other.model.text_backbone.name_or_path = was
    now, then = (_hashes_of_tower(_text_backbone(of), config, training=False) if _is_folder(path) else None
                 for of, path in ((config, is_now), (other, was)))
  else:
    is_now = config.init_from
    now, then = _folder(is_now), kept.get("init_from") or _folder(was)
    now, then = (found and found["sha256"] for found in (now, then))
  if now is not None and then is not None:
    return now == then
  if not is_now or not was or Path(is_now).name != Path(was).name:
    return False
  print(f"warning: config.{field} is {is_now!r}, was {was!r}, which cannot be compared any more; it is taken for the same "
        "by its name.", file=sys.stderr)
  return True


def _text_backbone(config: ConfigDict) -> dict[str, Any] | None:
  """Path and hashes of the files that the text backbone is made of besides the dataset; None if there are none."""
  if "text_backbone" not in config.model:
    return None
  backbone = config.model.text_backbone
  files_of = TOWERS.load(backbone.kind).files
  return files_of and {"path": backbone.name_or_path,
                       "files": {name: files.cite(path)["sha256"] for name, path in files_of(backbone).items()}}


def _folder(path: str) -> dict[str, str] | None:
  """Path and hash of a folder with all that is in it; None if there is none."""
  if not _is_folder(path):
    return None
  digest = hashlib.sha256()
  for file in sorted(file for file in Path(path).rglob("*") if file.is_file()):
    digest.update(f"{file.relative_to(path).as_posix()}\0{files.cite(file)['sha256']}\n".encode())
  return {"path": path, "sha256": digest.hexdigest()}


def _is_folder(path: str) -> bool:
  return bool(path) and Path(path).is_dir()


def _hashes(data: dict[str, Any], config: ConfigDict, training: bool) -> dict[str, str | None]:
  texts = data["descriptions"]
  files_of = {"videos (manifest.json)": data["manifest"] if training else None,
              "class splits (class_splits.json)": data["class_splits"], "classes (classes.jsonl)": texts,
              "corrections": texts["corrections"]}
  return {**{what: file and file["sha256"] for what, file in files_of.items()},
          **({"features (the network or files they are from)": data["features"]} if "features" in data else {}),
          **data.get("beside", {}),
          **_hashes_of_tower(data.get("text_backbone"), config, training)}


def _hashes_of_tower(backbone: dict[str, Any] | None, config: ConfigDict, training: bool) -> dict[str, str]:
  """Those of its files that matter: a checkpoint has the weights."""
  if not backbone:
    return {}
  weights = TOWERS.load(config.model.text_backbone.kind).weights
  return {f"text backbone ({name})": digest for name, digest in backbone["files"].items()
          if training or name not in weights}
