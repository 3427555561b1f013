"""What every command does first: Ctrl-C at any moment, terminals that lack characters, locales that are not UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from input_pipeline import startup

GONE = """
import sys
from input_pipeline import startup
startup.begin()
startup.begin()
from input_pipeline.progress import Progress
with Progress("work", 2, "steps") as progress:
  progress.advance()
  sys.stdin.readline()      # now nobody sees it any more
  progress.advance(note="x" * 9999)
print("y" * 99999)
sys.exit(7)
"""
ROOT = Path(__file__).parents[2]
MODULES = ("er_jax.main", "er_jax.compare", "er_jax.convert", "input_pipeline.prepare", "input_pipeline.verify")
SCRIPTS = ("compare", "convert_checkpoint", "check_descriptions", "benchmark", "build_concepts", "build_word_vectors")
COMMANDS = [*(("-m", module) for module in MODULES), ("-m", "er_jax.cli", "train"),
            *((f"scripts/{script}.py",) for script in SCRIPTS)]
# What an import of these may meet: the signal, in a library that catches whatever is raised while it is imported.
SIGNAL = "import os, signal\ntry:\n  os.kill(os.getpid(), signal.SIGINT)\n  [None for _ in range(9)]\nexcept BaseException:\n  pass\n"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, *arguments], capture_output=True, cwd=ROOT, timeout=60,
                        env={**os.environ, **environment})


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[-1])
@pytest.mark.parametrize("imported", [SIGNAL, "raise KeyboardInterrupt"], ids=["signal", "raised"])
def test_a_command_that_is_interrupted_while_it_imports_says_so_in_a_line(tmp_path, command, imported):
  for library in ("absl", "jax", "numpy"):
    (tmp_path / f"{library}.py").write_text(imported)
  result = python(*command, PYTHONPATH=str(tmp_path))
  assert (result.returncode, result.stderr) == (startup.INTERRUPTED, b"Interrupted.\n")


def test_an_interrupt_that_python_would_ignore_is_given_again():
  result = python("-c", """
import os, signal, time
from input_pipeline import startup
startup.begin()
class Buried:
  def __del__(self):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
Buried()
try:
  time.sleep(30)
except KeyboardInterrupt:
  print("told")
""")
  assert (result.returncode, result.stdout, result.stderr) == (0, b"told\n", b"")


def test_an_interrupt_of_the_work_is_told_by_its_message_and_then_ends_the_program_at_once():
  result = python("-c", """
import atexit, os, signal
from input_pipeline import errors
def main(_):
  atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
  raise KeyboardInterrupt("Stopped there.")
errors.run(main)
""")
  assert (result.returncode, result.stderr) == (130, b"Stopped there.\nInterrupted.\n")


@pytest.mark.parametrize("options", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_what_nobody_reads_any_more_stops_no_work(options):
  end, pipe = os.pipe()
  terminal, shown = os.openpty()
  process = subprocess.Popen([sys.executable, *options, "-c", GONE], cwd=ROOT, env={**os.environ, "TERM": "xterm"},
                             stdin=subprocess.PIPE, stdout=pipe, stderr=shown)
  os.close(pipe)
  os.close(shown)
  seen = b""
  while b"work" not in seen:
    seen += os.read(terminal, 1000)
  os.close(end)
  os.close(terminal)
  process.communicate(b"\n", timeout=60)
  assert process.returncode == 7


def test_what_cannot_be_written_to_a_full_disk_is_an_error():
  with open("/dev/full", "w") as full:
    process = subprocess.run([sys.executable, "-c", "from input_pipeline import startup; startup.begin(); print(1)"],
                             cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
  assert process.returncode and b"No space left" in process.stderr


def test_signs_that_a_terminal_lacks_are_likened_or_escaped():
  text = "1 ± 2 – a … 中\udcff"
  with pytest.raises(UnicodeEncodeError):
    text.encode("utf-8")
  assert startup.readable(UnicodeEncodeError("ascii", text, 2, 3, "")) == ("+-", 3)
  rest = startup.readable(UnicodeEncodeError("ascii", text, 6, len(text), ""))
  assert rest == (r"- a ... \u4e2d\udcff", len(text))


@pytest.mark.parametrize("encoding, shown", [("ascii", rb"\u4e2d"), ("latin-1", rb"\u4e2d"), ("gbk", "中".encode("gbk")),
                                             ("utf-8", "中".encode())])
def test_names_of_files_are_utf8_and_prints_fit_the_terminal_whatever_the_locale(tmp_path, encoding, shown):
  (tmp_path / "中").touch()
  (tmp_path / "show.py").write_text("""
import os, sys
from input_pipeline import errors
def main(_):
  from rich.console import Console
  from rich.table import Table
  name, = [name for name in os.listdir(sys.path[0]) if not name.isascii()]
  assert name == "\\u4e2d"
  table = Table("a \\u00b1 b")
  table.add_row(name)
  Console().print(table)
  print(name, "\\udcff", file=sys.stderr)
errors.run(main)
""")
  result = python(str(tmp_path / "show.py"), PYTHONPATH=str(ROOT), LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0",
                  PYTHONIOENCODING=encoding)
  assert result.returncode == 0, result.stderr
  assert shown in result.stdout and result.stderr.strip() == shown + rb" \udcff"
