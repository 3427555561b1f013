"""scripts/build_word_vectors.py as a user runs it, on a few vectors, and its rule beside the published vectors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata import vectors
from input_pipeline.metadata.class_lists import read_class_list
from input_pipeline.metadata.published import find_extras
from scripts import build_word_vectors

GLOVE = {"play": [4, 0], "guitar": [0, 2], "(": [8, 8], "person": [1, 1], "'s": [3, 5], "the": [0, 6], "string": [2, 0],
         "two": [0, 4], "handed": [4, 0], "Dog": [1, 0], "dog": [7, 7]}


@pytest.fixture
def folder(tmp_path) -> Path:
  """Vectors and two lists; no class has a description of one word alone."""
  (tmp_path / "glove.txt").write_text("".join(f"{word} {x} {y}\n" for word, (x, y) in GLOVE.items()))
  (tmp_path / "classes_label_defn.json").write_text(json.dumps([
      {"word": "Play Guitar (acoustic)", "cleaned_word": "play guitar ( acoustic )", "defn": "Guitar, the string."},
      {"word": "pat", "cleaned_word": "person 's dog", "defn": "two-handed"}]))
  (tmp_path / "concepts.jsonl").write_text('{"wnid": "n1", "name": "Dog, hot_dog", "definition": "THE person"}\n')
  return tmp_path


def classes_of(folder: Path) -> list:
  return read_class_list(folder / "classes_label_defn.json")


def build(folder: Path, *flags: str) -> subprocess.CompletedProcess:
  command = [sys.executable, build_word_vectors.__file__, f"--classes={folder / 'classes_label_defn.json'}",
             f"--vectors={folder / 'glove.txt'}", f"--output={folder / 'out'}", *flags]
  return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_class_vectors_are_means_of_the_names_words_and_the_table_has_the_words_of_all_texts(folder):
  result = build(folder, f"--concepts={folder / 'concepts.jsonl'}")
  assert result.returncode == 0, result.stderr
  assert "(2 classes)" in result.stdout and "2 words of the names of classes have no vector" in result.stdout
  extras = find_extras(folder / "out", classes_of(folder))
  assert extras.keys() == {"class_vectors.npy", "word_list.json", "word_table.npy"}
  np.testing.assert_allclose(vectors.read_class_vectors(extras["class_vectors.npy"], 2),
                             [[4, 10 / 3], [11 / 3, 13 / 3]], rtol=1e-6)      # of play guitar ( and of person 's dog
  words, table = vectors.read_word_list(extras["word_list.json"]), vectors.read_word_table(extras["word_table.npy"])
  assert dict(zip(words, table.tolist(), strict=True)) == {
      "'s": [3, 5], "(": [8, 8], "Guitar,": [0, 2], "dog": [7, 7], "dog,": [7, 7], "guitar": [0, 2], "person": [1, 1],
      "play": [4, 0], "string.": [2, 0], "the": [0, 6], "two-handed": [2, 2]}
  assert words == sorted(words)


def test_vectors_are_not_taken_for_a_list_that_has_changed_since(folder):
  assert build(folder).returncode == 0
  assert json.loads((folder / "out" / "labels_glove42b.classes.json").read_text()) == [
      "play guitar ( acoustic )", "person 's dog"]
  with pytest.raises(UserError, match="labels_glove42b.npy holds the vectors of other classes.* class 0 is 'play guitar"):
    find_extras(folder / "out", classes_of(folder)[::-1])


def test_a_word_is_known_as_it_is_written_before_other_ways():
  def known(text):
    return build_word_vectors.known_words(text, GLOVE)

  assert known("Dog dog DOG dog's (dog) cat") == ["Dog", "dog", "dog", "dog", "'s", "dog"]
  assert known("two_handed the-cat") == ["two", "handed", "the"]


def test_classes_of_unknown_words_are_named_and_nothing_is_written(folder):
  (folder / "classes_label_defn.json").write_text('[{"word": "play"}, {"word": "PlayGuitar well"}, {"word": "juggle"}]')
  result = build(folder)
  assert result.returncode == 2 and "Traceback" not in result.stderr
  assert "2 of 3 classes have no word with a vector" in result.stderr
  assert "classes_label_defn.json: class 1: 'PlayGuitar', 'well'" in result.stderr
  assert not (folder / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_read(folder):
  (folder / "out").touch()
  (folder / "glove.txt").unlink()
  result = build(folder)
  assert result.returncode == 2 and "out is a file; expected a folder" in result.stderr


def test_published_class_vectors_are_means_of_as_many_vectors_as_we_take():
  """Most of GloVe's numbers end within six decimals; so do means of n of them, times n, but few times another n."""
  if "ER_JAX_SHARED" not in os.environ:
    pytest.skip("set ER_JAX_SHARED to the folder that holds zsar_metadata/")
  published = Path(os.environ["ER_JAX_SHARED"]) / "zsar_metadata" / "kinetics_zsl220"
  names = [action.name for action in read_class_list(published)]
  counts = [len(build_word_vectors.known_words(name, name.split())) for name in names]
  in_millionths = np.load(published / "labels_glove42b.npy") * 1e6

  def decimals_end(factors) -> np.ndarray:
    numbers = in_millionths * np.reshape(factors, (-1, 1))
    return np.mean(np.abs(numbers - np.round(numbers)) < 0.01, axis=1)      # of each class

  assert max(counts) == 8 and decimals_end(counts).min() > 0.8
  several = [index for index, name in enumerate(names) if "(" in name]
  assert len(several) == 14
  for other in (-1, 1):      # as it would be without a bracket, or with one more word
    assert decimals_end(np.array(counts) + other)[several].max() < 0.75
