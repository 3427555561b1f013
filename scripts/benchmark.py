"""How long our computations take beside the same ones in plain eager PyTorch.

    python scripts/benchmark.py                                          # everything, BERT-base and ResNet-50
    python scripts/benchmark.py --parts=train_step,tsm --repeats=5 --size=tiny

Parts: train_step, class_encoding, evaluation (ER-ZSAR, gate fusion, with random weights and invented texts), tsm, bit
(8-frame clips of random pixels). One process computes each thing once on both sides to warm up, then in turn
`--repeats` times; the table has the medians. Both sides have the same weights and inputs, and the largest difference
of what they compute is shown, as a part of the largest number in it: losses of two steps with dropout off (the timed
steps have dropout), class embeddings, logits, TSM features and BiT logits.

PyTorch's side does what the published code does: it pads texts to the longest of their group and runs all of BERT on
them every time. Ours starts from the frozen layers' output, which is computed once per distinct text; that time has
a line of its own. Our steps include the work on the host that makes a step's input of a loader's batch, PyTorch's get
tensors that are ready. PyTorch is optional: without it the table has our times alone.
"""

import functools
import importlib.util
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # to run without being installed

import jax
import numpy as np
from absl import flags, logging

from configs import ervse
from er_jax import methods, optimizer
from er_jax.batches import BatchBuilder
from er_jax.experiment import Experiment
from er_jax.models.bert import load_bert
from er_jax.steps import Banks, Steps, TrainState, device_banks
from flax.traverse_util import flatten_dict
from input_pipeline import errors
from input_pipeline.backbones import bit, checkpoints, tsm
from input_pipeline.concepts import concept_text
from input_pipeline.descriptions import class_text
from input_pipeline.errors import UserError
from input_pipeline.loaders import Batch, eval_batches, examples, train_batches
from ml_collections import ConfigDict
from scripts.benchmark_data import SIZES, MadeUpDataset, Size, random_frames, random_variables, write_bert_folder

COMPARED_STEPS = 2
MAX_DIFFERENCE = 1e-3      # beyond it the two sides do not compute the same
DROPOUTS = ("text_backbone", "text_encoder", "video_encoder", "fusion_mlp")
INSTALL = "pip install torch --index-url https://download.pytorch.org/whl/cpu"


class Row(NamedTuple):
  """A line of the table: median seconds of ours and of PyTorch's, the largest difference, and things a second."""
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


def config_of(size: Size, bert_folder: Path, dropout: bool) -> ConfigDict:
  """configs/ervse.py at the published values, with the sizes of `size` and a constant learning rate."""
  config = ervse.get_config("kinetics_zsar")
  config.batch_size = config.eval_batch_size = size.batch_size
  config.model.embed_dim = size.embed_dim
  config.model.text_backbone.update({"name_or_path": str(bert_folder), "trainable_from": size.trainable_from})
  config.optimizer.update({"schedule": "constant", "warmup_steps": 0})
  if not dropout:
    for module in DROPOUTS:
      config.model[module].dropout_rate = 0.0
  return config


class Recognition:
  """Our ER-ZSAR on the made-up dataset. Every call starts from the same parameters, `params`."""

  def __init__(self, size: Size, folder: Path):
    self.size = size
    write_bert_folder(folder, size)
    self.configs = {dropout: config_of(size, folder, dropout) for dropout in (True, False)}
    self.dataset = MadeUpDataset(folder, size)
    experiment = Experiment(self.configs[False], folder, self.dataset)
    self.method, self.parallel = experiment.method, experiment.parallel
    self.params = experiment.first_params()
    self.videos = examples(self.dataset, "train", self.dataset.splits.seen)
    self.builder = BatchBuilder(self.dataset, self.configs[False], self.method, [self.videos],
                                self.parallel.num_devices)
    self.class_set = self.builder.class_set(self.dataset.splits.seen)
    started = time.perf_counter()
    self.banks = device_banks(self.builder, self.parallel, self.method, self.params, experiment.cache_bytes)
    jax.block_until_ready(self.banks)
    self.frozen_seconds = time.perf_counter() - started
    self.tokens_only = self.parallel.replicate(Banks(self.builder.texts, self.builder.sequences))
    self.classes, self.placed = self.parallel.shard(self.class_set), self.parallel.replicate(self.params)
    self.steps = Steps(self.parallel, self.method, self.builder, self.class_set)

  def train_step(self, dropout: bool) -> Callable[[Batch], dict[str, float]]:
    """A function that does the next update and returns its losses."""
    config = self.configs[dropout]
    method = methods.build(config, None)
    names = flatten_dict(self.params, sep="/")
    trainable = names.keys() - method.frozen
    updates = optimizer.build(config.optimizer, optimizer.schedule(config.optimizer, config.batch_size), trainable)
    opt_state = jax.tree.map(np.asarray, updates.init({name: names[name] for name in sorted(trainable)}))
    steps = Steps(self.parallel, method, self.builder, self.class_set, updates, trainable, config.seed)
    state = self.parallel.replicate(TrainState(np.zeros((), np.int32), self.params, opt_state))

    def step(batch: Batch) -> dict[str, float]:
      nonlocal state
      placed = self.parallel.shard(self.builder.batch(batch, self.videos, step=0))
      state, parts = steps.train(state, placed, self.classes, self.banks)
      return {name: float(value) for name, value in self.parallel.fetch(parts).items()}

    return step

  def encode_classes(self, banks: Banks) -> np.ndarray:
    """(C, D)."""
    embeddings = self.parallel.fetch(self.steps.encode_classes(self.placed, self.classes, banks))
    return embeddings[:self.size.num_classes]

  def score(self, embeddings: jax.Array, banks: Banks) -> np.ndarray:
    """(videos, C) scores against class embeddings on the devices, as `er_jax.evaluate.Evaluator` computes them."""
    scored = []
    for batch in eval_batches(self.videos, self.size.batch_size):
      placed = self.parallel.shard(self.builder.batch(batch, self.videos, step=0))
      scored.append((self.steps.score(self.placed, placed, embeddings, banks), batch.mask))
    return np.concatenate([self.parallel.fetch(logits)[:len(mask)][mask] for logits, mask in scored])[
        :, :self.size.num_classes]


class Peer:
  """The same in PyTorch, with inputs made of the same dataset beforehand."""

  def __init__(self, ours: Recognition):
    import torch
    from scripts import torch_peer

    self._torch, self._lib, self._ours = torch, torch_peer, ours
    config = ours.configs[True]
    sizes = load_bert(config.model.text_backbone.name_or_path)[0]
    self.model = torch_peer.Recognition(ours.params, sizes, config)
    texts = [class_text(action, config.data.class_text) for action in ours.dataset.classes]
    self.classes = self._pad(texts)

  def train_step(self, dropout: bool) -> Callable[[Any], dict[str, float]]:
    """See `Recognition.train_step`; the parameters of the peer change."""
    self.model.train(dropout)
    return functools.partial(self.model.train_step, optimizer=self.model.adam())

  def encode_classes(self) -> np.ndarray:
    """(C, D)."""
    with self._torch.no_grad():
      return self.model.eval().encode_texts(self.classes).numpy()

  def score(self, embeddings: np.ndarray, batches: Sequence[Any]) -> np.ndarray:
    """(videos, C)."""
    embeddings = self._torch.tensor(embeddings)
    with self._torch.no_grad():
      return np.concatenate([self.model.eval().logits(batch.features, batch.objects, embeddings).numpy()
                             for batch in batches])

  def batch(self, batch: Batch) -> Any:
    """A `torch_peer.Batch` of the loader's."""
    rows, config = batch.mask, self._ours.configs[True]
    names = [[concept_text(self._ours.dataset.concepts[concept], True) for concept in row]
             for row in batch.concept_ids[rows]]
    objects = [" ".join(row[:config.model.topk_concepts]) for row in names]
    rehearsed = [row[:config.loss.rehearsal_topk] for row in names]
    distinct = list(dict.fromkeys(name for row in rehearsed for name in row))
    own = self._torch.tensor([[name in row for name in distinct] for row in rehearsed])
    return self._lib.Batch(
        self._torch.tensor(batch.features[rows]), self._torch.tensor(batch.targets[rows]).long(), self.classes,
        self._pad(objects), self._pad(distinct), own)

  def _pad(self, texts: Sequence[str]) -> Any:
    ours = self._ours
    return self._lib.pad(ours.method.tokenizer.encode(texts, ours.configs[True].data.max_tokens))


def frozen_layers(ours: Recognition) -> Row:
  """What is computed once, compilation included."""
  banks = ours.builder.texts, ours.builder.sequences
  texts, tokens = sum(len(bank.lengths) for bank in banks), sum(len(bank.tokens) for bank in banks)
  return Row("once", f"frozen layers, {texts:,} texts, {tokens:,} tokens", ours.frozen_seconds)


def train_step(ours: Recognition, peer: Peer | None, repeats: int) -> list[Row]:
  """One step: forward, backward, clip, Adam."""
  config = ours.configs[True]
  batches = list(train_batches(ours.videos, config.batch_size, config.seed, num_steps=max(repeats + 1, COMPARED_STEPS)))
  calls, difference = [_each(ours.train_step(dropout=True), batches)], None
  if peer:
    prepared = [peer.batch(batch) for batch in batches]
    compared = zip(*([step(batch) for batch in inputs[:COMPARED_STEPS]] for step, inputs in (
        (ours.train_step(dropout=False), batches), (peer.train_step(dropout=False), prepared))))
    difference = max(largest_difference(np.array(mine[name]), np.array(value))
                     for mine, theirs in compared for name, value in theirs.items())
    calls.append(_each(peer.train_step(dropout=True), prepared))
  times = measure("train_step", calls, repeats)
  what = f"a step, {config.batch_size} videos, {ours.size.num_classes} classes"
  return [Row("train_step", what, *(timed.seconds for timed in times), difference=difference)]


def class_encoding(ours: Recognition, peer: Peer | None, repeats: int) -> list[Row]:
  """Class texts to embeddings, from the text bank and from token ids."""
  calls = [functools.partial(ours.encode_classes, banks) for banks in (ours.banks, ours.tokens_only)]
  calls += [peer.encode_classes] if peer else []
  times = measure("class_encoding", calls, repeats)
  return _with_and_without_bank("class_encoding", f"{ours.size.num_classes} texts", times)


def evaluation(ours: Recognition, peer: Peer | None, repeats: int) -> list[Row]:
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
  lib, config, module = {"tsm": (tsm, size.tsm, tsm.TSM), "bit": (bit, size.bit, bit.BiT)}[part]
  network, frames = module(config), random_frames(size, config.crop)
  pictures = frames if part == "tsm" else frames.reshape(-1, *frames.shape[2:])
  variables = random_variables(network, jax.ShapeDtypeStruct(pictures.shape, np.float32))

  def by_clip(outputs):
    return outputs[0].mean(axis=1) if part == "tsm" else outputs.reshape(*frames.shape[:2], -1).mean(axis=1)

  run = jax.jit(lambda variables, pictures: by_clip(network.apply(variables, lib.normalize(pictures))))
  placed = jax.device_put(variables)
  calls = [lambda: np.asarray(run(placed, pictures))]
  if with_peer:
    import torch
    from scripts import torch_backbones

    peer, load = {"tsm": (torch_backbones.TSM, torch_backbones.load_tsm),
                  "bit": (torch_backbones.BiT, torch_backbones.load_bit)}[part]
    peer = peer(config).eval()
    with tempfile.TemporaryDirectory() as folder:
      path = Path(folder) / "weights.npz"
      checkpoints.save_npz(path, config, variables, np.float32)
      load(peer, np.load(path))
    scale, shift = ((torch.tensor(np.array(lib.normalize(np.full(3, value, np.uint8)))) for value in (1, 0)))
    inputs = torch.tensor(np.array(pictures))

    def run_peer() -> np.ndarray:
      with torch.no_grad():
        return by_clip(peer(inputs * (scale - shift) + shift)).numpy()

    calls.append(run_peer)
  times = measure(part, calls, repeats)
  difference = largest_difference(times[0].output, times[1].output) if with_peer else None
  what = f"{size.num_clips} clips of {frames.shape[1]} x {config.crop} x {config.crop}"
  return [Row(part, what, *(timed.seconds for timed in times), difference=difference, clips=size.num_clips)]


RECOGNITION = {"train_step": train_step, "class_encoding": class_encoding, "evaluation": evaluation}
PARTS = (*RECOGNITION, "tsm", "bit")


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
        rows += function(ours, Peer(ours) if with_peer else None, repeats)
  for part in ("tsm", "bit"):
    if part in parts:
      rows += backbone(part, size, with_peer, repeats)
  return rows


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
    peer = row.peer is not None
    rates = [f"{row.clips / seconds:.2f}" for seconds in (row.ours, row.peer) if row.clips and seconds]
    cells.append((row.part, row.what, f"{row.ours:.4f}", f"{row.peer:.4f}" if peer else "-",
                  f"{row.peer / row.ours:.2f}" if peer else "-", f"{row.difference:.1e}" if peer else "-",
                  ", ".join(rates) or "-"))
  widths = [max(map(len, column)) for column in zip(*cells)]
  return "\n".join("  ".join(cell.ljust(width) if place < 2 else cell.rjust(width)
                             for place, (cell, width) in enumerate(zip(line, widths))) for line in cells)


def _each(function: Callable[[Any], Any], inputs: Sequence[Any]) -> Callable[[], Any]:
  """A function without arguments that goes on to the next input at each call."""
  following = itertools.cycle(inputs)
  return lambda: function(next(following))


def _with_and_without_bank(part: str, what: str, times: Sequence[Timed]) -> list[Row]:
  rows, *peer = [*zip((f"{what}, text bank", f"{what}, from tokens"), times[:2])], *times[2:]
  return [Row(part, name, timed.seconds, *(
      (peer[0].seconds, largest_difference(timed.output, peer[0].output)) if peer else ())) for name, timed in rows]


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
  rows = benchmark(parts, SIZES[size], flags.FLAGS.repeats)
  print(f"JAX {jax.__version__} on {jax.device_count()} {jax.default_backend()}, {peer_description()}; float32; "
        f"medians of {flags.FLAGS.repeats}; size {size}")
  print(table(rows))
  if not has_torch():
    print(f"PyTorch is not installed, so there is nothing to compare with. To have it:\n  {INSTALL}")
  worst = max((row.difference or 0 for row in rows))
  if worst > MAX_DIFFERENCE:
    print(f"error: the two sides differ by {worst:.1e}, so they do not compute the same.", file=sys.stderr)
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
