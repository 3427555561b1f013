"""A run whose folder, data and text backbone have moved goes on, and is evaluated, as if they had not."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from er_jax import run
from input_pipeline.errors import UserError
from tests.er_jax.small import small_config, small_dataset, write_bert_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
  """A folder with a dataset, a BERT, and a run that is trained for one of two epochs."""
  folder = tmp_path_factory.mktemp("trained")
  (folder / "bert").mkdir()
  write_bert_folder(folder / "bert")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run, "open_dataset", lambda config: small_dataset(Path(config.data.data_dir)))
    run.run(config_in(folder, num_epochs=1), str(folder / "run"), mode="train")
  return folder


@pytest.fixture
def old(trained, tmp_path, monkeypatch) -> Path:
  """The same for one test to move and change; it knows nothing of the other folder."""
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(Path(config.data.data_dir)))
  folder = tmp_path / "old"
  shutil.copytree(trained, folder)
  for name in ("config.json", "data.json"):
    told = folder / "run" / name
    told.write_text(told.read_text().replace(str(trained), str(folder)))
  return folder


def config_in(folder: Path, bert: str = "bert", **overrides):
  return small_config("vse", str(folder / bert), data__data_dir=str(folder), **overrides)


def scores(folder: Path) -> np.ndarray:
  with np.load(folder / "run" / "predictions" / "test0.npz") as saved:
    return saved["logits"]


def forget_hashes(folder: Path) -> None:
  """As runs of earlier versions are."""
  path = folder / "run" / "data.json"
  kept = json.loads(path.read_text())
  path.write_text(json.dumps({name: value for name, value in kept.items() if name in ("manifest", "class_splits", "descriptions")}))


def test_a_run_that_has_moved_with_all_it_needs_goes_on_to_the_same_numbers(old, tmp_path, capsys):
  new, stays = tmp_path / "new" / "place", tmp_path / "stays"
  shutil.copytree(old, new)
  shutil.copytree(old, stays)
  run.run(config_in(stays, bert="../old/bert", num_epochs=2), str(stays / "run"))
  shutil.rmtree(old)
  run.run(config_in(new, num_epochs=2), str(new / "run"))
  np.testing.assert_array_equal(scores(new), scores(stays))
  (new / "bert").rename(new / "renamed")
  before = scores(new)
  shutil.rmtree(new / "run" / "predictions")
  run.run(config_in(new, bert="renamed"), str(new / "run"), mode="eval")
  np.testing.assert_array_equal(scores(new), before)
  assert "cannot be compared" not in capsys.readouterr().err


@pytest.mark.parametrize("mode, elsewhere", [("train", None), ("eval", None), ("eval", "small")])
@pytest.mark.parametrize("is_moved", [True, False])
def test_another_text_backbone_is_not_taken_for_that_of_the_run(old, monkeypatch, mode, elsewhere, is_moved):
  monkeypatch.setattr(run, "open_prepared", lambda data_dir, name: small_dataset(Path(data_dir)))
  if is_moved:
    shutil.copytree(old / "bert", old / "other" / "bert")
  bert = "other/bert" if is_moved else "bert"
  vocabulary = old / bert / "vocab.txt"
  vocabulary.write_text(vocabulary.read_text().replace("shoe", "boot"))
  with pytest.raises(UserError, match=r"different are its text backbone \(vocab.txt\)"):
    run.run(config_in(old, bert=bert, num_epochs=1), str(old / "run"), mode=mode, test_dataset=elsewhere)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("what", ["features", "concepts.jsonl", "class_vectors.npy"])
def test_other_features_or_files_beside_them_are_not_taken_for_those_of_the_run(old, monkeypatch, mode, what):
  if what == "features":
    other = dataclasses.replace(small_dataset(old), source={"fingerprint": "another"})
    monkeypatch.setattr(run, "open_dataset", lambda config: other)
  else:
    (old / what).write_text("other")
  with pytest.raises(UserError, match=f"different are its {what}"):
    run.run(config_in(old, num_epochs=2), str(old / "run"), mode=mode)


def test_a_file_of_the_text_backbone_that_is_gone_is_named_to_a_run_of_an_earlier_version(old):
  path = old / "run" / "data.json"
  kept = json.loads(path.read_text())
  del kept["features"], kept["beside"]
  kept["text_backbone"]["files"]["tokenizer_config.json"] = "0" * 64
  path.write_text(json.dumps(kept))
  with pytest.raises(UserError, match=r"different are its text backbone \(tokenizer_config.json\)"):
    run.run(config_in(old, num_epochs=2), str(old / "run"), mode="train")


@pytest.mark.parametrize("then, now, refusal", [
    ("there", "same", None), ("there", "changed", "name_or_path is .*new/bert'"),
    ("gone", "same", None), ("gone", "renamed", "name_or_path is .*renamed'")])
def test_a_run_of_an_earlier_version_may_move_as_far_as_can_be_told(old, tmp_path, capsys, then, now, refusal):
  forget_hashes(old)
  new = tmp_path / "new"
  shutil.copytree(old, new)
  if then == "gone":
    shutil.rmtree(old)
  if now == "renamed":
    (new / "bert").rename(new / "renamed")
  if now == "changed":
    (new / "bert" / "vocab.txt").write_text((new / "bert" / "vocab.txt").read_text().replace("shoe", "boot"))
  config = config_in(new, bert="renamed" if now == "renamed" else "bert", num_epochs=1)
  if refusal:
    with pytest.raises(UserError, match=refusal):
      run.run(config, str(new / "run"), mode="eval")
    return
  assert run.run(config, str(new / "run"), mode="eval")
  assert ("cannot be compared any more; it is taken for the same" in capsys.readouterr().err) == (then == "gone")


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_training_started_from_may_move(old, tmp_path, is_kept):
  step = min((old / "run" / "checkpoints").glob("[0-9]*"))
  shutil.copytree(step, old / "first")

  def train(init_from: str) -> None:
    run.run(config_in(old, num_epochs=1, init_from=str(old / init_from)), str(old / "next" / "run"), mode="train")

  train("first")
  if not is_kept:
    forget_hashes(old / "next")
  shutil.copytree(old / "first", old / "second")
  train("second")
  shutil.copytree(old / "second", old / "third")
  (old / "third" / "more").touch()
  with pytest.raises(UserError, match="config.init_from is .*third', was .*second'"):
    train("third")


def test_a_tower_that_reads_no_files_does_not_ask_where_they_are(old, tmp_path):
  config = small_config("vse_wordembed", str(old / "bert"), num_epochs=1, data__data_dir=str(old))
  run.run(config, str(old / "words"), mode="train")
  config.model.text_backbone.name_or_path = str(tmp_path / "nowhere")
  assert run.run(config, str(old / "words"), mode="eval")
