"""Class splits: read, written, and refused when they do not divide the classes."""

import json

import pytest

from input_pipeline.errors import UserError
from input_pipeline.splits import ClassSplits, read_splits, write_splits

GOOD = {"seen": [4, 0], "val": [[1], [2]], "test": [[2, 3], [3, 1]]}


def test_written_splits_are_read_back_in_their_own_order(tmp_path):
  splits = ClassSplits((4, 0), ((1,), (2,)), ((2, 3), (3, 1)))
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
