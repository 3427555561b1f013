"""An extraction divided among processes or machines, and put together again.

    source = describe(request, features)                # feature_sources.py
    work = work_folder(request.extractions, collection, source)
    fill(Shard(1, 3), work, collection, features, source)       # the second clip and every third from there
    whole = merge(work, 3, collection)                  # when 0, 1 and 2 are done: what a dataset is written from
    whole.features[index], whole.skipped

A shard is a folder of its own, WORK/shard-00001-of-00003: a `FeatureStore`, and `done.json` when it is finished. It
can be deleted and made again, or copied here from another machine; nothing in it says where the videos lie. Where
features are files, done.json says in which folder.
"""

import hashlib
import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from input_pipeline import files, locks
from input_pipeline.collection import Clip, Collection
from input_pipeline.errors import UserError
from input_pipeline.feature_sources import FeatureSource
from input_pipeline.feature_store import CHUNKS_IN_MEMORY, FeatureStore, VideoFeatures

DONE = "done.json"


class Shard(NamedTuple):
  """Every `count`-th clip, beginning with number `index`; so each has its share of every class."""

  index: int
  count: int

  def folder(self, work: Path) -> Path:
    """Where its features are."""
    return work / f"shard-{self.index:05d}-of-{self.count:05d}"

  def of(self, clips: Sequence[Clip]) -> Sequence[Clip]:
    """Its clips."""
    return clips[self.index::self.count]


class Done(NamedTuple):
  """What a finished shard says of itself, in done.json.

  Attributes:
    clips: how many it has.
    skipped: [position in the shard, reason] of those without features.
    source: what its features were made from; see `fill`.
  """

  clips: int
  skipped: list[list]
  source: dict[str, Any]


class Features:
  """The features of all shards together, by position in the list of clips."""

  def __init__(self, stores: Sequence[FeatureStore], skipped: Container[int]):
    """Args: stores: one a shard, in order; skipped: clips that have none, whatever a store still holds of them."""
    self._stores, self._skipped = stores, skipped

  def __contains__(self, index: int) -> bool:
    position, shard = divmod(index, len(self._stores))
    return index not in self._skipped and position in self._stores[shard]

  def __getitem__(self, index: int) -> VideoFeatures:
    """Raises: KeyError if the shard of clip `index` holds none."""
    position, shard = divmod(index, len(self._stores))
    return self._stores[shard][position]


class Whole(NamedTuple):
  """A finished extraction.

  Attributes:
    features: of every clip that is not skipped.
    skipped: why a clip has none, by position, in rising order.
    source: what the features were made from, as the shards say.
  """

  features: Features
  skipped: dict[int, str]
  source: dict[str, Any]


def clips_digest(collection: Collection) -> str:
  """Names a list of clips and a vocabulary, wherever the files are."""
  digest = hashlib.sha256()
  for clip in collection.clips:
    digest.update(f"{clip.split}\0{clip.name}\0{clip.num_frames}\n".encode())
  for concept in collection.concepts:
    digest.update(f"{concept.wnid}\0{concept.name}\n".encode())
  return digest.hexdigest()[:12]


def work_folder(folder: Path, collection: Collection, source: dict[str, Any]) -> Path:
  """Where an extraction of these clips from this source waits: others have other folders, so start afresh."""
  digest = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
  return folder / f"{clips_digest(collection)}-{digest[:12]}"


def work_folders(folder: Path, collection: Collection) -> list[Path]:
  """Those that are there for these clips, from whatever source."""
  return sorted(folder.glob(f"{clips_digest(collection)}-*"))


def source_of(work: Path) -> dict[str, Any]:
  """What the finished shards of a work folder were made from; {} if there is none. Raises: UserError if one is bad."""
  done = min(work.glob(f"shard-*/{DONE}"), default=None)
  return _read_done(done.parent).source if done else {}


def fill(shard: Shard, work: Path, collection: Collection, features: FeatureSource, source: dict[str, Any]) -> Done:
  """Extracts a shard; goes on where a stopped run was, and does nothing twice.

  Args:
    shard: which clips of the collection.
    work: the folder of all shards.
    collection: the whole one.
    features: where they come from.
    source: what they are made from, see `feature_sources.describe`; kept in done.json, for the dataset's source.json.

  Raises:
    UserError, OSError: as `features.fill`; what was extracted is kept.
  """
  folder, clips = shard.folder(work), shard.of(collection.clips)
  with locks.exclusive(folder):
    (folder / DONE).unlink(missing_ok=True)
    skipped = features.fill(collection._replace(clips=clips), FeatureStore(folder, clips))
    done = Done(len(clips), [[index, reason] for index, reason in skipped.items()], source)
    files.write_json(folder / DONE, done._asdict())
  return done


def missing(work: Path, count: int) -> list[int]:
  """Indices of the shards that are not finished."""
  return [index for index in range(count) if not (Shard(index, count).folder(work) / DONE).exists()]


def merge(work: Path, count: int, collection: Collection) -> Whole:
  """Puts finished shards together; asks neither for the videos nor for the weights.

  Raises:
    UserError: naming a shard that does not hold what it should, or two that do not belong together.
  """
  stores, skipped, sources, shapes = [], {}, {}, {}
  for index in range(count):
    shard = Shard(index, count)
    folder, clips = shard.folder(work), shard.of(collection.clips)
    done = _read_done(folder)
    store = FeatureStore(folder, chunks_in_memory=max(1, CHUNKS_IN_MEMORY // count))
    reasons = dict(done.skipped)
    present = [position for position in range(len(clips)) if position in store and position not in reasons]
    if len(present) + len(reasons) != len(clips) or done.clips != len(clips):
      raise UserError(f"{folder} says that it is finished, but holds the features of {len(present)} of its "
                      f"{len(clips)} videos, and {len(reasons)} were skipped. If it was copied here, copy it again; or "
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
  return Whole(Features(stores, skipped), dict(sorted(skipped.items())), done.source)


def _read_done(folder: Path) -> Done:
  value = files.read_json(folder / DONE)
  try:
    done = Done(**value)
    dict(done.skipped), dict(done.source)
    return done
  except (TypeError, ValueError) as error:
    raise UserError(f"{folder / DONE} is not what a finished shard leaves ({error}). Delete it and run the shard "
                    "again; what was extracted is kept.") from error
