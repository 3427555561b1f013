"""Every method on a dataset in the published layout, from its files to results, as an outside script runs it."""

import functools
import importlib
import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from ml_collections import ConfigDict

from er_jax import methods, run, train
from er_jax.batch_builder import BatchBuilder
from er_jax.checkpoints import Checkpoints
from er_jax.experiment import Experiment
from er_jax.models import METHODS
from er_jax.run_log import MetricsLog
from input_pipeline import array_files
from input_pipeline.dataset import open_dataset
from input_pipeline.errors import UserError
from input_pipeline.loaders import eval_batches, examples, no_videos
from input_pipeline.prepare import prepare
from tests.er_jax.small import lines_of, write_bert_folder
from tests.input_pipeline.published_layout import SEEN, TEST, VECTOR_DIM, WORDS, Layout, write_json, write_layout

SMALL = {"batch_size": 8, "eval_batch_size": 16, "num_epochs": 2, "log_every_steps": 1, "optimizer.warmup_steps": 2,
         "optimizer.decay_steps": 20, "optimizer.learning_rate": 1e-2}
BERT = {"model.embed_dim": 12, "data.max_tokens": 60, "model.text_backbone.trainable_from": "encoder.layer.0"}
FIELDS = {
    "ervse": BERT, "vse": BERT, "cpt": BERT, "vse_wordembed": {"model.embed_dim": 12}, "dem": {"model.hidden_dim": 9},
    "gcn": {"model.hidden_dims": (8, 10), "model.num_neighbors": 3, "batch_size": 1, "num_epochs": 4,
            "eval_every_steps": 2},
    "eszsl": {"num_epochs": 1, "eval_every_steps": 2}}
REHEARSING = ("ervse", "cpt")
TRAIN_VIDEOS = 28      # of 30: two are not in the names file


class Prepared(NamedTuple):
  """The layout, DATA_DIR of the dataset that was prepared from it, and a BERT that knows its words."""
  layout: Layout
  data_dir: Path
  bert: Path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
  """A layout some of whose videos are in the metas files alone, which leaves them out of the sets."""
  folder = tmp_path_factory.mktemp("published")
  layout = write_layout(folder / "layout")
  for part in ("trn", "val", "tst"):
    path = layout.path(f"{part}_video_names.json")
    names = json.loads(path.read_text())
    write_json(path, [name for index, name in enumerate(names) if index not in (4, 11)])
  prepare("precomputed", folder / "data", layout.source)
  (folder / "bert").mkdir()
  write_bert_folder(folder / "bert", layers=1)
  pieces = (folder / "bert" / "vocab.txt").read_text().split()
  pieces += [word for word in (*WORDS, "ing", "to", "kind", *map(str, range(30))) if word not in pieces]
  (folder / "bert" / "vocab.txt").write_text("\n".join(pieces) + "\n")
  sizes = json.loads((folder / "bert" / "config.json").read_text())
  (folder / "bert" / "config.json").write_text(json.dumps({**sizes, "vocab_size": len(pieces)}))
  return Prepared(layout, folder / "data", folder / "bert")


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled() -> Iterator[None]:
  """Programs run a few times each here, so compiling them is most of the time."""
  jax.config.update("jax_disable_most_optimizations", True)
  yield
  jax.config.update("jax_disable_most_optimizations", False)


def run_of(config: ConfigDict, workdir: Path, mode: str = "train_and_eval", checkpoint: Path | None = None):
  """`run.run` on one device and without pictures, which are tested with it."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run, "Experiment", functools.partial(Experiment, devices=jax.devices()[:1]))
    patch.setattr(run.plots, "write_pictures", lambda *args: None)
    patch.setattr(run.plots, "contact_sheet", lambda *args: None)
    return run.run(config, str(workdir), mode, checkpoint and str(checkpoint))


def config_of(method: str, prepared: Prepared, data_dir: Path | None = None) -> ConfigDict:
  """The config of the published layout at this layout's size, set by its fields."""
  config = importlib.import_module(f"configs.{method}").get_config("precomputed")
  config.update_from_flattened_dict(
      {**SMALL, **FIELDS.get(method, {}), "data.data_dir": str(data_dir or prepared.data_dir)})
  if "text_backbone" in config.model:
    config.model.text_backbone.name_or_path = str(prepared.bert)
  return config


@pytest.fixture(scope="module")
def finished(prepared, tmp_path_factory) -> Callable[[str], Path]:
  """method -> workdir of a whole run, made once."""
  @functools.cache
  def workdir_of(method: str) -> Path:
    workdir = tmp_path_factory.mktemp("finished") / method
    run_of(config_of(method, prepared), workdir)
    return workdir
  return workdir_of


def videos_of(layout: Layout, part: str, class_ids) -> tuple[list[str], list[int]]:
  """Names, and positions of their labels in the class list, of the videos of a set: METHOD section 1, by its files."""
  listed = {name.rsplit(".", 1)[0] for name in json.loads(layout.path(f"{part}_video_names.json").read_text())}
  metas = [json.loads(line) for line in layout.path(f"{part}_video_metas.jsonl").read_text().splitlines()]
  chosen = [(meta["videoname"].rsplit(".", 1)[0], meta["label"]) for meta in metas]
  chosen = [(name, label) for name, label in chosen if name in listed and label in class_ids]
  return [name for name, _ in chosen], [list(class_ids).index(label) for _, label in chosen]


def predictions_of(workdir: Path, k: int) -> dict[str, np.ndarray]:
  with np.load(workdir / "predictions" / f"test{k}.npz") as saved:
    return dict(saved)


@pytest.mark.parametrize("method", METHODS.names())
def test_results_and_predictions_are_those_of_the_published_splits(prepared, finished, method):
  workdir = finished(method)
  results = json.loads((workdir / "results.json").read_text())
  assert results["method"] == method and results["dataset"] == "precomputed"
  assert results["splits"].keys() == {"0", "1", "2"}
  for k, class_ids in enumerate(json.loads(prepared.layout.path("tst_class_idxs.json").read_text())):
    names, targets = videos_of(prepared.layout, "tst", class_ids)
    predictions = predictions_of(workdir, k)
    assert predictions["names"].tolist() == names and predictions["names"].dtype.kind == "U"
    assert predictions["targets"].tolist() == targets and predictions["targets"].dtype.kind == "i"
    logits, split = predictions["logits"], results["splits"][str(k)]
    assert logits.dtype == np.float32 and logits.shape == (len(names), 4) and np.isfinite(logits).all()
    assert split["num_videos"] == len(names) and split["num_classes"] == 4
    assert split["precision@1"] == pytest.approx(100 * np.mean(logits.argmax(axis=1) == targets))
    assert split["precision@5"] == 100.0      # of 4 classes
    validated = [(line["precision@1"], -line["step"]) for line in lines_of(workdir) if line.get("split") == f"val{k}"]
    assert split["step"] == -max(validated)[1]
  values = [split["precision@1"] for split in results["splits"].values()]
  assert results["mean"]["precision@1"] == pytest.approx(sum(values) / 3)
  assert results["std"]["precision@1"] == pytest.approx((sum((v - sum(values) / 3) ** 2 for v in values) / 3) ** 0.5)


@pytest.mark.parametrize("method", METHODS.names())
def test_metrics_have_every_step_with_its_losses_and_every_validation(prepared, finished, method):
  assert len(videos_of(prepared.layout, "trn", SEEN)[0]) == TRAIN_VIDEOS
  config, lines = config_of(method, prepared), lines_of(finished(method))
  epoch_steps = 1 if method == "gcn" else -(-TRAIN_VIDEOS // 8)
  num_steps = config.num_epochs * epoch_steps
  every = config.eval_every_steps or epoch_steps
  first = every if method == "eszsl" else 0      # it has no model before its first solution
  validations = [line for line in lines if "split" in line]
  assert [(line["step"], line["split"]) for line in validations] == [
      (step, f"val{k}") for step in range(first, num_steps + 1, every) for k in range(3)]
  for line in validations:
    assert line.keys() == {"step", "split", "precision@1", "precision@5"}
  steps = [line for line in lines if "split" not in line]
  assert [line["step"] for line in steps] == list(range(1, num_steps + 1))
  parts = {"class_loss", "rehearsal_loss"} if method in REHEARSING else {"class_loss"}
  for line in steps:
    assert line.keys() == {"step", "epoch", "loss", "learning_rate"} | parts
    assert line["epoch"] == (line["step"] - 1) // epoch_steps
    assert line["loss"] == pytest.approx(sum(line[part] for part in parts), rel=1e-5)
    assert (line["learning_rate"] > 0) == (method != "eszsl")


@pytest.mark.parametrize("method", ["vse", "eszsl"])
def test_training_and_evaluating_in_two_calls_gives_the_results_of_one(tmp_path, prepared, finished, method):
  config, workdir = config_of(method, prepared), tmp_path / "run"
  assert run_of(config, workdir, "train") is None and not (workdir / "results.json").exists()
  results = run_of(config, workdir, "eval")
  assert results == json.loads((workdir / "results.json").read_text())
  assert contents_of(workdir) == contents_of(finished(method))


class Killed(Exception):
  """Stands for whatever ends a process."""


@pytest.mark.parametrize("way", ["told to stop", "killed"])
@pytest.mark.parametrize("method, step, saved", [("gcn", 3, 2), ("eszsl", 3, 2), ("vse_wordembed", 6, 4)])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, prepared, finished, monkeypatch, method, step, saved,
                                                     way):
  config, workdir, write = config_of(method, prepared), tmp_path / "run", MetricsLog.write
  stopping = []

  def interrupt(self, line):
    if line["step"] == step and way == "killed":
      raise Killed
    write(self, line)
    stopping.append(line["step"] == step)

  with monkeypatch.context() as patch:
    patch.setattr(MetricsLog, "write", interrupt)
    patch.setattr(train._StopSignal, "agreed", lambda self, ask_others: stopping[-1])
    if way == "killed":
      with pytest.raises(Killed):
        run_of(config, workdir)
    else:
      assert run_of(config, workdir) is None
  assert Checkpoints(workdir / "checkpoints").latest_step == (saved if way == "killed" else step)
  assert not (workdir / "results.json").exists()

  run_of(config, workdir)
  assert contents_of(workdir) == contents_of(finished(method))
  ours, theirs = (final_state(path) for path in (workdir, finished(method)))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def contents_of(workdir: Path) -> dict[str, bytes]:
  files = [workdir / "metrics.jsonl", workdir / "results.json", *sorted((workdir / "predictions").iterdir())]
  return {path.name: path.read_bytes() for path in files}


def final_state(workdir: Path):
  """The newest checkpoint's content, without our own loading code."""
  step = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
  with ocp.PyTreeCheckpointer() as checkpointer:
    return step, checkpointer.restore(workdir / "checkpoints" / str(step) / "state")


# What may be absent: its file in the layout, and the methods that need it.
OPTIONAL_FILES = {
    "features/bit-m-r50x1_top20_preds.json": ("ervse", "cpt"),
    "concepts.jsonl": ("ervse", "cpt"),
    "zsl220/labels_glove42b.npy": ("devise", "ale", "sje", "dem", "eszsl", "gcn"),
    "zsl220/label_word_list.json": ("vse_wordembed",),
    "zsl220/word.glove42b.npz": ("vse_wordembed",),
    "zsl220/KG/pretsm.k400.fc.weight.npy": ("gcn",),
}


@pytest.mark.parametrize("piece", OPTIONAL_FILES)
def test_methods_that_need_an_absent_file_name_it_before_training_and_others_do_without(tmp_path, prepared, piece):
  shutil.copytree(prepared.layout.source, tmp_path / "layout")
  (tmp_path / "layout" / piece).unlink()
  prepare("precomputed", tmp_path / "data", tmp_path / "layout")
  dataset = open_dataset(tmp_path / "data", "precomputed")
  for method in METHODS.names():
    config = config_of(method, prepared, tmp_path / "data")
    if method in OPTIONAL_FILES[piece]:
      with pytest.raises(UserError) as raised:
        run_of(config, tmp_path / method)
      assert piece.removesuffix(".npz") in str(raised.value) and str(dataset.path) in str(raised.value)
      assert not (tmp_path / method / "checkpoints").exists()
    else:
      built = Experiment(config, tmp_path / method, dataset).method
      methods.check_trainable(config, dataset)
      videos = no_videos(dataset) if method == "gcn" else examples(dataset, "train", dataset.class_splits[0].seen)
      builder = BatchBuilder(dataset, config, built, [videos], num_devices=1)
      classes = builder.class_set(dataset.class_splits[0].seen, training=True)
      batch = builder.batch(next(eval_batches(videos, 8)), videos, step=0)
      assert classes.mask.sum() == 6 and batch.features.shape == (8, 16)


@pytest.mark.parametrize("method", ["ervse", "vse_wordembed", "gcn", "eszsl"])
def test_a_converted_checkpoint_scores_as_the_published_model_does(tmp_path, prepared, method):
  torch = pytest.importorskip("torch")
  pytest.importorskip("transformers")
  from er_jax import convert
  from tests.er_jax import published_peers as peers

  config, layout = config_of(method, prepared), prepared.layout
  dataset = open_dataset(prepared.data_dir, "precomputed")
  if method == "eszsl":
    matrix = np.random.default_rng(0).normal(size=(16, VECTOR_DIM))
    np.save(tmp_path / "W.npy", matrix)
    unit = layout.class_vectors / np.linalg.norm(layout.class_vectors, axis=1, keepdims=True)
    converted = convert.KINDS["eszsl"](str(tmp_path / "W.npy"), config)

    def score(features, concept_ids, class_ids):
      return features @ matrix @ unit[list(class_ids)].T

  else:
    peer = peers.make_peer(config, dataset, getattr(methods.build(config, dataset).text, "tokenizer", None))
    torch.save(peer.state_dict(), tmp_path / "published.th")
    converted = convert.KINDS[method](str(tmp_path / "published.th"), config)
    score = peer.logits
  array_files.write_orbax(tmp_path / "converted", converted.tree)
  run_of(config, tmp_path / "run", "eval", tmp_path / "converted")
  for k, class_ids in enumerate(TEST):
    names, targets = videos_of(layout, "tst", class_ids)
    with torch.no_grad():
      logits = score(np.stack([layout.feature(name) for name in names]),
                     np.array([layout.predictions[name][0] for name in names]), class_ids)
    predictions = predictions_of(tmp_path / "run", k)
    assert predictions["names"].tolist() == names and predictions["targets"].tolist() == targets
    np.testing.assert_allclose(predictions["logits"], np.asarray(logits), atol=1e-4)


def test_a_run_with_folders_of_any_name_is_prepared_trained_and_evaluated(prepared, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  odd = "[lr=1] {0} %d#?é*\\\n[/x"
  shutil.copytree(prepared.layout.source, tmp_path / "home" / odd)
  prepare("precomputed", f"{odd}/data", f"~/{odd}")
  config = config_of("eszsl", prepared)
  config.data.data_dir, workdir = f"./{odd}/data", f"~/-{odd}"
  assert run.run(config, workdir, mode="train") is None
  folder = tmp_path / "home" / f"-{odd}"
  assert f"Trained. Evaluate with --mode=eval {shlex.quote(f'--workdir={folder}')}" in capsys.readouterr().out
  results = run.run(config, workdir, mode="eval")
  written = json.loads((folder / "results.json").read_text())
  assert results == written and not (tmp_path / "~").exists()
  config.data.data_dir = str(prepared.data_dir)
  run.run(config, str(tmp_path / "plain"))
  elsewhere = json.loads((tmp_path / "plain" / "results.json").read_text())
  assert written["splits"] == elsewhere["splits"] and written["mean"] == elsewhere["mean"]
  step = written["splits"]["0"]["step"]
  run.run(config, workdir, mode="eval", checkpoint=f"~/-{odd}/checkpoints/{step}")
  assert json.loads((folder / "results.json").read_text())["splits"]["0"]["precision@1"] == (
      written["splits"]["0"]["precision@1"])
