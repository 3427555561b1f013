"""Text files as people and other programs leave them: what is read, and what is refused with its line."""

import pytest

from input_pipeline import files
from input_pipeline.errors import UserError


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(b'\xef\xbb\xbf{"name": 1}\n')
  assert files.read_json(path) == {"name": 1}
  assert files.read_jsonl(path) == [{"name": 1}]
  assert files.read_text(path) == '{"name": 1}\n'


def test_objects_come_with_the_numbers_of_their_lines_when_asked_for(tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_bytes(b'\n{"name": "a"}\r\n \n\n{"name": "b"}')
  assert files.read_numbered_jsonl(path, fields=("name",)) == [(2, {"name": "a"}), (5, {"name": "b"})]
  with pytest.raises(UserError, match="a.jsonl:2: missing field 'label'"):
    files.read_numbered_jsonl(path, fields=("name", "label"))


def test_no_line_among_others_is_empty_where_the_place_of_each_counts(tmp_path):
  path = tmp_path / "a.jsonl"
  path.write_text('{"name": "a"}\n{"name": "b"}\n\n \n')
  assert files.read_numbered_jsonl(path, by_place=True) == [(1, {"name": "a"}), (2, {"name": "b"})]
  path.write_text('{"name": "a"}\n\n\n{"name": "b"}\n')
  with pytest.raises(UserError, match="a.jsonl:2: the line is empty, but others follow"):
    files.read_numbered_jsonl(path, by_place=True)


@pytest.mark.parametrize("escape, what", [
    (r"\u0000", "NUL character"), (r"\ud800", "half a surrogate pair"), (r"\uDC00\uD83D", "half a surrogate pair"),
    (r"\\\\\ud83d\\\ude00", "half a surrogate pair")])
def test_characters_that_no_file_name_can_have_are_refused_with_their_line(tmp_path, escape, what):
  path = tmp_path / "a.jsonl"
  path.write_text(f'{{"name": "a"}}\n\n{{"name": "x{escape}"}}\n')
  with pytest.raises(UserError, match=rf"a.jsonl:3: .*\\u.*{what}"):
    files.read_jsonl(path)
  path.write_text(f'[\n"x",\n{{"{escape}": 1}}]')
  with pytest.raises(UserError, match=rf"a.jsonl:3: .*\\u.*{what}"):
    files.read_json(path)


def test_other_escapes_are_read(tmp_path):
  (tmp_path / "a.json").write_text(r'["\ud83d\ude00", "\\u0000", "\\\\ud800", "\u00e9", "\n"]')
  assert files.read_json(tmp_path / "a.json") == ["\U0001f600", r"\u0000", r"\\ud800", "é", "\n"]


@pytest.mark.parametrize("encoding, message", [
    ("utf-16-le", "a.csv:1: holds a NUL character; .* UTF-16.* Save it as UTF-8"),
    ("latin-1", "a.csv:2: holds the byte 0xe9, which is not UTF-8; .* Latin-1.* Save it as UTF-8")])
def test_text_in_another_encoding_is_refused(tmp_path, encoding, message):
  (tmp_path / "a.csv").write_bytes("video,class\r\na.mp4,café\r\nb.mp4,b\r\n".encode(encoding))
  with pytest.raises(UserError, match=message):
    files.read_text(tmp_path / "a.csv")


@pytest.mark.parametrize("value, reason", [
    ("[" * 100_000, "nested more than 100 deep"), ('{"a":' * 5000 + "1" + "}" * 5000, "nested more than 100 deep"),
    ("1" * 5000, "a number has 5000 digits: 1111"), ("NaN", "NaN is no finite number"),
    ("[1, -Infinity]", "-Infinity is no finite number"), ("1e999", "1e999 is no finite number"),
    (r'{"a": "]\"", "b": [{"a": 1}], "a": 2}', 'the field "a" is there twice')])
def test_json_that_python_would_read_wrong_or_not_at_all_is_refused_with_its_line(tmp_path, value, reason):
  path = tmp_path / "a.json"
  path.write_text(f'[{{"a": "NaN"}}, {{"a": 1}},\n{value}]')
  with pytest.raises(UserError, match=f"a.json:2: .*{reason}"):
    files.read_json(path)
  path.write_text(f'{{"a": 1}}\n\n{{"x": {value}}}\n')
  with pytest.raises(UserError, match=f"a.json:3: .*{reason}"):
    files.read_jsonl(path)


def test_results_of_a_run_may_hold_what_is_no_number(tmp_path):
  files.write_json(tmp_path / "a.json", {"mean": float("nan"), "std": float("inf")})
  assert str(files.read_json(tmp_path / "a.json", finite=False)) == "{'mean': nan, 'std': inf}"
