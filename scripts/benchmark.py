"""Times of our computations beside the same ones in plain eager PyTorch.

    python scripts/benchmark.py                                          # everything, BERT-base and ResNet-50
    python scripts/benchmark.py --parts=train_step,tsm --repeats=5 --size=tiny

Parts: train_step, class_encoding, evaluation (ER-ZSAR, gate fusion, random weights, invented texts), tsm, bit
(8-frame clips of random pixels). One process computes each thing once on both sides to warm up, then in turn
`--repeats` times; the table has the medians. Both sides have the same weights and inputs, and the largest
difference of what they compute is shown, as a part of the largest number in it: losses of two steps with
dropout off (the timed steps have dropout), class embeddings, logits, TSM features and BiT logits. One beyond
1e-3 ends the program with status 1.

PyTorch's side does what the published code does: it pads texts to the longest of their group and runs all of
BERT on them every time. Ours starts from the frozen layers' output, which is computed once per distinct text;
that time has a line of its own, and the lines "from tokens" show what we need without it. Our times include
the work on the host that makes a step's input of a loader's batch; PyTorch gets tensors that are ready.
PyTorch is optional: without it the table has our times alone.

What the guard against wrong sums on CPUs (input_pipeline/xla_flags.py) costs or gains, a second run shows, without it:

    XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=+reduce python scripts/benchmark.py
"""

import functools
import importlib.util
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # to run without being installed

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import jax
import numpy as np
from absl import flags, logging

from input_pipeline import devices, errors
from input_pipeline.backbones import BACKBONES
from input_pipeline.errors import UserError
from input_pipeline.loaders import eval_batches, train_batches
from scripts.benchmarking.data import SIZES, Size, random_frames, random_variables
from scripts.benchmarking.recognition import Recognition

if TYPE_CHECKING:
  from scripts.benchmarking.torch_recognition import Peer  # needs PyTorch, which may be absent

COMPARED_STEPS = 2
MAX_DIFFERENCE = 1e-3      # beyond it the two sides do not compute the same
INSTALL = "pip install torch --index-url https://download.pytorch.org/whl/cpu"


class Row(NamedTuple):
  """A line of the table: median seconds of both sides, their largest difference, how many clips that was."""
  part: str
  what: str
  ours: float
  peer: float | None = None
  difference: float | None = None
  clips: int | None = None


class Timed(NamedTuple):
  """What a computation gave when it was warmed up, and the median of its seconds after that."""
  output: Any
  seconds: float


def frozen_layers(ours: Recognition) -> Row:
  """What is computed once, compilation included."""
  banks = [bank for bank in (ours.builder.banks.texts, ours.builder.banks.sequences) if bank is not None]
  texts, tokens = sum(len(bank.lengths) for bank in banks), sum(len(bank.tokens) for bank in banks)
  return Row("once", f"frozen layers, {texts:,} texts, {tokens:,} tokens", ours.frozen_seconds)


def train_step(ours: Recognition, peer: "Peer | None", repeats: int) -> list[Row]:
  """One step: forward, backward, clip, Adam."""
  config = ours.configs[True]
  num_steps = max(repeats + 1, COMPARED_STEPS)
  batches = list(train_batches(ours.videos, config.batch_size, config.seed, num_steps=num_steps))
  calls, difference = [_each(ours.train_step(dropout=True), batches)], None
  if peer:
    prepared = [peer.batch(batch) for batch in batches]
    say("train_step: losses without dropout")
    mine = map(ours.train_step(dropout=False), batches[:COMPARED_STEPS])
    theirs = map(peer.train_step(dropout=False), prepared[:COMPARED_STEPS])
    difference = max(largest_difference(np.array(own[name]), np.array(losses[name]))
                     for own, losses in zip(mine, theirs) for name in losses)
    calls.append(_each(peer.train_step(dropout=True), prepared))
  times = measure("train_step", calls, repeats)
  what = f"a step, {config.batch_size} videos, {ours.size.num_classes} classes"
  return [Row("train_step", what, *(timed.seconds for timed in times), difference=difference)]


def class_encoding(ours: Recognition, peer: "Peer | None", repeats: int) -> list[Row]:
  """Class texts to embeddings, from the text bank and from token ids."""
  calls = [functools.partial(ours.encode_classes, banks) for banks in (ours.banks, ours.tokens_only)]
  calls += [peer.encode_classes] if peer else []
  times = measure("class_encoding", calls, repeats)
  return _with_and_without_bank("class_encoding", f"{ours.size.num_classes} texts", times)


def evaluation(ours: Recognition, peer: "Peer | None", repeats: int) -> list[Row]:
  """Scores of videos, objects included, from the text bank and from token ids."""
  embeddings = ours.steps.encode_classes(ours.placed, ours.classes, ours.banks)
  calls = [functools.partial(ours.score, embeddings, banks) for banks in (ours.banks, ours.tokens_only)]
  if peer:
    prepared = [peer.batch(batch) for batch in eval_batches(ours.videos, ours.size.batch_size)]
    classes = ours.parallel.fetch(embeddings)[:ours.size.num_classes]
    calls.append(functools.partial(peer.score, classes, prepared))
  times = measure("evaluation", calls, repeats)
  return _with_and_without_bank("evaluation", f"{len(ours.videos)} videos", times)


def backbone(part: str, size: Size, with_peer: bool, repeats: int) -> list[Row]:
  """TSM's mean features or BiT's mean logits of clips, from uint8 frames."""
  network, config = BACKBONES.load(part), size.backbones[part]
  frames, variables = random_frames(size, config.crop), random_variables(network.shapes(config))
  (apply,) = network.apply.values()
  run = jax.jit(functools.partial(apply, config))
  placed = jax.device_put((variables, frames, np.ones(frames.shape[:2], bool)))
  calls = [lambda: np.asarray(run(*placed))]
  if with_peer:
    from scripts.benchmarking import torch_backbones

    calls.append(torch_backbones.clip_outputs(part, config, variables, frames))
  times = measure(part, calls, repeats)
  difference = largest_difference(times[0].output, times[1].output) if with_peer else None
  what = f"{size.num_clips} clips of {frames.shape[1]} x {config.crop} x {config.crop}"
  return [Row(part, what, *(timed.seconds for timed in times), difference=difference, clips=size.num_clips)]


RECOGNITION = {"train_step": train_step, "class_encoding": class_encoding, "evaluation": evaluation}
BACKBONE_PARTS = tuple(SIZES["full"].backbones)
PARTS = (*RECOGNITION, *BACKBONE_PARTS)


def benchmark(parts: Sequence[str], size: Size, repeats: int) -> list[Row]:
  """Measures the parts, in the order of PARTS; progress goes to stderr."""
  with_peer, rows, ours = has_torch(), [], None
  with tempfile.TemporaryDirectory() as folder:
    for part, function in RECOGNITION.items():
      if part in parts:
        if ours is None:
          say("frozen layers: every text once")
          ours = Recognition(size, Path(folder))
          rows.append(frozen_layers(ours))
        rows += function(ours, _peer(ours) if with_peer else None, repeats)
  for part in BACKBONE_PARTS:
    if part in parts:
      rows += backbone(part, size, with_peer, repeats)
  return rows


def _peer(ours: Recognition) -> "Peer":
  from scripts.benchmarking import torch_recognition

  assert ours.method.text is not None     # ER-ZSAR reads texts
  return torch_recognition.Peer(ours.dataset, ours.configs[True], ours.params, ours.method.text.tokenizer)


def has_torch() -> bool:
  """Whether PyTorch is installed."""
  return importlib.util.find_spec("torch") is not None


def measure(part: str, calls: Sequence[Callable[[], Any]], repeats: int) -> list[Timed]:
  """Calls each once to warm up, then all in turn `repeats` times."""
  say(f"{part}: warm-up")
  outputs, seconds = [call() for call in calls], [[] for _ in calls]
  for repeat in range(repeats):
    for call, measured in zip(calls, seconds):
      started = time.perf_counter()
      call()
      measured.append(time.perf_counter() - started)
    say(f"{part}: {repeat + 1} of {repeats}, " + " / ".join(f"{measured[-1]:.3g} s" for measured in seconds))
  return [Timed(output, statistics.median(measured)) for output, measured in zip(outputs, seconds)]


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
  """The largest absolute difference, as a part of the largest absolute value."""
  return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def say(line: str) -> None:
  """A line of progress."""
  print(line, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
  """The rows as text, `-` where there is nothing to say."""
  cells = [("part", "what", "ours (s)", "PyTorch (s)", "speed-up", "difference", "clips/s ours, PyTorch")]
  for row in rows:
    rates = [f"{row.clips / seconds:.2f}" for seconds in (row.ours, row.peer) if row.clips and seconds]
    peer, speed_up, difference = ("-", "-", "-") if row.peer is None else (
        f"{row.peer:.4f}", f"{row.peer / row.ours:.2f}", f"{row.difference:.1e}")
    cells.append((row.part, row.what, f"{row.ours:.4f}", peer, speed_up, difference, ", ".join(rates) or "-"))
  widths = [max(map(len, column)) for column in zip(*cells)]
  return "\n".join("  ".join(cell.ljust(width) if place < 2 else cell.rjust(width)
                             for place, (cell, width) in enumerate(zip(line, widths))) for line in cells)


def _each(function: Callable[[Any], Any], inputs: Sequence[Any]) -> Callable[[], Any]:
  """A function without arguments that goes on to the next input at each call."""
  following = itertools.cycle(inputs)
  return lambda: function(next(following))


def _with_and_without_bank(part: str, what: str, times: Sequence[Timed]) -> list[Row]:
  """Rows of our two ways, beside PyTorch's one if it was measured."""
  rows = []
  for way, timed in zip(("text bank", "from tokens"), times):
    row = Row(part, f"{what}, {way}", timed.seconds)
    if len(times) > 2:
      row = row._replace(peer=times[2].seconds, difference=largest_difference(timed.output, times[2].output))
    rows.append(row)
  return rows


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_list("parts", list(PARTS), f"What to measure: {', '.join(PARTS)}.")
  flags.DEFINE_integer("repeats", 3, "How often each is measured.", lower_bound=1)
  flags.DEFINE_string("size", "full", f"How large everything is: {', '.join(SIZES)}.")


def main(_: list[str]) -> None:
  """Measures and prints."""
  logging.set_verbosity(logging.WARNING)
  parts, size = flags.FLAGS.parts, flags.FLAGS.size
  for part in parts:
    if part not in PARTS:
      raise errors.unknown("part in --parts", part, PARTS)
  if not parts:
    raise UserError(f"--parts is empty; choose from {', '.join(PARTS)}.")
  if size not in SIZES:
    raise errors.unknown("--size", size, SIZES)
  devices.require()
  rows = benchmark(parts, SIZES[size], flags.FLAGS.repeats)
  print(f"JAX {jax.__version__} on {jax.device_count()} {jax.default_backend()}, {peer_description()}; "
        f"float32; medians of {flags.FLAGS.repeats}; size {size}; XLA_FLAGS={os.environ['XLA_FLAGS']!r}")
  print(table(rows))
  if not has_torch():
    print(f"PyTorch is not installed, so there is nothing to compare with. To have it:\n  {INSTALL}")
  wrong = [row.part for row in rows if row.difference is not None and not row.difference <= MAX_DIFFERENCE]
  if wrong:
    print(f"error: the two sides do not compute the same: {', '.join(dict.fromkeys(wrong))} differ by more "
          f"than {MAX_DIFFERENCE:.0e}.", file=sys.stderr)
    sys.exit(1)


def peer_description() -> str:
  """PyTorch's version and threads."""
  if not has_torch():
    return "no PyTorch"
  import torch

  return f"PyTorch {torch.__version__} on cpu, {torch.get_num_threads()} threads"


if __name__ == "__main__":
  define_flags()
  errors.run(main)
