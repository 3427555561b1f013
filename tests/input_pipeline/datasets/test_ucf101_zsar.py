"""UCF101, and what it has in common with the other datasets that have a folder a class and random class splits."""

import json
import shutil

import numpy as np
import pytest

from input_pipeline.datasets import ucf101_zsar
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import random_splits
from input_pipeline.videos import decode
from tests.input_pipeline.datasets.class_lists import published_folder, write_avi, write_class_list

FOLDERS = """
ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch Basketball BasketballDunk
BenchPress Biking Billiards BlowDryHair BlowingCandles BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag
BreastStroke BrushingTeeth CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming Fencing
FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut HammerThrow Hammering HandstandPushups
HandstandWalking HeadMassage HighJump HorseRace HorseRiding HulaHoop IceDancing JavelinThrow JugglingBalls JumpRope
JumpingJack Kayaking Knitting LongJump Lunges MilitaryParade Mixing MoppingFloor Nunchucks ParallelBars PizzaTossing
PlayingCello PlayingDaf PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar PlayingTabla PlayingViolin
PoleVault PommelHorse PullUps Punch PushUps Rafting RockClimbingIndoor RopeClimbing Rowing SalsaSpin ShavingBeard
Shotput SkateBoarding Skiing Skijet SkyDiving SoccerJuggling SoccerPenalty StillRings SumoWrestling Surfing Swing
TableTennisShot TaiChi TennisSwing ThrowDiscus TrampolineJumping Typing UnevenBars VolleyballSpiking WalkingWithDog WallPushups
WritingOnBoard YoYo
""".split()

NAMES = ["apply eye makeup", "archery", "yo yo", "hand stand pushups"]


@pytest.fixture
def folder(tmp_path):
  """The list of four classes, and two videos of each as the archive has them."""
  write_class_list(tmp_path / "metadata" / "ucf101", NAMES)
  for index, name in enumerate(("ApplyEyeMakeup", "Archery", "YoYo", "HandstandPushups")):
    for number in (1, 2):
      write_avi(tmp_path / "videos" / "UCF-101" / name / f"v_{name}_g01_c0{number}.avi", number, grey=100 + 20 * index)
  return tmp_path


def read(folder, **options):
  return ucf101_zsar.DATASET.raw_dataset(folder / "videos", metadata=folder / "metadata", **options)


def test_official_folder_names_are_those_of_the_published_classes(tmp_path, capsys):
  metadata = published_folder()
  for name in FOLDERS:
    (tmp_path / "UCF-101" / name).mkdir(parents=True)
    (tmp_path / "UCF-101" / name / f"v_{name}_g01_c01.avi").touch()
  raw_dataset = ucf101_zsar.DATASET.raw_dataset(tmp_path, metadata=metadata)
  assert len(raw_dataset.entries) == len(raw_dataset.classes) == len({entry.label for entry in raw_dataset.entries}) == 101
  assert all(action.description for action in raw_dataset.classes)
  assert capsys.readouterr().err == ""


def test_a_video_has_the_class_of_its_folder_and_the_split_of_its_class(folder):
  raw_dataset = read(folder, split_seed=3, num_splits=2)
  assert [(entry.name, entry.label) for entry in raw_dataset.entries[:4]] == [
      ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01", 0), ("UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c02", 0),
      ("UCF-101/Archery/v_Archery_g01_c01", 1), ("UCF-101/Archery/v_Archery_g01_c02", 1)]
  assert raw_dataset.class_splits == random_splits(4, seed=3, num_splits=2) and raw_dataset.split_seed == 3
  seen = raw_dataset.class_splits[0].seen
  assert [entry.split for entry in raw_dataset.entries] == ["train" if label in seen else "test" for label in
                                                       (0, 0, 1, 1, 3, 3, 2, 2)]
  assert [decode.count_frames(entry.path) for entry in raw_dataset.entries] == [1, 2] * 4
  assert [action[:2] for action in raw_dataset.classes] == [(name, f"To do {name}.") for name in NAMES]
  assert (raw_dataset.concepts, raw_dataset.extras) == ([], {})


def test_source_may_be_the_folder_of_class_folders_and_metadata_that_of_the_class_list(folder):
  raw_dataset = ucf101_zsar.DATASET.raw_dataset(folder / "videos" / "UCF-101", metadata=folder / "metadata" / "ucf101")
  assert raw_dataset.entries[0].name == "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01"


def test_files_of_features_stand_for_videos(folder):
  path = folder / "features" / "Archery" / "v_Archery_g01_c01.npy"
  path.parent.mkdir(parents=True)
  np.save(path, np.zeros(4, np.float32))
  raw_dataset = ucf101_zsar.DATASET.raw_dataset(folder / "features", metadata=folder / "metadata",
                                                suffixes=frozenset({".npy"}))
  assert [entry[:3] for entry in raw_dataset.entries] == [("Archery/v_Archery_g01_c01", path, 1)]


def test_vectors_beside_the_class_list_are_kept(folder):
  path = folder / "metadata" / "ucf101" / "labels_glove42b.npy"
  np.save(path, np.ones((4, 300)))
  assert read(folder).extras == {"class_vectors.npy": path}
  np.save(path, np.ones((5, 300)))
  with pytest.raises(UserError, match="labels_glove42b.npy holds 5 rows"):
    read(folder)


@pytest.mark.parametrize("names, message", [
    (NAMES[::-1], "class 0 is 'hand stand pushups' there, 'apply eye makeup' in the class list"),
    (NAMES[:3], "there are 3 of them, the class list has 4"),
    ([0, 1, 2, 3], "classes.json: expected a list of the names of classes"),
])
def test_vectors_of_other_classes_are_refused_where_their_names_are_known(folder, names, message):
  path = folder / "metadata" / "ucf101" / "labels_glove42b.npy"
  np.save(path, np.ones((4, 300)))
  path.with_name("labels_glove42b.classes.json").write_text(json.dumps(NAMES))
  assert read(folder).extras == {"class_vectors.npy": path}
  path.with_name("labels_glove42b.classes.json").write_text(json.dumps(names))
  with pytest.raises(UserError, match=message):
    read(folder)


def test_missing_class_list_is_named_with_the_command_that_gets_it(folder):
  with pytest.raises(UserError, match="(?s)elsewhere/ucf101 lacks .*classes_label_defn.json.*download_metadata.sh"):
    ucf101_zsar.DATASET.raw_dataset(folder / "videos", metadata=folder / "elsewhere")


def test_names_with_spaces_and_accents_are_kept(folder):
  write_avi(folder / "videos" / "déjà vu" / "Yo yo" / "v 1 (été).avi")
  assert read(folder).entries[-1][::2] == ("déjà vu/Yo yo/v 1 (été)", 2, None)


def test_class_folder_that_is_not_in_the_list_is_refused_but_an_empty_one_is_not(folder):
  (folder / "videos" / "UCF-101" / "Zorbing").mkdir()
  read(folder)
  write_avi(folder / "videos" / "UCF-101" / "HandstandPushup" / "v.avi")
  with pytest.raises(UserError, match="1 of 5 folders .*\n.*/HandstandPushup .did you mean 'hand stand pushups'"):
    read(folder)


def test_classes_without_videos_are_named_and_stay_in_the_list(folder, capsys):
  for path in (folder / "videos" / "UCF-101" / "YoYo").iterdir():
    path.unlink()
  assert len(read(folder).classes) == 4
  assert capsys.readouterr().err.endswith("ucf101/classes_label_defn.json have no folder of videos: yo yo.\n")


def test_same_video_in_two_classes_is_refused_by_both_paths_or_warned_of_under_another_name(folder, capsys):
  first, second = (folder / "videos" / "UCF-101" / path for path in ("Archery/same.avi", "YoYo/same.avi"))
  write_avi(first, grey=50)
  write_avi(second, grey=60)
  assert first.stat().st_size == second.stat().st_size
  read(folder)      # the same name and size alone are no fault
  write_avi(second, grey=50)
  with pytest.raises(UserError, match=f"duplicate videos in two classes.*\n  {first} and {second}\n"):
    read(folder)
  second.rename(second.with_name("another.avi"))
  read(folder)
  assert "1 files are the same video as one in another class" in (message := capsys.readouterr().err)
  assert f"\n  {first} and {second.with_name('another.avi')}\n" in message


def test_same_video_twice_in_one_class_is_a_warning_and_empty_files_are_no_duplicates(folder, capsys):
  for name in ("Archery", "YoYo"):
    (folder / "videos" / "UCF-101" / name / "empty.avi").touch()
  read(folder)
  assert capsys.readouterr().err == ""
  original = folder / "videos" / "UCF-101" / "Archery"
  shutil.copytree(original, folder / "videos" / "more" / "archery")
  assert len(read(folder).entries) == 13
  message = capsys.readouterr().err
  assert message.startswith("warning: 2 files are copies of another one of their class, and each counts as a video:\n")
  assert f"\n  {original}/v_Archery_g01_c01.avi and {folder}/videos/more/archery/v_Archery_g01_c01.avi\n" in message


def test_features_are_compared_only_under_the_same_name(folder):
  for place in ("Archery/a", "YoYo/b"):
    (folder / "features" / place).parent.mkdir(parents=True)
    np.save(folder / "features" / place, np.zeros(4, np.float32))
  options = {"metadata": folder / "metadata", "suffixes": frozenset({".npy"})}
  assert len(ucf101_zsar.DATASET.raw_dataset(folder / "features", **options).entries) == 2
  np.save(folder / "features" / "YoYo" / "a", np.zeros(4, np.float32))
  with pytest.raises(UserError, match="duplicate videos in two classes.*\n.*Archery/a.npy and .*YoYo/a.npy"):
    ucf101_zsar.DATASET.raw_dataset(folder / "features", **options)


def test_two_files_of_one_name_are_refused(folder):
  write_avi(folder / "videos" / "UCF-101" / "YoYo" / "v_YoYo_g01_c01.mkv")
  with pytest.raises(UserError, match="Two videos .* are named 'UCF-101/YoYo/v_YoYo_g01_c01': .*c01.avi and .*c01.mkv"):
    read(folder)
