"""Arrays and words beside a dataset: every form that is read, and how what is wrong is named."""

import json

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.vectors import read_class_vectors, read_classifier_rows, read_word_list, read_word_table

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


def save_th(path, content):
  pytest.importorskip("torch").save(content, path)


def tensor(array):
  return pytest.importorskip("torch").from_numpy(array)


@pytest.mark.parametrize("name, save", [
    ("t.npy", lambda path: np.save(path, TABLE.astype(np.float64))),
    ("t.npz", lambda path: np.savez(path, anything=TABLE.astype(np.float16), words=np.array(["a"]), bias=np.zeros(3))),
    ("t.th", lambda path: save_th(path, {"we.weight": tensor(TABLE)})),
    ("t.pth", lambda path: save_th(path, {"weight": tensor(TABLE).double(), "count": tensor(np.zeros((2, 2), int))})),
    ("t.th", lambda path: save_th(path, tensor(TABLE))),
])
def test_word_table_is_the_one_matrix_of_floats_in_the_file(tmp_path, name, save):
  save(tmp_path / name)
  table = read_word_table(tmp_path / name)
  assert table.dtype == np.float32
  np.testing.assert_array_equal(table, TABLE)


@pytest.mark.parametrize("name, save, message", [
    ("t.npz", lambda path: np.savez(path, a=TABLE, b=TABLE), r"t.npz: expected exactly one .* a float32 \(4, 3\), b"),
    ("t.npz", lambda path: np.savez(path, a=TABLE[0]), r"it holds a float32 \(3,\)"),
    ("t.th", lambda path: save_th(path, {"epoch": 3}), "t.th holds no tensors but a dict of epoch"),
    ("t.npy", lambda path: np.save(path, TABLE[0]), r"t.npy holds float32 \(3,\); expected a matrix of floats"),
    ("t.npy", lambda path: np.save(path, TABLE.astype(int)), "holds int64"),
    ("t.npy", lambda path: np.save(path, np.where(TABLE == 5, np.nan, TABLE)), "row 1, column 2 is nan"),
    ("t.npz", lambda path: np.savez(path, a=np.where(TABLE == 5, np.inf, TABLE)), "row 1, column 2 is inf"),
    ("t.npy", lambda path: np.save(path, np.array([{}], object), allow_pickle=True), "Cannot read .*t.npy"),
    ("t.npy", lambda path: path.write_bytes(b""), "Cannot read .*t.npy"),
    ("t.th", lambda path: path.write_bytes(b"cut"), "Cannot read .*t.th"),
])
def test_table_of_another_form_is_refused(tmp_path, name, save, message):
  save(tmp_path / name)
  with pytest.raises(UserError, match=message):
    read_word_table(tmp_path / name)


def test_class_vectors_need_a_row_a_class(tmp_path):
  np.save(tmp_path / "v.npy", TABLE.astype(np.float64))
  assert read_class_vectors(tmp_path / "v.npy", 4).dtype == np.float32
  with pytest.raises(UserError, match=r"v.npy holds 4 rows of 3 numbers; expected float \(5, V\)"):
    read_class_vectors(tmp_path / "v.npy", 5)


def test_class_vectors_that_lie_the_other_way_are_said_to_look_transposed(tmp_path, capsys):
  np.save(tmp_path / "v.npy", TABLE)
  with pytest.raises(UserError, match=r"v.npy holds 4 rows of 3 numbers; .* It looks transposed; store .* \(3, 4\)"):
    read_class_vectors(tmp_path / "v.npy", 3)
  assert "square" not in capsys.readouterr().err
  np.save(tmp_path / "v.npy", TABLE[:3])
  np.testing.assert_array_equal(read_class_vectors(tmp_path / "v.npy", 3), TABLE[:3])
  assert "v.npy is square, 3 x 3, and could be transposed; each row is taken as that of a class" in capsys.readouterr().err


def test_archive_in_the_place_of_an_array_is_refused(tmp_path):
  np.savez(tmp_path / "v.npz", a=TABLE)
  (tmp_path / "v.npz").rename(tmp_path / "v.npy")
  with pytest.raises(UserError, match="v.npy .*it is an archive"):
    read_classifier_rows(tmp_path / "v.npy")


@pytest.mark.parametrize("value, message", [
    ({"a": 0}, "expected a JSON list of words"),
    ([], "expected a JSON list of words"),
    ("words", "expected a JSON list"),
    (["a", 3], "entry 1 is 3, expected a word"),
    (["a", ""], "entry 1 is ''"),
    (["a", "b", "b"], "'b' is entry 1 and entry 2"),
])
def test_word_list_of_another_form_is_refused(tmp_path, value, message):
  (tmp_path / "words.json").write_text(json.dumps(value))
  with pytest.raises(UserError, match=f"words.json: {message}"):
    read_word_list(tmp_path / "words.json")


def test_words_keep_their_order(tmp_path):
  (tmp_path / "words.json").write_text('["used", "\\u0027s", "a b"]')
  assert read_word_list(tmp_path / "words.json") == ["used", "'s", "a b"]
