"""One extraction on several devices, in shards and merged: the same dataset to the last byte; and what may go wrong."""

import fcntl
import json
import re
import shlex
import shutil
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from input_pipeline import prepare
from input_pipeline.backbones import checkpoints
from input_pipeline.errors import UserError
from input_pipeline.preparation import shards
from input_pipeline.videos import decode
from tests.input_pipeline.small_preparation import (
  NUM_VIDEOS,
  Inputs,
  assert_same,
  chunks,
  inputs,
  run,
  small,
  small_raw_dataset,
  start,
  videos_read,
  whole,
)

__all__ = ["inputs", "small", "videos_read", "whole"]     # the fixtures


def run_shards(inputs: Inputs, data_dir: Path, *indices: int) -> None:
  for index in indices:
    run(inputs, data_dir, shard_index=index, num_shards=3)


def merge(inputs: Inputs, data_dir: Path) -> Path:
  return prepare.prepare("toy_actions", data_dir, inputs.source, merge=True, num_shards=3)


def shard_folder(data_dir: Path, index: int) -> Path:
  (folder,) = data_dir.glob(f"extraction/toy_actions/*/shard-0000{index}-of-00003")
  return folder


def files_of(data_dir: Path) -> dict[str, bytes]:
  """Every file of the prepared dataset, but for those that name a time or a folder."""
  folder = data_dir / "toy_actions" / "1.0.0"
  return {path.name: path.read_bytes() for path in folder.iterdir()
          if path.name not in ("source.json", "dataset_info.json", "manifest.json")}


@pytest.mark.skipif(jax.local_device_count() < 8, reason="needs eight devices, e.g. simulated ones")
def test_eight_devices_one_device_and_three_shards_give_the_same_bytes(inputs, whole, small, tmp_path):
  process = start(inputs, tmp_path / "one", stop="")      # has one device
  assert process.wait(120) == 0, process.stderr.read()
  run_shards(inputs, tmp_path / "three", 2, 0, 1)
  merge(inputs, tmp_path / "three")
  expected = files_of(whole)      # of eight devices
  assert sum("array_record" in name for name in expected) == 3
  assert files_of(tmp_path / "one") == expected
  assert files_of(tmp_path / "three") == expected
  assert chunks(tmp_path / "three") == []


def test_a_shard_says_what_is_left_to_do_and_reads_its_own_videos_alone(inputs, small, videos_read, tmp_path, capsys):
  path = run(inputs, tmp_path, shard_index=1, num_shards=3)
  assert path == shard_folder(tmp_path, 1)
  assert sorted(videos_read) == sorted(entry.name for entry in small_raw_dataset(inputs.source).entries[1::3])
  printed = capsys.readouterr().out
  assert "Not finished here: 0, 2." in printed
  assert f"--data_dir={tmp_path} --source={inputs.source} --num_shards=3 --merge\n" in printed
  assert not (tmp_path / "toy_actions" / "1.0.0").exists()


def test_merging_needs_neither_weights_nor_videos_nor_the_machine_of_the_shards(
    inputs, whole, small, tmp_path, monkeypatch):
  for index in range(3):
    run_shards(inputs, tmp_path / str(index), index)
    shutil.copytree(tmp_path / str(index) / "extraction", tmp_path / "all" / "extraction", dirs_exist_ok=True,
                    copy_function=shutil.copyfile)      # with other times
  monkeypatch.setattr(checkpoints, "load", None)
  monkeypatch.setattr(decode, "read_clip", None)
  merge(inputs._replace(source=tmp_path / "absent"), tmp_path / "all")
  assert_same(tmp_path / "all", whole)


def test_merging_too_early_lists_the_commands_that_are_left(inputs, small, tmp_path):
  with pytest.raises(UserError, match="3 of 3 shards of toy_actions are not finished"):
    merge(inputs, tmp_path)
  run_shards(inputs, tmp_path, 1)
  with pytest.raises(UserError, match="2 of 3 shards of toy_actions are not finished") as raised:
    merge(inputs, tmp_path)
  commands = re.findall(r"^  python -m input_pipeline.prepare (.*)$", str(raised.value), re.MULTILINE)
  assert [shlex.split(command)[-2:] for command in commands] == [
      ["--num_shards=3", "--shard_index=0"], ["--num_shards=3", "--shard_index=2"]]


def test_shards_of_another_number_are_pointed_out(inputs, small, tmp_path):
  run_shards(inputs, tmp_path, 0)
  with pytest.raises(UserError, match="There are shards of another list .*shard-00000-of-00003"):
    prepare.prepare("toy_actions", tmp_path, inputs.source, merge=True, num_shards=4)


def test_killed_shard_goes_on_where_it_was(inputs, whole, small, videos_read, tmp_path):
  process = start(inputs, tmp_path, stop="slow", shard_index=0, num_shards=2)
  while not chunks(tmp_path) and process.poll() is None:
    time.sleep(0.005)
  process.kill()
  assert process.wait() == -signal.SIGKILL, process.stderr.read()
  done = len(chunks(tmp_path)) * 2
  for index in range(2):
    run(inputs, tmp_path, shard_index=index, num_shards=2)
  assert len(videos_read) == NUM_VIDEOS - done
  prepare.prepare("toy_actions", tmp_path, merge=True, num_shards=2)
  assert_same(tmp_path, whole)


def test_finished_shard_is_not_done_again_and_a_deleted_one_is(inputs, whole, small, videos_read, tmp_path):
  run_shards(inputs, tmp_path, 0, 1, 2, 1)
  assert len(videos_read) == NUM_VIDEOS
  shutil.rmtree(shard_folder(tmp_path, 2))
  run_shards(inputs, tmp_path, 2)
  assert sorted(videos_read[NUM_VIDEOS:]) == sorted(entry.name for entry in small_raw_dataset(inputs.source).entries[2::3])
  merge(inputs, tmp_path)
  assert_same(tmp_path, whole)


def test_shards_do_not_wait_for_each_other(inputs, small, tmp_path):
  run_shards(inputs, tmp_path, 0)
  with open(shard_folder(tmp_path, 0) / ".lock") as other:
    fcntl.flock(other, fcntl.LOCK_EX)
    run_shards(inputs, tmp_path, 1)


def test_shard_that_was_copied_in_part_is_refused(inputs, small, tmp_path):
  run_shards(inputs, tmp_path, 0, 1, 2)
  (shard_folder(tmp_path, 1) / "000001.npz").unlink()
  with pytest.raises(UserError, match="shard-00001-of-00003 says that it is finished, but holds the features of 2 of "
                     "its 4 videos, and 0 were skipped.*copy it again"):
    merge(inputs, tmp_path)
  (shard_folder(tmp_path, 0) / "done.json").write_text('{"clips": 4}')
  with pytest.raises(UserError, match="done.json is not what a finished shard leaves"):
    merge(inputs, tmp_path)


def test_videos_that_any_shard_skipped_are_listed_in_the_order_of_the_clips(inputs, small, tmp_path):
  source = tmp_path / "videos"
  shutil.copytree(inputs.source, source)
  for name in ("v3", "v7"):      # the tenth video and the second: both of shard 0 of 3, resp. 1
    (source / f"{name}.mp4").write_text("no video")
  run_shards(inputs._replace(source=source), tmp_path, 0, 1)
  (source / "v2.mp4").unlink()      # the third video
  run_shards(inputs._replace(source=source), tmp_path, 2)
  file = shard_folder(tmp_path, 0) / "done.json"      # as earlier versions wrote it
  done = json.loads(file.read_text())
  file.write_text(json.dumps({**done, "skipped": [row[:2] for row in done["skipped"]]}))
  path = merge(inputs._replace(source=source), tmp_path)
  skipped = [json.loads(line) for line in (path / "skipped.jsonl").read_text().splitlines()]
  assert [(row["name"], row.get("size")) for row in skipped] == [("v7", len("no video")), ("v2", None), ("v3", None)]


def test_video_that_vanished_after_it_was_extracted_is_skipped(inputs, small, tmp_path):
  source = tmp_path / "videos"
  shutil.copytree(inputs.source, source)
  run(inputs._replace(source=source), tmp_path, shard_index=0, num_shards=1)
  (source / "v7.mp4").unlink()
  path = run(inputs._replace(source=source), tmp_path)
  assert json.loads((path / "skipped.jsonl").read_text()) == {"name": "v7", "reason": "no such file"}
  assert json.loads((path / "source.json").read_text())["written"] == NUM_VIDEOS - 1


def test_shards_of_several_weights_are_told_apart(inputs, whole, small, tmp_path):
  arrays = dict(np.load(inputs.bit))
  arrays["resnet/head/conv2d/bias"] = arrays["resnet/head/conv2d/bias"] + 1
  np.savez(tmp_path / "bit.npz", **arrays)
  run_shards(inputs, tmp_path, 0, 1, 2)
  run_shards(inputs._replace(bit=tmp_path / "bit.npz"), tmp_path, 0)
  with pytest.raises(UserError, match="(?s)several weights or views in .*Say which to take with --tsm, --bit"):
    merge(inputs, tmp_path)
  run(inputs, tmp_path, merge=True, num_shards=3)
  assert_same(tmp_path, whole)
  assert len(chunks(tmp_path)) == 2      # those of the other weights are somebody's work


def test_shards_of_other_views_than_are_asked_for_are_not_merged(inputs, whole, small, tmp_path):
  run_shards(inputs, tmp_path, 0, 1, 2)
  with pytest.raises(UserError, match="not what is asked for:\n  .*its --temporal_samples is 1, asked for is 3"):
    prepare.prepare("toy_actions", tmp_path, inputs.source, merge=True, num_shards=3, temporal_samples=3)
  for index in range(3):
    run(inputs, tmp_path, shard_index=index, num_shards=3, temporal_samples=3)
  path = prepare.prepare("toy_actions", tmp_path, inputs.source, merge=True, num_shards=3, temporal_samples=3)
  assert json.loads((path / "source.json").read_text())["views"]["temporal_samples"] == 3


def test_shards_that_say_they_are_of_another_source_do_not_make_a_dataset(inputs, small, tmp_path):
  run_shards(inputs, tmp_path, 0, 1, 2)
  file = shard_folder(tmp_path, 1) / "done.json"
  file.write_text(file.read_text().replace('"spatial_crops": 1', '"spatial_crops": 3'))
  with pytest.raises(UserError, match="do not belong together: .*shard-00001-of-00003 was made from .*_crops.: 3"):
    merge(inputs, tmp_path)


def test_shards_of_other_shapes_do_not_make_a_dataset(tmp_path, small, inputs):
  run_shards(inputs, tmp_path, 0, 1, 2)
  for path in shard_folder(tmp_path, 2).glob("*.npz"):
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "views": arrays["views"][:, :, :-1]})
  with pytest.raises(UserError, match="do not belong together: .*shard-00000-of-00003 has features of shape"):
    merge(inputs, tmp_path)


def test_more_shards_than_videos_leave_some_empty(inputs, whole, small, tmp_path):
  for index in range(NUM_VIDEOS + 1):
    run(inputs, tmp_path, shard_index=index, num_shards=NUM_VIDEOS + 1)
  prepare.prepare("toy_actions", tmp_path, merge=True, num_shards=NUM_VIDEOS + 1)
  assert_same(tmp_path, whole)


@pytest.mark.parametrize("flags, message", [
    ({"num_shards": 3}, "--num_shards=3 says into how many parts .* --shard_index=I too, I being 0 to 2.*--num_splits"),
    ({"num_shards": 0}, "--num_shards=0 must be at least 1"),
    ({"num_shards": 3, "shard_index": 3}, "--shard_index=3, but with --num_shards=3 there are shards 0 to 2"),
    ({"num_shards": 3, "shard_index": 0, "merge": True}, "--shard_index and --merge were given; choose one"),
    ({"beam_options": "--x=y"}, "--beam_options=--x=y needs --beam_runner"),
])
def test_flags_that_do_not_say_what_to_do_are_refused(tmp_path, flags, message):
  with pytest.raises(UserError, match=message):
    prepare.prepare("toy_actions", tmp_path, **flags)


def test_shards_divide_the_clips():
  entries = small_raw_dataset(Path("videos")).entries
  parts = [shards.Shard(index, 5).of(entries) for index in range(5)]
  assert [len(part) for part in parts] == [3, 3, 2, 2, 2]
  assert sorted(entry.name for part in parts for entry in part) == sorted(entry.name for entry in entries)
