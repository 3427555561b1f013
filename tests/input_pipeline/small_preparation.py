"""A dozen small videos and two small networks, prepared in this process or in one that can be killed.

    from tests.input_pipeline.small_preparation import inputs, run, small, whole      # fixtures, but for run
    run(inputs, tmp_path)              # toy_actions is the small raw dataset meanwhile
"""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from input_pipeline import errors, prepare
from input_pipeline.backbones import bit, checkpoints, tsm
from input_pipeline.datasets import toy_actions
from input_pipeline.features import store as store_lib
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.concepts import Concept
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry
from input_pipeline.videos import decode

NUM_VIDEOS = 12
TSM = tsm.TSMConfig(stage_sizes=(1,), width=8, num_classes=5, shorter_side=36, crop=32)
BIT = bit.BiTConfig(depths=(1,), base_width=8, num_groups=4, num_concepts=25, shorter_side=36, crop=32)


def small_raw_dataset(source: Path) -> RawDataset:
  """Twelve videos in an order unlike that of their names; 0 to 5 train, then 3 val, 3 test."""
  entries = [VideoEntry(f"v{(i * 7) % NUM_VIDEOS}", source / f"v{(i * 7) % NUM_VIDEOS}.mp4", i // 3, split)
           for i, split in enumerate(["train"] * 6 + ["val"] * 3 + ["test"] * 3)]
  return RawDataset(
      entries=entries,
      classes=[ActionClass(f"class {label}", f"description {label}") for label in range(4)],
      concepts=[Concept(f"n{i}", f"thing {i}", "a thing") for i in range(25)],
      class_splits=(ClassSplit((0, 1), (2,), (3,)),),
      extras={},
  )


class Inputs(NamedTuple):
  """Folders that the tests share: videos, and weights of both networks."""

  source: Path
  tsm: Path
  bit: Path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
  return write_inputs(tmp_path_factory.mktemp("inputs"))


def write_inputs(folder: Path) -> Inputs:
  """Writes the videos and the weights, the same every time."""
  for i in range(NUM_VIDEOS):
    frames = np.random.default_rng(i).integers(0, 256, (2 + i, 72, 80, 3), np.uint8)
    decode.write_video(folder / f"v{i}.mp4", frames)
  random = np.random.default_rng(0)

  def weights(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    values = random.uniform(0.5, 0.8, leaf.shape) if leaf.ndim == 1 else random.normal(0, 0.1, leaf.shape)
    return values.astype(np.float32)

  for kind, network, config in (("tsm", tsm, TSM), ("bit", bit, BIT)):
    checkpoints.save_npz(folder / f"{kind}.npz", network.FORMAT, jax.tree.map(weights, network.shapes(config)))
  return Inputs(folder, folder / "tsm.npz", folder / "bit.npz")


def be_small(patch: pytest.MonkeyPatch) -> None:
  """toy_actions is the small raw_dataset, the small networks are known sizes, and chunks hold two videos."""
  patch.setattr(toy_actions, "DATASET", dataclasses.replace(toy_actions.DATASET, read=small_raw_dataset))
  patch.setitem(tsm.VARIANTS, "tsm_small", TSM)
  patch.setitem(bit.VARIANTS, "bit_small", BIT)
  patch.setattr(store_lib, "CHUNK_VIDEOS", 2)


@pytest.fixture
def small(monkeypatch) -> None:
  be_small(monkeypatch)


@pytest.fixture
def videos_read(monkeypatch) -> list[str]:
  """Names of the videos that this process reads from now on."""
  names, read = [], decode.read_clip
  monkeypatch.setattr(decode, "read_clip", lambda path, *args: names.append(path.stem) or read(path, *args))
  return names


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory) -> Path:
  """The data_dir of an uninterrupted run."""
  data_dir = tmp_path_factory.mktemp("whole")
  with pytest.MonkeyPatch.context() as patch:
    be_small(patch)
    run(inputs, data_dir)
  return data_dir


def examples(data_dir: Path) -> dict[str, list[dict]]:
  """All examples of the prepared dataset, by split, read by TFDS alone."""
  built = tfds.builder_from_directory(str(data_dir / "toy_actions" / "1.0.0"))
  return {split: list(built.as_data_source(split)) for split in built.info.splits}


def assert_same(data_dir: Path, other: Path) -> None:
  for split, expected in examples(other).items():
    got = examples(data_dir)[split]
    assert [example["name"] for example in got] == [example["name"] for example in expected]
    for a, b in zip(got, expected, strict=True):
      for field in b:
        np.testing.assert_array_equal(a[field], b[field])


def command() -> None:
  """What the process that `start` starts does; SMALL_STOP says how to make it easy to stop."""
  be_small(pytest.MonkeyPatch())
  if os.environ["SMALL_STOP"] in ("slow", "stuck"):
    read_clip, reads = decode.read_clip, itertools.count()
    is_stuck = os.environ["SMALL_STOP"] == "stuck"       # at the ninth video: it never comes to an end by itself
    decode.read_clip = lambda *args: time.sleep(60 if next(reads) >= 8 and is_stuck else 0.1) or read_clip(*args)
  elif os.environ["SMALL_STOP"] == "while writing":    # dies while TFDS writes the examples
    get, reads = store_lib.FeatureStore.__getitem__, itertools.count()
    store_lib.FeatureStore.__getitem__ = lambda store, index: (
        os.kill(os.getpid(), signal.SIGKILL) if next(reads) == 7 else get(store, index))
  prepare.define_flags()
  errors.run(prepare.main)


def command_line(inputs: Inputs, data_dir: Path, **more: Any) -> list[str]:
  """What starts `command()` in a process of its own; PYTHONPATH has to have this folder and the project's."""
  options = {"dataset": "toy_actions", "data_dir": data_dir, **inputs._asdict(), "batch_size": 2, "num_workers": 1, **more}
  return [sys.executable, "-c", "import small_preparation; small_preparation.command()",
          *(f"--{name}={value}" for name, value in options.items())]


def start(inputs: Inputs, data_dir: Path, stop: str, **more: Any) -> subprocess.Popen:
  """`command()` in a process of its own, which has one device; this one has several.

  Both have as many threads, because kernels on CPUs round by their number: that of processors (or NPROC) or of devices,
  whichever is larger.
  """
  here = Path(__file__).parent
  threads = max(len(os.sched_getaffinity(0)), jax.local_device_count())
  environment = {**os.environ, "XLA_FLAGS": "", "NPROC": str(threads), "SMALL_STOP": stop,
                 "PYTHONPATH": f"{here}:{here.parents[1]}"}
  return subprocess.Popen(command_line(inputs, data_dir, **more), env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


def run(inputs: Inputs, data_dir: Path, **more: Any) -> Path:
  """The same in this process, where nothing is compiled anew; needs the fixture `small`."""
  return prepare.prepare("toy_actions", data_dir, **inputs._asdict(), batch_size=2, num_workers=2, **more)


def chunks(data_dir: Path) -> list[Path]:
  return sorted(data_dir.glob("extraction/toy_actions/*/shard-*/*.npz"))
