"""The long commands of the project at a small size, each in processes that can be killed or refused a write.

    scenario = scenarios.prepare_scenarios(folder)[0]
    for group in scenario.steps:              # one after the other; the processes of a group run together
      processes = [subprocess.Popen(command, env=...) for command in group()]
    scenarios.result(scenario.outputs)        # the bytes that must be the same whatever happened on the way
"""

import hashlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.er_jax.small import write_bert_folder
from tests.input_pipeline import small_preparation
from tests.input_pipeline.published_layout import write_layout

THREADS = max(len(os.sched_getaffinity(0)), 8)      # threads of XLA's, by which kernels round
PREPARE = {"SMALL_STOP": "no", "XLA_FLAGS": ""}      # the environment of `small_preparation.command`
Group = Callable[[], list[list[str]]]


class Scenario(NamedTuple):
  """What runs, and where it writes.

  Attributes:
    name: for a person.
    folder: is empty at first; all that is written lies in it.
    steps: groups of commands.
    outputs: patterns below the folder of the files that are the result.
    environment: besides this process's.
  """

  name: str
  folder: Path
  steps: list[Group]
  outputs: tuple[str, ...]
  environment: dict[str, str]


def result(scenario: Scenario) -> dict[str, str]:
  """{name: digest} of the files that the scenario is there to make; of those that are missing nothing."""
  return {path.relative_to(scenario.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
          for pattern in scenario.outputs for path in sorted(scenario.folder.glob(pattern)) if path.is_file()}


def tell(scenario: Scenario, done: str, started: float, complaints: list[str]) -> None:
  """Prints what was done to a scenario since the time `started` (of time.monotonic), and what is complained of."""
  print(f"{scenario.name:24} {done} {time.monotonic() - started:6.0f} s  {len(complaints)} complaints", flush=True)
  for complaint in complaints:
    print(f"    {complaint}", flush=True)


def environment(own: Mapping[str, str]) -> dict[str, str]:
  """Of processes that have these variables of their own."""
  root = Path(__file__).parents[2]
  return {**os.environ, "NPROC": str(THREADS), "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3",
          "PYTHONPATH": f"{root}:{root / 'tests/input_pipeline'}", **own}


def all_scenarios(folder: Path) -> list[Scenario]:
  """Every one, with its inputs in `folder`."""
  return [*prepare_scenarios(folder), *train_scenarios(folder)]


def prepare_scenarios(folder: Path) -> list[Scenario]:
  """Preparation from videos, in shards that are merged, and from features in the published layout."""
  inputs = small_preparation.write_inputs(folder / "inputs")
  layout = write_layout(folder / "layout").source
  outputs = ("data/*/1.0.0/*",)

  def small(work: Path, **options: object) -> list[str]:
    return small_preparation.command_line(inputs, work / "data", **options)

  videos, shards, files = folder / "videos", folder / "shards", folder / "files"
  return [
      Scenario("prepare videos", videos, [lambda: [small(videos)]], outputs, PREPARE),
      Scenario("prepare shards, merge", shards, [
          lambda: [small(shards, num_shards=2, shard_index=i) for i in range(2)],
          lambda: [small(shards, num_shards=2, merge="true")]], outputs, PREPARE),
      Scenario("prepare features", files, [lambda: [[
          sys.executable, "-m", "input_pipeline.prepare", "--dataset=precomputed", f"--data_dir={files / 'data'}",
          f"--source={layout}"]]], outputs, {}),
  ]


def train_scenarios(folder: Path, num_epochs: int = 8) -> list[Scenario]:
  """Training and evaluation on one device, on eight, and by two processes of four."""
  bert = folder / "bert"
  bert.mkdir(parents=True)
  write_bert_folder(bert)
  outputs = ("run/results.json", "run/metrics.jsonl", "run/predictions/*.npz", "run/config.json")
  overrides = json.dumps({"num_epochs": num_epochs, "parallel": "jit"})

  def train(work: Path, *processes: str) -> list[str]:
    return [sys.executable, "-m", "tests.er_jax.run_small", str(work / "run"), str(bert), overrides, *processes]

  def two() -> list[list[str]]:
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      address = f"127.0.0.1:{free.getsockname()[1]}"
    return [train(folder / "two", address, "2", str(i)) for i in range(2)]

  def devices(count: int) -> dict[str, str]:
    return {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}

  return [
      Scenario("train, one device", folder / "one", [lambda: [train(folder / "one")]], outputs, devices(1)),
      Scenario("train, eight devices", folder / "eight", [lambda: [train(folder / "eight")]], outputs, devices(8)),
      Scenario("train, two processes", folder / "two", [two], outputs, devices(4)),
  ]
