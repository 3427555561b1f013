"""Every two commands at once on one data_dir, one workdir and one output folder: nothing may be lost, mixed or left over.

    python -m tests.attacks.pairs                      # each pair on empty folders and on finished ones; prints a table
    python -m tests.attacks.pairs --only=train         # pairs with a command whose name begins so

Each of the two may end well, or with a word of a line or two. After them the commands run one by one; what is there
then has to be, file by file, what they leave where they were never disturbed.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.attacks import scenarios
from tests.input_pipeline import small_preparation
from tests.input_pipeline.published_layout import write_layout

ROOT = Path(__file__).parents[2]
GROUPS = (("prepare", "shard 0", "shard 1", "merge", "verify"), ("prepare", "verify", "train", "eval", "compare"),
          ("convert",))      # that share something
TIMES = ("*.lock", "*/d/*", "*/manifest.ocdbt", "*.log", "*/events.out.tfevents.*", "*/checkpoints/*", "*/timing.json", "*.png", "*.jpg")


def commands(inputs: Path, work: Path) -> dict[str, list[str]]:
  """The commands, in an order in which they can run one by one."""
  given = small_preparation.Inputs(inputs / "videos", inputs / "videos/tsm.npz", inputs / "videos/bit.npz")
  data, run, python = work / "data", work / "run", sys.executable

  def videos(**options: object) -> list[str]:
    return small_preparation.command_line(given, data, num_shards=2, **options)

  train = [python, "-m", "er_jax.main", "--config=configs/devise.py:precomputed", f"--config.data.data_dir={data}",
           f"--workdir={run}", "--config.num_epochs=2"]
  return {
      "prepare": [python, "-m", "input_pipeline.prepare", "--dataset=precomputed", f"--data_dir={data}",
                  f"--source={inputs / 'layout'}"],
      "shard 0": videos(shard_index=0),
      "shard 1": videos(shard_index=1),
      "merge": videos(merge="true"),
      "verify": [python, "-m", "input_pipeline.verify", "--dataset=precomputed", f"--data_dir={data}"],
      "train": train,
      "eval": [*train, "--mode=eval"],
      "compare": [python, "scripts/compare.py", "--methods=devise", "--dataset=precomputed", f"--data_dir={data}",
                  f"--workdir={work / 'compared'}"],
      "convert": [python, "scripts/convert_checkpoint.py", "--kind=word_embedding", f"--input={inputs / 'words.npy'}",
                  f"--output={work / 'words'}"],
  }


def start(command: list[str]) -> subprocess.Popen:
  return subprocess.Popen(command, cwd=ROOT, env=scenarios.environment(scenarios.PREPARE), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def one_by_one(work: Path, inputs: Path, names: tuple[str, ...]) -> list[str]:
  """Runs the commands; an output that is there already is no failure. Returns complaints."""
  complaints = []
  for name in names:
    process = start(commands(inputs, work)[name])
    words = process.communicate()[0]
    if process.returncode and "is there already" not in words:
      complaints.append(f"{name} ends with {process.returncode}: {words[-500:]}")
  return complaints


def files_of(work: Path) -> dict[str, int]:
  """Size of every file that does not tell of time."""
  return {path.relative_to(work).as_posix(): path.stat().st_size for path in sorted(work.rglob("*"))
          if path.is_file() and not any(path.match(pattern) for pattern in TIMES)}


def at_once(work: Path, inputs: Path, pair: tuple[str, str]) -> list[str]:
  """Starts two commands; returns what is wrong about their ends."""
  processes = {f"{number} {name}": start(commands(inputs, work)[name]) for number, name in enumerate(pair)}
  complaints = []
  for name, process in processes.items():
    try:
      words = process.communicate(timeout=300)[0]
    except subprocess.TimeoutExpired:
      process.kill()
      words = f"still running after 300 s: {process.communicate()[0]}"
      complaints.append(f"{name}: {words[-500:]}")
    if process.returncode not in (0, 1, 2) or "Traceback" in words or (process.returncode and "error: " not in words):
      complaints.append(f"{name} ends with {process.returncode}: {words[-2000:]}")
  return complaints


def main() -> None:
  """Attacks what the arguments say; exits with 1 if there is a complaint."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--only", default="", help="pairs with a command whose name begins so")
  only = parser.parse_args().only
  failed = False
  with tempfile.TemporaryDirectory() as folder:
    inputs, work, whole = (Path(folder, name) for name in ("inputs", "work", "whole"))
    (inputs / "videos").mkdir(parents=True)
    small_preparation.write_inputs(inputs / "videos")
    layout = write_layout(inputs / "layout")
    np.save(inputs / "words.npy", np.random.default_rng(0).normal(size=(50, 300)).astype(np.float32))
    assert layout.source == inputs / "layout", layout.source
    done = set()
    for names in GROUPS:
      shutil.rmtree(work, ignore_errors=True)
      shutil.rmtree(whole, ignore_errors=True)
      if complaints := one_by_one(work, inputs, names):
        sys.exit("\n".join(complaints))
      expected = files_of(work)
      work.rename(whole)
      for pair in itertools.combinations_with_replacement(names, 2):
        if pair in done or not any(name.startswith(only) for name in pair):
          continue
        done.add(pair)
        for state in ("empty", "finished"):
          started = time.monotonic()
          shutil.rmtree(work, ignore_errors=True)
          if state == "finished":
            shutil.copytree(whole, work)
          complaints = at_once(work, inputs, pair)
          if state == "empty":
            complaints += one_by_one(work, inputs, names)
          got = files_of(work)
          complaints += [f"{name} is of {got.get(name)} bytes, expected {expected.get(name)}"
                         for name in sorted(got.keys() | expected.keys()) if got.get(name) != expected.get(name)]
          print(f"{' + '.join(pair):20} {state:9} {time.monotonic() - started:4.0f} s  {len(complaints)} complaints", flush=True)
          for complaint in complaints:
            print(f"    {complaint}", flush=True)
          failed = failed or bool(complaints)
  sys.exit(failed)


if __name__ == "__main__":
  main()
