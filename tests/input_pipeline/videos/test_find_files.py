"""What is found below a folder of videos, and what is said of a folder that is none, or not whole."""

import os
from pathlib import Path

import pytest

from input_pipeline.errors import UserError
from input_pipeline.videos.find_files import read_tree


def touch(folder: Path, *names: str) -> None:
  """Makes empty files: only their names are read."""
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def names(tree) -> list[str]:
  return [path.relative_to(tree.root).as_posix() for path in tree.files]


def test_files_are_in_ascending_order_at_any_depth_with_suffixes_of_any_case(tmp_path):
  touch(tmp_path, "b/2.MP4", "b/10.avi", "b c/été.WebM", "b c/sous la pluie (2)/日本.mkv", "a.mov", "no.txt", "b/x.npy")
  tree = read_tree(tmp_path)
  assert tree.root == tmp_path
  assert names(tree) == ["a.mov", "b/10.avi", "b/2.MP4", "b c/sous la pluie (2)/日本.mkv", "b c/été.WebM"]
  assert names(read_tree(str(tmp_path), frozenset({".npy"}))) == ["b/x.npy"]


def test_root_is_absolute_when_a_relative_folder_is_given(tmp_path, monkeypatch):
  touch(tmp_path, "videos/a.mp4")
  monkeypatch.chdir(tmp_path)
  assert read_tree("videos").files == (tmp_path / "videos" / "a.mp4",)


def test_hidden_files_and_what_macs_leave_in_archives_are_passed_over(tmp_path):
  touch(tmp_path, "a/v.mp4", "a/._v.mp4", ".cache/w.mp4", "__MACOSX/a/v.mp4")
  assert names(read_tree(tmp_path)) == ["a/v.mp4"]


def test_links_are_followed_but_never_in_circles(tmp_path):
  touch(tmp_path, "source/a/v.mp4", "elsewhere/w.mp4")
  (tmp_path / "source" / "b").symlink_to(tmp_path / "elsewhere")
  (tmp_path / "source" / "a" / "up").symlink_to(tmp_path / "source")
  (tmp_path / "elsewhere" / "self").symlink_to(".")
  (tmp_path / "source" / "nowhere").symlink_to("nowhere")
  (tmp_path / "source" / "gone.mp4").symlink_to("no such file")
  assert names(read_tree(tmp_path / "source")) == ["a/v.mp4", "b/w.mp4", "gone.mp4"]


def test_absent_folder_is_named_with_what_lies_beside_it(tmp_path):
  touch(tmp_path, "UCF-101/a/v.mp4", "notes.txt")
  with pytest.raises(UserError, match=r"no folder .*/UCF101/videos; expected .*\.avi.* holds UCF-101/, notes.txt"):
    read_tree(tmp_path / "UCF101" / "videos")


def test_file_in_place_of_the_folder_is_refused_and_an_archive_with_the_command_that_unpacks_it(tmp_path):
  touch(tmp_path, "list.txt", "UCF 101.rar")
  with pytest.raises(UserError, match="list.txt is a file, expected a folder"):
    read_tree(tmp_path / "list.txt")
  with pytest.raises(UserError, match=f"is an archive.*unrar x '{tmp_path}/UCF 101.rar'"):
    read_tree(tmp_path / "UCF 101.rar")


def test_folder_without_videos_says_what_was_looked_for_and_what_was_seen(tmp_path):
  touch(tmp_path, "frames/a/1.jpg", "frames/a/2.JPG", "frames/list.txt", "frames/README")
  with pytest.raises(UserError, match=r"(?s)no file .*\.avi .*It holds frames/\. .*2 of \.jpg, 1 of .*--source=DIR"):
    read_tree(tmp_path)
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match=r"It holds nothing\. Files below it: none at all"):
    read_tree(tmp_path / "empty")
  with pytest.raises(UserError, match="take the pictures together"):
    read_tree(tmp_path, hints={".jpg": "take the pictures together", ".seq": "convert"})


def test_archive_without_its_folder_is_named_with_the_command_that_unpacks_it(tmp_path):
  touch(tmp_path, "hmdb/brush_hair/v.avi", "hmdb/brush_hair.rar", "hmdb/draw sword.rar", "hmdb/clap.tar.gz")
  with pytest.raises(UserError, match="(?s)beside 2 archives.*hmdb/clap.tar.gz\n.*hmdb/draw sword.rar\n") as raised:
    read_tree(tmp_path)
  assert f"cd {tmp_path}/hmdb && tar xzf clap.tar.gz" in str(raised.value)
  assert "brush_hair" not in str(raised.value)


@pytest.mark.parametrize("archive, folder", [("UCF101.rar", "UCF-101"), ("HMDB.ZIP", "x/hmdb"), ("root.tar", "a")])
def test_archive_beside_its_folder_is_no_fault(tmp_path, archive, folder):
  touch(tmp_path, f"root/{folder}/v.avi", f"root/{archive}")
  assert names(read_tree(tmp_path / "root")) == [f"{folder}/v.avi"]


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.bz2", ".tar.zst", ".txz", ".tbz2", ".TAR.XZ"])
def test_archives_of_newer_kinds_are_noticed(tmp_path, suffix):
  touch(tmp_path, "wave/v.avi", f"wave{suffix}", f"walk{suffix}")
  with pytest.raises(UserError, match=f"(?s)beside 1 archives .*cd {tmp_path} && tar .*f walk{suffix}\n"):
    read_tree(tmp_path)


@pytest.mark.parametrize("name", ["b.avi.aria2", "b.mp4.part-Frag3", "b.mp4.ytdl", "b.avi.filepart", "b.avi.download",
                                  "b.avi.download/b.avi", "b.avi.PART"])
def test_downloads_of_other_programs_that_did_not_end_are_noticed(tmp_path, name):
  touch(tmp_path, "a/v.mp4", f"a/{name}")
  with pytest.raises(UserError, match=f"1 files whose download did not end:\n  .*{name.split('/')[0]}\n"):
    read_tree(tmp_path)


def test_downloads_that_did_not_end_are_named(tmp_path):
  touch(tmp_path, "a/v.mp4", "a/w.mp4.part", "b/UCF101.rar.crdownload")
  with pytest.raises(UserError, match="(?s)2 files whose download did not end:.*w.mp4.part.*rar.crdownload.*again"):
    read_tree(tmp_path)


def test_name_that_is_not_utf8_is_refused(tmp_path):
  with open(os.fsencode(tmp_path) + b"/caf\xe9.mp4", "wb"):
    pass
  with pytest.raises(UserError, match=r"caf\\xe9.mp4' is not UTF-8; rename"):
    read_tree(tmp_path)


def test_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
  touch(tmp_path, "a/v.mp4", "locked/w.mp4")
  scandir = os.scandir

  def refuse(path):
    if os.fspath(path).endswith("locked"):
      raise PermissionError(13, "Permission denied")
    return scandir(path)

  monkeypatch.setattr(os, "scandir", refuse)      # root, who may run the tests, can read every folder
  with pytest.raises(UserError, match="Cannot read the folder .*locked: Permission denied"):
    read_tree(tmp_path)
