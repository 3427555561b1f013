"""The concept vocabulary and the text of a concept."""

import pytest

from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import Concept, concept_text, read_concepts, write_concepts

DOG = Concept("n02084071", " Dog, domestic_dog, Canis_familiaris ",
              "a member of the genus Canis, kept by man")


def test_name_is_stripped_lower_case_and_without_underscores():
  assert concept_text(DOG, with_definition=False) == "dog, domestic dog, canis familiaris"


def test_definition_follows_in_lower_case():
  assert concept_text(DOG, with_definition=True) == (
      "dog, domestic dog, canis familiaris: a member of the genus canis, kept by man")


def test_written_concepts_are_read_back_in_order(tmp_path):
  concepts = [DOG, Concept("n1", "cup", "a vessel")]
  write_concepts(tmp_path / "concepts.jsonl", concepts)
  assert read_concepts(tmp_path / "concepts.jsonl") == concepts


@pytest.mark.parametrize("line, message", [
    ('{"wnid": "n2", "name": "cat"}', "concepts.jsonl:2: missing field 'definition'"),
    ('{"wnid": "n2", "name": "", "definition": "x"}', "concepts.jsonl:2: .* must be texts and the name not empty"),
    ('{"wnid": 2, "name": "cat", "definition": "x"}', "concepts.jsonl:2: .* must be texts"),
    ('\n{"wnid": "n2", "name": "cat", "definition": "x"}', "concepts.jsonl:2: the line is empty"),
])
def test_bad_line_is_named(tmp_path, line, message):
  (tmp_path / "concepts.jsonl").write_text('{"wnid": "n1", "name": "cup", "definition": "a vessel"}\n' + line)
  with pytest.raises(UserError, match=message):
    read_concepts(tmp_path / "concepts.jsonl")
