"""What a person meets at the command line: messages for mistakes, status 2, no traceback; and a whole small run."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from er_jax import run
from input_pipeline.dataset import open_dataset
from input_pipeline.errors import UserError
from tests.er_jax.small import lines_of, small_config, small_dataset, split_at_random, write_manifest

ROOT = Path(__file__).parents[2]


def command(*flags) -> subprocess.CompletedProcess:
  return subprocess.run([sys.executable, "-m", "er_jax.main", *flags], cwd=ROOT, capture_output=True, text=True,
                        env={**os.environ, "PYTHONPATH": "."}, timeout=200, check=False)


@pytest.mark.parametrize("flags, message", [
    (["--config=configs/ervse.py", "--config.optimizer.learning_rat=1"], "learning_rat"),
    (["--config=configs/ervse.py:toy_action"], "toy_actions"),
    (["--config=configs/vse.py:toy_actions", "--config.method=vsee", "--config.data.data_dir=/nowhere"], "vse"),
    (["--config=configs/nothing.py"], "configs/nothing.py"),
    (["--config=configs/common.py"], "get_config"),
    (["--config=configs/vse.py", "--config.modl.pooling=max"], "no field config.modl.pooling. Did you mean model?"),
    (["--config.batch_size=3"], "--config=configs/METHOD.py"),
    (["--config=configs/ervse.py", "--mode=evl"], "evl"),
    (["--config=configs/ervse.py", "--config.optimizer.freeze.fusion=True", "--num_processes=2"], "--process_id"),
    ([], "--config"),
])
def test_a_mistake_ends_with_a_message_and_status_2(flags, message):
  result = command(*flags)
  assert result.returncode == 2, result.stderr
  assert message in result.stderr and "Traceback" not in result.stderr
  assert len(result.stderr.strip().splitlines()) < 12


def test_a_missing_dataset_names_the_command_that_makes_it(tmp_path):
  config = small_config("devise", "")
  config.data.dataset, config.data.data_dir = "toy_actions", str(tmp_path)
  with pytest.raises(UserError, match=r"python -m input_pipeline.prepare --dataset=toy_actions --data_dir="):
    open_dataset(config.data.data_dir, config.data.dataset)


@pytest.mark.parametrize("field, value, near", [
    ("model.fusion", "gates", "gate"), ("model.pooling", "avgg", "avg"), ("dtype", "float23", "float32"),
    ("loss.kind", "cee", "ce"), ("parallel", "jitt", "jit"), ("data.class_text", "names", "name"),
    ("model.text_backbone.kind", "brt", "bert")])
def test_a_wrong_value_is_told_with_the_near_ones(tmp_path, bert_folder, monkeypatch, field, value, near):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  config = small_config("ervse", bert_folder)
  config.update_from_flattened_dict({field: value})
  with pytest.raises(UserError, match=f"{value}.*{near}"):
    run.run(config, str(tmp_path / "run"))


def test_a_run_leaves_what_the_interface_promises(tmp_path, bert_folder, monkeypatch):
  dataset = small_dataset(tmp_path)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  workdir = tmp_path / "run"
  results = run.run(small_config("devise", bert_folder), str(workdir))
  assert json.loads((workdir / "results.json").read_text()) == results
  assert json.loads((workdir / "config.json").read_text())["method"] == "devise"
  assert results["method"] == "devise" and results["dataset"] == "small" and set(results["splits"]) == {"0", "1", "2"}
  for k, classes in enumerate(split.test for split in dataset.class_splits):
    with np.load(workdir / "predictions" / f"test{k}.npz") as saved:
      logits, targets, names = saved["logits"], saved["targets"], saved["names"]
    assert logits.dtype == np.float32 and logits.shape == (len(names), len(classes)) and names.dtype.kind == "U"
    split = results["splits"][str(k)]
    assert split["num_videos"] == len(names) == 4 * len(classes) and split["num_classes"] == len(classes)
    assert split["precision@1"] == pytest.approx(100 * np.mean(logits.argmax(1) == targets))
    assert [dataset.classes[classes[t]].name for t in targets] == [name.split("/")[0] for name in names]
    for picture in (f"confusion_test{k}.png", f"per_class_test{k}.png"):
      assert (workdir / picture).stat().st_size > 1000
  values = [split["precision@1"] for split in results["splits"].values()]
  assert results["mean"]["precision@1"] == pytest.approx(np.mean(values))
  assert results["std"]["precision@1"] == pytest.approx(np.std(values))
  best = {}
  for line in lines_of(workdir):
    if line.get("split") and line["precision@1"] > best.get(line["split"], (-1, 0))[0]:
      best[line["split"]] = line["precision@1"], line["step"]
  assert [results["splits"][k]["step"] for k in "012"] == [best[f"val{k}"][1] for k in "012"]
  assert (workdir / "contact_sheet.png").exists() and list((workdir / "tensorboard").iterdir())

  before = (workdir / "predictions" / "test1.npz").read_bytes()
  again = run.run(small_config("devise", bert_folder), str(workdir), mode="eval")
  assert again == results and (workdir / "predictions" / "test1.npz").read_bytes() == before
  step = results["splits"]["0"]["step"]
  chosen = run.run(small_config("devise", bert_folder), str(workdir), mode="eval",
                    checkpoint=str(workdir / "checkpoints" / str(step)))
  assert chosen["splits"]["0"] == results["splits"]["0"]


def test_each_random_class_split_has_a_model_of_its_own(tmp_path, bert_folder, monkeypatch):
  dataset = write_manifest(split_at_random(small_dataset(tmp_path, seen_held_out=True), num_splits=3))
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  workdir = tmp_path / "run"
  results = run.run(small_config("devise", bert_folder), str(workdir))
  assert json.loads((workdir / "results.json").read_text()) == results and set(results["splits"]) == {"0", "1", "2"}
  for k, class_split in enumerate(dataset.class_splits):
    lines = lines_of(workdir / f"split{k}")
    assert not any("split" in line for line in lines)      # no class validates: the last checkpoint is tested
    split = results["splits"][str(k)]
    assert split["step"] == lines[-1]["step"] == 2 * 2     # 24 videos of 6 seen classes: 2 batches an epoch
    with np.load(workdir / "predictions" / f"test{k}.npz") as saved:
      assert {name.split("/")[0] for name in saved["names"]} == {dataset.classes[c].name for c in class_split.test}
      correct = np.mean(saved["logits"].argmax(1) == saved["targets"])
    assert split["precision@1"] == pytest.approx(100 * correct) and split["num_videos"] == 4 * 6
  values = [split["precision@1"] for split in results["splits"].values()]
  assert results["mean"]["precision@1"] == pytest.approx(np.mean(values))
  assert results["std"]["precision@1"] == pytest.approx(np.std(values))
  assert run.run(small_config("devise", bert_folder), str(workdir), mode="eval") == results

  only = run.run(small_config("devise", bert_folder, data__max_splits=1), str(tmp_path / "only"))
  assert only["splits"] == {"0": results["splits"]["0"]}
  with pytest.raises(UserError, match=r"No model in .*split1, .*split2: train .*or evaluate only .*max_splits=1"):
    run.run(small_config("devise", bert_folder), str(tmp_path / "only"), mode="eval")
  with pytest.raises(UserError, match="is one model, but the dataset has 3 random class splits"):
    run.run(small_config("devise", bert_folder), str(workdir), mode="eval", checkpoint=str(workdir / "split0/checkpoints/4"))
  run.run(small_config("devise", bert_folder, data__max_splits=2), str(workdir), mode="eval")
  assert sorted(path.name for path in (workdir / "predictions").iterdir()) == ["test0.npz", "test1.npz"]


def test_without_validation_classes_an_unfinished_model_is_not_tested(tmp_path, bert_folder, monkeypatch):
  dataset = split_at_random(small_dataset(tmp_path, seen_held_out=True), num_splits=2)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  config = small_config("devise", bert_folder, data__max_splits=1, eval_every_steps=1)
  saves, save = [], run.train.Checkpoints.save

  def stop_at_the_third(checkpoints, state, record):
    save(checkpoints, state, record)
    saves.append(state.step)
    if len(saves) == 3:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(run.train.Checkpoints, "save", stop_at_the_third)
    run.run(config, str(tmp_path / "run"))
  with pytest.raises(UserError, match="training stopped at step 2, and there are no validation classes"):
    run.run(config, str(tmp_path / "run"), mode="eval")
  assert run.run(config, str(tmp_path / "run"))["splits"]["0"]["step"] == 4


@pytest.mark.parametrize("changed, content", [
    ("class_splits.json", "{}"), ("classes.jsonl", '{"name": "x", "description": ""}\n'), ("c.jsonl", None)])
def test_a_model_is_not_trained_on_or_tested_with_other_data(tmp_path, bert_folder, monkeypatch, changed, content):
  dataset = small_dataset(tmp_path)
  (tmp_path / "class_splits.json").write_text(json.dumps([split._asdict() for split in dataset.class_splits]))
  (tmp_path / "c.jsonl").write_text('{"name": "push key", "description": "a key is moved with somebody ."}\n')
  monkeypatch.setattr(run, "open_prepared", lambda data_dir, name: dataset)
  monkeypatch.setattr(run, "dataset_path", lambda data_dir, name: tmp_path)
  config = small_config("devise", bert_folder, num_epochs=1, data__corrections=str(tmp_path / "c.jsonl"))
  run.run(config, str(tmp_path / "run"), mode="train")
  (tmp_path / changed).write_text(content or '{"name": "push key", "description": "a key moved"}\n')
  what = {"c.jsonl": "corrections"}.get(changed, changed)
  for mode in ("eval", "train"):
    with pytest.raises(UserError, match=f"was trained with other data than .*: different are its .*{what}"):
      run.run(config, str(tmp_path / "run"), mode=mode)


def test_random_class_splits_have_no_split_index(tmp_path, bert_folder, monkeypatch):
  dataset = split_at_random(small_dataset(tmp_path, seen_held_out=True), num_splits=2)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  with pytest.raises(UserError, match="split_index is 1, but small is split at random.*max_splits"):
    run.run(small_config("devise", bert_folder, data__split_index=1), str(tmp_path / "run"))


def test_views_are_averaged_as_features_or_as_scores(tmp_path, bert_folder, monkeypatch):
  dataset = small_dataset(tmp_path, num_views=2)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  found = {}
  for way in ("features", "scores"):
    for method in ("devise", "dem"):
      workdir = tmp_path / f"{method}-{way}"
      run.run(small_config(method, bert_folder, data__average_views=way), str(workdir))
      with np.load(workdir / "predictions" / "test0.npz") as saved:
        found[method, way] = saved["logits"]
  # Bilinear scores of a mean are the mean of the scores; squared distances of it are smaller by the variance, 0.25.
  np.testing.assert_allclose(found["devise", "features"], found["devise", "scores"], atol=1e-5)
  np.testing.assert_allclose(found["dem", "features"] - found["dem", "scores"], 0.25 * 16, atol=1e-3)


def test_results_name_the_descriptions_and_the_corrections(tmp_path, bert_folder, monkeypatch):
  dataset = small_dataset(tmp_path)
  monkeypatch.setattr(run, "dataset_path", lambda data_dir, name: tmp_path)
  monkeypatch.setattr(run, "open_prepared", lambda data_dir, name: dataset)
  corrected = tmp_path / "corrections.jsonl"
  corrected.write_text('{"name": "push key", "description": "a key is moved with somebody ."}\n')
  plain = run.run(small_config("vse", bert_folder), str(tmp_path / "plain"))
  listed = hashlib.sha256((tmp_path / "classes.jsonl").read_bytes()).hexdigest()
  assert plain["data"]["descriptions"] == {"class_text": "name_description", "path": str(tmp_path / "classes.jsonl"),
                                           "sha256": listed, "corrections": None}
  other = run.run(small_config("vse", bert_folder, data__corrections=str(corrected)), str(tmp_path / "other"))
  assert other["data"]["descriptions"]["sha256"] == listed
  assert other["data"]["descriptions"]["corrections"] == {
      "path": str(corrected), "sha256": hashlib.sha256(corrected.read_bytes()).hexdigest(), "num_changed": 1}
  logits = [np.load(tmp_path / folder / "predictions" / "test0.npz")["logits"] for folder in ("plain", "other")]
  assert not np.allclose(*logits)


def test_held_out_videos_of_seen_classes_are_reported_and_compete(tmp_path, bert_folder, monkeypatch):
  dataset = small_dataset(tmp_path, seen_held_out=True)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  results = run.run(small_config("vse", bert_folder, num_epochs=1), str(tmp_path / "run"))
  assert results["seen"]["num_videos"] == 24 and results["seen"]["num_classes"] == 6
  for split in results["splits"].values():
    assert split["num_videos"] == 16 and split["num_classes"] == 4          # seen videos are not among these
    both = split["generalized"]
    assert both["num_videos"] == 24 + 16
    assert both["harmonic_mean"] == pytest.approx(2 * both["seen"] * both["unseen"] / max(
        both["seen"] + both["unseen"], 1e-9))
  values = [split["generalized"]["unseen"] for split in results["splits"].values()]
  assert results["generalized"]["mean"]["unseen"] == pytest.approx(np.mean(values))


def test_a_workdir_is_not_taken_for_a_run_of_another_config(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  workdir = tmp_path / "run"
  run.run(small_config("devise", bert_folder), str(workdir), mode="train")
  before = (workdir / "config.json").read_bytes()
  with pytest.raises(UserError, match=r"config.seed is 7, was 0(.|\n)*another --workdir"):
    run.run(small_config("devise", bert_folder, seed=7), str(workdir))
  with pytest.raises(UserError, match="float32"):
    run.run(small_config("devise", bert_folder, dtype="float23"), str(workdir))
  assert (workdir / "config.json").read_bytes() == before


@pytest.mark.parametrize("field, value", [
    ("batch_size", 0), ("optimizer.learning_rate", -1.0), ("optimizer.clip_norm", -1.0),
    ("log_every_steps", 0), ("seed", -1), ("loss.temperature", 0.0),
    ("model.text_encoder.dropout_rate", -0.1), ("model.separate_concepts", True),
    ("loss.rehearsal_weight", float("nan")), ("loss.temperature", float("inf")), ("seed", 2**32),
    ("optimizer.lr_multiplier.text_encoder", -1.0), ("optimizer.weight_decay.fusion", -1.0), ("optimizer.momentum", 9.0),
    ("optimizer.decay_rate", -0.1), ("model.topk_concepts", 21),
    ("model.text_backbone.cache_gigabytes", float("inf"))])
def test_a_number_that_cannot_be_is_named(tmp_path, bert_folder, monkeypatch, field, value):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  config = small_config("ervse", bert_folder)
  config.update_from_flattened_dict({field: value})
  with pytest.raises(UserError, match=field.replace(".", r"\.")):
    run.run(config, str(tmp_path / "run"))


def test_layers_without_units_are_named(tmp_path, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  with pytest.raises(UserError, match=r"config.model.hidden_dims is \(4, 0\)"):
    run.run(small_config("gcn", "", model__hidden_dims=(4, 0)), str(tmp_path / "run"))


def test_a_run_is_not_taken_for_a_shorter_one(tmp_path, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  workdir = tmp_path / "run"
  run.run(small_config("devise", "", num_epochs=2), str(workdir))
  before = {path: path.read_bytes() for path in workdir.glob("*.json")}
  with pytest.raises(UserError, match=r"trained for 6 steps already, but config.num_epochs=1 are 3\. Give at least 2"):
    run.run(small_config("devise", "", num_epochs=1), str(workdir))
  assert {path: path.read_bytes() for path in workdir.glob("*.json")} == before and before
  with pytest.raises(UserError, match="config.num_epochs is 0, but eszsl learns in one pass"):
    run.run(small_config("eszsl", "", num_epochs=0), str(tmp_path / "other"), mode="train")


def test_training_on_takes_away_what_was_said_of_the_model_before(tmp_path, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  workdir = tmp_path / "run"
  run.run(small_config("devise", "", num_epochs=1), str(workdir))
  elsewhere = workdir / "on_other" / "results.json"
  elsewhere.parent.mkdir()
  elsewhere.touch()
  (workdir / "predictions" / "test7.npz").touch()      # of a split that there is no more
  run.run(small_config("devise", "", num_epochs=1), str(workdir))
  assert elsewhere.exists() and not (workdir / "predictions" / "test7.npz").exists()
  run.run(small_config("devise", "", num_epochs=2), str(workdir), mode="train")
  assert {path.name for path in workdir.rglob("*") if path.suffix in (".npz", ".png") or path.name == "results.json"} == set()


def test_a_checkpoint_of_another_run_is_compared_with_that(tmp_path, bert_folder, monkeypatch, capsys):
  dataset = small_dataset(tmp_path)
  monkeypatch.setattr(run, "open_dataset", lambda config: dataset)
  run.run(small_config("vse", bert_folder, num_epochs=1), str(tmp_path / "a"), mode="train")
  checkpoint, other = tmp_path / "a" / "checkpoints" / "3", str(tmp_path / "b")
  with pytest.raises(UserError, match=r"was trained with config.model.pooling='avg' \(now 'max'\)"):
    run.run(small_config("vse", bert_folder, model__pooling="max"), other, "eval", checkpoint)
  assert run.run(small_config("vse", bert_folder), other, "eval", checkpoint)["checkpoint"] == str(checkpoint)
  assert "Warning" not in capsys.readouterr().err
  (tmp_path / "class_splits.json").write_text("{}")
  run.run(small_config("vse", bert_folder), other, "eval", checkpoint)
  assert "trained with other data: different are class splits" in capsys.readouterr().err


def test_a_split_that_is_not_there_is_told(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  with pytest.raises(UserError, match=r"config.data.split_index is 3, but small has 3 splits \(0 to 2\)"):
    run.run(small_config("devise", bert_folder, data__split_index=3), str(tmp_path / "run"))


def test_a_run_is_evaluated_as_it_was_trained(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  workdir = str(tmp_path / "run")
  run.run(small_config("vse", bert_folder, num_epochs=1), workdir, mode="train")
  with pytest.raises(UserError, match="config.data.class_text is 'name', was 'name_description'"):
    run.run(small_config("vse", bert_folder, num_epochs=1, data__class_text="name"), workdir, mode="eval")
  run.run(small_config("vse", bert_folder, num_epochs=1, seed=5, loss__temperature=1.0), workdir, mode="eval")


def test_the_same_command_again_goes_on_with_a_config_of_tuples(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  config = small_config("gcn", bert_folder, model__hidden_dims=(4, 5))
  first = run.run(config, str(tmp_path / "run"))
  assert run.run(config, str(tmp_path / "run")) == first


def test_a_loss_of_other_methods_is_told(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  with pytest.raises(UserError, match="loss.kind is 'l2', but method ervse trains with ce or rank"):
    run.run(small_config("ervse", bert_folder, loss__kind="l2"), str(tmp_path / "run"))


def test_training_nothing_is_refused(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  with pytest.raises(UserError, match="no parameter to train"):
    run.run(small_config("devise", bert_folder, optimizer__freeze__devise=True), str(tmp_path / "run"))


def test_evaluating_without_training_says_what_to_do(tmp_path, bert_folder, monkeypatch):
  monkeypatch.setattr(run, "open_dataset", lambda config: small_dataset(tmp_path))
  with pytest.raises(UserError, match="Train first"):
    run.run(small_config("devise", bert_folder), str(tmp_path / "run"), mode="eval")
  assert not (tmp_path / "run").exists()
