"""A list of classes + published word vectors -> the class vectors and the word table that some methods read.

    python scripts/build_word_vectors.py --classes=data/metadata/ucf101/classes_label_defn.json \\
        --vectors=glove.42B.300d.zip --output=data/metadata/ucf101 --concepts=concepts.jsonl

`--classes` is a published classes*_label_defn.json, a classes.jsonl, or a folder that holds one. The vectors of the
paper are GloVe's of 42 billion words (https://nlp.stanford.edu/data/glove.42B.300d.zip, 1.9 GB, public domain); any in
GloVe's or word2vec's text format will do. Into the folder `--output` go, under their published names,

    labels_glove42b.npy                       (classes, V)  what DEVISE, ALE, SJE, DEM, ESZSL and GCN know of a class:
                                              the mean vector of the words of its name
    labels_glove42b.classes.json              the names of these classes (not published), so that `prepare` notices when
                                              the class list has become another one
    label_word_list.json, word.glove42b.npy   (words, V)    the words of VSE's word-level text model

`prepare` finds them there: in METADATA/NAME of a published dataset, in the folder of the videos of `video_folder`.

A word is what stands between white space, brackets and "the" too. It is looked up as it is written, or else in lower
case, or else, where it has a vector in neither way, by its parts without signs: "Guitar," is guitar, "two-handed" is
two and handed. What has no vector even so is left out. Names written as in Kinetics' published list, such as "punching
person ( boxing )", are taken as for its published class vectors, each of which is the mean of as many vectors as the
name has words. The published word list lacks some words that this keeps: English stop words, and most signs.
"""

import contextlib
import json
import re
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # to run without being installed

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import numpy as np
from absl import flags

from input_pipeline import errors, files, paths
from input_pipeline.errors import UserError
from input_pipeline.metadata.class_lists import read_class_list
from input_pipeline.metadata.concepts import Concept, concept_text, read_concepts
from input_pipeline.metadata.descriptions import ActionClass
from input_pipeline.metadata.published import CLASS_VECTORS, VECTOR_NAMES
from input_pipeline.metadata.word_vectors import read_word_vectors

WORD_LIST, WORD_TABLE = "label_word_list.json", "word.glove42b.npy"
SHOWN = 10      # classes or words that a message lists


def spellings(word: str) -> list[list[str]]:
  """What to look a word up as, the best way first: ["Guitar,"], ["guitar,"], ["guitar"]."""
  return [[word], [word.lower()], re.findall(r"'s\b|[^\W_]+", word.lower())]


def known_words(text: str, known: Container[str]) -> list[str]:
  """What a text's words are known as, in order: "strum two-handed on" -> ["strum", "two", "handed", "on"]."""
  words = []
  for word in text.split():
    ways = ([part for part in way if part in known] for way in spellings(word))
    words += next(filter(None, ways), [])
  return words


def texts_of(classes: Iterable[ActionClass], concepts: Iterable[Concept]) -> list[str]:
  """All that a word-level text model may read."""
  texts = [text for action in classes for text in (action.name, action.description)]
  return texts + [concept_text(concept, with_definition=True, separator=" ") for concept in concepts]


def class_vectors(classes: Sequence[ActionClass], vectors: Mapping[str, np.ndarray]) -> np.ndarray:
  """(classes, V) float32: the mean vector of the known words of each class's name.

  Raises:
    UserError: naming the classes of whose words not one has a vector.
  """
  words = [known_words(action.name, vectors) for action in classes]
  if unknown := [action for action, its_words in zip(classes, words) if not its_words]:
    raise UserError("\n".join([
        f"{len(unknown)} of {len(classes)} classes have no word with a vector in their name:",
        *(f"  {action.where}: {', '.join(map(repr, action.name.split()))}" for action in unknown[:SHOWN]),
        *["  ..."] * (len(unknown) > SHOWN),
        'Write these names in more common words, and words apart ("apply lipstick", not "ApplyLipstick"), or give '
        "vectors of more words."]))
  return np.array([np.mean([vectors[word] for word in its_words], axis=0, dtype=np.float64) for its_words in words],
                  np.float32)


def word_table(texts: Iterable[str], vectors: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
  """The words of the texts as they stand there, sorted, and (words, V) float32 vectors of them.

  A word that is known by several parts has their mean; one that is not known is not in the list.
  """
  known = {word: known_words(word, vectors) for word in sorted({word for text in texts for word in text.split()})}
  word_list = [word for word, its_words in known.items() if its_words]
  table = [np.mean([vectors[part] for part in known[word]], axis=0, dtype=np.float64) for word in word_list]
  return word_list, np.array(table, np.float32)


def unknown_words(texts: Iterable[str], vectors: Mapping[str, np.ndarray]) -> list[str]:
  """The words of the texts that have no vector, each once, in the order of the texts."""
  return [word for word in dict.fromkeys(word for text in texts for word in text.split())
          if not known_words(word, vectors)]


def write(
    folder: Path, class_names: Sequence[str], class_rows: np.ndarray, word_list: Sequence[str], table: np.ndarray
) -> None:
  """Writes the four files; none takes its name before all are written."""
  contents = {CLASS_VECTORS: lambda file: np.save(file, class_rows), WORD_TABLE: lambda file: np.save(file, table),
              VECTOR_NAMES: lambda file: file.write(_json(class_names)),
              WORD_LIST: lambda file: file.write(_json(word_list))}
  with contextlib.ExitStack() as stack:
    for name, write_to in contents.items():
      file = stack.enter_context(files.replacing(folder / name))
      write_to(file)
      file.flush()


def _json(texts: Sequence[str]) -> bytes:
  return json.dumps(texts, ensure_ascii=False).encode()


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_string("classes", None, "The class list.", required=True)
  flags.DEFINE_string("vectors", None, "Word vectors: a text file, or a .zip of one.", required=True)
  flags.DEFINE_string("output", None, "The folder to write into.", required=True)
  flags.DEFINE_string("concepts", None, "A concepts.jsonl, whose words are to be in the word table too.")


def main(_: list[str]) -> None:
  """Reads, looks up, writes, reports."""
  given, vectors_file, folder, concepts = paths.of_flags(flags.FLAGS, "classes", "vectors", "output", "concepts")
  if folder.exists() and not folder.is_dir():
    raise UserError(f"--output={folder} is a file; expected a folder, for four files.")
  there = [name for name in (CLASS_VECTORS, VECTOR_NAMES, WORD_LIST, WORD_TABLE) if (folder / name).exists()]
  if there:
    raise UserError(f"--output={folder} holds {', '.join(there)} already, published ones perhaps; give another folder, "
                    "or remove them first.")
  classes = read_class_list(given)
  texts = texts_of(classes, read_concepts(concepts) if concepts else [])
  wanted = {part for text in texts for word in text.split() for way in spellings(word) for part in way}
  vectors = read_word_vectors(vectors_file, wanted)
  rows, (word_list, table) = class_vectors(classes, vectors), word_table(texts, vectors)
  write(folder, [action.name for action in classes], rows, word_list, table)

  print(f"wrote {CLASS_VECTORS} ({len(rows)} classes), {VECTOR_NAMES}, {WORD_LIST} and {WORD_TABLE} "
        f"({len(word_list)} words) of {rows.shape[1]} numbers each to {folder}")
  for what, left_out in (("names of classes", unknown_words((action.name for action in classes), vectors)),
                         ("texts", unknown_words(texts, vectors))):
    if left_out:
      print(f"{len(left_out)} words of the {what} have no vector and are left out: {', '.join(left_out[:SHOWN])}"
            + ", ..." * (len(left_out) > SHOWN))


if __name__ == "__main__":
  define_flags()
  errors.run(main)
