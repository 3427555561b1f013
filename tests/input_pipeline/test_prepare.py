"""From video files to a dataset on disk, through interruptions, broken files and full disks.

Some tests run the command in a process of its own so that they can kill it (small_preparation.py).
"""

import dataclasses
import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from input_pipeline import locks, prepare
from input_pipeline.backbones import checkpoints
from input_pipeline.dataset import open_dataset
from input_pipeline.datasets import toy_actions
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import Concept, write_concepts
from input_pipeline.preparation import write
from input_pipeline.raw_dataset import RawDataset
from tests.input_pipeline.published_layout import write_layout
from tests.input_pipeline.small_preparation import (
  NUM_VIDEOS,
  assert_same,
  chunks,
  examples,
  inputs,
  run,
  small,
  small_raw_dataset,
  start,
  videos_read,
  whole,
)

__all__ = ["inputs", "small", "videos_read", "whole"]     # the fixtures


def videos_in(chunk: Path, source: Path) -> list[str]:
  with np.load(chunk) as arrays:
    return [small_raw_dataset(source).entries[index].name for index in arrays["stamps"][:, 0]]


def test_dataset_holds_every_video_once_in_the_order_of_the_clips(inputs, whole):
  entries = small_raw_dataset(inputs.source).entries
  found = examples(whole)
  assert list(found) == ["train", "val", "test"]
  for split, rows in found.items():
    expected = [entry for entry in entries if entry.split == split]
    assert [row["name"].decode() for row in rows] == [entry.name for entry in expected]
    assert [row["label"] for row in rows] == [entry.label for entry in expected]
    assert [row["num_frames"] for row in rows] == [2 + int(entry.name[1:]) for entry in expected]
  assert sorted(path.name for path in (whole / "toy_actions").iterdir()) == [".lock", "1.0.0"]
  source = open_dataset(whole, "toy_actions").source
  assert source["root"] == str(inputs.source) and source["views"]["temporal_samples"] == 1
  assert (source["expected"], source["found"], source["written"], source["skipped"]) == (12, 12, 12, 0)


def test_prepared_dataset_is_not_made_again(inputs, whole, small, capsys):
  before = (whole / "toy_actions" / "1.0.0" / "dataset_info.json").stat().st_mtime_ns
  for _ in range(2):
    assert prepare.prepare("toy_actions", whole) == whole / "toy_actions" / "1.0.0"
    assert "already prepared" in capsys.readouterr().out
    run(inputs, whole)      # the same source and weights again
    assert "already prepared" in capsys.readouterr().out
  assert (whole / "toy_actions" / "1.0.0" / "dataset_info.json").stat().st_mtime_ns == before


def test_prepared_dataset_is_found_without_loading_weights(whole, small, monkeypatch):
  monkeypatch.setattr(checkpoints, "load", None)
  prepare.prepare("toy_actions", whole)


def test_prepared_dataset_is_found_where_nothing_may_be_written(whole, small, tmp_path, monkeypatch):
  def refuse(*_):
    raise PermissionError("Read-only file system")

  monkeypatch.setattr(locks, "exclusive", refuse)
  assert prepare.prepare("toy_actions", whole) == whole / "toy_actions" / "1.0.0"
  shutil.copytree(whole / "toy_actions", tmp_path / "toy_actions")
  (tmp_path / "extraction" / "toy_actions" / "0123456789ab-0123456789ab").mkdir(parents=True)
  prepare.prepare("toy_actions", tmp_path)      # with what it would remove if it could


@pytest.mark.parametrize("content", ["{}", "[]", '{"root": "videos", "options": 3}'])
def test_prepared_dataset_that_does_not_say_of_what_it_was_made_is_refused(inputs, whole, small, tmp_path, content):
  shutil.copytree(whole / "toy_actions", tmp_path / "toy_actions")
  (tmp_path / "toy_actions" / "1.0.0" / "source.json").write_text(content)
  with pytest.raises(UserError, match="source.json does not say what the dataset was made from"):
    prepare.prepare("toy_actions", tmp_path, inputs.source)


def test_prepared_dataset_of_other_class_lists_is_not_taken_for_it(small, tmp_path, monkeypatch):
  monkeypatch.setattr(toy_actions, "DATASET", dataclasses.replace(
      toy_actions.DATASET, read=lambda source, metadata: small_raw_dataset(source), options={"metadata": None}))
  (tmp_path / "features").mkdir()
  np.save(tmp_path / "features" / "v0.npy", np.arange(5, dtype=np.float32))
  path = prepare.prepare("toy_actions", tmp_path, features=tmp_path / "features", metadata=tmp_path / "lists")
  prepare.prepare("toy_actions", tmp_path, metadata=tmp_path / "lists")
  with pytest.raises(UserError, match="its --metadata is .*lists, asked for is .*other"):
    prepare.prepare("toy_actions", tmp_path, metadata=tmp_path / "other")
  source = json.loads((path / "source.json").read_text())
  del source["options"]["metadata"]      # as earlier versions did
  (path / "source.json").write_text(json.dumps(source))
  prepare.prepare("toy_actions", tmp_path, metadata=tmp_path / "other")


def test_prepared_dataset_of_another_source_is_not_taken_for_it(inputs, whole, small, tmp_path):
  with pytest.raises(UserError, match=f"its source is {inputs.source}, asked for is {tmp_path}.*another --data_dir"):
    prepare.prepare("toy_actions", whole, source=tmp_path)
  (tmp_path / "link").symlink_to(inputs.source)
  prepare.prepare("toy_actions", whole, source=tmp_path / "link")


def test_prepared_dataset_of_other_weights_is_not_taken_for_it(inputs, whole, small, tmp_path):
  arrays = dict(np.load(inputs.bit))
  arrays["resnet/head/conv2d/bias"] = arrays["resnet/head/conv2d/bias"] + 1
  np.savez(tmp_path / "bit.npz", **arrays)
  with pytest.raises(UserError, match="1.0.0 is prepared already.*fingerprint of its weights is .*delete that folder"):
    prepare.prepare("toy_actions", whole, tsm=inputs.tsm, bit=tmp_path / "bit.npz")


def test_other_views_are_told_from_other_weights(inputs, whole, small):
  with pytest.raises(UserError, match="its --spatial_crops is 1, asked for is 3"):
    run(inputs, whole, spatial_crops=3)


def test_views_that_are_asked_for_by_default_are_told_from_other_weights(inputs, whole, small, tmp_path):
  shutil.copytree(whole / "toy_actions", tmp_path / "toy_actions")
  file = tmp_path / "toy_actions" / "1.0.0" / "source.json"
  source = json.loads(file.read_text())
  file.write_text(json.dumps({**source, "views": {**source["views"], "temporal_samples": 2}, "fingerprint": "other"}))
  with pytest.raises(UserError, match="its --temporal_samples is 2, asked for is 1"):
    run(inputs, tmp_path)


def test_run_killed_while_extracting_goes_on_without_redoing_or_losing_a_video(
    inputs, whole, small, videos_read, tmp_path, capsys):
  process = start(inputs, tmp_path, stop="stuck")
  while len(chunks(tmp_path)) < 2 and process.poll() is None:
    time.sleep(0.005)
  process.kill()
  assert process.wait() == -signal.SIGKILL, process.stderr.read()
  assert not (tmp_path / "toy_actions" / "1.0.0").exists()
  done = [name for chunk in chunks(tmp_path) for name in videos_in(chunk, inputs.source)]
  assert 4 <= len(done) == len(set(done)) < NUM_VIDEOS
  run(inputs, tmp_path)
  assert sorted([*done, *videos_read]) == sorted(f"v{i}" for i in range(NUM_VIDEOS))
  assert_same(tmp_path, whole)
  assert chunks(tmp_path) == []
  (total,) = [line for line in capsys.readouterr().out.splitlines() if "all splits" in line]
  assert total.split("│")[2:5] == ["       12 ", "    12 ", "      12 "]


def test_run_killed_while_writing_leaves_nothing_that_looks_whole_and_goes_on(
    inputs, whole, small, videos_read, tmp_path):
  process = start(inputs, tmp_path, stop="while writing")
  assert process.wait(120) == -signal.SIGKILL, process.stderr.read()
  assert [path.name.split(".")[0] for path in (tmp_path / "toy_actions").glob("[!.]*")] == ["incomplete"]
  with pytest.raises(UserError, match="No dataset"):
    open_dataset(tmp_path, "toy_actions")
  run(inputs, tmp_path)
  assert videos_read == []
  assert_same(tmp_path, whole)
  assert sorted(path.name for path in (tmp_path / "toy_actions").iterdir()) == [".lock", "1.0.0"]


@pytest.mark.parametrize("divided", [{}, {"merge": True, "num_shards": 2}], ids=["whole", "in shards"])
def test_run_killed_while_it_removes_the_extraction_leaves_that_to_the_next(
    inputs, small, tmp_path, monkeypatch, divided):
  remove = shutil.rmtree

  def be_killed(path, *args, **kwargs):
    if "extraction" in str(path):
      raise KeyboardInterrupt
    remove(path, *args, **kwargs)

  for index in range(divided.get("num_shards", 0)):
    run(inputs, tmp_path, shard_index=index, num_shards=2)
  somebodys = tmp_path / "extraction" / "toy_actions" / "0123456789ab-0123456789ab" / "shard-00000-of-00002"
  somebodys.mkdir(parents=True)
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(shutil, "rmtree", be_killed)
    run(inputs, tmp_path, **divided)
  assert (tmp_path / "toy_actions" / "1.0.0").exists() and len(chunks(tmp_path)) >= 6
  prepare.prepare("toy_actions", tmp_path)
  assert list((tmp_path / "extraction" / "toy_actions").iterdir()) == [somebodys.parent]


@pytest.mark.parametrize(
    "limit, num_chunks", [(1000, 0), (7000, 6)], ids=["while extracting", "while writing"])
def test_full_disk_leaves_nothing_that_looks_whole_and_the_run_goes_on(
    inputs, whole, small, tmp_path, limit, num_chunks):
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))      # no file may grow larger than that
  try:
    with pytest.raises(OSError, match="File too large"):
      run(inputs, tmp_path)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
  assert len(chunks(tmp_path)) == num_chunks
  assert list((tmp_path / "toy_actions").glob("[!.]*")) == []
  run(inputs, tmp_path)
  assert_same(tmp_path, whole)


def test_terminated_run_says_how_to_go_on(inputs, tmp_path):
  process = start(inputs, tmp_path, stop="slow")
  while not chunks(tmp_path) and process.poll() is None:
    time.sleep(0.005)
  process.terminate()
  _, err = process.communicate(timeout=60)
  assert process.returncode == 130
  assert "Give the same command again to go on" in err and "Traceback" not in err
  assert not (tmp_path / "toy_actions" / "1.0.0").exists()


def test_run_waits_while_another_prepares_the_same_dataset(inputs, whole, small, tmp_path, capsys):
  (tmp_path / "toy_actions").mkdir()
  with open(tmp_path / "toy_actions" / ".lock", "w") as lock, ThreadPoolExecutor(1) as thread:
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = thread.submit(run, inputs, tmp_path)
    time.sleep(0.3)
    assert not waiting.done() and not chunks(tmp_path)
    assert "Another process is preparing" in capsys.readouterr().err
    shutil.copytree(whole / "toy_actions" / "1.0.0", tmp_path / "toy_actions" / "1.0.0")
    fcntl.flock(lock, fcntl.LOCK_UN)
    waiting.result(timeout=30)
  assert "already prepared" in capsys.readouterr().out


def test_bad_videos_are_left_out_and_listed(inputs, whole, small, tmp_path, capsys):
  source = tmp_path / "videos"
  source.mkdir()
  for path in inputs.source.glob("*.mp4"):
    (source / path.name).write_bytes(path.read_bytes())
  (source / "v0.mp4").unlink()
  (source / "v7.mp4").write_text("no video")
  path = run(inputs._replace(source=source), tmp_path)
  skipped = [json.loads(line) for line in (path / "skipped.jsonl").read_text().splitlines()]
  assert [row["name"] for row in skipped] == ["v0", "v7"] and skipped[0]["reason"] == "no such file"
  assert skipped[1]["reason"] and (skipped[1]["split"], skipped[1]["size"]) == ("train", len("no video"))
  assert skipped[1]["time"] == (source / "v7.mp4").stat().st_mtime_ns
  kept = [row["name"].decode() for row in examples(tmp_path)["train"]]
  assert kept == [row["name"].decode() for row in examples(whole)["train"]][2:]
  train = open_dataset(tmp_path, "toy_actions").source["splits"]["train"]
  assert train == {"expected": 6, "found": 5, "written": 4}
  assert "2 videos were skipped" in capsys.readouterr().out


def test_counts_are_printed_of_a_folder_whose_name_looks_like_markup(capsys):
  counts = {"splits": {}, "expected": 2, "found": 2, "written": 1, "skipped": 1}
  write._print_counts("mine", Path("[/a] [bold]/1.0.0"), counts)
  out = capsys.readouterr().out
  assert "mine: [/a] [bold]/1.0.0" in out and "[/a] [bold]/1.0.0/skipped.jsonl says why." in out


def test_nothing_readable_is_an_error_that_shows_why(inputs, small, tmp_path):
  (tmp_path / "videos").mkdir()
  (tmp_path / "videos" / "v7.mp4").write_text("no video")
  with pytest.raises(UserError, match="Not one of 12 videos could be read") as raised:
    run(inputs._replace(source=tmp_path / "videos"), tmp_path)
  assert "v0.mp4: no such file\n" in str(raised.value) and "v7.mp4: " in str(raised.value)
  assert list((tmp_path / "toy_actions").glob("[!.]*")) == []


def test_other_weights_start_afresh(inputs, small, tmp_path):
  work = tmp_path / "extraction" / "toy_actions" / "0123456789ab-0123456789ab" / "shard-00000-of-00001"
  work.mkdir(parents=True)
  (work / "000000.npz").write_bytes(b"of other weights")
  run(inputs, tmp_path)
  assert not (tmp_path / "extraction").exists()


def test_vocabulary_must_be_that_of_the_bit_weights(inputs, small, tmp_path, monkeypatch):
  def few_concepts(source: Path) -> RawDataset:
    return small_raw_dataset(source)._replace(concepts=small_raw_dataset(source).concepts[:-1])

  monkeypatch.setattr(toy_actions, "DATASET", dataclasses.replace(toy_actions.DATASET, read=few_concepts))
  with pytest.raises(UserError, match="BiT weights know 25 concepts, but the dataset has a vocabulary of 24"):
    prepare.prepare("toy_actions", tmp_path, **inputs._asdict())


def test_a_vocabulary_of_ones_own_takes_the_place_of_the_datasets(inputs, small, whole, tmp_path):
  own = [Concept(f"own{i}", f"my thing {i}", "mine") for i in range(25)]
  write_concepts(tmp_path / "own.jsonl", own)
  prepare.prepare("toy_actions", tmp_path, **inputs._asdict(), concepts=tmp_path / "own.jsonl")
  assert open_dataset(tmp_path, "toy_actions").concepts == own
  prepare.prepare("toy_actions", tmp_path, concepts=tmp_path / "own.jsonl")
  with pytest.raises(UserError, match="prepared already, but from something else: its vocabulary"):
    prepare.prepare("toy_actions", whole, concepts=tmp_path / "own.jsonl")
  write_concepts(tmp_path / "short.jsonl", own[:7])
  with pytest.raises(UserError, match="BiT weights know 25 concepts.*vocabulary of 7"):
    prepare.prepare("toy_actions", tmp_path / "other", **inputs._asdict(), concepts=tmp_path / "short.jsonl")


def test_dataset_without_weights_of_its_own_asks_for_them(inputs, small, tmp_path, monkeypatch):
  monkeypatch.setattr(toy_actions, "DATASET", dataclasses.replace(toy_actions.DATASET, weights={}))
  with pytest.raises(UserError, match="give --tsm=WEIGHTS"):
    prepare.prepare("toy_actions", tmp_path, inputs.source)


@pytest.mark.parametrize("code, advice", [
    (errno.ENOSPC, "Make room on the disk"), (errno.EDQUOT, "Make room on the disk"), (errno.EACCES, "Put that right")])
def test_the_disk_is_named_where_it_is_full_only(monkeypatch, capsys, code, advice):
  def fail(**_):
    raise OSError(code, os.strerror(code), "some/file")

  monkeypatch.setattr(prepare, "prepare", fail)
  monkeypatch.setattr(prepare, "flags", mock.Mock())
  monkeypatch.setattr(signal, "signal", lambda *_: None)
  with pytest.raises(SystemExit, match="1"):
    prepare.main([])
  assert f"{os.strerror(code)}: 'some/file'. {advice}, then give the same command" in capsys.readouterr().err


def test_folder_that_cannot_be_written_to_is_named_without_a_traceback(inputs, tmp_path):
  (tmp_path / "data" / "toy_actions" / ".lock").mkdir(parents=True)      # a folder where a file should be
  process = start(inputs, tmp_path / "data", stop="")
  _, err = process.communicate(timeout=120)
  assert process.returncode == 1
  assert "cannot write the dataset" in err and str(tmp_path / "data") in err and "Traceback" not in err


@pytest.mark.parametrize("flag", ["tsm", "bit"])
def test_weights_for_a_dataset_of_feature_files_are_refused(inputs, tmp_path, flag):
  with pytest.raises(UserError, match=f"--{flag}=.*was given, but the features of precomputed are read from files"):
    prepare.prepare("precomputed", tmp_path, **{flag: inputs.tsm})


def test_dataset_of_feature_files_is_prepared_by_the_same_command(tmp_path):
  layout = write_layout(tmp_path / "layout")
  command = [sys.executable, "-m", "input_pipeline.prepare", "--dataset=precomputed", f"--data_dir={tmp_path / 'data'}"]

  def prepare_it(*more: str) -> subprocess.CompletedProcess:
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=120)

  result = prepare_it(f"--source={layout.source}")
  assert result.returncode == 0, result.stderr
  assert "80/80 videos" in result.stderr and "videos/s" in result.stderr
  result = prepare_it()
  assert result.returncode == 0 and "already prepared" in result.stdout
  result = prepare_it(f"--source={tmp_path}")
  assert result.returncode == 2 and "its source is" in result.stderr and "Traceback" not in result.stderr


def test_unknown_dataset_names_the_near_one(tmp_path):
  with pytest.raises(UserError, match="Did you mean toy_actions?"):
    prepare.prepare("toy_action", tmp_path)
