"""Looks for descriptions that are empty, very short or long, garbled, of several classes, or not about their class.

    python scripts/check_descriptions.py --classes=data/metadata/ucf101/classes_label_defn.json
    python scripts/check_descriptions.py --classes=FILE --compare=OTHER_FILE --output=report.jsonl
    python scripts/check_descriptions.py --classes=FILE --text_encoder=FOLDER --corrections=corrections.jsonl

A class list is a published classes*_label_defn.json, a classes.jsonl, or a folder that holds one, such as that of a
prepared dataset. `--compare` also says what it shares with other lists. `--output` gets a line for each class that
something else was found about, {"name", "description", "problems"}: keep the lines that are wrong, put a better text on
each, take "problems" out, and it is a corrections file.

Whether a description is about its class, a text encoder says: names and descriptions are embedded by BERT, the mean of
each text's token vectors, and names and descriptions are each centred, which takes out what all of them share. Listed
are descriptions that another class's name is nearer to than their own, least similar to their own first. That is an
order to read in, not a verdict: rare names are high in it too, and a text that repeats its name's words in another
sense (a necktie, for tie-dyeing) is low.

The exit status is 0 whatever is found: a person judges it. Without the encoder's files, the other checks are made and
reported before the program ends with status 2; `--text_encoder=` leaves the encoder out.
"""

import functools
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # to run without being installed

if __name__ == "__main__":
  from input_pipeline import startup

  startup.begin()

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags, logging
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from er_jax.text import bert
from er_jax.text.bank import TextBank
from input_pipeline import devices, errors, files, paths
from input_pipeline.errors import UserError
from input_pipeline.metadata import class_names, corrections
from input_pipeline.metadata.class_lists import class_list_file, read_class_list
from input_pipeline.metadata.descriptions import ActionClass

MAX_TOKENS = 100     # as training cuts texts
SPECIAL_TOKENS = 3   # [CLS], [SEP], and the colon behind the name
FEWEST = 3           # described classes; fewer have nothing in common to take out

# What a character of UTF-8 becomes where its bytes, from 0x80 to 0xbf behind the first, are taken for Windows-1252.
_FOLLOWING = "".join(bytes([byte]).decode("cp1252", "ignore") + chr(byte) for byte in range(0x80, 0xc0))
GARBLED = {     # parts of a text that nobody meant to write
    "the HTML entity": re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"),
    "the HTML tag": re.compile(r"</?[A-Za-z][^<>]*>"),
    "UTF-8 read as something else,": re.compile(
        f"[\xc2-\xdf][{re.escape(_FOLLOWING)}]|[\xe0-\xf4][{re.escape(_FOLLOWING)}]{{2,3}}"),
}


class Finding(NamedTuple):
  """Something to look at: a class, and what may be wrong with its description."""

  action: ActionClass
  problem: str


def short(classes: Sequence[ActionClass], min_words: int) -> list[Finding]:
  """Descriptions that are empty, have fewer words than this, or no word that their name lacks."""
  findings = []
  for action in classes:
    words = _words(action.description)
    if not words:
      findings.append(Finding(action, "is empty"))
    elif len(words) < min_words:
      findings.append(Finding(action, f"has {len(words)} word{'s' if len(words) > 1 else ''}"))
    elif set(words) <= set(_words(action.name)):
      findings.append(Finding(action, "says no more than the name"))
  return findings


def long(classes: Sequence[ActionClass]) -> list[Finding]:
  """Descriptions that training cuts, because they have more words and signs, each a token or more, than it reads."""
  counts = [len(re.findall(r"\w+|[^\w\s]", f"{action.name} {action.description}")) for action in classes]
  return [Finding(action, f"has {count} words and signs with its name; behind {MAX_TOKENS} tokens nothing is read")
          for action, count in zip(classes, counts) if count + SPECIAL_TOKENS > MAX_TOKENS]


def garbled(classes: Sequence[ActionClass]) -> list[Finding]:
  """Names and descriptions with remains of HTML, of a wrong encoding, or with characters that nobody sees."""
  return [Finding(action, f"has {', '.join(parts)}{' in its name' if text is action.name else ''}")
          for action in classes for text in (action.name, action.description) if (parts := _garbled_parts(text))]


def _garbled_parts(text: str) -> list[str]:
  parts = [f"{what} {match[0][:20]!r}" for what, pattern in GARBLED.items() if (match := pattern.search(text))]
  unseen = dict.fromkeys(sign for sign in text if sign == "\ufffd"
                         or unicodedata.category(sign) in ("Cc", "Cf", "Co", "Cn") and sign not in "\t\n\r")
  return parts + [f"U+{ord(sign):04X} {unicodedata.name(sign, 'that is no character')}" for sign in unseen]


def repeated(classes: Sequence[ActionClass]) -> list[Finding]:
  """Descriptions that are, but for case and blanks, those of other classes of the list as well."""
  return [Finding(action, f"is that of {_quoted(other.name for other in group if other is not action)} too")
          for text, group in _by_text(classes).items() if text and len(group) > 1 for action in group]


def shared(classes: Sequence[ActionClass], others: Sequence[ActionClass]) -> list[Finding]:
  """Descriptions that are, but for case and blanks, those of classes of another list."""
  theirs = _by_text(others)
  return [Finding(action, f"is that of {_quoted(other.name for other in theirs[text])} there")
          for text, group in _by_text(classes).items() if text and text in theirs for action in group]


def names_in_both(classes: Sequence[ActionClass], others: Sequence[ActionClass]) -> list[str]:
  """The names of classes that are in another list as well, compared by their letters and digits."""
  theirs = {class_names.key(action.name) for action in others}
  return [action.name for action in classes if class_names.key(action.name) in theirs]


def embed(text_encoder: str, texts: Sequence[str]) -> np.ndarray:
  """(len(texts), H) float32: the mean of the last hidden state over each text's tokens, special ones too.

  Args:
    text_encoder: a BERT's folder or Hugging Face hub id, as config.model.text_backbone.name_or_path.
    texts: cut to MAX_TOKENS tokens.

  Raises:
    UserError: it is no BERT, has no weights, or cannot be downloaded.
  """
  devices.require()
  config = ConfigDict({"kind": "bert", "name_or_path": text_encoder, "trainable_from": "", "dropout_rate": 0.0,
                       "frozen_dropout": False})
  tower = bert.TOWER.build(config, jnp.float32, None, True)   # a BERT brings its own words
  if not tower.pretrained:
    raise UserError(f"{text_encoder} has no model.safetensors; the similarity of texts needs a trained BERT.")
  bank = TextBank.build(tower.tokenizer.encode(texts, min(MAX_TOKENS, tower.max_tokens)))
  params = unflatten_dict(tower.pretrained, sep="/")
  run = jax.jit(functools.partial(tower.module.apply, deterministic=True))
  bank = bank.with_hidden(functools.partial(run, {"params": params}), tower.module.width, np.dtype(np.float32))
  assert bank.hidden is not None
  return np.stack([bank.hidden[start:start + length].mean(axis=0) for start, length in zip(bank.starts, bank.lengths)])


def misfits(classes: Sequence[ActionClass], text_encoder: str) -> list[Finding]:
  """The misfits among classes that have a description; see `rank_misfits` and `embed`."""
  classes = [action for action in classes if action.description.strip()]
  if len(classes) < FEWEST:
    return []
  embeddings = embed(text_encoder, [action.name for action in classes] + [action.description for action in classes])
  return rank_misfits(classes, *np.split(embeddings, 2))


def rank_misfits(classes: Sequence[ActionClass], names: np.ndarray, texts: np.ndarray) -> list[Finding]:
  """Descriptions that the name of another class is nearer to than that of their own.

  Args:
    classes: C classes, FEWEST or more.
    names: (C, H) embeddings of their names.
    texts: (C, H) embeddings of their descriptions.

  Returns:
    The least similar to its own name first, by the cosine of centred embeddings.
  """
  similarity = _directions(names) @ _directions(texts).T     # names by descriptions
  own = np.diagonal(similarity)
  place = 1 + np.sum(similarity > own, axis=0)               # of the own name among all, for each description
  nearest = similarity.argmax(axis=0)
  return [Finding(classes[i], f"fits {classes[nearest[i]].name!r} best; its own name is number {place[i]} of "
                              f"{len(classes)}, with similarity {own[i]:.2f}")
          for i in np.argsort(own, kind="stable") if place[i] > 1]


def report_rows(findings: Iterable[Finding]) -> list[dict]:
  """{"name", "description", "problems"} of each class that something was found about, in the order of the findings."""
  rows: dict[str, dict] = {}
  for action, problem in findings:
    rows.setdefault(action.name, {"name": action.name, "description": action.description, "problems": []})
    rows[action.name]["problems"].append(problem)
  return list(rows.values())


def _directions(embeddings: np.ndarray) -> np.ndarray:
  centred = embeddings - embeddings.mean(axis=0)
  return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def _words(text: str) -> list[str]:
  return re.findall(r"\w+", text.casefold())


def _by_text(classes: Sequence[ActionClass]) -> dict[str, list[ActionClass]]:
  groups = defaultdict(list)
  for action in classes:
    groups[" ".join(action.description.casefold().split())].append(action)
  return groups


def _quoted(names: Iterable[str]) -> str:
  return ", ".join(map(repr, names))


def _print(title: str, findings: Sequence[Finding]) -> None:
  """The title and, where there is something below it, a table."""
  print(title, flush=True)
  if findings:
    table = Table("", "class", "its description", "which reads", show_lines=True)
    for column in table.columns[1:]:
      column.overflow = "fold"
    for number, (action, problem) in enumerate(findings, start=1):
      text = action.description if len(action.description) <= 160 else action.description[:157] + "..."
      where = f"\n({Path(action.where).name})" if action.where else ""
      table.add_row(str(number), *map(Text, (action.name + where, problem, text)))
    Console().print(table)


def define_flags() -> None:
  """The command's flags; not defined on import, because other commands define some of the same names."""
  flags.DEFINE_string("classes", None, "The class list to check.", required=True)
  flags.DEFINE_multi_string("compare", [], "Another class list, for what both share; can be repeated.")
  flags.DEFINE_string("corrections", None, "A corrections file, laid over --classes first.")
  flags.DEFINE_string("text_encoder", "bert-base-uncased", "A BERT: folder or Hugging Face hub id; empty for none.")
  flags.DEFINE_integer("top", 10, "How many descriptions that do not fit their class to list.", lower_bound=1)
  flags.DEFINE_integer("min_words", 4, "Descriptions with fewer words are very short.", lower_bound=1)
  flags.DEFINE_string("output", None, "File to write what was found to, a class a line.")


def _require_other_output(
    output: Path | None, class_list: Path, others: Sequence[Path], corrected: Path | None) -> None:
  """Raises: UserError if the report would take the place of what the command reads."""
  lists = [("classes", class_list), *(("compare", path) for path in others)]
  inputs = [(flag, class_list_file(path)) for flag, path in lists]
  inputs += [("corrections", corrected)] if corrected else []
  for flag, path in inputs:
    if output and output.resolve() == path.resolve():
      raise UserError(f"--output={output} is the file that --{flag} reads, and would be overwritten; give "
                      "another --output=FILE for the report.")


def main(_: list[str]) -> None:
  """Reads, checks, reports."""
  logging.set_verbosity(logging.ERROR)    # libraries' remarks; ours are printed
  values = flags.FLAGS
  class_list, corrected, output = paths.of_flags(values, "classes", "corrections", "output")
  compared = [paths.absolute(path, "--compare") for path in values.compare]
  _require_other_output(output, class_list, compared, corrected)
  published = read_class_list(class_list)
  others = {path: read_class_list(path) for path in compared}
  classes = corrections.apply(corrected, published) if corrected else published
  changed = sum(new.description != old.description for new, old in zip(classes, published))
  print(f"{class_list}: {len(classes)} classes"
        + (f", {changed} of them with another description by {corrected}" if corrected else ""))

  for path, theirs in others.items():
    same, both = shared(classes, theirs), names_in_both(classes, theirs)
    _print(f"Descriptions that classes in {path} have too: {len(same)} of {len(classes)}", same)
    print(f"Names that are in {path} too: {len(both)} of {len(classes)}" + (f": {', '.join(both)}" if both else ""))
  few, again, odd, cut = short(classes, values.min_words), repeated(classes), garbled(classes), long(classes)
  _print(f"Descriptions that are empty, shorter than {values.min_words} words, or the name again: {len(few)}", few)
  _print(f"Descriptions that several classes have: {len(again)}", again)
  _print(f"Names and descriptions with remains of HTML or of a wrong encoding, or unseen characters: {len(odd)}", odd)
  _print(f"Descriptions that are cut, as training reads {MAX_TOKENS} tokens: {len(cut)}", cut)
  found = [*few, *again, *odd, *cut]
  if output:
    files.write_jsonl(output, report_rows(found))
  if values.text_encoder:
    try:
      least = misfits(classes, values.text_encoder)
    except UserError as error:
      raise UserError("Left out of the report: descriptions that do not fit their class, which need a text encoder.\n"
                      f"{error}\nThis program takes it as --text_encoder=FOLDER.") from error
    _print(f"Descriptions that fit another class's name better than their own: {len(least)} of {len(classes)}"
           + (f", of which the {values.top} that fit their own least" if len(least) > values.top else ""),
           least[:values.top])
    if output:
      files.write_jsonl(output, report_rows([*found, *least[:values.top]]))


if __name__ == "__main__":
  define_flags()
  errors.run(main)
