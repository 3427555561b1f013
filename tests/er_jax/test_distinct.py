"""Classes of which a method reads the same: which ones, why, and where it is told."""

import dataclasses
import json

import pytest

from er_jax import methods, run
from er_jax.batch_builder import BatchBuilder
from input_pipeline.errors import UserError
from input_pipeline.loaders import examples
from input_pipeline.metadata.class_splits import ClassSplit
from input_pipeline.metadata.descriptions import ActionClass
from tests.er_jax.small import small_config
from tests.er_jax.small import small_dataset as make_small_dataset


def alike(dataset, config):
  method = methods.build(config, dataset)
  videos = examples(dataset, "train", dataset.class_splits[0].seen)
  return BatchBuilder(dataset, config, method, [videos], 1).alike


def described(dataset, texts: dict[int, tuple[str, str]]):
  """The dataset with other names and descriptions of some classes."""
  return dataclasses.replace(dataset, classes=[ActionClass(*texts.get(label, action[:2]))
                                               for label, action in enumerate(dataset.classes)])


# Classes 1, 2, 4, 7, 8 and 11 are unseen, and each split validates on two of them.
@pytest.mark.parametrize("method, texts, fields, why", [
    ("vse", {7: ("öffnen", "a cup"), 8: ("schließen", "a cup")}, {}, "only in words that the text backbone does not know"),
    ("vse", {7: ("a cup", "a ball of star"), 8: ("a cup", "a ball of key")}, {"data__max_tokens": 8}, "begin alike and are cut"),
    ("vse", {7: ("a cup", "moved"), 8: ("A Cúp", "moved")}, {}, "differ only in case, accents or signs"),
    ("vse", {7: ("lift", "a cup"), 8: ("spin", "a cup")}, {"data__class_text": "description"}, "their texts are equal"),
    ("vse_wordembed", {7: ("a cup öffnen", ""), 8: ("a cup", "")}, {"data__class_text": "name"}, "does not know"),
    ("vse_wordembed", {7: ("a cup", ""), 8: ("cup a", "")}, {"data__class_text": "name"}, "the same words"),
])
def test_classes_of_the_same_tokens_are_named_with_the_reason(small_dataset, bert_folder, method, texts, fields, why):
  found = alike(described(small_dataset, texts), small_config(method, bert_folder, **fields))
  assert [set(group.classes) for group in found.groups] == [{texts[7][0], texts[8][0]}]
  assert why in found.groups[0].why and repr(texts[7][0]) in found.remarks[-1] and why in found.remarks[-1]
  assert found.results == {"indistinguishable": [{"classes": [texts[7][0], texts[8][0]], "why": found.groups[0].why}]}


def test_the_same_text_in_a_seen_and_an_unseen_class_is_none_of_it(small_dataset, bert_folder):
  found = alike(described(small_dataset, {7: ("x", small_dataset.classes[6].description)}),
                small_config("vse", bert_folder, data__class_text="description"))
  assert found.groups == [] and found.remarks == [] and found.results == {}


@pytest.mark.parametrize("method", ["devise", "gcn"])
def test_equal_class_vectors_are_named(small_dataset, bert_folder, method):
  vectors = small_dataset.class_vectors.copy()
  vectors[8] = vectors[7]
  found = alike(dataclasses.replace(small_dataset, class_vectors=vectors), small_config(method, bert_folder))
  names = tuple(small_dataset.classes[label].name for label in (7, 8))
  assert [(group.classes, group.why) for group in found.groups] == [(names, "their class vectors are equal")]


def test_a_set_of_classes_that_are_all_the_same_is_refused(small_dataset, bert_folder):
  chinese = {label: (f"{sign}", "打开") for label, sign in zip((7, 8, 11), "开关门")}
  dataset = dataclasses.replace(described(small_dataset, chinese),
                                class_splits=(ClassSplit((5, 0, 6), (1, 2), (7, 8, 11)),))
  with pytest.raises(UserError, match=r"cannot tell any of the 3 test classes of .* apart, such as '开', '关' and '门': .* "
                                      "does not know. Describe them in words"):
    alike(dataset, small_config("vse", bert_folder))


def test_many_unknown_words_are_told(small_dataset, bert_folder):
  dataset = described(small_dataset, {label: (f"{name} öffne schnell diese alte Tür", "x") for label, (name, *_) in
                                      enumerate(small_dataset.classes)})
  remarks = alike(dataset, small_config("vse", bert_folder)).remarks
  assert remarks[0].startswith("warning: the text backbone does not know 72 of the 108 words (or signs)")   # of 12 times 9


def test_a_run_tells_it_once_and_its_results_keep_it(tmp_path, bert_folder, monkeypatch, capsys):
  dataset = make_small_dataset(tmp_path)
  vectors = dataset.class_vectors.copy()
  vectors[8] = vectors[7]
  dataset = dataclasses.replace(dataset, class_vectors=vectors)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  monkeypatch.setattr(run.plots, "write_pictures", lambda *_: None)
  monkeypatch.setattr(run.plots, "contact_sheet", lambda *_: None)
  run.run(small_config("eszsl", bert_folder, num_epochs=1), str(tmp_path / "run"))
  assert capsys.readouterr().err.count("cannot tell these classes apart") == 1
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert [group["classes"] for group in results["indistinguishable"]] == [[dataset.classes[7].name, dataset.classes[8].name]]
