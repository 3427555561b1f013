"""Concepts of many videos out of one JSON file: what is kept, and how what is wrong is named."""

import json

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.features.object_predictions import read_predictions


def write(path, content):
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return path


def test_arrays_follow_the_names_and_other_videos_are_passed_over(tmp_path):
  ids, scores = list(range(29, 9, -1)), [0.5 ** i for i in range(20)]
  path = write(tmp_path / "p.json", {"other": "not looked at", "a/b.v2": [ids, scores], "c": [[3, 1], [1, 2.5e-1]]})
  got = read_predictions(path, ["c", "absent", "a/b.v2", "c"], num_concepts=30)
  assert got.found.tolist() == [True, False, True, True]
  assert got.ids.dtype == np.int32 and got.scores.dtype == np.float32
  np.testing.assert_array_equal(got.ids, [[3, 1] + [-1] * 18, [-1] * 20, ids, [3, 1] + [-1] * 18])
  np.testing.assert_array_equal(got.scores, np.float32([[1, 0.25] + [0] * 18, [0] * 20, scores, [1, 0.25] + [0] * 18]))


def test_of_more_than_twenty_the_first_are_kept(tmp_path):
  path = write(tmp_path / "p.json", {"a": [list(range(40, 10, -1)), [0.5] * 30]})
  assert read_predictions(path, ["a"], None).ids.tolist() == [list(range(40, 20, -1))]


def test_without_a_vocabulary_ids_have_no_upper_limit(tmp_path):
  path = write(tmp_path / "p.json", {"a": [[99999], [0.5]]})
  assert read_predictions(path, ["a"], None).ids[0, 0] == 99999


@pytest.mark.parametrize("entry, message", [
    ([[1, 30], [0.5, 0.4]], r"no concept 30; the vocabulary \(concepts.jsonl\) has 30 concepts, 0 to 29"),
    ([[1, -1], [0.5, 0.4]], "no concept -1"),
    ([[1, 2.0], [0.5, 0.4]], "no concept 2.0"),
    ([[True], [0.5]], "no concept True"),
    ([[1, "2"], [0.5, 0.4]], "no concept '2'"),
    ([[1, 2], [0.5]], "got 2 ids and 1 scores"),
    ([[1, 2], [0.5, None]], "None is no score"),
    ([[1, 2], [0.5, "0.4"]], "'0.4' is no score"),
    ([[1, 2], [7, 0.5]], "7 is no score; expected .* from 0 to 1, such as sigmoids"),
    ([[1, 2], [0.5, -3.5]], "-3.5 is no score"),
    ([[1, 2], [0.4, 0.5]], "the scores rise somewhere"),
    ([[0.5, 0.4], [1, 2]], "no concept 0.5; .* not the scores first"),
    ([[1, 0.5], [2, 0.4]], "no concept 0.5; .* nor pairs"),
    ([[1, 2]], r"expected \[\[concept ids, best first\], \[their scores\]\], got \[\[1, 2\]\]"),
    ([1, 2], r"got \[1, 2\]"),
    ({"ids": []}, "got {'ids': "),
    (None, "got None"),
])
def test_malformed_entry_is_named_by_file_video_and_position(tmp_path, entry, message):
  path = write(tmp_path / "p.json", {"good": [[1], [0.5]], "a/v": entry})
  with pytest.raises(UserError, match=rf"p.json: video 'a/v' \(entry 2\): .*{message}"):
    read_predictions(path, ["a/v", "good"], num_concepts=30)


def test_negative_concept_without_a_vocabulary_is_refused(tmp_path):
  with pytest.raises(UserError, match="no concept -2; ids are whole numbers from 0"):
    read_predictions(write(tmp_path / "p.json", {"a": [[-2], [0.5]]}), ["a"], None)


@pytest.mark.parametrize("keep, where", [
    (0.995, r"after entry \d+, of video 'v\d+'"), (0.5, r"after entry \d+, of video 'v\d+'"),
    (10, "before its first entry"), (0, "it begins with b''")])
def test_cut_file_is_refused_and_says_where(tmp_path, keep, where):
  content = json.dumps({f"v{i}": [[i % 30], [0.25]] for i in range(2000)})
  assert read_predictions(write(tmp_path / "p.json", content), ["v3"], 30).found.all()
  write(tmp_path / "p.json", content[:int(keep * len(content)) if keep < 1 else keep])
  with pytest.raises(UserError, match=rf"p.json: .*{where}"):
    read_predictions(tmp_path / "p.json", ["v3"], 30)


@pytest.mark.parametrize("content, message", [
    ('{"a": [[1], [NaN]]}', "p.json: not valid JSON before its first entry is whole"),
    ('{"a": [[99999999999999999999999], [0.5]]}', "integer overflow"),
    ('[["a", [1], [0.5]]]', "expected one JSON object .* it begins with"),
    ("concepts", "expected one JSON object"),
    ('{"a": [[1], [0.5]], "a": [[2], [0.5]]}', "video 'a' is in it twice; the second time is entry 2"),
    ('{"a.mp4": [[1], [0.5]]}', "1 entries, the last of 'a.mp4', but none of one of the 1 videos, such as 'a'"),
    ("{}", "no entries"),
])
def test_file_of_another_form_is_refused(tmp_path, content, message):
  with pytest.raises(UserError, match=message):
    read_predictions(write(tmp_path / "p.json", content), ["a"], 30)


def test_video_that_is_in_the_file_under_a_name_written_in_another_way_is_told(tmp_path):
  e_nfc, e_nfd = "\u00e9", "e\u0301"
  content = {"a": [[1], [0.5]], f"run/{e_nfd}": [[2], [0.5]], "Run\\B": [[3], [0.5]], "run/c.mp4": [[4], [0.5]]}
  path = write(tmp_path / "p.json", json.dumps(content))
  predictions = read_predictions(path, ["a", f"run/{e_nfc}", "run/b", "run/c", "d"], 30)
  assert predictions.found.tolist() == [True, False, False, False, False]
  assert predictions.near == {f"run/{e_nfc}": f"run/{e_nfd}", "run/b": "Run\\B", "run/c": "run/c.mp4"}
  with pytest.raises(UserError, match="such as 'run/b', where it has 'Run.*B', which differs in separators and case"):
    read_predictions(path, ["run/b"], 30)


def test_missing_file_is_named(tmp_path):
  with pytest.raises(UserError, match="Cannot read .*absent.json"):
    read_predictions(tmp_path / "absent.json", ["a"], 30)
