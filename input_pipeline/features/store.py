"""Extracted features on disk while a dataset is being prepared: what lets a killed run go on where it was.

    store = FeatureStore(folder, entries)
    store.add(index, stamp, VideoFeatures(...))      # index: position in the list of videos
    store.flush()                                    # one new chunk file, whole or not there at all
    index in store, store[index]
    FeatureStore(folder)                             # to read what is there, wherever the videos are

A chunk is an .npz of a few hundred videos. A video counts as done while its file has the size and time it had
when it was read; one that changed since then is extracted again, and the later chunk holds.
"""

import functools
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from input_pipeline import faults, files, numpy_files
from input_pipeline.errors import UserError
from input_pipeline.raw_dataset import VideoEntry

CHUNK_VIDEOS, CHUNK_SECONDS = 256, 30.0      # a chunk is written after so many videos, or so long
CHUNKS_IN_MEMORY = 8
CHUNK = re.compile(r"[0-9]{6}\.npz")      # a chunk's name, its number


class VideoFeatures(NamedTuple):
  """What is known of one video.

  Attributes:
    views: (V, D) float32 TSM features, a row for each view (sampling.py); the video's feature is their mean.
    concept_ids: (20,) int32 BiT's best concepts, best first; -1 where the vocabulary is smaller.
    concept_scores: (20,) float32 their probabilities; 0 where absent.
    num_frames: frames of the video.
  """

  views: np.ndarray
  concept_ids: np.ndarray
  concept_scores: np.ndarray
  num_frames: int


class Stamp(NamedTuple):
  """Size (bytes) and modification time (ns) of a file."""

  size: int
  time: int


NO_STAMP = Stamp(0, 0)     # of a file that is not there


def stamp(path: Path) -> Stamp:
  """The stamp of the file at `path`, `NO_STAMP` if there is none. Raises: Failure if the machine cannot tell."""
  try:
    status = path.stat()
  except OSError as error:
    faults.require_own(path, error)
    return NO_STAMP
  return Stamp(status.st_size, status.st_mtime_ns)


class FeatureStore:
  """A folder of chunks, for one list of videos."""

  def __init__(self, folder: Path, entries: Sequence[VideoEntry] | None = None, chunks_in_memory: int = CHUNKS_IN_MEMORY):
    """Opens or makes the folder.

    Args:
      folder: of the chunks.
      entries: whose features these are; None takes what is there without asking whether the videos changed.
      chunks_in_memory: how many of the chunks that were read last stay in memory.

    Raises:
      UserError: if a chunk in it cannot be read.
      Failure: if it is the machine that cannot read a chunk, or the file of one of `entries`.
    """
    self.folder = folder
    self._where: dict[int, tuple[int, int]] = {}     # video index -> chunk number, row
    self._stamps: dict[int, Stamp] = {}
    self._damaged: set[int] = set()
    self._waiting: list[tuple[int, Stamp, VideoFeatures, bool]] = []
    self._last_flush = time.monotonic()
    self._num_chunks = 0
    self._load = functools.lru_cache(chunks_in_memory)(lambda number: self._read(number, VideoFeatures._fields))
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in folder.glob("*.npz"))
    if others := [name for name in names if not CHUNK.fullmatch(name)]:
      print(f"warning: {folder} holds files that are not the extraction's own, such as {others[0]!r}; they are not read.",
            file=sys.stderr)
    for number in (int(name[:6]) for name in names if CHUNK.fullmatch(name)):
      self._num_chunks = number + 1
      (stamps,) = self._read(number, ("stamps",)).values()
      for row, (index, size, modified, *damaged) in enumerate(stamps.tolist()):      # which earlier versions did not tell
        if entries is None or stamp(entries[index].path) == (size, modified):
          self._note(index, number, row, Stamp(size, modified), any(damaged))

  def __contains__(self, index: int) -> bool:
    return index in self._where

  def __len__(self) -> int:
    return len(self._where)

  def __getitem__(self, index: int) -> VideoFeatures:
    """The flushed features of video `index`. Raises: KeyError if there are none."""
    number, row = self._where[index]
    chunk = self._load(number)
    return VideoFeatures(*(chunk[field][row] for field in VideoFeatures._fields))

  def stamp(self, index: int) -> Stamp:
    """What the file of video `index` was when it was read; `NO_STAMP` if it was not there, or was not read."""
    return self._stamps.get(index, NO_STAMP)

  def skip(self, index: int, read_as: Stamp) -> None:
    """Gives up video `index`, whose file had the stamp `read_as`, and what there is of it; only as long as this lives."""
    self._where.pop(index, None)
    self._damaged.discard(index)
    self._stamps[index] = read_as

  @property
  def damaged(self) -> list[int]:
    """Those of the flushed videos whose file was damaged, in rising order."""
    return sorted(self._damaged)

  def add(self, index: int, read_as: Stamp, features: VideoFeatures, damaged: bool = False) -> None:
    """Keeps the features of video `index`, whose file had the stamp `read_as`; writes a chunk now and then."""
    self._waiting.append((index, read_as, features, damaged))
    if len(self._waiting) >= CHUNK_VIDEOS or time.monotonic() - self._last_flush > CHUNK_SECONDS:
      self.flush()

  def flush(self) -> None:
    """Writes what is waiting as a new chunk, on disk when this returns."""
    if self._waiting:
      arrays = {field: np.stack([getattr(features, field) for _, _, features, _ in self._waiting])
                for field in VideoFeatures._fields}
      arrays["stamps"] = np.array([(index, *read_as, damaged) for index, read_as, _, damaged in self._waiting], np.int64)
      with files.replacing(self._path(self._num_chunks)) as file:
        np.savez(file, allow_pickle=False, **arrays)
      for row, (index, read_as, _, damaged) in enumerate(self._waiting):
        self._note(index, self._num_chunks, row, read_as, damaged)
      self._num_chunks += 1
      self._waiting = []
    self._last_flush = time.monotonic()

  def _note(self, index: int, number: int, row: int, read_as: Stamp, damaged: bool) -> None:
    self._where[index], self._stamps[index] = (number, row), read_as
    (self._damaged.add if damaged else self._damaged.discard)(index)

  def _path(self, number: int) -> Path:
    return self.folder / f"{number:06d}.npz"

  def _read(self, number: int, fields: Sequence[str]) -> dict[str, np.ndarray]:
    try:
      return numpy_files.read_npz(self._path(number), fields)
    except (OSError, ValueError) as error:
      if isinstance(error, OSError):
        faults.require_own(self._path(number), error)
      raise UserError(f"Cannot read {self._path(number)}: {error}. Delete this file and run the command "
                      "again; its videos are extracted anew.") from error
