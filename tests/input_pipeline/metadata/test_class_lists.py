"""Class lists of either format, and folders that hold one."""

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.class_lists import read_class_list


def test_both_formats_and_a_dataset_folder_are_read(tmp_path):
  (tmp_path / "1.0.0").mkdir()
  (tmp_path / "1.0.0" / "classes.jsonl").write_text('{"name": "punch", "description": "strike"}')
  (tmp_path / "classes_label_defn.json").write_text('[{"word": "punch", "defn": "strike"}]')
  for path in (tmp_path / "1.0.0", tmp_path / "1.0.0" / "classes.jsonl", tmp_path):
    assert [action[:2] for action in read_class_list(path)] == [("punch", "strike")]


def test_folder_without_a_class_list_says_where_there_is_one(tmp_path):
  (tmp_path / "1.0.0").mkdir()
  (tmp_path / "1.0.0" / "classes.jsonl").touch()
  with pytest.raises(UserError, match="holds no class list; .* Did you mean .*1.0.0/classes.jsonl"):
    read_class_list(tmp_path)
