"""HMDB51: its folders' names, and its archive of archives."""

import pytest

from input_pipeline.datasets import hmdb51_zsar
from input_pipeline.errors import UserError
from tests.input_pipeline.datasets.class_lists import published_folder, write_avi, write_class_list

FOLDERS = """
brush_hair cartwheel catch chew clap climb climb_stairs dive draw_sword dribble drink eat fall_floor fencing flic_flac
golf handstand hit hug jump kick kick_ball kiss laugh pick pour pullup punch push pushup ride_bike ride_horse run
shake_hands shoot_ball shoot_bow shoot_gun sit situp smile smoke somersault stand swing_baseball sword sword_exercise
talk throw turn walk wave
""".split()


def test_official_folder_names_are_those_of_the_published_classes(tmp_path, capsys):
  metadata = published_folder()
  for name in FOLDERS:
    (tmp_path / name).mkdir()
    (tmp_path / name / f"Me_&_You_(1)_{name}_f_cm_np1_ba_med_#0.avi").touch()
  raw_dataset = hmdb51_zsar.DATASET.raw_dataset(tmp_path, metadata=metadata)
  assert len(raw_dataset.entries) == len(raw_dataset.classes) == len({entry.label for entry in raw_dataset.entries}) == 51
  assert [len(split.test) for split in raw_dataset.class_splits] == [25] * 10
  assert capsys.readouterr().err == ""


def test_classes_still_in_their_archives_are_named(tmp_path):
  write_class_list(tmp_path / "hmdb51", ["brush hair", "clap"])
  write_avi(tmp_path / "videos" / "brush_hair" / "v.avi")
  for name in ("brush_hair", "clap"):
    (tmp_path / "videos" / f"{name}.rar").touch()
  with pytest.raises(UserError, match="(?s)only in part: beside 1 archives .*clap.rar\nUnpack .*&& unrar x clap.rar"):
    hmdb51_zsar.DATASET.raw_dataset(tmp_path / "videos", metadata=tmp_path)
