"""The concept vocabulary: the objects that BiT can name, and the text that stands for one.

    concepts = read_concepts("concepts.jsonl")         # {"wnid": "n02084071", "name": ..., "definition": ...}
    concept_text(concepts[0], with_definition=True)    # "dog, domestic dog: a member of the genus canis ..."

A concept is known by its position in the list, which is its position among BiT's outputs.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from input_pipeline import files
from input_pipeline.errors import UserError

TOP_CONCEPTS = 20     # concepts stored a video
NO_CONCEPT = -1       # id of an unused slot, where the vocabulary is smaller than that


class Concept(NamedTuple):
  """One object: WordNet id (or any id), its name with synonyms behind commas, and what it is."""

  wnid: str
  name: str
  definition: str


def read_concepts(path: str | os.PathLike) -> list[Concept]:
  """Reads {"wnid", "name", "definition"} lines in the order of BiT's outputs.

  Raises:
    UserError: naming file and line, if a field is missing or not a text, a name is empty, or a line among others.
  """
  fields, concepts = Concept._fields, []
  for number, row in files.read_numbered_jsonl(path, fields, by_place=True):
    if not all(isinstance(row[field], str) for field in fields) or not row["name"].strip():
      raise UserError(f"{path}:{number}: {', '.join(fields)} must be texts and the name not empty, got {row}.")
    concepts.append(Concept(*(row[field] for field in fields)))
  return concepts


def write_concepts(path: str | os.PathLike, concepts: Iterable[Concept]) -> None:
  """Writes what `read_concepts` reads, atomically."""
  files.write_jsonl(path, (concept._asdict() for concept in concepts))


def concept_text(concept: Concept, with_definition: bool, separator: str = ": ") -> str:
  """The text of a concept: its name in lower case, if asked for followed by `separator` and its definition."""
  name = concept.name.strip().lower().replace("_", " ")
  return f"{name}{separator}{concept.definition.lower()}" if with_definition else name
