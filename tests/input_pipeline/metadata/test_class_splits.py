"""Class splits: read, written, and refused when they do not divide the classes."""

import json

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.class_splits import ClassSplit, by_seen, random_splits, read_splits, write_splits

GOOD = {"seen": [4, 0], "val": [[1], [2]], "test": [[2, 3], [3, 1]]}


def test_written_splits_are_read_back_in_their_own_order(tmp_path):
  splits = (ClassSplit((4, 0), (1,), (2, 3)), ClassSplit((4, 0), (2,), (3, 1)))
  write_splits(tmp_path / "class_splits.json", splits)
  assert json.loads((tmp_path / "class_splits.json").read_text()) == GOOD
  assert read_splits(tmp_path / "class_splits.json", num_classes=5) == splits


@pytest.mark.parametrize("change, message", [
    ({"seen": [0, 5]}, r"'seen' holds 5, but there are 5 classes \(0 to 4\)"),
    ({"seen": [0, -1]}, "'seen' holds -1"),
    ({"seen": [0, "1"]}, "'seen' holds '1'"),
    ({"seen": [0, 1]}, r"class 1 of 'val\[0\]' is in 'seen' already"),
    ({"seen": [0, 0]}, "class 0 of 'seen' is in 'seen' already"),
    ({"val": [[1], [3]]}, r"class 3 of 'test\[1\]' is in 'val\[1\]' already"),
    ({"test": [[2], []]}, r"'test\[1\]' is empty"),
    ({"seen": []}, "'seen' is empty"),
    ({"val": [[1]]}, "hold 1 and 2 splits"),
    ({"val": [1, 2]}, "expected {"),
    ({"seen": None}, "expected {"),
])
def test_bad_division_is_refused_by_list_and_class(tmp_path, change, message):
  path = tmp_path / "class_splits.json"
  path.write_text(json.dumps({**GOOD, **change}))
  with pytest.raises(UserError, match=message):
    read_splits(path, num_classes=5)


def test_missing_list_is_refused(tmp_path):
  (tmp_path / "class_splits.json").write_text('{"seen": [0]}')
  with pytest.raises(UserError, match="expected {.*'val'"):
    read_splits(tmp_path / "class_splits.json", num_classes=5)


def test_random_splits_halve_the_classes_anew_each_time_and_depend_on_the_seed_alone():
  drawn = random_splits(101, seed=7)
  assert len(drawn) == len(set(drawn)) == 10
  for seen, val, test in drawn:
    assert (len(seen), val, len(test)) == (51, (), 50)
    assert sorted(seen + test) == list(range(101))
  assert random_splits(101, seed=7, num_splits=3) == drawn[:3]
  assert random_splits(101, seed=8)[0] != drawn[0]
  often_seen = np.mean([[c in split.seen for c in range(101)] for split in random_splits(101, 0, 200)], 0)
  assert abs(often_seen - 51 / 101).max() < 0.15      # each class in half of them


def test_written_random_splits_are_read_back(tmp_path):
  drawn = random_splits(5, seed=3, num_splits=2)
  write_splits(tmp_path / "class_splits.json", drawn, seed=3)
  written = json.loads((tmp_path / "class_splits.json").read_text())
  assert written == {"seed": 3, "divisions": [{"seen": list(seen), "val": [[]], "test": [list(test)]}
                                              for seen, _, test in drawn]}
  assert read_splits(tmp_path / "class_splits.json", num_classes=5) == drawn


def test_given_splits_may_differ_in_their_seen_classes_and_those_that_share_them_are_together(tmp_path):
  shared = (ClassSplit((4, 0), (1,), (2, 3)), ClassSplit((4, 0), (2,), (3, 1)))
  splits = (*shared, ClassSplit((1, 2), (), (0, 3)))
  assert by_seen(splits) == [shared, splits[2:]] and by_seen(()) == []
  write_splits(tmp_path / "class_splits.json", splits)
  assert json.loads((tmp_path / "class_splits.json").read_text()) == {
      "divisions": [GOOD, {"seen": [1, 2], "val": [[]], "test": [[0, 3]]}]}
  assert read_splits(tmp_path / "class_splits.json", num_classes=5) == splits


@pytest.mark.parametrize("value, message", [
    ({"seed": 0, "divisions": []}, "at least one division"),
    ({"seed": None, "divisions": [GOOD]}, "at least one division"),
    ({"seed": 0, "divisions": [GOOD, {**GOOD, "seen": [9]}]}, "division 1: 'seen' holds 9"),
])
def test_bad_random_splits_are_refused(tmp_path, value, message):
  path = tmp_path / "class_splits.json"
  path.write_text(json.dumps(value))
  with pytest.raises(UserError, match=message):
    read_splits(path, num_classes=5)


@pytest.mark.parametrize("num_classes, num_splits", [(1, 10), (5, 0)])
def test_what_cannot_be_split_is_told(num_classes, num_splits):
  with pytest.raises(UserError, match="at least 1 split and 2 classes"):
    random_splits(num_classes, 0, num_splits)
