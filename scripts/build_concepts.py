"""The published lists of BiT's classes + WordNet 3.0 -> the concept vocabulary, concepts.jsonl.

    python scripts/build_concepts.py --lemmas=imagenet21k_wordnet_lemmas.txt --wnids=imagenet21k_wordnet_ids.txt \\
        --wordnet=/usr/share/wordnet --output=concepts.jsonl

Line i of both lists is output i of BiT: its words ("dog, domestic_dog") and its WordNet id ("n02084071", a noun and
where it is in WordNet 3.0's data.noun). `--wordnet` is the folder with that file: /usr/share/wordnet of Debian's and
Ubuntu's package wordnet-base, or `dict` of the archive from wordnet.princeton.edu.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # to run without being installed

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

from absl import flags

from input_pipeline import errors, files, paths
from input_pipeline.errors import UserError
from input_pipeline.metadata.concepts import Concept, write_concepts

WRONG_WORDNET = ("Offsets differ between versions: WordNet 3.0 is needed, and in it data.noun as it was published "
                 "(package wordnet-base of Debian or Ubuntu, or WordNet-3.0.tar.gz from wordnet.princeton.edu).")


def read_lines(path: str) -> list[str]:
  """The lines of a list, stripped; empty ones at its end are dropped. Raises: UserError if one is empty."""
  lines = [line.strip() for line in files.read_text(path).rstrip().split("\n")]
  for number, line in enumerate(lines, start=1):
    if not line:
      raise UserError(f"{path}:{number}: the line is empty, expected a concept on every line.")
  return lines


def definition_of(gloss: str) -> str:
  """A gloss without the examples in quotation marks: 'a pet; "the dog barked"' -> 'a pet'."""
  return re.sub(r'".*?"', "", gloss).strip().strip("; ")


def read_definitions(wnids: list[str], where: str, wordnet: Path) -> list[str]:
  """Definitions of noun synsets.

  Args:
    wnids: "n" and eight digits, the synset's offset in data.noun.
    where: file of the wnids, one a line, for messages.
    wordnet: folder with data.noun.

  Raises:
    UserError: a wnid is malformed, or WordNet holds no synset at its offset.
  """
  path, definitions, absent = wordnet / "data.noun", [], []
  if not path.is_file():
    raise UserError(f"{wordnet} has no file data.noun. {WRONG_WORDNET}")
  with open(path, "rb") as file:
    for number, wnid in enumerate(wnids, start=1):
      if not re.fullmatch(r"n\d{8}", wnid, re.ASCII):
        raise UserError(f"{where}:{number}: {wnid!r} is no WordNet id of a noun; expected n and eight digits, as in "
                        "n02084071.")
      file.seek(int(wnid[1:]))
      head, bar, gloss = file.readline().decode(errors="replace").partition("|")
      if bar and head.startswith(f"{wnid[1:]} "):
        definitions.append(definition_of(gloss))
      else:
        absent.append(f"{where}:{number}: {wnid}")
  if absent:
    raise UserError(f"{len(absent)} of {len(wnids)} concepts are not in {path}, the first is {absent[0]}. "
                    f"{WRONG_WORDNET}")
  return definitions


def build(lemmas: str, wnids: str, wordnet: str) -> list[Concept]:
  """The concepts of two parallel lists. Raises: UserError, see `read_definitions`, or if the lists differ in length."""
  names, ids = read_lines(lemmas), read_lines(wnids)
  if len(names) != len(ids):
    raise UserError(f"{lemmas} has {len(names)} lines and {wnids} has {len(ids)}; line i of both must be one concept.")
  definitions = read_definitions(ids, wnids, Path(wordnet))
  return [Concept(wnid, name.lower().replace("_", " "), definition.lower())
          for wnid, name, definition in zip(ids, names, definitions)]


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_string("lemmas", None, "The concepts' words, a concept a line.", required=True)
  flags.DEFINE_string("wnids", None, "Their WordNet ids, a concept a line.", required=True)
  flags.DEFINE_string("wordnet", None, "Folder with WordNet 3.0's data.noun.", required=True)
  flags.DEFINE_string("output", None, "The vocabulary to write, concepts.jsonl.", required=True)


def main(_: list[str]) -> None:
  """Reads, checks, writes, reports."""
  lemmas, wnids, wordnet, output = paths.of_flags(flags.FLAGS, "lemmas", "wnids", "wordnet", "output")
  concepts = build(lemmas, wnids, wordnet)
  write_concepts(output, concepts)
  print(f"wrote {len(concepts)} concepts to {output}; the first is {concepts[0].name!r}: "
        f"{concepts[0].definition}")


if __name__ == "__main__":
  define_flags()
  errors.run(main)
