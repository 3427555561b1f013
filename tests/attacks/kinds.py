"""The kinds of files that the project reads: a function each, which writes good ones and gives what reads them.

    reader = KINDS["concepts"](folder)      # folder/concepts.jsonl is there
    reader()                                # reads it; raises one of REFUSED if it is no good
"""

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from input_pipeline import errors, files
from input_pipeline.errors import UserError
from input_pipeline.features.from_files import BadFile
from input_pipeline.videos.decode import VideoError

REFUSED = (UserError, VideoError, BadFile, OSError)      # what the commands end with a message for, or skip a video for
NAMES = ("push cup", "lift ball", "spin key", "push star", "lift hat", "spin tree")
Reader = Callable[[], Any]


def _classes(folder: Path) -> Path:
  files.write_jsonl(folder / "classes.jsonl", [
      {"name": name, "description": f"to {name}, \"ça va\" ."} for name in NAMES])
  return folder / "classes.jsonl"


def classes(folder: Path) -> Reader:
  from input_pipeline.metadata import descriptions
  path = _classes(folder)
  return lambda: descriptions.read_classes(path)


def class_list(folder: Path) -> Reader:
  from input_pipeline.metadata import class_lists
  path = _classes(folder)
  return lambda: class_lists.read_class_list(path)


def corrections(folder: Path) -> Reader:
  from input_pipeline.metadata import corrections, descriptions
  path = _classes(folder)
  there = descriptions.read_classes(path)
  return lambda: corrections.apply(path, there)


def concepts(folder: Path) -> Reader:
  from input_pipeline.metadata import concepts
  path = folder / "concepts.jsonl"
  files.write_jsonl(path, [{"wnid": f"n{i:08d}", "name": f"thing {i}", "definition": "a thing"} for i in range(8)])
  return lambda: concepts.read_concepts(path)


def class_splits(folder: Path) -> Reader:
  from input_pipeline.metadata import class_splits
  class_splits.write_splits(folder / "a.json", class_splits.random_splits(6, seed=0, num_splits=3), seed=0)
  class_splits.write_splits(folder / "b.json", [class_splits.ClassSplit((0, 1, 2), (3,), (4, 5))])
  return lambda: [class_splits.read_splits(folder / name, 6) for name in ("a.json", "b.json")]


def video_lists(folder: Path) -> Reader:
  from input_pipeline.datasets.video_folder import video_list
  (folder / "videos.csv").write_text("video,class,split\na/b.mp4,push cup,\n\"c, d.mp4\",lift ball,test\ne.mp4,x,val\n",
                                     encoding="utf-8")
  files.write_jsonl(folder / "videos.jsonl", [{"video": f"{i}.mp4", "class": "push", "split": "train"} for i in range(4)])
  return lambda: [video_list.read_video_list(folder / f"videos.{kind}", folder / "source") for kind in ("csv", "jsonl")]


def object_predictions(folder: Path) -> Reader:
  from input_pipeline.features import object_predictions
  names = [f"v{i}" for i in range(5)]
  files.write_json(folder / "top20.json", {name: [[3, 1, 2], [0.9, 0.5, 0.1]] for name in names})
  return lambda: object_predictions.read_predictions(folder / "top20.json", names, 10)


def vectors(folder: Path) -> Reader:
  from input_pipeline.metadata import vectors
  np.save(folder / "class_vectors.npy", np.ones((6, 5), np.float32))
  np.save(folder / "rows.npy", np.ones((4, 8), np.float64))
  files.write_json(folder / "words.json", ["push", "cup", "é"])
  np.savez(folder / "table.npz", weight=np.ones((3, 5), np.float16))
  np.save(folder / "table.npy", np.ones((3, 5), np.float32))

  def read() -> None:
    vectors.read_class_vectors(folder / "class_vectors.npy", 6)
    vectors.read_classifier_rows(folder / "rows.npy")
    vectors.read_word_list(folder / "words.json")
    vectors.read_word_table(folder / "table.npz")
    vectors.read_word_table(folder / "table.npy")
  return read


def word_vectors(folder: Path) -> Reader:
  import zipfile

  from input_pipeline.metadata import word_vectors
  lines = "".join(f"{word} {i}.5 -1e-3 0.25\n" for i, word in enumerate(("push", "cup", "ball", ".", "é")))
  (folder / "glove.txt").write_text(lines, encoding="utf-8")
  (folder / "w2v.txt").write_text("5 3\n" + lines, encoding="utf-8")
  with zipfile.ZipFile(folder / "glove.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("glove.txt", lines)
  return lambda: [word_vectors.read_word_vectors(path, ["cup", "é", "gone"])
                  for path in sorted(folder.glob("*.*")) if path.suffix in (".txt", ".zip")]


def features(folder: Path) -> Reader:
  from input_pipeline.features.from_files import read_feature
  np.save(folder / "a.npy", np.arange(32, dtype=np.float32).reshape(2, 16))
  np.save(folder / "b.npy", np.arange(16, dtype=np.float16))
  return lambda: [read_feature(folder / name) for name in ("a.npy", "b.npy")]


def npz(folder: Path) -> Reader:
  from input_pipeline import array_files
  np.savez(folder / "stored.npz", **{"a/b": np.ones((3, 4), np.float32), "c": np.arange(5)})
  np.savez_compressed(folder / "packed.npz", **{"a/b": np.ones((3, 4), np.float32), "c": np.arange(5)})
  return lambda: [array_files.read_npz(folder / name) for name in ("stored.npz", "packed.npz")]


def torch_files(folder: Path) -> Reader:
  import torch

  from input_pipeline import array_files
  state = {"a.weight": torch.ones(3, 4), "b": torch.arange(5), "c": torch.ones(2, dtype=torch.bfloat16)}
  torch.save({"state_dict": state, "epoch": 3}, folder / "zip.pth")
  torch.save(state, folder / "old.th", _use_new_zipfile_serialization=False)
  return lambda: [array_files.read_arrays(folder / name) for name in ("zip.pth", "old.th")]


def safetensors(folder: Path) -> Reader:
  from er_jax.text import bert_weights
  from tests.er_jax.small import write_bert_folder
  write_bert_folder(folder)
  config, _, _ = bert_weights.load_bert(str(folder))
  from safetensors.numpy import save_file
  save_file({name: np.zeros(bert_weights._shape(config, ours)[::-1 if ours[-1] == "kernel" else 1], np.float32)
             for name, ours in bert_weights.hf_names(config)}, folder / "model.safetensors")
  return lambda: bert_weights.load_bert(str(folder))


def bert_folder(folder: Path) -> Reader:
  from er_jax.text import bert_weights
  from er_jax.text.tokenizers import WordPiece
  from tests.er_jax.small import write_bert_folder
  write_bert_folder(folder)
  (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": null}', encoding="utf-8")

  def read() -> None:
    bert_weights.load_bert(str(folder))
    WordPiece(folder).encode(["push a cup", ("star", "a thing of é")], 10)
  return read


def backbone_weights(folder: Path) -> Reader:
  from input_pipeline.backbones import bit, checkpoints, tsm
  from tests.input_pipeline.small_preparation import BIT, TSM
  tsm.VARIANTS["tsm_small"], bit.VARIANTS["bit_small"] = TSM, BIT
  chance = np.random.default_rng(0)
  for network, config in ((tsm, TSM), (bit, BIT)):
    import jax
    variables = jax.tree.map(lambda leaf: chance.uniform(0.1, 0.5, leaf.shape).astype(np.float32), network.shapes(config))
    checkpoints.save_npz(folder / f"{network.__name__.rpartition('.')[2]}.npz", network.FORMAT, variables)
  return lambda: (tsm.load(folder / "tsm.npz"), bit.load(folder / "bit.npz"))


def orbax(folder: Path) -> Reader:
  from er_jax.checkpoints import load_params
  from input_pipeline import array_files
  tree = {"encoder": {"kernel": np.ones((3, 4), np.float32), "bias": np.ones(4, np.float32)}}
  array_files.write_orbax(folder / "weights", tree)

  def read() -> None:
    array_files.read_orbax(folder / "weights")
    load_params(folder / "weights", tree)
  return read


def published_layout(folder: Path) -> Reader:
  from input_pipeline.datasets import DATASETS
  from tests.input_pipeline.published_layout import write_layout
  write_layout(folder)
  for path in (folder / "features").rglob("*.npy"):
    path.unlink()      # a kind of its own
  return lambda: DATASETS.load("precomputed").raw_dataset(folder)


def _prepared(folder: Path) -> Path:
  """A prepared dataset, made once."""
  from input_pipeline import prepare
  from tests.input_pipeline.published_layout import write_layout
  layout = folder / "layout"
  write_layout(layout)
  with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    path = prepare.prepare("precomputed", folder, layout)
  shutil.rmtree(layout)
  for lock in folder.rglob(".lock"):
    lock.unlink()
  return path


def prepared_dataset(folder: Path) -> Reader:
  from input_pipeline.dataset import open_dataset
  _prepared(folder)

  def read() -> None:
    dataset = open_dataset(folder, "precomputed")
    for split in dataset.tables:
      table = dataset.table(split)
      table.features(np.arange(len(table.names)))
    _ = dataset.word_table
  return read


def provenance(folder: Path) -> Reader:
  """What `--mode=train` and `verify` compare: manifest, config.json, data.json, results.json, predictions."""
  from configs import devise
  from er_jax import provenance, workdir
  from er_jax.run_log import MetricsLog
  from input_pipeline.dataset import open_dataset
  from input_pipeline.verification import checks
  _prepared(folder / "data")
  dataset = open_dataset(folder / "data", "precomputed")
  config = devise.get_config("precomputed")
  run = folder / "run"
  with workdir.claim(run, config, provenance.of(config, dataset, ""), "train"):
    pass
  (run / ".lock").unlink(missing_ok=True)
  MetricsLog(run / "metrics.jsonl").write({"step": 1, "loss": 0.5})
  files.write_json(run / "results.json", {
      "method": "devise", "dataset": "precomputed", "splits": {"0": {"step": 1, "num_videos": 2}},
      "data": provenance.of(config, dataset, "")})
  with files.replacing(run / "predictions" / "test0.npz") as file:
    np.savez(file, names=np.array(["a", "b"]), logits=np.ones((2, 4), np.float32), targets=np.zeros(2, np.int32))
  kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

  def read() -> None:
    try:
      data = provenance.of(config, dataset, "")
      results = checks._read_results(run, dataset)
      checks._compare_manifests(run, results, dataset)
      checks._evaluated_names(run, results["splits"].get("0"), 0)
      MetricsLog(run / "metrics.jsonl")
      with workdir.claim(run, config, data, "train"):
        pass
    finally:
      (run / ".lock").unlink(missing_ok=True)
      for path in kept:
        path.touch()
  for path in (folder / "data").rglob("*"):      # a kind of its own
    if path.is_file() and path.name != "manifest.json":
      kept[path] = path.read_bytes()
  return read


def extraction(folder: Path) -> Reader:
  """Chunks of features that wait, and what says that a shard is done."""
  from input_pipeline.features.store import FeatureStore, Stamp, VideoFeatures
  from input_pipeline.preparation import shards
  store = FeatureStore(folder / "shard-00000-of-00001")
  for index in range(4):
    store.add(index, Stamp(1, 2), VideoFeatures(np.ones((1, 8), np.float32), np.zeros(20, np.int32),
                                                np.zeros(20, np.float32), 9))
  store.flush()
  files.write_json(store.folder / "done.json", shards.ShardStatus(4, [], {"features": "x"})._asdict())

  def read() -> None:
    shards.source_of(folder)
    shards._read_done(store.folder)
    again = FeatureStore(store.folder)
    for index in range(4):
      if index in again:
        _ = again[index]
  return read


def videos(folder: Path) -> Reader:
  import av

  from input_pipeline.backbones import usual_samplings
  from input_pipeline.videos import decode
  from input_pipeline.videos.sampling import ViewSampling
  chance = np.random.default_rng(0)
  frames = [np.kron(chance.integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in range(12)]
  decode.write_video(folder / "a.mp4", frames, g=4)
  for name, codec, form in (("b.avi", "mpeg4", "avi"), ("c.mkv", "libx264", "matroska"), ("d.webm", "libvpx", "webm"),
                            ("e.mpg", "mpeg2video", "mpeg"), ("f.gif", "gif", "gif")):
    with av.open(str(folder / name), "w", format=form) as container:
      stream = container.add_stream(codec, rate=24)
      stream.width, stream.height = 64, 48
      stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
      for frame in frames:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
      container.mux(stream.encode(None))
  samplings = usual_samplings(ViewSampling())
  paths = sorted(folder.iterdir())
  before = {path: path.read_bytes() for path in paths}

  def read() -> None:
    for path in paths:      # the one that was changed
      if path.read_bytes() != before[path]:
        decode.count_frames(path)
        decode.read_clip(path, samplings)
  return read


def flags(folder: Path) -> Reader:
  """Command lines: a word a line, behind the name of the command."""
  from absl import flags as absl_flags

  from er_jax import main as main_lib
  from er_jax import methods
  path = folder / "arguments.txt"
  path.write_text("\n".join([
      "--config=configs/ervse.py:toy_actions", "--workdir=runs/x", "--mode=train", "--config.seed=3",
      "--config.batch_size=64", "--config.model.embed_dim=32", "--config.loss.temperature=0.2",
      "--config.optimizer.learning_rate=1e-3", "--config.model.text_backbone.dropout_rate=0.5",
      "--config.data.shuffle=False", "--config.loss.kind=ce", "--config.dtype=bfloat16"]), encoding="utf-8")
  if "workdir" not in absl_flags.FLAGS:
    main_lib.define_flags()

  def command(argv: list[str]) -> None:
    if absl_flags.FLAGS.config is not None:      # main asks for it
      methods.check_values(absl_flags.FLAGS.config)

  def read() -> None:
    words = path.read_bytes().decode(errors="surrogateescape").split("\n")
    stderr = io.StringIO()
    absl_flags.FLAGS.unparse_flags()
    with mock.patch("sys.argv", ["main", *words]), contextlib.redirect_stderr(stderr), \
        contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
      errors.run(command)
    if "Traceback" in stderr.getvalue():
      raise AssertionError(stderr.getvalue()[-300:])
  return read


KINDS: dict[str, Callable[[Path], Reader]] = {kind.__name__: kind for kind in (
    classes, class_list, corrections, concepts, class_splits, video_lists, object_predictions, vectors, word_vectors,
    features, npz, torch_files, safetensors, bert_folder, backbone_weights, orbax, published_layout, prepared_dataset,
    provenance, extraction, videos, flags)}
