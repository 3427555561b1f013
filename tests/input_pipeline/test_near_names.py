"""What is said of a file that is not there, where one lies there whose name is written in another way."""

import os
import unicodedata
from pathlib import Path

import pytest

from input_pipeline.near_names import NO_FILE, differences, no_file

NFC, NFD = (unicodedata.normalize(form, "Été") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("looked_for, there, aspects", [
    ("run/Clip.MP4", "run/clip.mp4", "case"),
    ("Run/clip.mp4", "run/clip.mp4", "case"),
    ("run\\clip.mp4", "run/clip.mp4", "separators"),
    ("run\\\\Clip.mp4", "run/clip.mp4", "separators and case"),
    (".\\run\\clip.mp4", "run/clip.mp4", "separators"),
    ("run/clip.mp4 ", "run/clip.mp4", "blanks"),
    (" run / my  clip.mp4", "run/my clip.mp4", "blanks"),
    (f"{NFC}/{NFC}.mp4", f"{NFD}/{NFD}.mp4", "Unicode form"),
    (f"{NFD}.npy", f"{NFC}.npy", "Unicode form"),
    ("at 10.30 AM.mov", "at 10.30\u202fAM.mov", "Unicode form"),
    ("run/clip.npy", "run/Clip.npy", "case"),
])
def test_missing_file_names_the_one_that_differs_only_in_its_writing(tmp_path, looked_for, there, aspects):
  (tmp_path / there).parent.mkdir(exist_ok=True)
  (tmp_path / there).touch()
  assert no_file(tmp_path / looked_for) == (
      f"{NO_FILE}; there is {str(tmp_path / there)!r}, which differs in {aspects}")


def test_missing_file_that_is_nowhere_near_is_just_missing(tmp_path):
  (tmp_path / "clip.mp4").touch()
  for name in ("other.mp4", "clip.mp4/a.mp4", "gone/clip.mp4", "x" * 300, "clip.avi", "clip"):
    assert no_file(tmp_path / name) == NO_FILE


def test_file_that_appeared_since_a_folder_was_looked_at_is_named(tmp_path):
  assert no_file(tmp_path / "A.mp4") == NO_FILE
  (tmp_path / "a.mp4").touch()
  os.utime(tmp_path, ns=(1, 1))
  assert "a.mp4" in no_file(tmp_path / "A.mp4")


def test_link_to_nothing_says_where_it_leads(tmp_path):
  (tmp_path / "a.mp4").symlink_to("gone/b.mp4")
  assert no_file(tmp_path / "a.mp4") == f"{NO_FILE}; it is a link to 'gone/b.mp4', which is not there"
  assert no_file(Path("/a/b")) == NO_FILE


def test_extension_counts_where_it_is_the_only_difference_left():
  assert differences("run/a", "run/a.mp4") == "extension"
  assert differences("run/a", "Run\\a.mp4") == "separators and case and extension"
