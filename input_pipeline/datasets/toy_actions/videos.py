"""The toy dataset's video files: which there are, and their rendering, several at a time.

    for video in VIDEOS:                   # name, label, split; its index in this tuple is its random stream
      ...
    render_missing("data/sources/toy_actions", seed=0)

Interrupted, it goes on where it was: each file comes into being whole, and files that are there are kept. A marker
in the folder says by which seed and version they were made, so that others are never taken for them.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from input_pipeline import files
from input_pipeline.datasets.toy_actions import icons, scenes
from input_pipeline.errors import Failure, UserError
from input_pipeline.progress import Progress
from input_pipeline.videos import decode

VERSION = 2               # to be raised with every change of what the same seed gives
MARKER = "rendered_by.json"
ERROR = "error: "         # how the line of a worker begins that could not write a file
FOLDER = Path(__file__).parent
VIDEO_STREAM = 0          # the random streams of one seed: the dataset's videos, and in backbone_data.py the others
# Videos of each class, by split; the seen classes' in "val" and "test" are for the supervised check.
SEEN_COUNTS = {"train": 15, "val": 2, "test": 3}
UNSEEN_COUNTS = {"val": 5, "test": 10}


class ToyClass(NamedTuple):
  """What a class looks like: its name, which motion, and which noun performs it."""

  name: str
  motion: str
  noun: str


class ToyVideo(NamedTuple):
  """One file: its path below the source without ".mp4", its class, and its split of the prepared dataset."""

  name: str
  label: int
  split: str


def _read_classes() -> tuple[ToyClass, ...]:
  rows = files.read_jsonl(FOLDER / "classes.jsonl", fields=("name", "motion", "object"))
  return tuple(ToyClass(row["name"], row["motion"], row["object"]) for row in rows)


def _list_videos() -> tuple[ToyVideo, ...]:
  """All videos, the classes taking turns."""
  listed = []
  for split in ("train", "val", "test"):
    counts = [(SEEN_COUNTS if label in SEEN else UNSEEN_COUNTS).get(split, 0) for label in range(len(CLASSES))]
    for number in range(max(counts)):
      listed += [ToyVideo(f"{CLASSES[label].name.replace(' ', '_')}/{split}_{number:02d}", label, split)
                 for label, count in enumerate(counts) if number < count]
  return tuple(listed)


CLASSES = _read_classes()
SEEN = tuple(files.read_json(FOLDER / "class_splits.json")["seen"])
VIDEOS = _list_videos()


def scene(seed: int, index: int) -> scenes.Scene:
  """What the video at `index` of `VIDEOS` shows."""
  rng = np.random.default_rng([seed, VIDEO_STREAM, index])
  _, motion, noun = CLASSES[VIDEOS[index].label]
  return scenes.sample_scene(rng, motion, noun, list(icons.ICONS))


def path(source: Path, index: int) -> Path:
  """Where the file of the video at `index` of `VIDEOS` is."""
  return source / f"{VIDEOS[index].name}.mp4"


def render(source: Path, seed: int, index: int) -> None:
  """Draws and encodes one file."""
  shown = scene(seed, index)
  decode.write_video(path(source, index), scenes.render(shown, range(shown.num_frames)), preset="veryfast")


def render_missing(
    source: str | os.PathLike, seed: int, indices: Sequence[int] = range(len(VIDEOS)), num_workers: int | None = None
) -> None:
  """Renders those of the videos that are not there yet, in worker processes, with a progress bar.

  Args:
    source: the folder of the videos; made if needed. Videos of another seed or version in it are removed first.
    seed: of everything random.
    indices: which of `VIDEOS` are wanted.
    num_workers: processes; None for one a processor core.

  Raises:
    UserError: `source` holds such files, but no marker that says they are rendered ones.
    Failure: a file cannot be written, or a worker failed otherwise, of which its own message on stderr tells.
  """
  source = Path(source)
  _claim(source, {"version": VERSION, "seed": seed})
  missing = [index for index in indices if not path(source, index).is_file()]
  if not missing:
    return
  num_workers = min(num_workers or os.cpu_count() or 1, len(missing))
  read_end, write_end = os.pipe()
  # Plain subprocesses rather than multiprocessing: the caller may hold JAX's threads, which must not be forked, and a
  # fresh interpreter should not import all that the caller's main module does.
  command = [sys.executable, "-m", f"{__package__}.render_worker", str(source), str(seed)]
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
  workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=write_end, env=environment, encoding="utf-8",
                              start_new_session=True)      # Ctrl-C is for the caller, which ends them
             for _ in range(num_workers)]
  os.close(write_end)
  try:
    for number, worker in enumerate(workers):
      assert worker.stdin is not None     # a pipe
      with worker.stdin as wanted:
        wanted.writelines(f"{index}\n" for index in missing[number::num_workers])
    with Progress("render toy videos", len(indices), "videos", done=len(indices) - len(missing)) as progress:
      with os.fdopen(read_end, encoding="utf-8") as finished:
        for line in finished:
          if line.startswith(ERROR):
            raise Failure(f"Cannot render the videos in {source}: {line.removeprefix(ERROR).strip()}. Put that right (is "
                          "there room on the disk?), then give the same command again to go on.")
          progress.advance()
    if any(worker.wait() for worker in workers):
      raise Failure(f"Rendering videos in {source} failed, see above. The same command goes on from here.")
  finally:
    for worker in workers:
      worker.kill()
      worker.wait()


def _claim(source: Path, maker: dict) -> None:
  """Makes the folder ours: on return its marker is `maker`, and no file of another maker is left."""
  marker = source / MARKER
  if marker.is_file() and files.read_json(marker) == maker:
    return
  stale = [path(source, index) for index in range(len(VIDEOS)) if path(source, index).exists()]
  if stale and not marker.is_file():
    raise UserError(f"{source} holds videos ({stale[0].relative_to(source)}, ...), but no {MARKER} that says how they "
                    "were rendered. Give another folder with --source, or remove them.")
  for old in stale:
    old.unlink()
  files.write_json(marker, maker)
