"""Reading a BERT folder, and which of its parameters are frozen."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from er_jax.text.bert_weights import (
  BertConfig,
  frozen_names,
  hf_names,
  load_bert,
  num_frozen_layers,
  params_from_state_dict,
)
from input_pipeline.errors import UserError

CONFIG = BertConfig(vocab_size=7, hidden_size=4, num_hidden_layers=11, num_attention_heads=2,
                    intermediate_size=6, max_position_embeddings=5)
MODULES = {"attention.self.query": (4, 4), "attention.self.key": (4, 4), "attention.self.value": (4, 4),
           "attention.output.dense": (4, 4), "attention.output.LayerNorm": (4,),
           "intermediate.dense": (6, 4), "output.dense": (4, 6), "output.LayerNorm": (4,)}


def state_dict() -> dict[str, np.ndarray]:
  """Arrays with the published names and shapes of CONFIG, each filled with its own number."""
  rows = {"word": 7, "position": 5, "token_type": 2}
  state = {f"embeddings.{name}_embeddings.weight": (count, 4) for name, count in rows.items()}
  state |= {"embeddings.LayerNorm.weight": (4,), "embeddings.LayerNorm.bias": (4,)}
  for i in range(CONFIG.num_hidden_layers):
    for name, shape in MODULES.items():
      state |= {f"encoder.layer.{i}.{name}.weight": shape, f"encoder.layer.{i}.{name}.bias": shape[:1]}
  return {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(state.items())}


def write_folder(folder, state=None, **config):
  values = CONFIG.__dict__ | {"model_type": "bert", "pad_token_id": 0} | config
  (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
  (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n")
  if state is not None:
    save_file(state, folder / "model.safetensors")
  return folder


def test_names_are_in_the_order_of_pytorchs_parameters():
  transformers = pytest.importorskip("transformers")
  pytest.importorskip("torch")
  model = transformers.BertModel(transformers.BertConfig(**CONFIG.__dict__), add_pooling_layer=False)
  assert [theirs for theirs, _ in hf_names(CONFIG)] == [name for name, _ in model.named_parameters()]


def test_dense_kernels_are_transposed_and_everything_has_its_place():
  state = state_dict()
  state["encoder.layer.10.intermediate.dense.weight"] = np.arange(24, dtype=np.float16).reshape(6, 4)
  params = params_from_state_dict(CONFIG, state)
  kernel = params["layer_10"]["intermediate"]["kernel"]
  np.testing.assert_array_equal(kernel, np.arange(24).reshape(6, 4).T)
  assert kernel.dtype == np.float32
  assert params["embeddings"]["position"]["embedding"].shape == (5, 4)
  scale = params["layer_3"]["attention_norm"]["scale"]
  np.testing.assert_array_equal(scale, state["encoder.layer.3.attention.output.LayerNorm.weight"])


def test_folder_with_weights_and_without(tmp_path):
  config, params, folder = load_bert(str(write_folder(tmp_path, state_dict())))
  assert (config, folder) == (CONFIG, tmp_path)
  np.testing.assert_array_equal(params["layer_0"]["attention"]["query"]["bias"], np.full(4, 6))
  (tmp_path / "model.safetensors").unlink()
  assert load_bert(str(tmp_path)) == (CONFIG, None, tmp_path)


def test_old_names_prefixes_and_heads_are_understood(tmp_path):
  state = {}
  for name, array in state_dict().items():
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    state[f"bert.{name}"] = array
  state |= {"bert.pooler.dense.weight": np.zeros((4, 4), np.float32),
            "cls.predictions.bias": np.zeros(7, np.float32),
            "bert.embeddings.position_ids": np.arange(5)[None]}
  _, params, _ = load_bert(str(write_folder(tmp_path, state)))
  jax.tree.map(np.testing.assert_array_equal, params, params_from_state_dict(CONFIG, state_dict()))


def test_every_wrong_name_and_shape_is_listed(tmp_path):
  state = state_dict()
  del state["encoder.layer.4.output.dense.bias"]
  state["embeddings.LayerNorm.bias"] = np.zeros(5, np.float32)
  state["output.dense.weight"] = np.zeros(1, np.float32)
  with pytest.raises(UserError) as error:
    load_bert(str(write_folder(tmp_path, state)))
  message = str(error.value)
  assert str(tmp_path / "model.safetensors") in message
  assert "missing encoder.layer.4.output.dense.bias (4,)" in message
  assert "embeddings.LayerNorm.bias has shape (5,), expected (4,)" in message
  assert "unexpected output.dense.weight (1,)" in message
  assert message.count("\n") == 3


@pytest.mark.parametrize("change, expected", [
    ({"hidden_act": "gelu_ne"}, "gelu_new"),
    ({"model_type": "roberta"}, "model_type is 'roberta'"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
    ({"hidden_size": None}, "missing hidden_size"),
    ({"num_attention_heads": 3}, "not a multiple"),
])
def test_a_config_that_is_not_ours_is_refused(tmp_path, change, expected):
  with pytest.raises(UserError, match=expected):
    load_bert(str(write_folder(tmp_path, **change)))


def test_broken_folders_say_what_is_wrong(tmp_path):
  with pytest.raises(UserError, match="no folder"):
    load_bert(str(tmp_path / "nowhere"))
  write_folder(tmp_path)
  (tmp_path / "pytorch_model.bin").write_bytes(b"")
  with pytest.raises(UserError, match="only model.safetensors is read"):
    load_bert(str(tmp_path))
  (tmp_path / "model.safetensors").write_bytes(b"cut")
  with pytest.raises(UserError, match="Cannot read .*model.safetensors"):
    load_bert(str(tmp_path))
  (tmp_path / "vocab.txt").unlink()
  with pytest.raises(UserError, match="vocab.txt"):
    load_bert(str(tmp_path))


def test_a_hub_id_asks_for_the_needed_files_only(tmp_path, monkeypatch):
  import huggingface_hub

  asked = {}

  def download(name, allow_patterns):
    asked.update(name=name, files=sorted(allow_patterns))
    return str(write_folder(tmp_path, state_dict()))

  monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
  assert load_bert("someone/some-bert")[2] == tmp_path
  assert asked == {"name": "someone/some-bert",
                   "files": ["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"]}


def test_a_hub_id_that_cannot_be_downloaded_says_how_to_get_it(monkeypatch):
  import huggingface_hub

  def fail(name, allow_patterns):
    raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

  monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
  with pytest.raises(UserError, match="hf download bert-base-uncased .*--local-dir"):
    load_bert("bert-base-uncased")


@pytest.mark.parametrize("trainable_from, first_trained", [
    ("embeddings", "embeddings.word_embeddings.weight"),
    ("encoder.layer.1", "encoder.layer.1.attention.self.query.weight"),       # not layer 10
    ("encoder.layer.10", "encoder.layer.10.attention.self.query.weight"),
    ("encoder.layer.3.output", "encoder.layer.3.output.dense.weight"),
    ("encoder", "encoder.layer.0.attention.self.query.weight"),
    ("pooler", None),
    ("encoder.layer.11", None),      # behind the last one
    ("", None),
    (None, None),
])
def test_everything_before_the_named_parameter_is_frozen(trainable_from, first_trained):
  frozen = frozen_names(CONFIG, trainable_from)
  trained = [theirs for theirs, ours in hf_names(CONFIG) if ours not in frozen]
  assert len(trained) + len(frozen) == len(hf_names(CONFIG))
  assert trained == [] if first_trained is None else trained[0] == first_trained


@pytest.mark.parametrize("trainable_from", ["layer.7.", "encoder.layers.10", "bert.encoder.layer.1"])
def test_what_is_no_parameter_is_no_beginning_of_training(trainable_from):
  with pytest.raises(UserError, match=f"trainable_from is '{trainable_from}', with which no parameter of BERT begins"):
    frozen_names(CONFIG, trainable_from)


@pytest.mark.parametrize("trainable_from, expected", [
    ("embeddings.LayerNorm", (False, 0)),
    ("encoder", (True, 0)),
    ("encoder.layer.10", (True, 10)),
    ("encoder.layer.3.output", (True, 3)),   # half of layer 3 is frozen, so it is run each step
    (None, (True, 11)),
])
def test_the_constant_part_ends_at_the_first_layer_that_trains(trainable_from, expected):
  assert num_frozen_layers(CONFIG, trainable_from) == expected
