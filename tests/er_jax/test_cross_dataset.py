"""A trained model on another dataset: which classes it knows already, and accuracy with and without those."""

import dataclasses
import json

import numpy as np
import pytest

from er_jax import cross_dataset, run
from input_pipeline.dataset import Dataset
from input_pipeline.errors import UserError
from input_pipeline.metadata.descriptions import ActionClass, write_classes
from tests.er_jax.small import small_config, small_dataset, split_at_random


def test_twins_have_the_same_name_or_the_same_description():
  seen = [ActionClass("Pull-ups", "to lift the chin above a bar"), ActionClass("archery", "shooting with a bow"),
          ActionClass("diving", "")]
  unseen = [ActionClass("pull ups", "an exercise"), ActionClass("shoot bow", "Shooting with  a bow"),
            ActionClass("swimming", ""), ActionClass("archery", "shooting with a bow")]
  assert cross_dataset.twins(seen, unseen) == {
      0: {"name": "Pull-ups"}, 1: {"description": "archery"}, 3: {"name": "archery", "description": "archery"}}


@pytest.fixture
def trained(tmp_path, bert_folder, monkeypatch):
  """A model trained on the small dataset, and a function that tests it on another dataset."""
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  config, workdir = small_config("vse", bert_folder), tmp_path / "run"
  run.run(config, str(workdir), mode="train")

  def test_on(dataset, **changes):
    monkeypatch.setattr(run, "open_prepared", lambda data_dir, name: dataset)
    changed = small_config("vse", bert_folder, **changes)
    return run.run(changed, str(workdir), mode="eval", test_dataset="other")

  return test_on


def other_dataset(folder, **options) -> Dataset:
  """Random class splits, and names of its own except "push cup", of which "lift ball" is the description too."""
  folder.mkdir()
  dataset = split_at_random(small_dataset(folder, test_per_class=5, seen_held_out=True, **options), num_splits=3)
  seen = set(small_dataset(folder).class_splits[0].seen)
  classes = [action if label in seen and label != 9 else
             action._replace(name=f"other {action.name}", description="with a thing")
             for label, action in enumerate(dataset.classes)]
  write_classes(folder / "classes.jsonl", classes)
  return dataclasses.replace(dataset, name="other", classes=classes)


def test_accuracy_is_reported_with_and_without_seen_twins(trained, tmp_path):
  dataset = other_dataset(tmp_path / "other")
  results = trained(dataset)
  folder = tmp_path / "run" / "on_other"
  assert json.loads((folder / "results.json").read_text()) == results
  assert (results["dataset"], results["trained_on"]) == ("other", "small")
  known = {dataset.classes[label].name for label in (5, 0, 6, 3, 10)}      # the seen classes that kept their text
  tests = [split.test for split in dataset.class_splits]
  in_tests = set().union(*tests)
  assert {entry["class"] for entry in results["overlap"]} == {
      name for label, name in enumerate(a.name for a in dataset.classes) if name in known and label in in_tests}
  for k, test in enumerate(tests):
    split = results["splits"][str(k)]
    kept = [label for label in test if dataset.classes[label].name not in known]
    assert (split["num_videos"], split["num_classes"]) == (5 * len(test), len(test))
    without = split["without_twins"]
    assert (without["num_videos"], without["num_classes"]) == (5 * len(kept), len(kept))
    with np.load(folder / "predictions" / f"test{k}.npz") as saved:
      logits, targets = saved["logits"], saved["targets"]
    assert split["precision@1"] == pytest.approx(100 * np.mean(logits.argmax(1) == targets))
    columns = [test.index(label) for label in kept]
    rows = np.isin(targets, columns)
    right = np.array(columns)[logits[rows][:, columns].argmax(1)] == targets[rows]
    assert without["precision@1"] == pytest.approx(100 * np.mean(right))
  for part in (results, results["without_twins"]):
    splits = [split if part is results else split["without_twins"] for split in results["splits"].values()]
    assert part["mean"]["precision@1"] == pytest.approx(np.mean([split["precision@1"] for split in splits]))
  assert results["all_classes"]["num_videos"] == 5 * len(in_tests)
  assert results["data"]["path"] == str(dataset.path) and results["training_data"]["path"] == str(tmp_path)


def test_a_class_is_no_other_one_for_being_described_otherwise(trained, tmp_path):
  dataset = other_dataset(tmp_path / "other")
  before = trained(dataset)
  reworded = [action._replace(description=f"{action.description} slowly") for action in dataset.classes]
  after = trained(dataclasses.replace(dataset, classes=reworded))
  assert [entry["class"] for entry in after["overlap"]] == [entry["class"] for entry in before["overlap"]]


def test_features_of_another_width_are_refused(trained, tmp_path):
  with pytest.raises(UserError, match="features of 8 numbers.*of 16.*same network"):
    trained(other_dataset(tmp_path / "other", feature_dim=8))


def test_a_dataset_prepared_with_other_weights_is_warned_of(trained, tmp_path, capsys):
  trained(dataclasses.replace(other_dataset(tmp_path / "other"), source={"fingerprint": "other weights"}))
  assert "not prepared with the same weights" in capsys.readouterr().err
