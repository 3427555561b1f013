"""Verification: what a dataset expects is there, readable, prepared and evaluated, and what is not is named."""

import dataclasses
import errno
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from input_pipeline import manifest, prepare
from input_pipeline import verify as command
from input_pipeline.datasets import toy_actions
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry
from input_pipeline.verification.count import verify
from input_pipeline.verification.expected import class_splits, expected, options_of
from input_pipeline.verification.report import Verification, print_report, rows
from input_pipeline.videos import decode
from tests.input_pipeline.conftest import write_dataset
from tests.input_pipeline.datasets.class_lists import published_folder, write_class_list

# Two classes are seen; of each of two unseen ones, video "a" is for validation and "b" for the test.
CLIPS = [("run/a", 0, "train"), ("run/b", 0, "train"), ("jump/a", 1, "train"), ("jump/b", 1, "train"),
         ("sit/a", 2, "val"), ("wave/a", 3, "val"), ("sit/b", 2, "test"), ("wave/b", 3, "test")]
GIVEN = (ClassSplit(seen=(0, 1), val=(2,), test=(3,)), ClassSplit(seen=(0, 1), val=(3,), test=(2,)))
RANDOM = (ClassSplit((0, 1), (), (2, 3)), ClassSplit((0, 3), (), (1, 2)))


def raw_dataset_of(source: Path, splits: tuple[ClassSplit, ...] = GIVEN) -> RawDataset:
  entries = [VideoEntry(name, source / f"{name}.mp4", label, split) for name, label, split in CLIPS]
  return RawDataset(entries, [ActionClass(name, f"to {name}") for name in ("run", "jump", "sit", "wave")], [], splits, {})


def declare(monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], RawDataset]) -> None:
  """Lets toy_actions be what `read` finds."""
  monkeypatch.setattr(toy_actions, "DATASET", dataclasses.replace(toy_actions.DATASET, read=read))


class Small(NamedTuple):
  """A dataset of tiny videos, and where it is prepared and evaluated."""

  data_dir: Path
  source: Path
  run: Path

  def verify(self, read: str = "none", run: bool = False, **given) -> Verification:
    return verify(options_of("toy_actions", self.data_dir, **given), read, self.run if run else None)

  def problems(self, **options) -> dict[str, str]:
    return {row["name"]: row["problem"] for row in rows(self.verify(**options))}

  def prepare(self, raw_dataset: RawDataset, skipped: dict[int, str] | None = None) -> Path:
    return write_dataset(self.data_dir, raw_dataset._replace(concepts=[]), skipped or {})

  def evaluate(self, path: Path, *names: list[str], **results) -> None:
    """Leaves what an evaluation of these videos, those of each class split, leaves."""
    (self.run / "predictions").mkdir(parents=True)
    for k, of_split in enumerate(names):
      np.savez(self.run / "predictions" / f"test{k}.npz", names=np.array(of_split))
    splits = {str(k): {"num_videos": len(of_split)} for k, of_split in enumerate(names)}
    written = json.loads((path / manifest.NAME).read_text())
    data = {"path": str(path), "manifest": {"path": str(path / manifest.NAME), "sha256": written["sha256"]}}
    (self.run / "results.json").write_text(json.dumps(
        {"dataset": "toy_actions", "splits": splits, "data": data, **results}))


@pytest.fixture
def small(tmp_path, monkeypatch) -> Small:
  declare(monkeypatch, raw_dataset_of)
  source = tmp_path / "videos"
  for index, (name, _, _) in enumerate(CLIPS):
    decode.write_video(source / f"{name}.mp4", np.full((2, 16, 16, 3), 20 * index, np.uint8))
  return Small(tmp_path, source, tmp_path / "run")


def count(mask: np.ndarray | None) -> int | None:
  return None if mask is None else int(mask.sum())


def test_whole_dataset_is_complete_at_every_stage(small, capsys):
  path = small.prepare(raw_dataset_of(small.source))
  small.evaluate(path, ["wave/b"], ["sit/b"])
  verification = small.verify(read="frames", run=True)
  assert verification.is_complete and not list(rows(verification))
  assert [count(done) for _, _, done in verification.stages()] == [8, 8, 8, 8, 2]
  assert [count(mask) for mask in verification.evaluated] == [1, 1]
  print_report(verification, "toy_actions", published=9, all_classes=False)
  lines = capsys.readouterr().out.splitlines()
  assert "The published dataset has 9 videos; here 8 are expected, 1 fewer." in lines
  assert lines[-1] == "Complete: 8 expected, 8 found, 8 readable, 8 prepared, 2 evaluated."


def test_missing_and_unreadable_files_are_told_apart(small, capsys):
  (small.source / "run/a.mp4").unlink()
  (small.source / "run/b.mp4").write_bytes(b"")
  (small.source / "jump/a.mp4").unlink()
  (small.source / "jump/a.mp4").mkdir()
  (small.source / "jump/b.mp4").write_text("<html>not found</html>")
  (small.source / "sit/a.mp4").write_bytes((small.source / "sit/a.mp4").read_bytes()[:100])
  for read in ("frames", "packets"):
    verification = small.verify(read=read, source=small.source)
    assert (count(verification.found), count(verification.readable), verification.prepared) == (5, 3, None)
    problems = {row["name"]: row["problem"] for row in rows(verification)}
    assert problems["run/a"] == "no such file" and problems["run/b"] == "the file is empty (0 bytes)"
    assert problems["jump/a"] == "is not a file" and "looks like a web page" in problems["jump/b"]
    assert "cut off" in problems["sit/a"]
  unread = small.verify(source=small.source)
  assert (count(unread.found), unread.readable, len(unread.problems)) == (5, None, 3)
  assert next(rows(unread)) == {"name": "run/a", "split": "train", "class": "run", "problem": "no such file",
                                "path": str(small.source / "run" / "a.mp4")}
  print_report(verification, "toy_actions", published=None, all_classes=False)
  out = capsys.readouterr().out
  assert f"{small.source}/run/a.mp4: no such file" in out and "Classes that fall short: 3\n" in out
  assert out.endswith("Falls short: 3 of 8 videos are not found; 2 of 8 videos are not readable.\n")


def test_files_that_are_not_used_and_names_written_in_another_way_are_reported(small, monkeypatch, capsys):
  (small.source / "run" / "a.mp4").rename(small.source / "run" / "A.MP4")
  declare(monkeypatch, lambda source: raw_dataset_of(source)._replace(unused={".gif": 12, "": 3}))
  verification = small.verify(source=small.source)
  assert next(rows(verification))["problem"] == (
      f"no such file; there is '{small.source}/run/A.MP4', which differs in case")
  print_report(verification, "toy_actions", published=None, all_classes=False)
  assert "\nNot used: 12 .gif, 3 without extension.\n" in capsys.readouterr().out


def test_frames_that_cannot_be_decoded_are_noticed_only_by_decoding(small):
  path = small.source / "wave/a.mp4"
  content = bytearray(path.read_bytes())
  with av.open(str(path)) as container:
    places = [(packet.pos, packet.pos + packet.size) for packet in container.demux(video=0) if packet.size]
  for start, stop in places:
    while start < stop:      # units of a length, a type, and what it holds
      end = start + 4 + int.from_bytes(content[start:start + 4])
      if content[start + 4] & 31 in (1, 5):      # a picture
        content[start + 5:end] = b"\xff" * (end - start - 5)
      start = end
  path.write_bytes(content)
  assert small.problems(read="packets", source=small.source) == {}
  assert small.problems(read="frames", source=small.source) == {"wave/a": "no frame in it can be decoded"}


@pytest.mark.parametrize("read", ["frames", "packets"])
def test_video_that_breaks_off_is_readable_and_named(small, capsys, read):
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="matroska") as container:
    stream = container.add_stream("mpeg4", rate=24)
    stream.height, stream.width, stream.pix_fmt = 48, 48, "yuv420p"
    for frame in np.random.default_rng(0).integers(0, 256, (24, 48, 48, 3), np.uint8):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
    container.mux(stream.encode(None))
  content = buffer.getvalue()
  (small.source / "wave/a.mp4").write_bytes(content[:len(content) // 2])
  assert small.verify(read=read, source=small.source).is_complete
  assert capsys.readouterr().err.endswith(
      f"warning: 1 videos break off, or are damaged inside; what can be decoded of them is used:\n  {small.source}/wave/a.mp4\n")


def test_what_the_machine_cannot_read_is_named_with_its_reason(small, monkeypatch):
  def fail(path):
    raise av.error.classes[errno.EMFILE](errno.EMFILE, "Too many open files", path)

  monkeypatch.setattr(decode, "_av_open", fail)
  assert "run/a.mp4: Too many open files" in small.problems(read="packets", source=small.source)["run/a"]


def test_tables_have_a_row_for_each_split_and_class(small, capsys):
  (small.source / "sit/b.mp4").unlink()
  print_report(small.verify(source=small.source), "toy_actions", published=None, all_classes=True)
  lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
  cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
  assert cells == [
      ["train", "4", "4", "not read", "not yet"], ["val", "2", "2", "not read", "not yet"],
      ["test", "2", "1", "not read", "not yet"], ["all splits", "8", "7", "not read", "not yet"],
      ["0", "2", "4", "1", "1", "1", "1"], ["1", "2", "4", "1", "1", "1", "1"],
      ["run", "train", "2", "2", "-", "-"], ["jump", "train", "2", "2", "-", "-"], ["sit", "val", "1", "1", "-", "-"],
      ["wave", "val", "1", "1", "-", "-"], ["sit", "test", "1", "0", "-", "-"], ["wave", "test", "1", "1", "-", "-"]]


def test_videos_of_random_splits_serve_where_their_class_does(tmp_path):
  splits = class_splits(raw_dataset_of(tmp_path, RANDOM))
  assert [{part: count(mask) for part, mask in split.videos.items()} for split in splits] == [
      {"train": 4, "val": 0, "test": 4}, {"train": 4, "val": 0, "test": 4}]
  names = [CLIPS[index][0] for index in np.nonzero(splits[1].videos["test"])[0]]
  assert names == ["jump/a", "jump/b", "sit/a", "sit/b"]


def test_what_is_not_prepared_is_named_with_the_reason_for_which_it_was_left_out(small):
  small.prepare(raw_dataset_of(small.source), skipped={1: "no frame in it", 6: "no such file"})
  (small.source / "sit/b.mp4").unlink()
  verification = small.verify()
  assert count(verification.prepared) == 6 and not verification.remarks
  assert small.problems() == {
      "run/b": "left out when the dataset was prepared: no frame in it", "sit/b": "no such file"}


def test_prepared_dataset_that_differs_from_what_is_expected_falls_short(small, monkeypatch):
  small.prepare(raw_dataset_of(small.source))
  same = raw_dataset_of(small.source)
  changed = same._replace(entries=[same.entries[0]._replace(label=1), *same.entries[1:-1]])
  declare(monkeypatch, lambda source, changed=changed: changed)
  verification = small.verify()
  assert [row["problem"] for row in rows(verification)] == ["prepared as a video of class 'run'"]
  assert verification.remarks == [
      f"{small.data_dir / 'toy_actions' / '1.0.0'} holds 1 videos that are not expected: wave/b"]
  for changed, message in ((same._replace(classes=same.classes[::-1]), "other classes"),
                           (same._replace(class_splits=GIVEN[:1]), "other class splits")):
    declare(monkeypatch, lambda source, changed=changed: changed)
    assert [message in remark for remark in small.verify().remarks] == [True]


def test_prepared_dataset_that_is_damaged_is_named(small):
  path = small.prepare(raw_dataset_of(small.source))
  (records,) = path.glob("*-val.array_record*")
  records.write_bytes(records.read_bytes()[:100])
  with pytest.raises(UserError, match="1.0.0: the examples of split 'val' cannot be read .*prepare the dataset again"):
    small.verify()


def test_prepared_dataset_of_random_splits_is_looked_up_whatever_split_stores_a_video(small, monkeypatch):
  declare(monkeypatch, lambda source: raw_dataset_of(source, RANDOM))
  path = small.prepare(raw_dataset_of(small.source, RANDOM), skipped={2: "no frame in it"})
  small.evaluate(path, ["sit/a", "sit/b", "wave/a", "wave/b"], ["jump/b", "sit/a", "sit/b"])
  verification = small.verify(run=True)
  assert (count(verification.prepared), [count(mask) for mask in verification.evaluated]) == (7, [4, 3])
  assert list(verification.problems) == [2] and not verification.remarks


def test_test_videos_that_a_run_did_not_score_are_named(small, capsys):
  path = small.prepare(raw_dataset_of(small.source))
  small.evaluate(path, ["wave/b"], [])
  verification = small.verify(run=True)
  assert [count(mask) for mask in verification.evaluated] == [1, 0]
  assert small.problems(run=True) == {"sit/b": "not evaluated in class split 1"}
  print_report(verification, "toy_actions", published=None, all_classes=False)
  assert capsys.readouterr().out.endswith("Falls short: 1 of 2 videos are not evaluated.\n")


@pytest.mark.parametrize("names, results, message", [
    ([["wave/b"]], {}, "Class split 1 was not evaluated: .*results.json has no results of it"),
    ([["wave/b"], ["sit/b", "wave/b"]], {}, "class split 1 are also of 1 videos that are not expected: wave/b"),
    ([["wave/b"], ["sit/b", "sit/b"]], {}, "rests on 2 videos, but .*test1.npz has 1 different ones in 2 rows"),
    ([["wave/b"], ["sit/b"]], {"data": {"manifest": {"sha256": "12ab"}}}, "does not rest on .*1.0.0 as it is.*12ab"),
    ([["wave/b"], ["sit/b"]], {"data": {"manifest": None}}, "sha256 of the manifest is not given in the results"),
])
def test_results_that_do_not_rest_on_the_prepared_dataset_fall_short(small, names, results, message):
  small.evaluate(small.prepare(raw_dataset_of(small.source)), *names, **results)
  (remark,) = small.verify(run=True).remarks
  assert re.search(message, remark)


def test_a_run_of_another_dataset_or_none_is_a_wrong_input(small):
  small.run.mkdir()
  with pytest.raises(UserError, match="toy_actions is not prepared in .*--data_dir"):
    small.verify(run=True)
  path = small.prepare(raw_dataset_of(small.source))
  with pytest.raises(UserError, match="holds no results.json"):
    small.verify(run=True)
  shutil.rmtree(small.run)
  small.evaluate(path, ["wave/b"], dataset="ucf101_zsar")
  (small.run / "on_toy_actions").mkdir()
  with pytest.raises(UserError, match="results on 'ucf101_zsar', not on 'toy_actions'.*--workdir=.*on_toy_actions"):
    small.verify(run=True)
  shutil.rmtree(small.run)
  small.evaluate(path, ["wave/b"])
  (small.run / "predictions" / "test0.npz").write_bytes(b"no archive")
  with pytest.raises(UserError, match="test0.npz.*is not what an evaluation leaves"):
    small.verify(run=True)


def test_options_default_to_those_of_the_prepared_dataset(small):
  path = small.prepare(raw_dataset_of(small.source))
  source = {"root": "/somewhere/videos", "options": {"split_seed": 3, "num_splits": 2}, "views": {"spatial_crops": 3}}
  folder = small.data_dir / "ucf101_zsar" / "1.0.0"
  shutil.copytree(path, folder)
  (folder / "source.json").write_text(json.dumps(source))
  options = options_of("ucf101_zsar", small.data_dir, source=None, split_seed=4)
  assert (options.root, options.split_seed, options.num_splits) == (Path("/somewhere/videos"), 4, 2)
  assert options.views.spatial_crops == 3
  assert options_of("ucf101_zsar", small.data_dir, source="/elsewhere").root == Path("/elsewhere")
  source["root"] = source["options"]["features"] = "/somewhere/features"
  (folder / "source.json").write_text(json.dumps(source))
  assert options_of("ucf101_zsar", small.data_dir).from_features_alone


def kinetics_lists(folder: Path) -> Path:
  """Published lists of a seen class and two unseen ones, without videos of the seen one."""
  lists = folder / "kinetics_zsl220"
  write_class_list(lists, ["yoga", "luge", "juggling balls"], "classes620_label_defn.json")
  for name, classes, videos in (("trn", [[0]], None), ("val", [[1]], ["aaaaaaaaaaa_000001_000011.mp4"]),
                                ("tst", [[2]], ["bbbbbbbbbbb_000002_000012.mp4"])):
    (lists / f"{name}_class_idxs.json").write_text(json.dumps(classes))
    if videos:
      (lists / f"{name}_video_names.json").write_text(json.dumps(videos))
      (lists / f"{name}_video_metas.jsonl").write_text("".join(
          json.dumps({"videoname": file, "nframes": 250, "label": classes[0][0]}) + "\n" for file in videos))
  return folder


def test_videos_of_kinetics_are_expected_before_one_of_them_is_downloaded(tmp_path, capsys):
  lists = kinetics_lists(tmp_path / "lists")
  options = options_of("kinetics_zsar", tmp_path, metadata=lists, source=tmp_path / "videos")
  with pytest.raises(UserError, match="There is no folder"):      # a slip in --source
    expected(options)
  (tmp_path / "videos").mkdir()
  assert [(entry.name, entry.split) for entry in expected(options).entries] == [
      ("aaaaaaaaaaa_000001_000011", "val"), ("bbbbbbbbbbb_000002_000012", "test")]
  assert "All listed videos count as missing" in capsys.readouterr().err
  assert set(verify(options).problems.values()) == {"no such file"}
  (tmp_path / "videos" / "bbbbbbbbbbb.mp4").touch()
  (tmp_path / "videos" / "ccccccccccc.mp4.part").touch()
  with pytest.raises(UserError, match="download did not end"):      # and so for what is wrong with the copy
    expected(options)


def test_published_kinetics_lists_expect_the_known_numbers_of_videos(tmp_path):
  metadata = published_folder()
  (tmp_path / "videos").mkdir()
  for line in (metadata / "kinetics_zsl220" / "tst_video_metas.jsonl").read_text().splitlines()[:3]:
    (tmp_path / "videos" / json.loads(line)["videoname"]).write_bytes(b"-")
  options = options_of("kinetics_zsar", tmp_path, metadata=metadata, source=tmp_path / "videos")
  verification = verify(options, read="none")
  for part, classes, videos in (("val", 60, [2670, 2712, 2663]), ("test", 160, [14131, 14078, 14167])):
    assert [count(split.videos[part]) for split in verification.splits] == videos
    assert [len(split.classes[part]) for split in verification.splits] == [classes] * 3
  assert 0 < count(verification.found) <= 3
  assert len(verification.problems) == len(verification.found) - count(verification.found)


def run_command(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, "-m", "input_pipeline.verify", *arguments], capture_output=True, text=True,
                        timeout=120)


def test_command_after_prepare_needs_no_options_and_its_status_tells(tmp_path):
  features = tmp_path / "features"
  for name in ("run", "jump"):
    (features / name).mkdir(parents=True)
    for number in range(2):
      np.save(features / name / f"{number}.npy", np.arange(4, dtype=np.float32) + 10 * number + len(name))
  (features / "classes.jsonl").write_text("".join(json.dumps({"name": name, "description": name, "split": split}) + "\n"
                                                  for name, split in (("run", "seen"), ("jump", "test"))))
  flags = ["--dataset=video_folder", f"--data_dir={tmp_path / 'data'}"]
  prepare.prepare("video_folder", tmp_path / "data", features=features)
  result = run_command(*flags)
  assert result.returncode == 0, result.stderr
  assert result.stdout.endswith("Complete: 4 expected, 4 found, 4 readable, 4 prepared.\n")
  (features / "jump" / "1.npy").write_bytes(b"no feature")
  result = run_command(*flags, f"--output={tmp_path / 'problems.jsonl'}")
  assert result.returncode == 1 and "Falls short: 1 of 4 videos are not readable." in result.stdout
  (problem,) = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().splitlines()]
  assert problem["name"] == "jump/1" and "cannot be read as a .npy file" in problem["problem"]


def test_wrong_flags_end_with_status_2(tmp_path):
  (tmp_path / "a").touch()
  for flags, message in (["--dataset=ucf101"], "Did you mean ucf101_zsar"), (
      ["--dataset=ucf101_zsar", f"--output={tmp_path}/a/b.jsonl"], "a/b.jsonl cannot be written: "):
    result = run_command(*flags)
    assert result.returncode == 2 and message in result.stderr and "Traceback" not in result.stderr


def test_the_report_is_printed_before_its_file_is_written(small, capsys):
  verification, options = small.verify(source=small.source), options_of("toy_actions", small.data_dir)
  output = small.source / "run" / "a.mp4" / "b.jsonl"
  with pytest.raises(UserError, match=f"The report is whole, but --output={output} could not be written"):
    command.report(verification, options, all_classes=False, output=output)
  assert capsys.readouterr().out.endswith("Complete: 8 expected, 8 found.\n")


def test_a_dataset_that_is_not_prepared_falls_short_only_if_asked(small):
  options = options_of("toy_actions", small.data_dir, source=small.source)
  assert verify(options, "none").is_complete
  (remark,) = verify(options, "none", require_prepared=True).remarks
  assert "python -m input_pipeline.prepare --dataset=toy_actions" in remark
