"""Vectors of classes and words, and vocabularies, from the toy dataset's own few texts and the weights of its TSM.

    python -m input_pipeline.datasets.toy_actions.word_vectors    # again after every change of the texts or of tsm.npz

writes, into the dataset's folder,
    class_vectors.npy               (classes, DIM)   what DEVISE and its like know of a class
    word_list.json, word_table.npy  (words, DIM)     the words of the word-level text backbones
    classifier_rows.npy             (seen, D)        what GCN learns to predict
    bert/vocab.txt, config.json                      the word pieces of BERT

The place of GloVe and of bert-base-uncased's vocabulary is taken by word vectors from the words' company (positive
pointwise mutual information and a truncated SVD: Levy & Goldberg 2014) and by a list of all words.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from input_pipeline import array_files, files
from input_pipeline.metadata.concepts import concept_text, read_concepts
from input_pipeline.metadata.descriptions import class_text, read_classes

FOLDER = Path(__file__).parent
DIM = 64
WINDOW = 5            # words on each side that count as company
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BERT_CONFIG = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "hidden_act": "gelu",
    "max_position_embeddings": 128,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "pad_token_id": 0,
}


def corpus() -> list[str]:
  """Every text of the dataset: class names with descriptions, concept names with definitions."""
  classes, concepts = read_classes(FOLDER / "classes.jsonl"), read_concepts(FOLDER / "concepts.jsonl")
  return ([str(class_text(action, "name_description")) for action in classes]
          + [concept_text(concept, with_definition=True) for concept in concepts])


def words_of(text: str) -> list[str]:
  """The words of a text in lower case, without punctuation."""
  return re.findall(r"[a-z]+", text.lower())


def vocabulary(texts: Sequence[str]) -> list[str]:
  """A WordPiece vocabulary in which the texts' words are whole and any other English word can be spelled."""
  characters = [*string.punctuation, *string.digits, *string.ascii_lowercase]
  pieces = ["##" + character for character in string.digits + string.ascii_lowercase]
  words = sorted({word for text in texts for word in words_of(text) if len(word) > 1})
  return [*SPECIAL_TOKENS, *characters, *pieces, *words]


def word_vectors(texts: Sequence[str], dim: int = DIM) -> dict[str, np.ndarray]:
  """A float64 (dim,) vector for each word of the texts; words that keep the same company have similar ones."""
  sentences = [words_of(text) for text in texts]
  words = sorted({word for sentence in sentences for word in sentence})
  position = {word: i for i, word in enumerate(words)}
  together = Counter()
  for sentence in sentences:
    for i, word in enumerate(sentence):
      for j in range(max(0, i - WINDOW), min(len(sentence), i + WINDOW + 1)):
        if i != j:
          together[position[word], position[sentence[j]]] += 1
  counts = np.zeros((len(words), len(words)))
  for pair, count in together.items():
    counts[pair] = count
  row, total = counts.sum(axis=1), counts.sum()
  context = row ** 0.75     # smoothed, so that rare words do not seem meaningful company
  expected = np.outer(row / total, context / context.sum())
  with np.errstate(divide="ignore"):
    ppmi = np.maximum(np.log(counts / total / expected), 0)
  u, s, _ = np.linalg.svd(ppmi)
  vectors = u[:, :dim] * np.sqrt(s[:dim])
  vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)])
  return dict(zip(words, vectors))


def class_vectors() -> np.ndarray:
  """The mean word vector of each class's name: float32 (classes, DIM)."""
  vectors = word_vectors(corpus())
  classes = read_classes(FOLDER / "classes.jsonl")
  return np.array([np.mean([vectors[w] for w in words_of(c.name)], axis=0) for c in classes], np.float32)


def word_list() -> list[str]:
  """What stands between white space in any text of a class or a concept, as it stands there: "A", "star,", "star"."""
  classes, concepts = read_classes(FOLDER / "classes.jsonl"), read_concepts(FOLDER / "concepts.jsonl")
  texts = [part for action in classes for part in class_text(action, "pair")]
  for concept in concepts:
    texts += [concept_text(concept, with_definition=False), concept.definition.lower()]
  return sorted({word for text in texts for word in text.split()})


def word_table(word_list: Sequence[str]) -> np.ndarray:
  """Float32 (words, DIM): the vector of each entry's word, the mean if it has several, zeros if it has none."""
  vectors = word_vectors(corpus())
  nothing = np.zeros(DIM)
  return np.array([np.mean([vectors[w] for w in words_of(entry)] or [nothing], axis=0) for entry in word_list],
                  np.float32)


def classifier_rows() -> np.ndarray:
  """Float32 (seen, D): TSM's classifier, a row a seen class, in the order of the class list."""
  return array_files.read_npz(FOLDER / "tsm.npz")["module.new_fc.weight"]


def main() -> None:
  """Writes the files into the dataset's folder."""
  tokens, words = vocabulary(corpus()), word_list()
  with files.replacing(FOLDER / "bert" / "vocab.txt") as file:
    file.write("".join(token + "\n" for token in tokens).encode())
  files.write_json(FOLDER / "bert" / "config.json", {**BERT_CONFIG, "vocab_size": len(tokens)})
  files.write_json(FOLDER / "word_list.json", words)
  arrays = {"class_vectors": class_vectors(), "word_table": word_table(words), "classifier_rows": classifier_rows()}
  for name, array in arrays.items():
    with files.replacing(FOLDER / f"{name}.npy") as file:
      np.save(file, array)


if __name__ == "__main__":
  main()
