"""scripts/build_concepts.py as a user runs it, on a WordNet of a few lines and, where there is one, on WordNet 3.0."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_concepts.py"
WORDNET = Path("/usr/share/wordnet")     # Debian's package wordnet-base
GLOSSES = {
    "dog": 'a member of the Genus Canis; occurs in many breeds; "the dog barked all night"  ',
    "cup": 'a small open container; "he put the cup back"; "it was a cup"; usually with a handle  ',
    "run": "a score in baseball; made by a runner (as in 1-0)  ",
}


@pytest.fixture
def lists(tmp_path) -> dict[str, str]:
  """A WordNet of three nouns in data.noun's format, and lists of them in another order; wnids by word."""
  content, wnids = b"  1 This software and database is being provided to you  \n", {}
  for word, gloss in GLOSSES.items():
    wnids[word] = f"n{len(content):08d}"
    content += f"{len(content):08d} 05 n 01 {word} 0 001 @ 00000000 n 0000 | {gloss}\n".encode()
  (tmp_path / "wordnet").mkdir()
  (tmp_path / "wordnet" / "data.noun").write_bytes(content)
  (tmp_path / "lemmas.txt").write_text("cup\nRun, Tally_Run\ndog, domestic_dog, Canis_familiaris\n")
  (tmp_path / "wnids.txt").write_text(f"{wnids['cup']}\n{wnids['run']}\n{wnids['dog']}\n")
  return wnids


def build(folder: Path, wordnet: Path | None = None) -> subprocess.CompletedProcess:
  command = [sys.executable, SCRIPT, f"--lemmas={folder / 'lemmas.txt'}", f"--wnids={folder / 'wnids.txt'}",
             f"--wordnet={wordnet or folder / 'wordnet'}", f"--output={folder / 'concepts.jsonl'}"]
  return subprocess.run(command, capture_output=True, text=True, timeout=120)


def refused(folder: Path) -> str:
  """What the script says when it must refuse."""
  result = build(folder)
  assert result.returncode == 2 and "Traceback" not in result.stderr
  assert not (folder / "concepts.jsonl").exists()
  return result.stderr


def test_concepts_have_their_words_and_their_gloss_without_examples_in_the_order_of_the_lists(lists, tmp_path):
  result = build(tmp_path)
  assert result.returncode == 0, result.stderr
  assert "wrote 3 concepts" in result.stdout
  assert [json.loads(line) for line in (tmp_path / "concepts.jsonl").read_text().splitlines()] == [
      {"wnid": lists["cup"], "name": "cup", "definition": "a small open container; ; ; usually with a handle"},
      {"wnid": lists["run"], "name": "run, tally run",
       "definition": "a score in baseball; made by a runner (as in 1-0)"},
      {"wnid": lists["dog"], "name": "dog, domestic dog, canis familiaris",
       "definition": "a member of the genus canis; occurs in many breeds"}]


def test_lists_of_different_length_are_refused(lists, tmp_path):
  (tmp_path / "lemmas.txt").write_text("cup\nrun\n")
  assert "lemmas.txt has 2 lines and" in refused(tmp_path)


@pytest.mark.parametrize("wnid", ["02084071", "n2084071", "v02084071", "n02084071x", "dog"])
def test_malformed_id_is_named_by_its_line(lists, tmp_path, wnid):
  (tmp_path / "wnids.txt").write_text(f"{lists['cup']}\n{wnid}\n{lists['dog']}\n")
  assert f"wnids.txt:2: '{wnid}' is no WordNet id" in refused(tmp_path)


@pytest.mark.parametrize("shift", [1, -1, 5_000_000])
def test_offset_that_is_not_in_wordnet_is_named_and_the_version_hinted_at(lists, tmp_path, shift):
  (tmp_path / "wnids.txt").write_text(f"{lists['cup']}\nn{int(lists['run'][1:]) + shift:08d}\n{lists['dog']}\n")
  message = refused(tmp_path)
  assert "1 of 3 concepts are not in" in message and "wnids.txt:2: n" in message and "WordNet 3.0 is needed" in message


def test_empty_line_is_named(lists, tmp_path):
  (tmp_path / "lemmas.txt").write_text("cup\n\ndog\n")
  assert "lemmas.txt:2: the line is empty" in refused(tmp_path)


def test_folder_without_wordnet_says_where_to_get_it(lists, tmp_path):
  (tmp_path / "wordnet" / "data.noun").unlink()
  message = refused(tmp_path)
  assert "has no file data.noun" in message and "wordnet-base" in message


@pytest.mark.skipif(not (WORDNET / "data.noun").exists(), reason=f"no WordNet in {WORDNET} (package wordnet-base)")
def test_offset_of_the_dog_is_a_dog(tmp_path):
  (tmp_path / "lemmas.txt").write_text("dog, domestic_dog, Canis_familiaris\n")
  (tmp_path / "wnids.txt").write_text("n02084071\n")
  assert build(tmp_path, WORDNET).returncode == 0
  assert json.loads((tmp_path / "concepts.jsonl").read_text()) == {
      "wnid": "n02084071", "name": "dog, domestic dog, canis familiaris",
      "definition": "a member of the genus canis (probably descended from the common wolf) that has been "
                    "domesticated by man since prehistoric times; occurs in many breeds"}
