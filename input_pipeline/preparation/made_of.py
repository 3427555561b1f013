"""What a prepared dataset was made of, compared by content with what is there now.

    made_of = read(path)                                        # its source.json
    options = options_as_made("ucf101_zsar", "data", made_of)    # as it was prepared, wherever that lies now
    differences(options.raw_dataset(), path)                    # ["class 'archery': its description is now ..."]
    video_differences(options.raw_dataset(), path)

The lists and texts are those that lie beside the examples; videos.jsonl there has the size and the time of every file
that features were made from, skipped.jsonl of those that could not be read.
"""

import collections
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import dataset_spec, files, manifest
from input_pipeline.dataset import open_version, require_examples, require_files
from input_pipeline.errors import UserError
from input_pipeline.features.store import NO_STAMP, Stamp, stamp
from input_pipeline.metadata import class_splits, concepts, descriptions, vectors
from input_pipeline.near_names import NO_FILE
from input_pipeline.preparation.options import PrepareOptions
from input_pipeline.raw_dataset import RawDataset, VideoEntry

VIDEOS, SKIPPED = "videos.jsonl", "skipped.jsonl"
STAMPED = ("name", "split", "size", "time")      # fields of a video whose file was there
EXTRAS = ("class_vectors.npy", "word_list.json", "classifier_rows.npy",
          *(f"word_table{suffix}" for suffix in vectors.TABLE_SUFFIXES))
SHOWN, SHOWN_CHARACTERS = 3, 80      # differences of a kind, and of a text


def read(path: Path) -> dict[str, Any]:
  """What the dataset at `path` was made from. Raises: UserError if its source.json does not say."""
  require_files(path, ("source.json",))
  made_of = files.read_json(path / "source.json")
  if not isinstance(made_of, dict) or not isinstance(made_of.get("root"), str) or not all(
      isinstance(made_of.get(field, {}), dict) for field in ("views", "options")):
    raise UserError(f"{path / 'source.json'} does not say what the dataset was made from: expected an object with "
                    f"\"root\", \"views\" and \"options\", got {str(made_of)[:80]}. Delete {path} and give this "
                    "command again.")
  return made_of


def require_whole(path: Path, dataset: str) -> None:
  """Asks that the dataset at `path` can be used: all files beside the examples are read, and some examples.

  Raises:
    UserError: saying which folder to delete, and what is missing or damaged in it.
  """
  try:
    opened = open_version(path, dataset)
    read(path)
    require_examples(opened)
    _stamps(path)
    if (path / manifest.NAME).exists():
      manifest.cite(path / manifest.NAME, opened.classes, opened.class_splits)
  except UserError as error:
    raise UserError(f"{path} is there, but is damaged. Delete that folder and give this command again.\n{error}") from error


def options_as_made(dataset: str, data_dir: str | Path, made_of: Mapping[str, Any], **given: Any) -> PrepareOptions:
  """The options that a dataset was prepared with, but for those that are given.

  A source or a folder of class lists that is no longer where it was is looked for in `data_dir`, which may have moved.

  Args:
    dataset, data_dir: as for `PrepareOptions`.
    made_of: from `read`.
    given: its other fields. With a source or features given, neither is taken from what was.

  Raises:
    UserError: a value cannot be, or there is no such dataset.
  """
  data_dir, chosen = Path(data_dir), made_of.get("options", {})
  recorded = {name: chosen[name] for name in dataset_spec.OPTIONS if name in chosen} | made_of.get("views", {})
  if _has_moved(recorded.get("metadata"), data_dir / "metadata"):
    del recorded["metadata"]
  if not {"source", "features"} & given.keys():
    features = chosen.get("features")
    recorded |= {name: chosen[name] for name in ("features", "concept_predictions") if name in chosen}
    if made_of["root"] != features and not _has_moved(made_of["root"], data_dir / "sources" / dataset):
      recorded["source"] = made_of["root"]
  if (vocabulary := made_of.get("concepts")) and Path(vocabulary).exists():
    recorded["concepts"] = vocabulary
  return PrepareOptions(dataset, data_dir, **{**recorded, **given})


def _has_moved(path: str | None, usual: Path) -> bool:
  return path is not None and not Path(path).exists() and usual.exists()


def differences(raw_dataset: RawDataset, path: Path) -> list[str]:
  """In what the classes, the vocabulary and the files beside the dataset at `path` are not those of `raw_dataset`.

  Raises:
    UserError: a file cannot be read.
  """
  then, now = descriptions.read_classes(path / "classes.jsonl"), raw_dataset.classes
  names_then, names_now = ([action.name for action in classes] for classes in (then, now))
  if names_then != names_now:
    found = [f"it has other classes than the lists, or in another order: {_first(names_then, names_now)}"]
  else:
    changed = [f"class {new.name!r}: its description is now {_short(new.description)}, was {_short(old.description)}"
               for old, new in zip(then, now) if old.description != new.description]
    found = _some(changed, "descriptions of classes")
  splits = path / "class_splits.json"
  if names_then == names_now and raw_dataset.class_splits != (
      class_splits.read_splits(splits, len(then)) if splits.exists() else ()):
    found.append("it has other class splits than those that are asked for")
  return found + _vocabulary_differences(raw_dataset, path) + _extra_differences(raw_dataset, path)


def _vocabulary_differences(raw_dataset: RawDataset, path: Path) -> list[str]:
  made_of, listed = read(path), path / "concepts.jsonl"
  own = made_of.get("concepts")
  if "concepts" not in made_of or (own and not Path(own).exists()):      # nobody knows where it was from; it is gone
    return []
  then, now = concepts.read_concepts(listed) if listed.exists() else [], raw_dataset.concepts
  return [] if list(now) == list(then) else [f"it has another vocabulary: {_first(then, now)}"]


def _extra_differences(raw_dataset: RawDataset, path: Path) -> list[str]:
  found = []
  for name in EXTRAS:
    then, now = path / name, raw_dataset.extras.get(name)
    if now is None and then.exists():
      found.append(f"it has {name}, for which there is no file now")
    elif now is not None and not then.exists():
      found.append(f"it lacks {name}, for which there is {now} now")
    elif now is not None and files.cite(now)["sha256"] != files.cite(then)["sha256"]:
      found.append(f"its {name} is not {now} as it is now")
  return found


class VideoDifferences(NamedTuple):
  """How videos differ from those that a dataset was made of.

  Attributes:
    certain: in words, what is not as it was.
    gone: files that were read and are not there.
    touched: files of the same size, but another time: their content may be as it was.
    count: files that were looked at.
  """

  certain: list[str]
  gone: list[Path]
  touched: list[Path]
  count: int


def video_differences(raw_dataset: RawDataset, path: Path) -> VideoDifferences:
  """Compares names, classes, splits, sizes and times of videos with those of the dataset at `path`.

  Datasets of earlier versions do not tell sizes and times, or have no manifest: then these are not compared.

  Raises:
    UserError: a file beside the dataset cannot be read.
  """
  now = {(entry.split, entry.name): entry for entry in raw_dataset.entries}
  read_as, skipped_as = _stamps(path)
  then = read_as | skipped_as
  stamps = {key: (entry, stamp(entry.path)) for key, entry in now.items() if key in then}
  other = {key: f"{entry.path} has {there.size} bytes, had {then[key].size}" for key, (entry, there) in stamps.items()
           if there != NO_STAMP and there.size != then[key].size}
  return VideoDifferences(
      _list_differences(raw_dataset, now, path)
      + _kinds({"could not be read, and have changed since": [repr(now[key].name) for key in other if key in skipped_as]})
      + _some([what for key, what in other.items() if key in read_as], "files"),
      [entry.path for key, (entry, there) in stamps.items() if there == NO_STAMP and key in read_as],
      [entry.path for key, (entry, there) in stamps.items()
       if there.size == then[key].size and there.time != then[key].time],
      len(stamps))


def _stamps(path: Path) -> tuple[dict[tuple[str, str], Stamp], dict[tuple[str, str], Stamp]]:
  """By (split, name): what the files in the dataset at `path` were, and those that could not be read, as far as known."""
  videos = files.read_jsonl(path / VIDEOS, fields=STAMPED) if (path / VIDEOS).exists() else []
  skipped = [row for row in _skipped(path) if row.keys() >= set(STAMPED)]
  of_videos, of_skipped = ({(row["split"], row["name"]): Stamp(row["size"], row["time"]) for row in rows}
                           for rows in (videos, skipped))
  return of_videos, of_skipped


def _list_differences(raw_dataset: RawDataset, now: dict[tuple[str, str], VideoEntry], path: Path) -> list[str]:
  if not (path / manifest.NAME).exists():
    return []
  class_of = manifest.videos(path / manifest.NAME)
  reasons = skip_reasons(path)
  names = [action.name for action in raw_dataset.classes]
  kinds: dict[str, list[str]] = collections.defaultdict(list)
  for key, entry in now.items():
    if key not in class_of and entry.name not in reasons:
      kinds["are new"].append(f"{entry.name!r} ({entry.split})")
    elif key not in class_of and reasons[entry.name].startswith(NO_FILE) and stamp(entry.path) != NO_STAMP:
      kinds["were missing and are there now"].append(repr(entry.name))
    elif key in class_of and class_of[key] != names[entry.label]:
      kinds["are of another class"].append(f"{entry.name!r} of {names[entry.label]!r}, was of {class_of[key]!r}")
  kinds["are not there or listed any more"] = [f"{name!r} ({split})" for split, name in class_of.keys() - now.keys()]
  return _kinds(kinds)


def _kinds(kinds: Mapping[str, list[str]]) -> list[str]:
  return [f"{len(which)} videos {kind}, such as {', '.join(sorted(which)[:SHOWN])}"
          for kind, which in kinds.items() if which]


def skip_reasons(path: Path) -> dict[str, str]:
  """Why videos were left out of the dataset at `path`, by name. Raises: UserError if its skipped.jsonl cannot be read."""
  return {row["name"]: row["reason"] for row in _skipped(path)}


def _skipped(path: Path) -> list[dict[str, Any]]:
  return files.read_jsonl(path / SKIPPED, fields=("name", "reason"))


def _first(then: list, now: list) -> str:
  """Where two lists differ first."""
  place = next((place for place, pair in enumerate(zip(then, now)) if pair[0] != pair[1]), None)
  return (f"there are {len(now)} now, were {len(then)}" if place is None else
          f"number {place} is now {_short(now[place])}, was {_short(then[place])}")


def _some(found: list[str], kind: str) -> list[str]:
  return found[:SHOWN] + [f"and {len(found) - SHOWN} more {kind}"] * (len(found) > SHOWN)


def _short(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...{text[0]}"


def write_videos(path: str | os.PathLike, read_as: Iterable[tuple[VideoEntry, Stamp]]) -> None:
  """Writes videos.jsonl: whose file had which size (bytes) and time of change (ns) when it was read."""
  files.write_jsonl(path, (_row(entry, file) for entry, file in read_as if file != NO_STAMP))


def write_skipped(path: str | os.PathLike, skipped: Iterable[tuple[VideoEntry, str, Stamp]]) -> None:
  """Writes skipped.jsonl: why videos were left out and, as far as it is known, what their files were."""
  files.write_jsonl(path, ({"name": entry.name, "reason": reason} | (_row(entry, file) if file != NO_STAMP else {})
                           for entry, reason, file in skipped))


def _row(entry: VideoEntry, file: Stamp) -> dict[str, Any]:
  return dict(zip(STAMPED, (entry.name, entry.split, *file), strict=True))
