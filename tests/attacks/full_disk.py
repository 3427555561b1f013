"""Every write of the long commands refused in turn, as by a full or a broken disk: the n-th and all after it.

    python -m tests.attacks.full_disk                        # prints a table; n is spread over all writes
    python -m tests.attacks.full_disk --tries=200 --only=train --error=EIO

A command has to end by itself, with a status that is not 0, without a traceback, and with a message that names the
folder or a file in it. Then, with room on the disk, the same command again has to make what it makes undisturbed.
Needs a C compiler; the writes are refused by a library that is loaded before all others (failing_write.c).
"""

import argparse
import errno
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.attacks import scenarios
from tests.attacks.scenarios import Scenario

MOST_SECONDS = 300.0
SOURCE = Path(__file__).with_name("failing_write.c")


def run(scenario: Scenario, library: Path, number: int, error: int) -> tuple[list[int], str, int]:
  """Runs the scenario, the write `number` (from 1; 0: none) refused: statuses, what was said, writes that were tried."""
  count = scenario.folder.with_name("count")
  count.unlink(missing_ok=True)
  environment = {**scenarios.environment(scenario.environment), "LD_PRELOAD": str(library), "FAIL_BELOW": f"{scenario.folder}/",
                 "FAIL_COUNT": str(count), "FAIL_AT": str(number), "FAIL_WITH": str(error)}
  statuses: list[int] = []
  with tempfile.TemporaryFile("w+") as words:
    for group in scenario.steps:
      processes = [subprocess.Popen(command, env=environment, stdout=words, stderr=words, text=True) for command in group()]
      try:
        statuses += [process.wait(MOST_SECONDS) for process in processes]
      except subprocess.TimeoutExpired:
        statuses.append(-1)
      finally:
        for process in processes:
          process.kill()
          process.wait()
      if any(statuses):
        break
    words.seek(0)
    return statuses, words.read(), count.stat().st_size if count.exists() else 0


def complaints_of(scenario: Scenario, statuses: list[int], words: str) -> list[str]:
  """What is wrong with how it ended."""
  complaints = []
  if not any(statuses):
    complaints.append("says that all is well")
  if -1 in statuses:
    complaints.append(f"is still there after {MOST_SECONDS:.0f} s")
  if any(status < -1 or status > 2 for status in statuses):
    complaints.append(f"ends with {statuses}: {words[-400:]!r}")
  if "Traceback" in words:
    complaints.append(f"traceback: {words.strip().splitlines()[-1][:200]!r}")
  said = words[words.rfind("error: "):] if "error: " in words else ""
  if any(statuses) and str(scenario.folder) not in said:
    complaints.append(f"names no file: {(said or words[-300:])[:300]!r}")
  return complaints


def attack(scenario: Scenario, tries: int, error: int, chance: random.Random, library: Path) -> tuple[int, int, list[str]]:
  """(writes of the scenario, tries, complaints)."""
  statuses, words, total = run(scenario, library, 0, error)
  if any(statuses):
    return total, 0, [f"undisturbed: {statuses} {words[-1000:]}"]
  expected = scenarios.result(scenario)
  numbers = sorted(chance.sample(range(1, total + 1), min(tries, total)))
  complaints = []
  for number in numbers:
    shutil.rmtree(scenario.folder)
    statuses, words, tried = run(scenario, library, number, error)
    if tried >= number:      # some writes are not tried every time, those of progress for one
      complaints += [f"write {number} of {total}: {what}" for what in complaints_of(scenario, statuses, words)]
    statuses, words, _ = run(scenario, library, 0, error)
    if any(statuses):
      complaints.append(f"write {number} of {total}: again, with room: {statuses} {words[-600:]!r}")
    else:
      got = scenarios.result(scenario)
      complaints += [f"write {number} of {total}: {name} differs afterwards"
                     for name in sorted(expected.keys() | got.keys()) if expected.get(name) != got.get(name)]
  return total, len(numbers), complaints


def main() -> None:
  """Attacks what the arguments say; exits with 1 if there is a complaint."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--tries", type=int, default=40, help="writes of each scenario that are refused")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--error", default="ENOSPC", help="ENOSPC, EIO, EDQUOT, EROFS, ...")
  parser.add_argument("--only", default="", help="scenarios whose name begins so")
  args = parser.parse_args()
  chance, everything = random.Random(args.seed), []
  with tempfile.TemporaryDirectory() as folder:
    library = Path(folder) / "failing_write.so"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    for scenario in scenarios.all_scenarios(Path(folder)):
      if scenario.name.startswith(args.only):
        started = time.monotonic()
        total, tried, complaints = attack(scenario, args.tries, getattr(errno, args.error), chance, library)
        scenarios.tell(scenario, f"{total:5} writes, {tried:3} refused", started, complaints)
        everything += complaints
  sys.exit(1 if everything else 0)


if __name__ == "__main__":
  main()
