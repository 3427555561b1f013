"""Every kind of file that the project reads, damaged at random and given to what reads it.

    python -m tests.attacks.fuzz                                  # 10,000 cases of each kind; prints a table
    python -m tests.attacks.fuzz --kinds=npz,videos --cases=500 --seed=7

A case is a folder of good files of which one has been changed. It passes if the reader takes it, or refuses it with an
error that names what is wrong; a finding is any other exception, a process that dies, one that is at it for longer than
10 seconds or takes more than 2 GB of memory, and a file that the reader leaves behind. The same seed gives the same cases.
"""

import argparse
import collections
import json
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.attacks import kinds

MOST_SECONDS, MOST_BYTES = 10.0, 2 << 30
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
WORDS = (b"", b"null", b"-1", b"0", b"1e999", b"NaN", b"1.5", b"true", b"[]", b"{}", b'""', b'"\\ud800"', b'"\\u0000"',
         b"9" * 25, b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\x00", b"\xff\xfe", "é\u202e\u0301".encode(), b'"' + b"x" * 70000 + b'"',
         b"/etc/passwd", b"../../x", b"\r\n", b"%s%n{0}", b"[bold]", b"=1+1")
EXTREMES = tuple(value.to_bytes(size, "little", signed=True) for size in (1, 2, 4, 8)
                 for value in (0, 1, -1, (1 << 8 * size - 1) - 1, -(1 << 8 * size - 1)))


class Finding(NamedTuple):
  """A case that did not pass: its number, the file that was changed, and in a line what happened."""

  kind: str
  case: int
  file: str
  what: str


def damage(content: bytes, chance: random.Random) -> bytes:
  """The content with one to four changes."""
  for _ in range(chance.choice((1, 1, 1, 2, 4))):
    content = chance.choice(CHANGES)(content, chance)
  return content


def _cut(content: bytes, chance: random.Random) -> bytes:
  return content[:chance.randint(0, len(content))]


def _flip(content: bytes, chance: random.Random) -> bytes:
  changed = bytearray(content)
  for _ in range(chance.choice((1, 2, 16)) if changed else 0):
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
  return bytes(changed)


def _block(content: bytes, chance: random.Random) -> tuple[int, int]:
  start = chance.randint(0, len(content))
  return start, min(len(content), start + chance.choice((1, 4, 30, 400)))


def _remove(content: bytes, chance: random.Random) -> bytes:
  start, stop = _block(content, chance)
  return content[:start] + content[stop:]


def _double(content: bytes, chance: random.Random) -> bytes:
  start, stop = _block(content, chance)
  return content[:stop] + content[start:stop] * chance.choice((1, 1, 50)) + content[stop:]


def _insert(content: bytes, chance: random.Random) -> bytes:
  start, _ = _block(content, chance)
  return content[:start] + chance.choice((chance.randbytes(chance.randint(1, 30)), chance.choice(WORDS))) + content[start:]


def _extreme(content: bytes, chance: random.Random) -> bytes:
  start, value = chance.randint(0, len(content)), chance.choice(EXTREMES)
  value = value[::-1] if chance.random() < 0.5 else value      # containers of video are big-endian
  return content[:start] + value + content[start + len(value):]


def _header(content: bytes, chance: random.Random) -> bytes:
  """As `_extreme`, near the beginning, where sizes and shapes are."""
  head = _extreme(content[:128], chance)
  return head[:128] + content[128:]


def _replace(pattern: re.Pattern) -> Callable[[bytes, random.Random], bytes]:
  def replace(content: bytes, chance: random.Random) -> bytes:
    found = list(pattern.finditer(content[:200_000]))
    if not found:
      return _flip(content, chance)
    match = chance.choice(found)
    return content[:match.start()] + chance.choice(WORDS) + content[match.end():]
  return replace


def _line(content: bytes, chance: random.Random) -> bytes:
  """Removes, doubles, moves or joins a line."""
  lines = content.split(b"\n")
  at = chance.randrange(len(lines))
  line = lines.pop(at)
  lines[at:at] = chance.choice(([], [line, line], [line + b" " + line], [line[:len(line) // 2], line[len(line) // 2:]]))
  return b"\n".join(lines)


def _whole(content: bytes, chance: random.Random) -> bytes:
  return chance.choice((b"", b"\0" * len(content), content[::-1], b"\xef\xbb\xbf" + content, chance.choice(WORDS),
                        content.decode("latin-1").encode("utf-16"), content.replace(b"\n", b"\r\n")))


CHANGES = (_cut, _flip, _remove, _double, _insert, _extreme, _header, _replace(NUMBER), _replace(TEXT), _line, _whole)


def run_cases(kind: str, folder: Path, cases: range, seed: int, tell: Callable[[int, list[Finding]], None]) -> None:
  """Runs these cases in this process; `tell` hears of the number that is next, and of findings."""
  reader = kinds.KINDS[kind](folder)
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  reader()      # what is good is read
  before = _peak()
  for case in cases:
    tell(case, [])
    chance = random.Random(f"{seed} {kind} {case}")
    path = chance.choice(files)
    content = path.read_bytes()
    name = path.relative_to(folder).as_posix()
    path.write_bytes(damage(content, chance))
    try:
      reader()
    except kinds.REFUSED as error:
      what = "" if str(error).strip() else f"{type(error).__name__} without a word"
    except BaseException as error:      # any that a user would see as a traceback
      place = traceback.extract_tb(error.__traceback__)[-1]
      what = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:120]!r}"
    else:
      what = ""
    path.write_bytes(content)
    if left := [other for other in folder.rglob("*") if other.is_file() and other not in files]:
      what += f" left behind {left[0].name}"
      for other in left:
        other.unlink()
    if _peak() - before > MOST_BYTES:
      what += " takes more than 2 GB"
      before = _peak()
    if what:
      tell(case, [Finding(kind, case, name, what.strip())])


def _peak() -> int:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _work(kind: str, cases: range, seed: int, pipe) -> None:
  sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")      # what libraries say of every case
  os.dup2(sys.stdout.fileno(), 2)
  try:
    with tempfile.TemporaryDirectory() as folder:
      run_cases(kind, Path(folder), cases, seed, lambda case, findings: pipe.send((case, findings)))
    pipe.send((cases.stop, []))
  except BaseException:      # outside of any case: a fault of the attack
    pipe.send(traceback.format_exc())


def attack(kind: str, count: int, seed: int) -> list[Finding]:
  """All cases of a kind, in a process that is started anew where a case kills it or is at it for too long."""
  findings, first = [], 0
  while first < count:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(kind, range(first, count), seed, theirs))
    process.start()
    theirs.close()
    started, current = False, first
    while True:
      if not ours.poll(MOST_SECONDS if started else 300):
        findings.append(Finding(kind, current, "?", f"is at it for more than {MOST_SECONDS:.0f} s"))
        break
      try:
        message = ours.recv()
      except EOFError:
        process.join()
        break
      if isinstance(message, str):
        raise RuntimeError(f"The attack on {kind} is itself at fault:\n{message}")
      started, (current, found) = True, message
      findings += found
    process.kill()
    process.join()
    if current < count and not (findings and findings[-1].case == current):
      findings.append(Finding(kind, current, "?", f"the process died ({process.exitcode})"))
    first = current + 1
  return findings


def main() -> None:
  """Attacks what the arguments say; exits with 1 if there is a finding."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--kinds", default=",".join(kinds.KINDS), help=", ".join(kinds.KINDS))
  parser.add_argument("--cases", type=int, default=10_000)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--output", type=Path, help="a .jsonl file of all findings")
  args = parser.parse_args()
  everything = []
  print(f"{'kind':18} {'cases':>7} {'seconds':>8}  findings")
  for kind in args.kinds.split(","):
    started = time.monotonic()
    findings = attack(kind, args.cases, args.seed)
    everything += findings
    print(f"{kind:18} {args.cases:7} {time.monotonic() - started:8.0f}  {len(findings)}", flush=True)
    kinds_of = collections.Counter(re.sub(r"0x\w+|\d{3,}", "#", finding.what)[:150] for finding in findings)
    for what, number in kinds_of.most_common(12):
      example = next(finding for finding in findings if re.sub(r"0x\w+|\d{3,}", "#", finding.what)[:150] == what)
      print(f"    {number} x {what} (case {example.case}, {example.file})", flush=True)
  if args.output:
    args.output.write_text("".join(json.dumps(finding._asdict()) + "\n" for finding in everything), encoding="utf-8")
  sys.exit(1 if everything else 0)


if __name__ == "__main__":
  main()
