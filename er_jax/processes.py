"""Several processes that compute as one: how a command joins the others, and how it ends when one of them is lost.

    with processes.joined("10.0.0.1:5000", 2, 0):
      run(...)

Left to themselves, JAX and XLA wait for minutes, or end the process with a stack trace of C++.
"""

import concurrent.futures
import contextlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from input_pipeline import errors
from input_pipeline.errors import Failure, UserError

ALL_HERE = 300.0      # seconds within which all processes have to come
LOST = 30             # seconds without a sign of life after which a process counts as lost
WORDS = 5.0           # seconds for the others to say what is wrong, if it is wrong for all: a process that ends takes them with it
SIGNS_OF_LOSS = re.compile("gloo|nccl|coordination|connection (closed|reset)|socket closed", re.IGNORECASE)


@contextlib.contextmanager
def joined(address: str, count: int, index: int, within: float = ALL_HERE) -> Iterator[None]:
  """Joins `count` processes, of which this is number `index`; leaves when all are through, or ends when one is lost.

  Args:
    address: HOST:PORT of process 0.
    within: seconds to wait for the others.

  Raises:
    UserError: the address is none, or process 0 cannot listen there.
    Failure: process 0 cannot be reached.

  When the others do not come, one of them ends on the way, or this one fails, the process ends as `errors.tell` says: it
  would wait for them if it were left to end by itself.
  """
  host, port = _parts(address)
  print(f"Process {index} of {count}: waiting at most {within:.0f} s for the others at {address}.", flush=True)
  if index:
    _reach(host, port, within)
  else:
    _require_free(port)
  _start(address, count, index, within)
  from jax.experimental import multihost_utils

  try:
    yield
    multihost_utils.sync_global_devices("all are through")      # one may still write
  except BaseException as error:
    if isinstance(error, (RuntimeError, ValueError)) and SIGNS_OF_LOSS.search(str(error)):      # the types of XLA's errors
      _leave(Failure(f"Another process has ended or cannot be reached ({str(error).splitlines()[0]}). Its own output says "
                     "why. The same commands, started again on all machines, go on from the last checkpoint."))
    _leave(error, WORDS)


def require_same(what: Mapping[str, Any]) -> None:
  """Compares values that all processes must have alike, such as fields of the config; of one process nothing.

  Args:
    what: {name: value that JSON can hold}.

  Raises:
    UserError: on every process, with the names whose values differ, and whose they are.
  """
  import jax

  if jax.process_count() == 1:
    return
  from jax.experimental import multihost_utils

  text = np.frombuffer(json.dumps(what, sort_keys=True, default=str).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.array(len(text)))
  padded = np.zeros(sizes.max(), np.uint8)
  padded[:len(text)] = text
  of_all = [json.loads(bytes(row[:size])) for row, size in zip(multihost_utils.process_allgather(padded), sizes)]
  names = sorted({name for of_one in of_all for name, value in of_one.items()
                  if any((name, value) not in other.items() for other in of_all)})
  if names:
    values = "\n".join(f"  {name} is {' / '.join(str(of_one.get(name)) for of_one in of_all)}" for name in names)
    raise UserError(f"The processes do not agree, by number of the process:\n{values}\nGive all the same flags, data and "
                    "workdir, on a disk that all of them see.")


def _parts(address: str) -> tuple[str, int]:
  host, _, port = address.rpartition(":")
  if not host or not port.isdecimal() or not 0 < int(port) < 65536:
    raise UserError(f"--coordinator_address is {address!r}; expected HOST:PORT, as in 10.0.0.1:5000.")
  return host.strip("[]"), int(port)


def _reach(host: str, port: int, within: float) -> None:
  """Waits for process 0 to listen."""
  deadline = time.monotonic() + within
  while True:
    try:
      socket.create_connection((host, port), timeout=10).close()
      return
    except OSError as error:
      if time.monotonic() > deadline or isinstance(error, socket.gaierror):
        raise Failure(f"Process 0 cannot be reached at {host}, port {port}: {error}. Is it running there, and do "
                      "firewalls let the port pass?") from error
    time.sleep(min(1.0, within / 10))


def _start(address: str, count: int, index: int, within: float) -> None:
  """Ends the process if the others do not come. In a thread, for a signal to be answered meanwhile."""
  import jax

  jax.config.update("jax_enable_preemption_service", False)      # it would take SIGTERM away from the program
  with concurrent.futures.ThreadPoolExecutor(1) as pool:      # its end waits, but only for what has come to its own
    started = pool.submit(jax.distributed.initialize, address, count, index, initialization_timeout=round(within) + 60,
                          heartbeat_timeout_seconds=LOST, shutdown_timeout_seconds=LOST)
    try:
      started.result(within)
    except TimeoutError:
      _leave(Failure(f"Not all {count} processes at {address} came within {within:.0f} s. Start all of them, with the same "
                     "--num_processes."))
    except RuntimeError as error:
      _leave(Failure(f"Cannot join the {count} processes at {address}: {str(error).splitlines()[0]}. Give each a "
                     "--process_id of its own, from 0, and all of them the same --num_processes."))
    except BaseException as error:
      _leave(error)


def _require_free(port: int) -> None:
  """Where it is not, jaxlib 0.10.2 often ends in a segmentation fault."""
  both = socket.has_dualstack_ipv6()
  try:
    socket.create_server(("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both).close()
  except OSError as error:
    raise UserError(f"Process 0 cannot listen at port {port} of this machine: {error}. Give all processes another "
                    "--coordinator_address.") from error


def _leave(error: BaseException, seconds: float = 0.0) -> None:
  """Ends the process after so many seconds, with what there is to say."""
  sys.stdout.flush()
  status = errors.tell(error)
  time.sleep(seconds)
  os._exit(status)
