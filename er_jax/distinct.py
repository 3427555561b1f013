"""Whether a method can tell the classes of a dataset apart, by what it reads of them: their texts or their vectors.

    alike = distinct.check(dataset, config, method, texts)
    [group.classes for group in alike.groups], alike.remarks

Classes of which it reads the same get the same scores, whatever it has learned; which of them is right is then chance.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from er_jax.methods import Method
from er_jax.models.spec import GRAPH, VECTORS
from er_jax.text.collect import CollectedTexts, texts_of_classes
from er_jax.text.tower import TextTower
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError

SHOWN = 10                # groups of classes that a warning lists
MOST_UNKNOWN = 0.3        # of the words of class texts; above it is told
WHOLE = 1 << 20           # tokens; no text is cut there
FIELD = "indistinguishable"      # of results.json


class Group(NamedTuple):
  """Names of classes of which a method reads the same; why that is; and what can be done."""
  classes: tuple[str, ...]
  why: str
  remedy: str


class Alike(NamedTuple):
  """Groups of classes of one set that cannot be told apart, and remarks for a person."""
  groups: list[Group]
  remarks: list[str]

  @property
  def results(self) -> dict[str, list[dict]]:
    """What results.json says of them: nothing if there are none."""
    rows = [{"classes": list(group.classes), "why": group.why} for group in self.groups]
    return {FIELD: rows} if rows else {}


def check(dataset: Dataset, config: ConfigDict, method: Method, texts: CollectedTexts | None) -> Alike:
  """Looks at each set of classes that are told apart: the seen ones, those of each validation and of each test.

  Args:
    dataset, config: of the experiment.
    method: that is to tell them apart.
    texts: what it reads of the classes, if it reads texts.

  Raises:
    UserError: all classes of a set are the same to the method.
  """
  read = _reader(dataset, method, texts)
  found: dict[tuple[int, ...], Group] = {}
  for title, labels in _sets(dataset):
    for group in _groups(labels, read):
      found[group] = _explain(dataset, config, method, group)
      if len(group) == len(labels):
        raise UserError(f"Method {method.name} cannot tell any of the {len(labels)} {title} of {dataset.path} apart, such "
                        f"as {_quoted(found[group].classes[:3])}: {found[group].why}. {found[group].remedy}")
  remarks = _unknown_words(dataset, config, method.text) if method.text else []
  if found:
    remarks.append(_remark(list(found.values()), method.name))
  return Alike(list(found.values()), remarks)


def _sets(dataset: Dataset) -> Iterator[tuple[str, Sequence[int]]]:
  """What a message calls the classes, and their positions."""
  several = len(dataset.class_splits) > 1
  for k, split in enumerate(dataset.class_splits):
    for title, labels in (("seen", split.seen), ("validation", split.val), ("test", split.test)):
      if len(labels) > 1:
        yield f"{title} classes" + f" of split {k}" * (several and title != "seen"), labels


def _reader(dataset: Dataset, method: Method, texts: CollectedTexts | None) -> Callable[[int], Hashable]:
  """A function of a class's position, equal where the method reads the same."""
  vectors = dataset.class_vectors if method.needs & {VECTORS, GRAPH} else None
  ordered = method.text is None or method.text.reads_order

  def read(label: int) -> Hashable:
    tokens = None
    if texts is not None:
      start, length = (int(x[texts.of_class[label]]) for x in (texts.bank.starts, texts.bank.lengths))
      tokens = texts.bank.tokens[start:start + length].tolist()
      tokens = tuple(tokens if ordered else sorted(tokens))
    return tokens, None if vectors is None else (vectors[label] + 0.0).tobytes()      # -0 and 0 are the same

  return read


def _groups(labels: Sequence[int], read: Callable[[int], Hashable]) -> list[tuple[int, ...]]:
  same = defaultdict(list)
  for label in labels:
    same[read(label)].append(label)
  return [tuple(group) for group in same.values() if len(group) > 1]


def _explain(dataset: Dataset, config: ConfigDict, method: Method, labels: Sequence[int]) -> Group:
  names = tuple(dataset.classes[label].name for label in labels)
  if method.text is None:
    return Group(names, "their class vectors are equal", "Give each class a row of its own in class_vectors.npy.")
  texts, mode = texts_of_classes(dataset, method.text, config.data, labels), config.data.class_text
  whole = {tuple(ids.tolist()) for ids in method.text.tokenizer.encode(texts, WHOLE)}
  if len(set(texts)) == 1:
    return Group(names, "their texts are equal",
                 f"Put what tells them apart into their names or descriptions; class_text={mode} reads no more.")
  if len(whole) > 1 and (method.text.reads_order or len({tuple(sorted(ids)) for ids in whole}) > 1):
    return Group(names, f"their texts begin alike and are cut at config.data.max_tokens={config.data.max_tokens}",
                 "Raise that, or write what tells them apart to the front.")
  if len(whole) > 1:
    return Group(names, "their texts have the same words, and this text backbone reads no order of words",
                 "Describe them in other words, or choose another config.model.text_backbone.kind.")
  if _count_unknown(method.text, texts)[0]:
    return Group(names, "their texts differ only in words that the text backbone does not know",
                 "Describe them in words of its vocabulary, or choose a text backbone of their language.")
  return Group(names, "their texts differ only in case, accents or signs, which the text backbone does not read",
               "Describe them in different words.")


def _count_unknown(tower: TextTower, texts: Sequence) -> tuple[int, int]:
  count = getattr(tower.tokenizer, "count_unknown", None)      # a user's own tokenizer may not tell
  return count(texts) if count else (0, 0)


def _unknown_words(dataset: Dataset, config: ConfigDict, tower: TextTower) -> list[str]:
  labels = sorted({label for split in dataset.class_splits for part in split for label in part})
  unknown, words = _count_unknown(tower, texts_of_classes(dataset, tower, config.data, labels))
  if unknown <= MOST_UNKNOWN * words:
    return []
  return [f"warning: the text backbone does not know {unknown} of the {words} words (or signs) in the class texts, "
          f"{100 * unknown / words:.0f}%, and reads nothing from them. Does its vocabulary fit the language?"]


def _remark(groups: Sequence[Group], method: str) -> str:
  lines = [f"  {_quoted(group.classes)}: {group.why}. {group.remedy}" for group in groups[:SHOWN]]
  more = [f"  ... {len(groups)} such groups in all"] if len(groups) > SHOWN else []
  return "\n".join([f"warning: method {method} cannot tell these classes apart; which of them it finds is chance:",
                    *lines, *more])


def _quoted(names: Sequence[str]) -> str:
  shown = [*map(repr, names[:SHOWN]), *["..."] * (len(names) > SHOWN)]
  return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
