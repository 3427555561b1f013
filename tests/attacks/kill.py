"""The long commands killed at random moments and started again, until they end: nothing may be lost, doubled or different.

    python -m tests.attacks.kill                       # 50 kills of preparation, 50 of training; prints a table
    python -m tests.attacks.kill --kills=10 --seed=3 --only=train

A kill is SIGKILL of all processes of a command; of two that train together, every other time only of one, and then the
other has to end within a minute, with a clear word. What comes out has to be that of a run that nobody disturbed.
"""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.attacks import scenarios
from tests.attacks.scenarios import Group, Scenario

MOST_SECONDS = 60.0      # for the one of two that is left


class Ended(NamedTuple):
  """How a group of processes ended: all well, or killed; and what is to be complained of."""

  well: bool
  complaints: list[str]


def run_group(scenario: Scenario, group: Group, after: float | None, one_only: bool) -> Ended:
  """Runs the processes; kills them `after` so many seconds, if they are still there."""
  with tempfile.TemporaryFile("w+") as words:
    processes = [subprocess.Popen(command, env=scenarios.environment(scenario.environment), stdout=words, stderr=words, text=True)
                 for command in group()]
    try:
      deadline = None if after is None else time.monotonic() + after
      while any(process.poll() is None for process in processes):
        time.sleep(0.02)
        if deadline is not None and time.monotonic() > deadline:
          return _kill(processes, one_only, words)
    finally:
      for process in processes:
        process.kill()
        process.wait()
    failed = [process.returncode for process in processes if process.returncode]
    words.seek(0)
    return Ended(not failed, [f"status {failed}: {words.read()[-2000:]}"] if failed else [])


def _kill(processes: list[subprocess.Popen], one_only: bool, words) -> Ended:
  victims = processes[-1:] if one_only else processes
  for process in victims:
    process.send_signal(signal.SIGKILL)
    process.wait()
  complaints = []
  started = time.monotonic()
  for process in processes:
    try:
      status = process.wait(MOST_SECONDS)
    except subprocess.TimeoutExpired:
      complaints.append(f"the other process is still there after {MOST_SECONDS:.0f} s")
      continue
    if process not in victims and status:
      words.seek(0)
      text = words.read()
      print(f"    the other ended after {time.monotonic() - started:.0f} s with {status}: {text.strip()[-200:]!r}")
      if "Traceback" in text:
        complaints.append("the other process ends in a traceback")
  return Ended(False, complaints)


def attack(scenario: Scenario, kills: int, chance: random.Random) -> list[str]:
  """Complaints about a scenario that is killed so often."""
  started = time.monotonic()
  for group in scenario.steps:
    ended = run_group(scenario, group, None, False)
    if not ended.well:
      return [f"without a kill: {ended.complaints}"]
  seconds = (time.monotonic() - started) / len(scenario.steps)
  expected, complaints, done = scenarios.result(scenario), [], 0
  if not expected:
    return ["it makes nothing"]
  while done < kills:
    shutil.rmtree(scenario.folder)
    for group in scenario.steps:
      well = False
      while not well:
        two = len(scenario.steps) == 1 and "two" in scenario.name
        after = chance.uniform(0.3, 1) * seconds if done < kills else None
        well, more = run_group(scenario, group, after, two and done % 2 == 1)
        done += not well
        complaints += more
        if more and after is None:
          return complaints
    got = scenarios.result(scenario)
    complaints += [f"{name} differs" for name in sorted(expected.keys() | got.keys()) if expected.get(name) != got.get(name)]
  return complaints


def main() -> None:
  """Attacks what the arguments say; exits with 1 if there is a complaint."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--kills", type=int, default=50, help="of preparation, and of training")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--only", default="", help="scenarios whose name begins so")
  args = parser.parse_args()
  chance = random.Random(args.seed)
  all_complaints = []
  with tempfile.TemporaryDirectory() as folder:
    chosen = [scenario for scenario in scenarios.all_scenarios(Path(folder)) if scenario.name.startswith(args.only)]
    for scenario in chosen:
      kind = scenario.name.split()[0].rstrip(",")
      kills = -(-args.kills // sum(other.name.startswith(kind) for other in chosen))
      started = time.monotonic()
      complaints = attack(scenario, kills, chance)
      scenarios.tell(scenario, f"{kills:3} kills", started, complaints)
      all_complaints += complaints
  sys.exit(1 if all_complaints else 0)


if __name__ == "__main__":
  main()
