"""Several processes: what is said when one cannot be reached, does not come, or is lost."""

import signal
import socket
import subprocess
import sys

import pytest

from er_jax.processes import joined
from input_pipeline.errors import Failure, UserError

MEMBER = """
import sys
import numpy as np
from er_jax.processes import joined, require_same
from input_pipeline.errors import UserError
address, count, index, job = sys.argv[1:]
with joined(address, int(count), int(index), within=5 if job == "alone" else 200):
  from jax.experimental import multihost_utils
  multihost_utils.process_allgather(np.array([0]))      # Gloo waits 30 s for its first connection
  print("joined", flush=True)
  if job == "fail" and index == "1":
    raise UserError("this one cannot go on")
  if job == "differ":
    require_same({"batch_size": 4, "learning_rate": 0.1 ** int(index)})
  for i in range(10**6 if job == "long" or job == "fail" else 3):
    assert multihost_utils.process_allgather(np.array([i])).tolist() == [[i], [i]]
print("through")
"""


def start(job: str, *indices: int, port: int | None = None) -> list[subprocess.Popen]:
  address = f"127.0.0.1:{port or free_port()}"
  return [subprocess.Popen([sys.executable, "-c", MEMBER, address, "2", str(i), job], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True) for i in indices]


def free_port() -> int:
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":5000", "localhost:http", "localhost:70000"])
def test_wrong_address_is_named(address):
  with pytest.raises(UserError, match=f"--coordinator_address is '{address}'; expected HOST:PORT"), joined(address, 2, 0):
    pass


def test_process_0_that_is_not_there_is_named():
  with pytest.raises(Failure, match="Process 0 cannot be reached at 127.0.0.1, port"):
    with joined(f"127.0.0.1:{free_port()}", 2, 1, within=0.1):
      pass


def test_a_port_that_another_program_has_is_named():
  with socket.socket() as taken:
    taken.bind(("0.0.0.0", 0))
    taken.listen()
    port = taken.getsockname()[1]
    (process,) = start("alone", 0, port=port)
    _, err = process.communicate(timeout=200)
  assert f"cannot listen at port {port}" in err and "stack trace" not in err


def test_processes_that_end_well_leave_together():
  for process in start("short", 0, 1):
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0 and out.endswith("through\n"), err


def test_a_process_that_stays_alone_ends_with_a_word():
  (process,) = start("alone", 0)
  _, err = process.communicate(timeout=200)
  assert process.returncode == 1 and "Not all 2 processes at" in err and "stack trace" not in err


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_process_ends_the_other(lost):
  processes = start("long", 0, 1)
  for process in processes:
    while "joined" not in process.stdout.readline():      # Gloo writes into the same line
      assert process.poll() is None, process.communicate()
  processes[lost].send_signal(signal.SIGKILL)
  out, err = processes[1 - lost].communicate(timeout=200)
  assert processes[1 - lost].returncode not in (0, 2) and "through" not in out
  assert "Traceback" not in err and ("Another process has ended" in err or "another task died" in err), err
  processes[lost].communicate()


def test_a_process_that_fails_ends_the_other():
  well, failed = start("fail", 0, 1)
  out, err = failed.communicate(timeout=200)
  assert failed.returncode == 2 and "error: this one cannot go on" in err
  out, err = well.communicate(timeout=200)
  assert well.returncode not in (0, 2) and "through" not in out and "Traceback" not in err
  assert "Another process has ended" in err or "another task died" in err


def test_processes_that_are_given_different_values_all_say_which():
  for process in start("differ", 0, 1):
    _, err = process.communicate(timeout=200)
    assert process.returncode == 2 and "by number of the process:\n  learning_rate is 1.0 / 0.1\nGive" in err
