"""Folders and published class names that are written in different ways."""

import unicodedata
from pathlib import Path

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.class_names import class_index, key, label_folders

NAMES = ["hand stand pushups", "playing guitar", "massaging person's head", "passing American football (in game)",
         "passing American football (not in game)", "diving platform 10m"]
INDEX = class_index(NAMES, "classes.json")


@pytest.mark.parametrize("folder, name", [
    ("HandstandPushups", "hand stand pushups"), ("playing_guitar", "playing guitar"),
    ("Playing-Guitar ", "playing guitar"),
    ("massaging_person's_head", "massaging person's head"), ("massaging persons head", "massaging person's head"),
    ("massaging person’s head", "massaging person's head"),
    ("passing American football (in game)", "passing American football (in game)"),
    ("passing_american_football_not_in_game", "passing American football (not in game)"),
    ("diving_platform_10m", "diving platform 10m")])
def test_case_signs_and_spaces_do_not_matter(folder, name):
  assert NAMES[INDEX.label(folder)] == name


@pytest.mark.parametrize("folder", ["playing guitars", "diving platform", "passing American football", ""])
def test_other_letters_or_digits_are_another_name(folder):
  assert INDEX.label(folder) is None


def test_accents_count_and_may_be_encoded_in_two_ways():
  assert key("Épée") == key(unicodedata.normalize("NFD", "épée")) != key("epee")
  assert key("!?") != key("!")


def test_classes_that_folders_cannot_tell_apart_are_refused():
  with pytest.raises(UserError, match="mine.json: classes 'push-up' and 'push up' have the same letters"):
    class_index(["push-up", "run", "push up"], "mine.json")


def test_two_folders_may_be_of_one_class_and_classes_without_one_are_named(capsys):
  folders = [Path("a/playing_guitar"), Path("b/PlayingGuitar"), Path("hand stand pushups")]
  assert label_folders(folders, INDEX) == {folders[0]: 1, folders[1]: 1, folders[2]: 0}
  assert capsys.readouterr().err == (
      "warning: 4 of 6 classes in classes.json have no folder of videos: massaging person's head, passing American "
      "football (in game), passing American football (not in game), diving platform 10m.\n")


def test_all_folders_of_no_class_are_named_at_once_with_near_matches():
  with pytest.raises(UserError) as raised:
    label_folders([Path("x/PlayingGuitar"), Path("x/HandstandPushup"), Path("x/zzz")], INDEX)
  lines = str(raised.value).splitlines()
  assert lines[0] == "2 of 3 folders with videos have the name of no class in classes.json:"
  assert lines[1].startswith("  x/HandstandPushup (did you mean 'hand stand pushups'") and lines[2] == "  x/zzz"
