"""The user's own videos: which file is of which class and split, and what each wrong list is told."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from input_pipeline.datasets import video_folder
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit, random_splits
from input_pipeline.preparation import make
from input_pipeline.preparation.options import PrepareOptions

CLASSES = [
    {"name": "Playing Guitar", "description": "pluck the strings", "split": "seen"},
    {"name": "cutting fruit, vegetables", "description": "with a knife", "split": "val"},
    {"name": "café talk", "description": "two people at a table", "split": "unseen"},
]
FOLDERS = ("café talk", "cutting fruit, vegetables", "playing_guitar")     # in ascending order
HEADER = "video,class,split\n"


def write_classes(source: Path, rows: list[dict]) -> None:
  (source / "classes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def undivided(rows: list[dict]) -> list[dict]:
  return [{name: value for name, value in row.items() if name != "split"} for row in rows]


def write_list(source: Path, text: str, name: str = "videos.csv") -> None:
  (source / name).write_text(text, encoding="utf-8")


def add_video(source: Path, name: str, content: bytes = b"") -> None:
  path = source / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)


@pytest.fixture
def source(tmp_path) -> Path:
  """Three classes, a folder and a file each."""
  write_classes(tmp_path, CLASSES)
  for folder in FOLDERS:
    add_video(tmp_path, f"{folder}/a.mp4")
  return tmp_path


def entries_of(source: Path, **options) -> list[tuple[str, int, str]]:
  return [(entry.name, entry.label, entry.split) for entry in video_folder.DATASET.raw_dataset(source, **options).entries]


def test_the_folder_below_the_source_is_the_class_at_any_depth(source):
  add_video(source, "playing_guitar/at home/été 1.v2.MOV")
  raw_dataset = video_folder.DATASET.raw_dataset(source)
  assert [(entry.name, entry.label, entry.split) for entry in raw_dataset.entries] == [
      ("café talk/a", 2, "test"), ("cutting fruit, vegetables/a", 1, "val"), ("playing_guitar/a", 0, "train"),
      ("playing_guitar/at home/été 1.v2", 0, "train")]
  assert raw_dataset.entries[3].path == source / "playing_guitar" / "at home" / "été 1.v2.MOV"
  assert [action.name for action in raw_dataset.classes] == [row["name"] for row in CLASSES]
  assert raw_dataset.classes[0].description == "pluck the strings"
  assert raw_dataset.class_splits == (ClassSplit(seen=(0,), val=(1,), test=(2,)),)


def test_files_that_are_not_read_are_counted_and_prepare_says_so(source, capsys):
  for name in ("playing_guitar/a.gif", "playing_guitar/b.gif", "playing_guitar/LICENCE", "zsl220.txt"):
    add_video(source, name)
  assert dict(video_folder.DATASET.raw_dataset(source).unused) == {".gif": 2, "": 1, ".txt": 1}
  make._raw_dataset(PrepareOptions("video_folder", source / "data", source))
  assert capsys.readouterr().out == f"Not used below {source}: 2 .gif, 1 without extension, 1 .txt.\n"


@pytest.mark.parametrize("name", ["videos.csv", "videos.jsonl"])
def test_a_list_is_taken_before_the_folders_and_keeps_its_order(source, name):
  rows = [("playing_guitar/a.mp4", "playing guitar", "test"), ("./x/../café talk/a.mp4", "café talk", ""),
          (str(source / "not there.mp4"), "cutting fruit, vegetables", "val")]
  if name == "videos.csv":
    write_list(source, "\ufeff" + HEADER + "".join(f'{video}, "{action}",{split}\r\n' for video, action, split in rows))
  else:
    fields = [{"video": video, "class": action, "split": split} for video, action, split in rows]
    write_list(source, "\n".join(map(json.dumps, fields)), name)
  assert entries_of(source) == [
      ("playing_guitar/a", 0, "test"), ("café talk/a", 2, "test"), ("not there", 1, "val")]


def test_lists_may_lie_elsewhere_and_the_source_behind_a_link(source, tmp_path_factory):
  elsewhere = tmp_path_factory.mktemp("elsewhere")
  link = elsewhere / "link"
  link.symlink_to(source, target_is_directory=True)
  (source / "classes.jsonl").rename(elsewhere / "c.jsonl")
  write_list(elsewhere, f"class,video\ncafé talk,{source}/café talk/a.mp4\n", "v.csv")
  options = {"classes": elsewhere / "c.jsonl", "videos": elsewhere / "v.csv"}
  assert entries_of(link, **options) == [("café talk/a", 2, "test")]
  assert video_folder.DATASET.raw_dataset(link / ".." / "link", **options).entries[0].path == link / "café talk" / "a.mp4"


def test_a_list_that_is_found_says_what_it_leaves_out(source, capsys):
  write_list(source, f"{HEADER}{LINE}not there.mp4,playing guitar,\n")
  video_folder.DATASET.raw_dataset(source)
  left_out, without = capsys.readouterr().err.splitlines()[::-1]
  assert left_out.startswith(f"warning: taking the videos of {source}/videos.csv; 2 videos below {source} are not in it; the "
                             "first is cutting fruit, vegetables/a.mp4.")
  assert without == (f"warning: 1 of 3 classes in {source}/classes.jsonl have no video in {source}/videos.csv: "
                     "cutting fruit, vegetables.")
  video_folder.DATASET.raw_dataset(source, videos=source / "videos.csv")      # as was asked for
  assert "taking" not in capsys.readouterr().err
  (source / "rest.zip").touch()      # an error only where all that lies there is wanted
  assert len(entries_of(source)) == 2


def test_without_given_splits_halves_are_drawn_and_no_video_is_divided(source, capsys):
  write_classes(source, undivided(CLASSES))
  raw_dataset = video_folder.DATASET.raw_dataset(source, split_seed=5, num_splits=2)
  assert {entry.split for entry in raw_dataset.entries} == {"all"}
  assert raw_dataset.class_splits == random_splits(3, seed=5, num_splits=2) and raw_dataset.split_seed == 5
  assert 'classes.jsonl has a "split": halves, seen and unseen, are drawn at random' in capsys.readouterr().err


def test_files_of_features_take_the_place_of_the_videos(source):
  add_video(source, "café talk/a.npy")
  options = {"suffixes": frozenset({".npy"})}
  assert entries_of(source, **options) == [("café talk/a", 2, "test")]
  write_list(source, "video,class\ncafé talk/a.mp4,café talk\n")
  assert video_folder.DATASET.raw_dataset(source, **options).entries[0].path == source / "café talk" / "a.npy"


def test_two_files_of_one_split_need_different_names_without_their_suffixes(source):
  write_list(source, f"{HEADER}a.mp4,playing guitar,train\na.avi,playing guitar,\n")
  with pytest.raises(UserError, match="Two videos of split 'train' are named 'a': .*a.mp4 and .*a.avi"):
    video_folder.DATASET.raw_dataset(source)


def listed(text: str, name: str = "videos.csv") -> Callable[[Path], None]:
  return lambda source: write_list(source, text, name)


def classes(*changes: dict) -> Callable[[Path], None]:
  """Class rows changed one by one; a field that becomes None is left out."""
  def write(source: Path) -> None:
    rows = [{**row, **change} for row, change in zip(CLASSES, changes)]
    write_classes(source, [{name: value for name, value in row.items() if value is not None} for row in rows])
  return write


def remove_videos(source: Path) -> None:
  for folder in FOLDERS:
    (source / folder / "a.mp4").unlink()


def in_two_folders(source: Path) -> None:
  add_video(source, "café talk/same.mp4", b"frames")
  add_video(source, "playing_guitar/same.mp4", b"frames")


def both_lists(source: Path) -> None:
  write_list(source, HEADER)
  write_list(source, "", "videos.jsonl")


def not_utf8(source: Path) -> None:
  (source / "videos.csv").write_bytes("video,class\na.mp4,café talk\n".encode("latin-1"))


LINE = "café talk/a.mp4,café talk,\n"
BAD = {
    "csv without header": (listed("a.mp4,café talk\n"),
        r"videos.csv:1: there is no header; the first line is 'a.mp4,"
        r"café talk', expected video,class or video,class,split above it"),
    "csv with other columns": (listed("file,label\na.mp4,x\n"),
        r"videos.csv:1: the columns are 'file', 'label'; expected"),
    "csv with a column too many": (listed("video,class,Split\n"), r"the columns are 'video', 'class', 'Split'"),
    "csv with a column twice": (listed("video,class,class\n"), r"the columns are 'video', 'class', 'class'"),
    "csv with semicolons": (listed("video;class\n"), r"the columns are 'video;class'; .* separated by commas"),
    "csv is empty": (listed(""), r"videos.csv: the first line is empty; expected video,class"),
    "csv lists nothing": (listed(HEADER), r"videos.csv: it lists no videos"),
    "csv with a comma that is not quoted": (listed(f"{HEADER}{LINE}a.mp4,cutting fruit, vegetables,\n"),
        r"videos.csv:3: 4 fields, but the header has 3\. .* in double quotes"),
    "csv with an open quote": (listed(f'{HEADER}{LINE}\na.mp4,"café talk\nb.mp4,café talk\n'),
        r"videos.csv:4: not valid CSV"),
    "csv in another encoding": (not_utf8, r"videos.csv:2: holds the byte 0xe9, which is not UTF-8"),
    "csv line cut short": (listed(f"{HEADER}{LINE}b.mp4\n"), r"videos.csv:3: 'class' is empty"),
    "jsonl with a NUL character": (listed('\n{"video": "a\\u0000.mp4", "class": "café talk"}\n', "videos.jsonl"),
        r"videos.jsonl:2: a text holds \\u0000, which is a NUL"),
    "csv with a NUL character": (listed(f"{HEADER}a\0.mp4,café talk,\n"), r"videos.csv:2: holds a NUL character"),
    "class with half a surrogate pair": (classes({}, {"name": "x\ud800"}, {}),
        r"classes.jsonl:2: a text holds \\ud800, which is half a surrogate pair"),
    "jsonl lacks a field": (listed('\n{"video": "a.mp4"}\n', "videos.jsonl"), r"videos.jsonl:2: missing field 'class'"),
    "jsonl with an unknown field": (listed('\n{"video": "a.mp4", "class": "x", "spilt": "val"}\n', "videos.jsonl"),
        r"videos.jsonl:2: unknown field 'spilt'"),
    "jsonl field is no text": (listed('{"video": 7, "class": "café talk"}\n', "videos.jsonl"),
        r"videos.jsonl:1: 'video' is 7, expected a text"),
    "two lists": (both_lists, r"holds videos.csv and videos.jsonl; which .* --videos=FILE"),
    "unknown classes in a list": (listed(f"{HEADER}{LINE}b.mp4,playing guitars,\nc.mp4,zzz,\nd.mp4,zzz,\n"),
        r"(?s)videos.csv names 2 classes that are not in .*classes.jsonl.*csv:3: 'playing guitars' "
        r"\(did you mean 'Playing Guitar'\?\)\n.*csv:4: 'zzz'\n"),
    "unknown folder": (lambda source: add_video(source, "cafe talk/a.mp4"),
        r"(?s)1 of 4 folders .*cafe talk \(did you mean 'café talk'"),
    "video in no folder": (lambda source: add_video(source, "loose.mp4"),
        r"1 videos lie in .* itself, not in the folder of a class: loose.mp4\. Move each to .*/CLASS/"),
    "video twice": (listed(f"{HEADER}{LINE}{LINE}"),
        r"videos.csv:3: the video 'café talk/a.mp4' is listed twice: it is on line 2 already"),
    "video twice by another path": (listed(f"{HEADER}{LINE}./x/../{LINE}"),
        r"videos.csv:3: .* is listed twice: .* line 2"),
    "video under two classes": (listed(f"{HEADER}{LINE}café talk/a.mp4,playing guitar,\n"),
        r"listed twice, under 'café talk' and 'playing guitar': it is on line 2"),
    "the same video in two folders": (in_two_folders,
        r"(?s)duplicate videos in two classes.*talk/same.mp4 and .*guitar/same"),
    "path outside the source": (listed(f"{HEADER}../a.mp4,café talk,\n"),
        r"videos.csv:2: the video '../a.mp4' does not lie"),
    "absolute path outside": (listed(f"{HEADER}{LINE}/elsewhere/a.mp4,café talk,\n"),
        r"csv:3: .* does not lie in .*--source"),
    "path is the source": (listed(f"{HEADER}.,café talk,\n"), r"videos.csv:2: the video '.' does not lie in"),
    "unknown split of a video": (listed(f"{HEADER}a.mp4,playing guitar,tset\n"),
        r"videos.csv:2: Unknown split 'tset'. Did you mean test\?"),
    "held-out video of an unseen class": (listed(f"{HEADER}a.mp4,café talk,train\n"),
        r"videos.csv:2: .* the split 'train', but its class, 'café talk', is a test class \(.*classes.jsonl:3\)"),
    "no videos": (remove_videos, r"holds no file .*\.mp4"),
    "no classes": (lambda source: write_classes(source, []), r"classes.jsonl: no classes in it"),
    "class twice": (classes({}, {}, {"name": "Playing Guitar"}),
        r"classes.jsonl:3: class 'Playing Guitar' is already on line 1"),
    "classes with one folder name": (classes({}, {}, {"name": "playing-guitar"}),
        r"'Playing Guitar' and 'playing-guitar' have the same letters"),
    "no class list": (lambda source: (source / "classes.jsonl").unlink(),
        r'(?s)no class list .*classes.jsonl. .*{"name": "café talk", .*--classes=FILE'),
    "unknown split of a class": (classes({}, {"split": "tset"}, {}),
        r"classes.jsonl:2: class 'cutting .*': Unknown split 'tset'"),
    "split of a class is no text": (classes({}, {"split": ["val"]}, {}), r"classes.jsonl:2: .* Unknown split"),
    "splits given in part": (classes({}, {"split": None}, {}),
        r"(?s)1 of 3 classes have no 'split'.*classes.jsonl:2: 'cutting"),
    "no seen class": (classes({"split": "val"}, {}, {}), r"classes.jsonl: no class has the split 'seen'"),
    "no test class": (classes({}, {}, {"split": "val"}), r"classes.jsonl: no class has the split 'test'"),
}


@pytest.mark.parametrize("spoil, message", BAD.values(), ids=BAD)
def test_wrong_input_is_refused_with_its_place(source, spoil, message):
  spoil(source)
  with pytest.raises(UserError, match=message):
    video_folder.DATASET.raw_dataset(source)


@pytest.mark.parametrize("option", ["split_seed", "num_splits"])
def test_options_of_random_splits_are_refused_where_splits_are_given(source, option):
  with pytest.raises(UserError, match=rf"--{option}=3 .* random class splits, but .*classes.jsonl gives each class"):
    video_folder.DATASET.raw_dataset(source, **{option: 3})


def test_videos_that_would_validate_without_validation_classes_are_a_warning(source, capsys):
  write_list(source, f"{HEADER}{LINE}playing_guitar/a.mp4,playing guitar,val\nb.mp4,playing guitar,\n")
  video_folder.DATASET.raw_dataset(source)
  assert "'val'" not in capsys.readouterr().err
  write_classes(source, [CLASSES[0], {**CLASSES[1], "split": "test"}, CLASSES[2]])
  assert [entry.split for entry in video_folder.DATASET.raw_dataset(source).entries] == ["test", "val", "train"]
  assert (f"warning: 1 videos of seen classes are given the split 'val' ({source}/videos.csv:3 is the first), but no class"
          in capsys.readouterr().err)


def test_lists_that_begin_with_a_byte_order_mark_are_read(source):
  write_list(source, '\ufeff{"video": "café talk/a.mp4", "class": "café talk"}\n', "videos.jsonl")
  (source / "classes.jsonl").write_text("\ufeff" + (source / "classes.jsonl").read_text(), encoding="utf-8")
  assert entries_of(source) == [("café talk/a", 2, "test")]


def test_a_split_of_a_video_needs_classes_that_are_divided(source):
  write_classes(source, undivided(CLASSES))
  write_list(source, f"{HEADER}{LINE}playing_guitar/a.mp4,playing guitar,test\n")
  with pytest.raises(UserError, match=r"videos.csv:3: .* split 'test', but the classes in .* are not divided"):
    video_folder.DATASET.raw_dataset(source)


def test_a_source_that_is_no_folder_and_a_list_of_another_kind_are_refused(source):
  with pytest.raises(UserError, match="There is no folder .*absent"):
    video_folder.DATASET.raw_dataset(source / "absent", videos=source / "videos.csv")
  with pytest.raises(UserError, match=r"videos.xlsx is not a list of videos .* named .csv or .jsonl"):
    video_folder.DATASET.raw_dataset(source, videos=source / "videos.xlsx")
  with pytest.raises(UserError, match="Cannot read .*other.csv: no such file"):
    video_folder.DATASET.raw_dataset(source, videos=source / "other.csv")


def test_relative_sources_name_the_same_files(source, monkeypatch):
  monkeypatch.chdir(source.parent)
  relative = Path(os.path.relpath(source))
  assert video_folder.DATASET.raw_dataset(relative).entries == video_folder.DATASET.raw_dataset(source).entries
