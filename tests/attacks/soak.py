"""A long training whose memory is watched: it may not grow by more than 2 % once it has settled.

    python -m tests.attacks.soak --minutes=60       # prints a line a minute; exits with 1 if it grows
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.attacks import scenarios

PERIOD = 5      # seconds from one look to the next
SETTLED, MOST_GROWTH = 0.1, 1.02      # of the time; of the largest memory in the first half after that


def resident_bytes(pid: int) -> int:
  """Memory that a process has now."""
  return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) << 10


def main() -> None:
  """Watches for as long as the arguments say."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--minutes", type=float, default=60)
  args = parser.parse_args()
  seen: list[tuple[float, int]] = []
  with tempfile.TemporaryDirectory() as folder:
    scenario = scenarios.train_scenarios(Path(folder), num_epochs=1_000_000)[0]
    (command,) = scenario.steps[0]()
    process = subprocess.Popen(command, env=scenarios.environment(scenario.environment), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < 60 * args.minutes and process.poll() is None:
      time.sleep(PERIOD)
      seen.append((elapsed, resident_bytes(process.pid)))
      if len(seen) % (60 // PERIOD) == 0:
        print(f"{elapsed / 60:5.0f} min {seen[-1][1] / 2**20:8.1f} MB", flush=True)
    ended = process.poll()
    process.terminate()
    process.wait()
    lines = (scenario.folder / "run" / "metrics.jsonl").read_text().count("\n")
  settled = [size for at, size in seen if at > SETTLED * 60 * args.minutes]
  first, second = max(settled[:len(settled) // 2]), max(settled[len(settled) // 2:])
  print(f"{lines} lines of metrics; at most {first / 2**20:.1f} MB in the first half, {second / 2**20:.1f} MB in the second: "
        f"{100 * (second / first - 1):+.2f} %" + (f"; it ended with {ended}" if ended is not None else ""))
  sys.exit(1 if ended is not None or second > MOST_GROWTH * first else 0)


if __name__ == "__main__":
  main()
