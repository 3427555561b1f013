"""Word vectors are read from each of the published formats, and a file that is none is named with its line."""

import zipfile
from pathlib import Path

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.word_vectors import read_word_vectors

GLOVE = "the 0.5 -1 2e-1\nguitar 1 2 3\n. . 7 8 9\nété 4 5 6\nguitar 0 0 0\n"
EXPECTED = {"the": [0.5, -1.0, pytest.approx(0.2)], "guitar": [1, 2, 3], "été": [4, 5, 6]}


def read(folder: Path, text: str | bytes, words=("the", "guitar", "été", "absent")) -> dict[str, list[float]]:
  path = folder / "vectors.txt"
  path.write_bytes(text.encode() if isinstance(text, str) else text)
  return as_lists(read_word_vectors(path, words))


def as_lists(vectors) -> dict[str, list[float]]:
  assert all(vector.dtype == "float32" for vector in vectors.values())
  return {word: vector.tolist() for word, vector in vectors.items()}


def test_the_first_vector_of_each_wanted_word_is_found_and_entries_of_several_words_are_passed_over(tmp_path):
  assert read(tmp_path, GLOVE) == EXPECTED
  assert read(tmp_path, GLOVE, ["guitar"]) == {"guitar": [1, 2, 3]}


def test_a_first_line_with_sizes_and_spaces_at_the_ends_are_word2vecs(tmp_path):
  assert read(tmp_path, "5 3\n" + GLOVE.replace("\n", " \r\n")) == EXPECTED


def test_a_zip_is_read_as_the_file_in_it(tmp_path):
  with zipfile.ZipFile(tmp_path / "glove.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.mkdir("glove")
    archive.writestr("glove/glove.txt", GLOVE)
  assert as_lists(read_word_vectors(tmp_path / "glove.zip", ["the", "guitar", "été"])) == EXPECTED


@pytest.mark.parametrize("text, message", [
    (GLOVE + "drum 1 2\n", r"vectors.txt:6: 2 numbers behind 'drum', but the first line says 3; expected"),
    (GLOVE + "drum 1 2 3 4\n", r"vectors.txt:6: 4 numbers behind 'drum'"),
    (GLOVE + "\n", r"vectors.txt:6: 0 numbers behind ''"),
    ("a 1 2 3\nthe 1 x2 3\n", r"vectors.txt:2: 'x2' is not a number"),
    ("a 1 2 3\nthe 1 nan 3\n", r"vectors.txt:2: it holds nan; expected finite numbers"),
    ("the cat sat\n", r"vectors.txt:1: expected a word and its numbers, .* got 'the cat sat'"),
    (b"\x1f\x8b\x08\x00", r"vectors.txt:1: expected a word and its numbers, .* packed"),
    ("6 3\n" + GLOVE, r"vectors.txt: 5 words, but its first line announces 6. Is it cut short"),
    ("", r"vectors.txt is empty"),
])
def test_what_is_not_in_the_format_is_named_with_its_line(tmp_path, text, message):
  with pytest.raises(UserError, match=message):
    read(tmp_path, text)


def test_archives_that_are_cut_short_or_hold_several_files_are_refused(tmp_path):
  path = tmp_path / "glove.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("50d.txt", GLOVE)
    archive.writestr("300d.txt", GLOVE)
  with pytest.raises(UserError, match=r"glove.zip holds 2 files \(50d.txt, 300d.txt\); expected one"):
    read_word_vectors(path, ["the"])
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(UserError, match="Cannot read .*glove.zip: .* Is the download whole?"):
    read_word_vectors(path, ["the"])
  with pytest.raises(UserError, match="Cannot read .*absent.txt: no such file"):
    read_word_vectors(tmp_path / "absent.txt", ["the"])
