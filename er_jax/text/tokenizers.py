"""Texts to token ids: BERT's word pieces, or the words of a list.

    tokenizer = WordPiece("bert-base-uncased-folder")      # needs its vocab.txt alone
    tokenizer.encode(["a dog", ("run", "move fast")], max_tokens=100)   # [array([101, 1037, 3899, 102]), ...]

    Words(["dog", "runs"]).encode(["the dog runs"], max_tokens=100)     # [array([0, 1])]

A text is a str, or a (name, description) pair. Ids come without padding; each text is cut by itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tokenizers

from input_pipeline import files
from input_pipeline.errors import UserError

Text = str | tuple[str, str]
TEXTS_A_CALL = 4096     # what the word pieces of so many texts take in memory is little


class Tokenizer(Protocol):
  """Turns texts into ids in [0, vocab_size); `separator` goes between a name and its description."""

  vocab_size: int
  separator: str

  def encode(self, texts: Sequence[Text], max_tokens: int) -> list[np.ndarray]:
    """One int32 array of at most `max_tokens` ids for each text, without padding."""
    ...


class WordPiece:
  """BERT's tokenizer, the same ids as transformers' `BertTokenizer` from the same folder.

  A text becomes [CLS] text [SEP], a pair [CLS] name [SEP] description [SEP]. What is too long is cut, of a
  pair the longer part first; the special tokens stay.

  Args:
    folder: has vocab.txt, one piece a line; and perhaps tokenizer_config.json, of which `do_lower_case` (True
      if absent), `strip_accents` and `tokenize_chinese_chars` are used.

  Raises:
    UserError: there is no vocab.txt, or it repeats a piece or lacks a special token.
  """

  separator = ": "

  def __init__(self, folder: str | Path):
    path = Path(folder) / "vocab.txt"
    pieces = files.read_text(path).removesuffix("\n").split("\n")
    pieces = [piece.removesuffix("\r") for piece in pieces]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    if len(vocabulary) != len(pieces):
      repeated = next(piece for i, piece in enumerate(pieces) if vocabulary[piece] != i)
      raise UserError(f"{path}: {len(pieces)} lines, {len(vocabulary)} pieces: {repeated!r} is there twice.")
    missing = [piece for piece in ("[UNK]", "[CLS]", "[SEP]") if piece not in vocabulary]
    if missing:
      raise UserError(f"{path}: lacks {', '.join(missing)}; is it the vocabulary of a BERT?")
    options = _options(Path(folder) / "tokenizer_config.json")
    self.vocab_size = len(pieces)
    self._tokenizer = tokenizers.BertWordPieceTokenizer(vocab=vocabulary, **options)

  def encode(self, texts: Sequence[Text], max_tokens: int) -> list[np.ndarray]:
    """See `Tokenizer`. Raises: UserError if `max_tokens` leaves no room beside the special tokens."""
    least = 4 if any(isinstance(text, tuple) for text in texts) else 3
    if max_tokens < least:
      raise UserError(f"max_tokens is {max_tokens}; BERT needs {least} or more, with [CLS] and "
                      f"{'two [SEP]' if least == 4 else '[SEP]'}.")
    self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")
    ids = []
    for start in range(0, len(texts), TEXTS_A_CALL):      # in parallel on all cores
      encodings = self._tokenizer.encode_batch(list(texts[start:start + TEXTS_A_CALL]))
      ids.extend(np.asarray(encoding.ids, np.int32) for encoding in encodings)
    return ids


  def count_unknown(self, texts: Sequence[Text]) -> tuple[int, int]:
    """How many words and signs of these texts, none of them cut, are [UNK]; and how many pieces there are."""
    self._tokenizer.no_truncation()
    ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    unknown = self._tokenizer.token_to_id("[UNK]")
    return sum(row.count(unknown) for row in ids), sum(map(len, ids))


class Words:
  """Word-level ids: a word's id is its place in the list.

  Texts are split at white space and compared as they are written; words that are not in the list are dropped
  before the cut to `max_tokens`, so a text of unknown words gives no ids. A pair is joined by one space.

  Raises:
    UserError: the list is empty or holds a word twice.
  """

  separator = " "

  def __init__(self, word_list: Sequence[str]):
    self._ids = {word: i for i, word in enumerate(word_list)}
    if not self._ids or len(self._ids) != len(word_list):
      repeated = next((word for i, word in enumerate(word_list) if self._ids[word] != i), None)
      raise UserError(f"The word list has {len(word_list)} entries, of which {repeated!r} is there twice."
                      if repeated is not None else "The word list is empty.")
    self.vocab_size = len(self._ids)

  def encode(self, texts: Sequence[Text], max_tokens: int) -> list[np.ndarray]:
    """See `Tokenizer`."""
    ids = [[self._ids[word] for word in words if word in self._ids] for words in map(_words, texts)]
    return [np.asarray(row[:max_tokens], np.int32) for row in ids]

  def count_unknown(self, texts: Sequence[Text]) -> tuple[int, int]:
    """How many words of these texts are not in the list; and how many there are."""
    words = [word for text in texts for word in _words(text)]
    return sum(word not in self._ids for word in words), len(words)


def _words(text: Text) -> list[str]:
  return (" ".join(text) if isinstance(text, tuple) else text).split()


def _options(path: Path) -> dict[str, bool]:
  written = files.read_json(path) if path.is_file() else {}
  names = {"do_lower_case": "lowercase", "strip_accents": "strip_accents",
           "tokenize_chinese_chars": "handle_chinese_chars"}
  if not isinstance(written, dict):
    raise UserError(f"{path}: expected an object such as {{\"do_lower_case\": true}}, got {str(written)[:40]}.")
  for name in names.keys() & written.keys():
    if not (written[name] is None or isinstance(written[name], bool)):
      raise UserError(f"{path}: {name} is {str(written[name])[:40]}, expected true, false or null.")
  return {ours: written[theirs] for theirs, ours in names.items() if written.get(theirs) is not None}
