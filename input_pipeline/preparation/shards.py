"""An extraction divided among processes or machines, and put together again.

    source = describe(options, features)                # feature_sources.py
    work = work_folder(options.extractions, raw_dataset, source)
    fill(Shard(1, 3), work, raw_dataset, features, source)       # the second video and every third from there
    whole = merge(work, 3, raw_dataset)                  # when 0, 1 and 2 are done: what a dataset is written from
    whole.features[index], whole.skipped

A shard is a folder of its own, WORK/shard-00001-of-00003: a `FeatureStore`, and `done.json` when it is finished. It
can be deleted and made again, or copied here from another machine; nothing in it says where the videos lie. Where
features are files, done.json says in which folder.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import files, locks
from input_pipeline.errors import UserError
from input_pipeline.features.store import CHUNKS_IN_MEMORY, NO_STAMP, FeatureStore, Stamp, VideoFeatures
from input_pipeline.near_names import NO_FILE
from input_pipeline.preparation.feature_sources import FeatureSource
from input_pipeline.raw_dataset import RawDataset, VideoEntry

DONE = "done.json"


class Shard(NamedTuple):
  """Every `count`-th entry, beginning with number `index`; so each has its share of every class."""

  index: int
  count: int

  def folder(self, work: Path) -> Path:
    """Where its features are."""
    return work / f"shard-{self.index:05d}-of-{self.count:05d}"

  def of(self, entries: Sequence[VideoEntry]) -> Sequence[VideoEntry]:
    """Its videos."""
    return entries[self.index::self.count]


class ShardStatus(NamedTuple):
  """What a finished shard says of itself, in done.json.

  Attributes:
    entries: how many it has.
    skipped: [position in the shard, reason, stamp of the file] of those without features; earlier versions wrote no stamps.
    source: what its features were made from; see `fill`.
  """

  entries: int
  skipped: list[tuple[int, str, Stamp]]
  source: dict[str, Any]


class Features:
  """The features of all shards together, by position in the list of videos."""

  def __init__(self, stores: Sequence[FeatureStore]):
    """Args: stores: one a shard, in order."""
    self._stores = stores

  def __contains__(self, index: int) -> bool:
    position, shard = divmod(index, len(self._stores))
    return position in self._stores[shard]

  def __getitem__(self, index: int) -> VideoFeatures:
    """Raises: KeyError if the shard of video `index` holds none."""
    position, shard = divmod(index, len(self._stores))
    return self._stores[shard][position]

  def stamp(self, index: int) -> Stamp:
    """What the file of video `index` was when it was read; `NO_STAMP` if it was not there, or nobody knows."""
    position, shard = divmod(index, len(self._stores))
    return self._stores[shard].stamp(position)


class Extraction(NamedTuple):
  """A finished extraction.

  Attributes:
    features: of every video that is not skipped.
    skipped: why a video has none, by position, in rising order.
    missing: positions of the skipped ones that have no file.
    source: what the features were made from, as the shards say.
  """

  features: Features
  skipped: dict[int, str]
  missing: frozenset[int]
  source: dict[str, Any]


def entries_digest(raw_dataset: RawDataset) -> str:
  """Names a list of videos and a vocabulary, wherever the files are."""
  digest = hashlib.sha256()
  for entry in raw_dataset.entries:
    digest.update(f"{entry.split}\0{entry.name}\0{entry.num_frames}\n".encode())
  for concept in raw_dataset.concepts:
    digest.update(f"{concept.wnid}\0{concept.name}\n".encode())
  return digest.hexdigest()[:12]


def work_folder(folder: Path, raw_dataset: RawDataset, source: dict[str, Any]) -> Path:
  """Where an extraction of these videos from this source waits: others have other folders, so start afresh."""
  digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
  return folder / f"{entries_digest(raw_dataset)}-{digest[:12]}"


def work_folders(folder: Path, raw_dataset: RawDataset) -> list[Path]:
  """Those that are there for these entries, from whatever source."""
  return sorted(folder.glob(f"{entries_digest(raw_dataset)}-*"))


def source_of(work: Path) -> dict[str, Any]:
  """What the finished shards of a work folder were made from; {} if there is none. Raises: UserError if one is bad."""
  done = min(work.glob(f"shard-*/{DONE}"), default=None)
  return _read_done(done.parent).source if done else {}


def fill(shard: Shard, work: Path, raw_dataset: RawDataset, features: FeatureSource, source: dict[str, Any]) -> ShardStatus:
  """Extracts a shard; goes on where a stopped run was, and does nothing twice.

  Args:
    shard: which videos of the raw dataset.
    work: the folder of all shards.
    raw_dataset: the whole one.
    features: where they come from.
    source: what they are made from, see `feature_sources.describe`; kept in done.json, for the dataset's source.json.

  Raises:
    UserError, OSError: as `features.fill`; what was extracted is kept.
  """
  folder, entries = shard.folder(work), shard.of(raw_dataset.entries)
  with locks.exclusive(folder):
    (folder / DONE).unlink(missing_ok=True)
    store = FeatureStore(folder, entries)
    skipped = features.fill(raw_dataset._replace(entries=entries), store)
    done = ShardStatus(len(entries), [(index, reason, store.stamp(index)) for index, reason in skipped.items()], source)
    files.write_json(folder / DONE, done._asdict())
  return done


def missing(work: Path, count: int) -> list[int]:
  """Indices of the shards that are not finished."""
  return [index for index in range(count) if not (Shard(index, count).folder(work) / DONE).exists()]


def merge(work: Path, count: int, raw_dataset: RawDataset) -> Extraction:
  """Puts finished shards together; asks neither for the videos nor for the weights.

  Raises:
    UserError: naming a shard that does not hold what it should, or two that do not belong together.
  """
  stores, skipped, sources, shapes = [], {}, {}, {}
  for index in range(count):
    shard = Shard(index, count)
    folder, entries = shard.folder(work), shard.of(raw_dataset.entries)
    done = _read_done(folder)
    store = FeatureStore(folder, chunks_in_memory=max(1, CHUNKS_IN_MEMORY // count))
    reasons = {position: reason for position, reason, _ in done.skipped}
    for position, _, read_as in done.skipped:
      store.skip(position, read_as)      # whatever it still holds of that
    present = [position for position in range(len(entries)) if position in store]
    if len(present) + len(reasons) != len(entries) or done.entries != len(entries):
      raise UserError(f"{folder} says that it is finished, but holds the features of {len(present)} of its "
                      f"{len(entries)} videos, and {len(reasons)} were skipped. If it was copied here, copy it again; or "
                      f"delete {folder / DONE} and run the shard again.")
    sources.setdefault(json.dumps(done.source, sort_keys=True), folder)
    if present:
      shapes.setdefault(store[present[0]].views.shape, folder)
    stores.append(store)
    skipped.update((position * count + index, reason) for position, reason in reasons.items())
  for relation, folders in (("was made from", sources), ("has features of shape", shapes)):
    if len(folders) > 1:
      odd = "; ".join(f"{folder} {relation} {value}" for value, folder in folders.items())
      raise UserError(f"The shards do not belong together: {odd}. Delete the wrong ones and run them again.")
  missing = frozenset(index for index, reason in skipped.items() if reason.startswith(NO_FILE))     # as done.json says it
  return Extraction(Features(stores), dict(sorted(skipped.items())), missing, done.source)


def _read_done(folder: Path) -> ShardStatus:
  value = files.read_json(folder / DONE)
  try:
    done = ShardStatus(**value)
    skipped = [(int(position), reason, Stamp(*read_as[0]) if read_as else NO_STAMP)
               for position, reason, *read_as in done.skipped]
    return done._replace(skipped=skipped, source=dict(done.source))
  except (TypeError, ValueError) as error:
    raise UserError(f"{folder / DONE} is not what a finished shard leaves ({error}). Delete it and run the shard "
                    "again; what was extracted is kept.") from error
