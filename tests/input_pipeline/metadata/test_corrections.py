"""Corrections laid over a class list, and what is said of a file that cannot be."""

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata import corrections
from input_pipeline.metadata.descriptions import ActionClass

CLASSES = [ActionClass("table tennis shot", "put food into the mouth", "classes.json: class 0"),
           ActionClass("punch", "strike with the fist", "classes.json: class 1"),
           ActionClass("archery", "", "classes.json: class 2")]
HIT = '{"name": "table tennis shot", "description": "hit a small ball over a net"}'


def test_corrections_replace_descriptions_in_the_order_of_the_list(tmp_path):
  path = tmp_path / "corrections.jsonl"
  path.write_text(f'{{"name": "archery", "description": "shoot arrows"}}\n\n{HIT}\n')
  assert corrections.apply(path, CLASSES) == [
      ("table tennis shot", "hit a small ball over a net", f"{path}:3"),
      ("punch", "strike with the fist", "classes.json: class 1"),
      ("archery", "shoot arrows", f"{path}:1")]


def test_correction_that_changes_nothing_is_accepted(tmp_path):
  path = tmp_path / "corrections.jsonl"
  path.write_text('{"name": "punch", "description": "strike with the fist"}')
  assert [action[:2] for action in corrections.apply(path, CLASSES)] == [action[:2] for action in CLASSES]


def test_all_unknown_names_are_told_with_their_lines_and_near_names(tmp_path):
  path = tmp_path / "corrections.jsonl"
  path.write_text(f'{HIT}\n{{"name": "TableTennisShot", "description": "a"}}\n{{"name": "zumba", "description": "b"}}')
  with pytest.raises(UserError) as error:
    corrections.apply(path, CLASSES)
  assert "2 of 3 corrections are of no class in the list of 3" in str(error.value)
  assert f"{path}:2: 'TableTennisShot' (did you mean 'table tennis shot'?)" in str(error.value)
  assert f"{path}:3: 'zumba'\n" in str(error.value)


@pytest.mark.parametrize("line, message", [
    (HIT, r"corrections.jsonl:2: class 'table tennis shot' is corrected already at .*corrections.jsonl:1"),
    ('{"name": "punch", "description": " "}', "corrections.jsonl:2: 'description' is ' ', expected a text"),
    ('{"name": "punch", "description": 5}', "corrections.jsonl:2: 'description' is 5, expected a text"),
    ('{"name": ["punch"], "description": "a"}', r"corrections.jsonl:2: 'name' is \['punch'\], expected a text"),
    ('{"name": "punch"}', "corrections.jsonl:2: missing field 'description'"),
    ('{"name": "punch", "defn": "a", "description": "a"}', "corrections.jsonl:2: unexpected field 'defn'"),
])
def test_bad_line_is_named(tmp_path, line, message):
  path = tmp_path / "corrections.jsonl"
  path.write_text(f"{HIT}\n{line}\n")
  with pytest.raises(UserError, match=message):
    corrections.apply(path, CLASSES)


def test_file_without_corrections_is_an_error(tmp_path):
  path = tmp_path / "corrections.jsonl"
  path.write_text("\n")
  with pytest.raises(UserError, match="no corrections in it"):
    corrections.apply(path, CLASSES)
