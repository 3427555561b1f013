"""Class lists and the four texts of a class."""

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.descriptions import ActionClass, class_text, read_classes, write_classes

JUGGLING = ActionClass("juggling balls", "Keep several balls in the air.")


@pytest.mark.parametrize("mode, text", [
    ("name", "juggling balls"),
    ("description", "Keep several balls in the air."),
    ("name_description", "juggling balls: Keep several balls in the air."),
    ("pair", ("juggling balls", "Keep several balls in the air.")),
])
def test_text_of_a_class_by_mode(mode, text):
  assert class_text(JUGGLING, mode) == text


def test_unknown_mode_names_the_near_one():
  with pytest.raises(UserError, match="Did you mean description"):
    class_text(JUGGLING, "descriptions")


def test_written_classes_are_read_back_in_order(tmp_path):
  classes = [JUGGLING, ActionClass("air drumming", ""), ActionClass("ça va: «dire»", "Dire\tbonjour.")]
  write_classes(tmp_path / "classes.jsonl", classes)
  assert [read[:2] for read in read_classes(tmp_path / "classes.jsonl")] == [action[:2] for action in classes]


def test_class_without_description_is_named_with_file_and_line_when_it_is_needed(tmp_path):
  path = tmp_path / "classes.jsonl"
  path.write_text('{"name": "a", "description": "b"}\n{"name": "air drumming"}\n')
  classes = read_classes(path)
  assert class_text(classes[1], "name") == "air drumming"
  for mode in ("description", "name_description", "pair"):
    with pytest.raises(UserError, match=r"classes\.jsonl:2: class 'air drumming' has no description"):
      class_text(classes[1], mode)


@pytest.mark.parametrize("line, message", [
    ('{"description": "b"}', "classes.jsonl:2: missing field 'name'"),
    ('{"name": "a", "description": "again"}', "classes.jsonl:2: class 'a' is already on line 1"),
    ('{"name": " ", "description": "b"}', "classes.jsonl:2: 'name' and 'description' must be texts"),
    ('{"name": "c", "description": 5}', "classes.jsonl:2: 'name' and 'description' must be texts"),
    ('{"name": "c"', "classes.jsonl:2: not valid JSON"),
    ('\n{"name": "c"}', "classes.jsonl:2: the line is empty"),
    ('{"name": "c", "Description": "d"}', "classes.jsonl:2: nothing reads the field 'Description'; .* 'description'"),
    ('{"name": "c", "description": "", "descriptions": "d"}', "classes.jsonl:2: .*'descriptions'; .* 'description'"),
    ('{"name": "c", "description": "d", "SPLIT": "seen"}', "classes.jsonl:2: .*'SPLIT'; did you mean 'split'"),
    ('{"name": "c", "description": "d", "spilt": "seen"}', "classes.jsonl:2: .*'spilt'; did you mean 'split'"),
])
def test_bad_line_is_named(tmp_path, line, message):
  path = tmp_path / "classes.jsonl"
  path.write_text('{"name": "a", "description": "b"}\n' + line)
  with pytest.raises(UserError, match=message):
    read_classes(path)


def test_further_fields_are_let_be_also_beside_one_that_they_are_like(tmp_path):
  (tmp_path / "classes.jsonl").write_text('{"name": "a", "names": 1, "motion": 2, "id": 3, "description": "b"}\n')
  assert read_classes(tmp_path / "classes.jsonl")[0][:2] == ("a", "b")


def test_empty_list_is_an_error(tmp_path):
  (tmp_path / "classes.jsonl").write_text("\n")
  with pytest.raises(UserError, match="no classes in it"):
    read_classes(tmp_path / "classes.jsonl")
