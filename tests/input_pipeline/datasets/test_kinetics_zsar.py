"""Kinetics-ZSAR: the published videos are found in copies of Kinetics that are arranged and named in many ways."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.datasets import kinetics_zsar
from input_pipeline.datasets.kinetics_zsar.find_videos import video_key
from input_pipeline.errors import UserError
from input_pipeline.videos import decode
from tests.input_pipeline.datasets.class_lists import published_folder, write_class_list

NAMES = ["juggling balls", "massaging person's head", "passing American football (in game)", "yoga", "luge"]
LISTED = {     # file, label; the first class is seen, the others are unseen
    "trn": [("aaaaaaaaaaa_000001_000011.mp4", 0), ("-a_b-C_d-00_000120_000130.mp4", 0)],
    "val": [("bbbbbbbbbbb_000002_000012.mp4", 1), ("cccccccccc__000003_000013.mp4", 2),
            ("ccccccccccd_000003_000013.mp4", 0)],
    "tst": [("ddddddddddd_000004_000014.mp4", 3), ("eeeeeeeeeee_000005_000015.mp4", 4)],
}


@pytest.fixture
def folder(tmp_path) -> Path:
  """The published lists, of few classes and videos."""
  lists = tmp_path / "metadata" / "kinetics_zsl220"
  write_class_list(lists, NAMES, "classes620_label_defn.json")
  for name, classes in (("trn", [[0]] * 2), ("val", [[1], [2]]), ("tst", [[2, 3, 4], [1, 4, 3]])):
    (lists / f"{name}_class_idxs.json").write_text(json.dumps(classes))
  for name, videos in LISTED.items():
    (lists / f"{name}_video_names.json").write_text(json.dumps([file for file, _ in videos]))
    (lists / f"{name}_video_metas.jsonl").write_text("".join(
        json.dumps({"videoname": file, "nframes": 250, "label": label}) + "\n" for file, label in videos))
  return tmp_path


def touch(folder: Path, *names: str) -> None:
  """Makes files below the source; only their names are read."""
  for name in names:
    path = folder / "videos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def read(folder: Path, **options):
  return kinetics_zsar.DATASET.raw_dataset(folder / "videos", metadata=folder / "metadata", **options)


def found(folder: Path, **options) -> list[str]:
  """The paths below the source of the videos that have a file."""
  return [entry.path.relative_to(folder / "videos").as_posix()
          for entry in read(folder, **options).entries if entry.path.exists()]


@pytest.mark.parametrize("names", [
    ["train/juggling balls/aaaaaaaaaaa_000001_000011.mp4", "train/juggling_balls/-a_b-C_d-00_000120_000130.mp4",
     "val/massaging persons head/bbbbbbbbbbb_000002_000012.mp4", "test/yoga/ddddddddddd_000004_000014.mp4"],
    ["aaaaaaaaaaa_000001_000011.mp4", "-a_b-C_d-00_000120_000130.webm", "cccccccccc__000003_000013.MKV"],
    ["k600/val/bbbbbbbbbbb_2_12.mp4", "k600/val/cccccccccc__3_13.mp4", "k400/été 1/aaaaaaaaaaa_1_00011.mp4"],
    ["juggling balls/-a_b-C_d-00.mp4", "eeeeeeeeeee.mp4"],
])
def test_videos_are_found_whatever_the_convention_of_folders_and_names(folder, names):
  touch(folder, *names, "train/yoga/unlisted000_000001_000011.mp4")
  assert sorted(found(folder)) == sorted(names)


@pytest.mark.parametrize("stem, key", [
    ("aaaaaaaaaaa_000010_000020", ("aaaaaaaaaaa", 10, 20)), ("-_-_-_-_-_-_0_10", ("-_-_-_-_-_-", 0, 10)),
    ("___________", "___________"), ("aaaaaaaaaa_000010_000020", "aaaaaaaaaa_000010_000020")])
def test_key_of_a_file_is_id_start_and_end_or_else_its_name(stem, key):
  assert video_key(stem) == key


def test_clips_are_in_the_order_of_the_lists_and_missing_ones_have_their_published_name(folder):
  touch(folder, "val/luge/eeeeeeeeeee_5_15.avi", "aaaaaaaaaaa_000001_000011.mp4")
  raw_dataset = read(folder)
  root = folder / "videos"
  assert raw_dataset.entries == [
      ("aaaaaaaaaaa_000001_000011", root / "aaaaaaaaaaa_000001_000011.mp4", 0, "train", None),
      ("-a_b-C_d-00_000120_000130", root / "-a_b-C_d-00_000120_000130.mp4", 0, "train", None),
      ("bbbbbbbbbbb_000002_000012", root / "bbbbbbbbbbb_000002_000012.mp4", 1, "val", None),
      ("cccccccccc__000003_000013", root / "cccccccccc__000003_000013.mp4", 2, "val", None),
      ("ddddddddddd_000004_000014", root / "ddddddddddd_000004_000014.mp4", 3, "test", None),
      ("val/luge/eeeeeeeeeee_5_15", root / "val/luge/eeeeeeeeeee_5_15.avi", 4, "test", None)]
  assert raw_dataset.class_splits == (((0,), (1,), (2, 3, 4)), ((0,), (2,), (1, 4, 3)))
  assert [action.name for action in raw_dataset.classes] == NAMES


def test_number_of_frames_is_the_published_one_for_files_of_features_alone(folder):
  touch(folder, "val/luge/eeeeeeeeeee_000005_000015.npy")
  entries = read(folder, suffixes=frozenset({".npy"})).entries
  assert [entry.num_frames for entry in entries] == [250] * 6
  assert entries[0].path == folder / "videos" / "aaaaaaaaaaa_000001_000011.npy"


def test_of_several_files_that_in_the_folder_of_the_class_is_taken_and_else_the_first(folder):
  touch(folder, "luge/ddddddddddd_4_14.mp4", "yoga/ddddddddddd_4_14.mp4", "z/ddddddddddd_4_14.mp4",
        "a/eeeeeeeeeee_5_15.mp4", "b/eeeeeeeeeee_5_15.mp4")
  assert found(folder) == ["yoga/ddddddddddd_4_14.mp4", "a/eeeeeeeeeee_5_15.mp4"]


def test_empty_file_is_passed_over_for_a_copy_that_is_not(folder):
  touch(folder, "yoga/ddddddddddd_4_14.mp4", "a/eeeeeeeeeee_5_15.mp4", "b/eeeeeeeeeee_5_15.mp4", "a/aaaaaaaaaaa.mp4")
  filled = ["b/aaaaaaaaaaa.mp4", "b/bbbbbbbbbbb_2_12.mp4", "z/ddddddddddd_4_14.mp4"]
  touch(folder, *filled)
  for name in filled:
    (folder / "videos" / name).write_bytes(b"video")
  (folder / "videos" / "a" / "bbbbbbbbbbb_2_12.mp4").symlink_to("nothing")
  assert found(folder) == [*filled, "a/eeeeeeeeeee_5_15.mp4"]


def test_file_named_after_the_id_alone_is_not_taken_when_in_doubt(folder):
  lists = folder / "metadata" / "kinetics_zsl220"
  videos = [*LISTED["tst"], ("eeeeeeeeeee_000090_000100.mp4", 4)]
  (lists / "tst_video_names.json").write_text(json.dumps([file for file, _ in videos]))
  (lists / "tst_video_metas.jsonl").write_text("".join(
      json.dumps({"videoname": file, "nframes": 250, "label": label}) + "\n" for file, label in videos))
  touch(folder, "aaaaaaaaaaa_000001_000011.mp4", "aaaaaaaaaaa.mp4", "eeeeeeeeeee.mp4", "a/ddddddddddd.mp4",
        "b/ddddddddddd.mp4", "a/bbbbbbbbbbb.mp4", "massaging person's head/bbbbbbbbbbb.mp4")
  assert found(folder) == ["aaaaaaaaaaa_000001_000011.mp4", "massaging person's head/bbbbbbbbbbb.mp4"]


def test_file_named_after_the_id_alone_is_not_taken_from_the_folder_of_another_class(folder):
  touch(folder, "train/yoga/bbbbbbbbbbb.mp4", "train/yoga/ddddddddddd.mp4", "downloads/eeeeeeeeeee.mp4",
        "juggling balls/cccccccccc__000003_000013.mp4")
  assert found(folder) == ["juggling balls/cccccccccc__000003_000013.mp4", "train/yoga/ddddddddddd.mp4",
                           "downloads/eeeeeeeeeee.mp4"]


def test_lists_are_read_without_any_video(folder):
  lists = kinetics_zsar.read_lists(folder / "metadata")
  assert lists.sets == ("trn", "val", "tst") and [split.test for split in lists.splits] == [(2, 3, 4), (1, 4, 3)]
  assert [(video.file, video.label, video.split) for video in lists.videos[1:4]] == [
      ("-a_b-C_d-00_000120_000130.mp4", 0, "train"), ("bbbbbbbbbbb_000002_000012.mp4", 1, "val"),
      ("cccccccccc__000003_000013.mp4", 2, "val")]


def test_folders_of_other_classes_are_named_as_a_warning(folder, capsys):
  touch(folder, "train/aaaaaaaaaaa_000001_000011.mp4", "train/yogaa/xxxxxxxxxxx_1_11.mp4", "yoga/yyyyyyyyyyy_1_11.mp4",
        "zither/xxxxxxxxxxx_1_11.mp4")
  read(folder)
  root = folder / "videos"
  assert capsys.readouterr().err == (
      "warning: 2 folders hold no listed video and have the name of no class; their videos are not used:\n"
      f"  {root}/train/yogaa (did you mean 'yoga'?)\n  {root}/zither\n")


def test_tree_without_one_listed_video_shows_what_was_looked_for_and_what_is_there(folder):
  touch(folder, "UCF-101/Archery/v_Archery_g01_c01.avi")
  with pytest.raises(UserError, match=r"Not one of the 6 videos .*aaaaaaaaaaa_000001_000011.mp4, the first that is "
                     r"there UCF-101/Archery/v_Archery_g01_c01.avi"):
    read(folder)


def test_without_the_lists_of_training_videos_it_goes_on_with_a_warning(folder, capsys):
  for name in ("trn_video_names.json", "trn_video_metas.jsonl"):
    (folder / "metadata" / "kinetics_zsl220" / name).unlink()
  touch(folder, "juggling balls/aaaaaaaaaaa_000001_000011.mp4", "yoga/ddddddddddd_000004_000014.mp4")
  raw_dataset = read(folder)
  assert Counter(entry.split for entry in raw_dataset.entries) == {"val": 2, "test": 2}
  assert [split.seen for split in raw_dataset.class_splits] == [(0,), (0,)]
  assert "lacks trn_video_names.json and trn_video_metas.jsonl; going on without training" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["trn_video_names.json", "val_video_metas.jsonl", "tst_class_idxs.json",
                                  "classes620_label_defn.json"])
def test_other_missing_lists_are_named_with_the_command_that_gets_them(folder, name):
  (folder / "metadata" / "kinetics_zsl220" / name).unlink()
  touch(folder, "aaaaaaaaaaa_000001_000011.mp4")
  with pytest.raises(UserError, match=f"(?s)kinetics_zsl220 lacks published .*{name}.*download_metadata.sh"):
    read(folder)


def test_published_lists_find_videos_in_the_layout_of_the_archives(tmp_path):
  """The lists of training videos are not among the copies."""
  published = published_folder() / "kinetics_zsl220"
  names = [row["word"] for row in json.loads((published / "classes620_label_defn.json").read_text())]
  rows = [json.loads(line) for line in (published / "val_video_metas.jsonl").read_text().splitlines()]
  labels = {index for part in json.loads((published / "val_class_idxs.json").read_text()) for index in part}
  listed = [row for row in rows if row["label"] in labels][:40:2]
  frames = np.zeros((2, 16, 16, 3), np.uint8)
  decode.write_video(tmp_path / "one.mp4", frames)
  for row in listed:
    path = tmp_path / "kinetics600" / "val" / names[row["label"]].replace("'", "") / row["videoname"]
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tmp_path / "one.mp4", path)
  (tmp_path / "one.mp4").unlink()
  raw_dataset = kinetics_zsar.DATASET.raw_dataset(tmp_path, metadata=published_folder())
  there = [entry for entry in raw_dataset.entries if entry.split == "val" and entry.path.exists()]
  assert [(entry.path.name, entry.label) for entry in there] == [(row["videoname"], row["label"]) for row in listed]
  assert decode.count_frames(there[0].path) == 2
  assert Counter(entry.split for entry in raw_dataset.entries) == {"val": 6231, "test": 19177}
  assert {"class_vectors.npy", "word_list.json", "classifier_rows.npy"} == set(raw_dataset.extras)
