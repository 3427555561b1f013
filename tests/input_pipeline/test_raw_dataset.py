"""What a dataset may hand to `prepare`."""

from pathlib import Path

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.raw_dataset import RawDataset, VideoEntry, check, entry_name

CLASSES = [ActionClass("a", "x"), ActionClass("b", "y"), ActionClass("c", "z")]
SPLITS = (ClassSplit((0,), (1,), (2,)),)


def raw_dataset(*entries: VideoEntry, splits: tuple[ClassSplit, ...] = SPLITS) -> RawDataset:
  return RawDataset(list(entries), CLASSES, [], splits, {})


@pytest.mark.parametrize("path, name", [
    ("videos/a.mp4", "a"),
    ("videos/clip.v2.mp4", "clip.v2"),
    ("videos/some class/été 1.avi", "some class/été 1"),
])
def test_name_is_the_path_below_the_source_without_the_last_extension(path, name):
  assert entry_name(path, "videos") == name


def test_good_collection_is_returned_as_it_is():
  good = raw_dataset(VideoEntry("a", Path("a.mp4"), 2, "train"), VideoEntry("b", Path("b.mp4"), 0, "all"), splits=())
  assert check(good) is good


def test_two_splits_may_hold_the_same_video():
  check(raw_dataset(VideoEntry("a", Path("a.mp4"), 1, "val"), VideoEntry("a", Path("a.mp4"), 1, "test")))


@pytest.mark.parametrize("entry, message", [
    (VideoEntry("a", Path("other/a.avi"), 0, "train"), r"Two videos of split 'train' are named 'a': a.mp4 and other/a.avi"),
    (VideoEntry("b", Path("b.mp4"), 3, "val"), r"b.mp4: label is 3, but there are 3 classes \(0 to 2\)"),
    (VideoEntry("b", Path("b.mp4"), -1, "val"), "label is -1"),
    (VideoEntry("b", Path("b.mp4"), 0, "valid"), "split is 'valid', expected one of train, val, test, all"),
])
def test_bad_clip_is_named(entry, message):
  with pytest.raises(UserError, match=message):
    check(raw_dataset(VideoEntry("a", Path("a.mp4"), 0, "train"), entry))


def test_class_splits_must_fit_the_classes():
  with pytest.raises(UserError, match="class splits: 'seen' holds 7"):
    check(raw_dataset(splits=(SPLITS[0]._replace(seen=(7,)),)))
