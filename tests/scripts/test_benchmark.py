"""scripts/benchmark.py at its tiny size: both sides compute the same, and the table says so."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from er_jax.text.bert_weights import load_bert
from er_jax.text.tokenizers import WordPiece
from input_pipeline.metadata.concepts import concept_text
from input_pipeline.metadata.descriptions import class_text
from scripts import benchmark
from scripts.benchmarking.data import SIZES, made_up_dataset, write_bert_folder

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"


@pytest.fixture(autouse=True)
def one_thread():
  """PyTorch's threads wait for each other longer than these sizes take to compute."""
  if importlib.util.find_spec("torch"):
    import torch
    torch.set_num_threads(1)


def run(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=300,
                        env={**os.environ, "OMP_NUM_THREADS": "1"})


def token_counts(folder: Path, size_name: str) -> tuple[np.ndarray, np.ndarray]:
  """Tokens of each class text and of each concept text."""
  size = SIZES[size_name]
  write_bert_folder(folder, size)
  dataset, tokenizer = made_up_dataset(folder, size), WordPiece(folder)
  classes = tokenizer.encode([class_text(action, "name_description") for action in dataset.classes], 512)
  concepts = tokenizer.encode([concept_text(concept, True) for concept in dataset.concepts], 512)
  assert 1 not in np.concatenate(classes + concepts)   # [UNK]
  return tuple(np.array([len(ids) for ids in texts]) for texts in (classes, concepts))


def test_both_sides_have_the_same_outputs_in_every_part():
  pytest.importorskip("torch")
  rows = benchmark.benchmark(benchmark.PARTS, SIZES["tiny"], repeats=1)
  assert [row.part for row in rows] == [
      "once", "train_step", "class_encoding", "class_encoding", "evaluation", "evaluation", "tsm", "bit"]
  assert rows[0].peer is None and rows[0].ours > 0
  for row in rows[1:]:
    assert row.ours > 0 and row.peer > 0, row
    assert 0 <= row.difference < 1e-5, row
  table = benchmark.table(rows).splitlines()
  assert len(table) == 1 + len(rows) and len(set(map(len, table))) == 1
  assert f"{rows[1].peer / rows[1].ours:.2f}" in table[2]


def test_peer_with_one_changed_weight_is_told_apart(monkeypatch, capsys):
  pytest.importorskip("torch")
  from scripts.benchmarking import torch_backbones

  peer = torch_backbones.PEERS["tsm"]

  def load_changed(network, arrays):
    peer.load(network, {**arrays, "module.base_model.bn1.bias": arrays["module.base_model.bn1.bias"] + 0.1})

  monkeypatch.setitem(torch_backbones.PEERS, "tsm", peer._replace(load=load_changed))
  row, = benchmark.benchmark(["tsm"], SIZES["tiny"], repeats=1)
  assert row.difference > benchmark.MAX_DIFFERENCE
  assert "tsm: 1 of 1" in capsys.readouterr().err


def test_without_torch_our_times_are_given_alone(monkeypatch):
  monkeypatch.setitem(sys.modules, "torch", None)
  rows = benchmark.benchmark(["class_encoding", "bit"], SIZES["tiny"], repeats=1)
  assert [row.part for row in rows] == ["once", "class_encoding", "class_encoding", "bit"]
  assert all(row.ours > 0 and row.peer is None and row.difference is None for row in rows)
  assert benchmark.peer_description() == "no PyTorch"
  assert "-" in benchmark.table(rows).splitlines()[-1].split()


def test_command_prints_the_table_and_progress():
  result = run("--parts=bit", "--size=tiny", "--repeats=1")
  assert result.returncode == 0, result.stderr
  header, titles, row = result.stdout.splitlines()[:3]
  assert "JAX" in header and "size tiny" in header
  assert titles.startswith("part") and row.startswith("bit   2 clips of 8 x 32 x 32")
  assert "bit: warm-up" in result.stderr


@pytest.mark.parametrize("flag, message", [
    ("--parts=tsm,class_encodin", "Unknown part in --parts 'class_encodin'. Did you mean class_encoding?"),
    ("--size=huge", "Unknown --size 'huge'."),
])
def test_unknown_name_ends_with_status_2(flag, message):
  result = run(flag)
  assert result.returncode == 2
  assert message in result.stderr and "Traceback" not in result.stderr


def test_full_size_has_the_texts_it_promises(tmp_path):
  classes, concepts = token_counts(tmp_path, "full")
  assert len(classes) == 100 and classes.max() == 100 and 42 <= classes.mean() <= 48
  assert len(concepts) == 1000 and 16 <= concepts.mean() <= 18
  sizes = load_bert(str(tmp_path))[0]
  assert (sizes.vocab_size, sizes.hidden_size, sizes.num_hidden_layers) == (30522, 768, 12)
  assert len((tmp_path / "vocab.txt").read_text().splitlines()) == 30522
