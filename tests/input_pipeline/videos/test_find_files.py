"""What is found below a folder of videos, and what is said of a folder that is none, or not whole."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from input_pipeline import files
from input_pipeline.errors import Failure, UserError
from input_pipeline.videos import find_files
from input_pipeline.videos.find_files import by_suffix, describe, find_video, read_tree


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


MP4 = b"\0\0\0\x1cftypisom\0\0\2\0"


@pytest.mark.parametrize("suffix", [".asf", ".f4v", ".mpe", ".3g2", ".MPE"])
def test_files_of_rarer_suffixes_are_videos(tmp_path, suffix):
  touch(tmp_path, "a/v.mp4", f"a/w{suffix}")
  assert names(read_tree(tmp_path)) == ["a/v.mp4", f"a/w{suffix}"]


@pytest.mark.parametrize("begins", [
    MP4, b"\0\0\0\x08wide\0\0\0\x08mdat", b"\x1a\x45\xdf\xa3", b"RIFF\x10\0\0\0AVI LIST", b"FLV\x01\x05", b"GIF89a", b"OggS\0",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\1\xba", b"\0\0\1\xb3", (b"G" + bytes(187)) * 2 + b"G",
    bytes(4) + b"G" + bytes(191) + b"G", b"YUV4MPEG2 W64"])
@pytest.mark.parametrize("name", ["clip", "clip.v2", "clip.gif"])
def test_file_of_unknown_suffix_or_none_is_a_video_if_it_begins_like_one(tmp_path, begins, name):
  touch(tmp_path, "a/v.mp4")
  (tmp_path / "a" / name).write_bytes(begins + bytes(1000))
  tree = read_tree(tmp_path)
  assert sorted(names(tree)) == sorted([f"a/{name}", "a/v.mp4"]) and not tree.unused
  assert find_video(tmp_path / "a", os.path.splitext(name)[0]) == tmp_path / "a" / name


def test_what_is_no_video_is_counted_by_suffix(tmp_path):
  touch(tmp_path, "v.mp4", "a/1.txt", "a/2.TXT", "README", "b/Makefile", "a/caf.\udce9", "x.bin")
  for name in ("v.gif", "photo.heic", "sound.m4a"):      # v.mp4 is there already; the others are not opened
    (tmp_path / name).write_bytes(b"GIF89a" if name == "v.gif" else MP4)
  (tmp_path / "picture").write_bytes(MP4.replace(b"isom", b"avif"))
  (tmp_path / "link").symlink_to("/dev/zero")
  os.mkfifo(tmp_path / "pipe")
  tree = read_tree(tmp_path)
  assert names(tree) == ["v.mp4"]
  counts = by_suffix(tree.unused)
  assert counts == {"": 5, ".txt": 2, ".gif": 1, ".heic": 1, ".m4a": 1, ".bin": 1, ".\udce9": 1}
  assert describe(counts).startswith("5 without extension, 2 .txt, 1 ") and describe(counts).encode()


def test_video_of_a_name_is_not_what_lies_beside_it(tmp_path):
  touch(tmp_path, "v.jpg", "v.json", "v.mp4", "v.mp4.part", "v.txt", "v.2.mp4", "w.jpg", "w.txt", "[v].AVI")
  (tmp_path / "x.mp4").mkdir()
  assert [find_video(tmp_path, name) for name in ("v", "v.2", "[v]", "w", "x", "?")] == [
      tmp_path / "v.mp4", tmp_path / "v.2.mp4", tmp_path / "[v].AVI", None, None, None]
  assert find_video(tmp_path / "gone", "v") is None


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


def test_links_between_all_folders_are_refused_before_their_paths_are_too_many(tmp_path):
  for i in range(12):      # 12! paths
    (tmp_path / str(i)).mkdir()
    for j in range(12):
      (tmp_path / str(i) / str(j)).symlink_to(tmp_path / str(j))
  with pytest.raises(UserError, match=r"lead to one folder by more than 100 paths, one of them .*/\d+\."):
    read_tree(tmp_path)


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


def test_what_the_machine_cannot_look_into_is_not_passed_over(tmp_path, monkeypatch):
  touch(tmp_path, "a/v.mp4", "a/clip")
  find = os.stat

  def fail(path, *args, **options):
    if os.path.basename(path) == "clip":
      raise OSError(errno.ESTALE, "Stale file handle", path)
    return find(path, *args, **options)

  monkeypatch.setattr(os, "stat", fail)
  with pytest.raises(Failure, match="Cannot read .*/a/clip: Stale file handle"):      # perhaps a video
    read_tree(tmp_path)
  linked = SimpleNamespace(path=str(tmp_path / "clip"), is_dir=lambda: os.stat(tmp_path / "clip"))      # an entry of scandir
  with pytest.raises(Failure, match="Cannot read .*/clip: Stale file handle"):      # perhaps a folder of videos
    find_files._is_folder(linked)


def test_file_of_unknown_suffix_that_may_not_be_read_is_not_used(tmp_path, monkeypatch):
  touch(tmp_path, "v.mp4", "quota")

  def refuse(path):
    raise PermissionError(errno.EACCES, "Permission denied", path)

  monkeypatch.setattr(files, "require_regular", refuse)      # root, who may run the tests, can read every file
  assert read_tree(tmp_path).unused == (str(tmp_path / "quota"),)
