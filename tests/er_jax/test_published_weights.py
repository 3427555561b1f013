"""Published files of every method, in every form that they come in, as our parameters."""

import dataclasses
import re
import sys

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from er_jax.experiment import Experiment
from input_pipeline import array_files
from input_pipeline.errors import UserError
from tests.er_jax.small import small_config, small_dataset

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from er_jax.convert import KINDS  # noqa: E402
from tests.er_jax import published_peers as peers  # noqa: E402

CASES = {
    "ervse": ("ervse", {}),
    "ervse, fc, attn": ("ervse", {"model__fusion": "fc", "model__pooling": "attn"}),
    "vse": ("vse", {}),
    "vse, lstm": ("vse", {"model__text_backbone__kind": "rnn", "model__text_backbone__cell": "lstm",
                          "model__text_backbone__hidden_dim": 8}),
    "vse_wordembed": ("vse_wordembed", {}),
    "cpt": ("cpt", {}),
    "devise": ("devise", {}),
    "ale": ("ale", {}),
    "sje": ("sje", {}),
    "dem": ("dem", {"model__hidden_dim": 9}),
    "eszsl": ("eszsl", {}),
    "gcn": ("gcn", {"model__hidden_dims": [8, 10]}),
}
# Published name: our name, and whether ours is the transpose. Of BERT and the recurrent network a few.
NAMES = {
    "vis_encoder.ft_embed.weight": ("video_encoder/dense/kernel", True),
    "vis_encoder.ft_embed.bias": ("video_encoder/dense/bias", False),
    "txt_backbone.bert.embeddings.word_embeddings.weight": ("text_backbone/bert/embeddings/word/embedding", False),
    "txt_backbone.bert.encoder.layer.1.attention.self.query.weight": (
        "text_backbone/bert/layer_1/attention/query/kernel", True),
    "txt_backbone.bert.encoder.layer.0.output.LayerNorm.weight": (
        "text_backbone/bert/layer_0/output_norm/scale", False),
    "txt_backbone.embedding.weight": ("text_backbone/embedding/embedding", False),
    "txt_backbone.rnn.weight_ih_l0": ("text_backbone/rnn/forward/input_kernel", True),
    "txt_backbone.rnn.bias_hh_l0_reverse": ("text_backbone/rnn/backward/hidden_bias", False),
    "txt_encoder.ft_embed.weight": ("text_encoder/dense/kernel", True),
    "txt_encoder.ft_attn.0.weight": ("text_encoder/attention_hidden/kernel", True),
    "txt_encoder.ft_attn.3.weight": ("text_encoder/attention_score/kernel", True),
    "mm_fusion.0.weight": ("fusion/mlp/hidden/kernel", True),
    "mm_fusion.3.bias": ("fusion/mlp/output/bias", False),
    "act_gate_fc.0.weight": ("fusion/action_gate/hidden/kernel", True),
    "act_gate_fc.3.weight": ("fusion/action_gate/output/kernel", True),
    "obj_gate_fc.3.bias": ("fusion/object_gate/output/bias", False),
    "t2vfc.0.weight": ("dem/hidden/kernel", True),
    "t2vfc.2.weight": ("dem/output/kernel", True),
    "W": ("eszsl/dense/kernel", False),
    "gcn.0.fc.weight": ("gcn/layer_0/dense/kernel", True),
    "gcn.2.fc.bias": ("gcn/layer_2/dense/bias", False),
    "gcn.1.loop_weight": ("gcn/layer_1/loop_weight", False),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory, bert_folder):
  """case -> (method, config, state dict of tensors), with what transformers stored for BERT at the time."""
  dataset, made = small_dataset(tmp_path_factory.mktemp("published")), {}

  def of(case):
    if case not in made:
      method, fields = CASES[case]
      config = small_config(method, bert_folder, **fields)
      state = dict(peers.make_peer(config, dataset, object() if "text_backbone" in config.model else None).state_dict()
                   ) if method != "eszsl" else {"W": torch.randn(16, 6)}
      if any("bert" in name for name in state):
        state["txt_backbone.bert.embeddings.position_ids"] = torch.arange(64)[None]
      made[case] = method, config, state
    return made[case]

  return of


def convert(method, path, config) -> dict[str, np.ndarray]:
  return flatten_dict(KINDS[method](str(path), config).tree, sep="/")


def assert_equal(found, expected):
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_every_array_is_converted_whatever_the_form_of_the_file(tmp_path, published, monkeypatch, case):
  method, config, state = published(case)
  torch.save(state, tmp_path / "epoch.9.step.17000.th")
  params = convert(method, tmp_path / "epoch.9.step.17000.th", config)
  in_file = {name: np.array(tensor) for name, tensor in state.items() if "pooler" not in name and "_ids" not in name}
  names = {name: ours for name, ours in NAMES.items() if name in in_file}
  if method in ("devise", "ale", "sje"):
    names["bilinear.weight"] = f"{method}/dense/kernel", True
  assert names
  for name, (ours, transposed) in names.items():
    np.testing.assert_array_equal(params[ours], in_file[name].T if transposed else in_file[name], err_msg=name)
  numbers = sorted(array.astype(np.float64).sum() for array in in_file.values())
  np.testing.assert_allclose(sorted(array.astype(np.float64).sum() for array in params.values()), numbers, atol=1e-9)

  for prefix in ("module.", "model.", "_orig_mod.net."):
    wrapped = {f"{prefix}{name}".replace("txt_backbone.bert.", "txt_backbone.bert.module."): torch.nn.Parameter(tensor, False)
               for name, tensor in state.items()}
    torch.save({"model_state_dict": wrapped, "best": np.float64(1)}, tmp_path / "wrapped.th")
    assert_equal(convert(method, tmp_path / "wrapped.th", config), params)

  layer = torch.nn.Linear(2, 2)
  optimizer = torch.optim.Adam(layer.parameters())
  layer(torch.ones(2)).sum().backward()
  optimizer.step()
  scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=17000)
  torch.save({"optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(), "resume_model": state},
             tmp_path / "last.ckpt.pth.tar")
  assert_equal(convert(method, tmp_path / "last.ckpt.pth.tar", config), params)

  torch.save({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()},
             tmp_path / "half.th")
  halves = {name: value.astype(np.float16).astype(np.float32) for name, value in params.items()}
  assert_equal(convert(method, tmp_path / "half.th", config), halves)

  np.savez(tmp_path / "state.npz", **{name: np.array(tensor) for name, tensor in state.items()})
  monkeypatch.setitem(sys.modules, "torch", None)      # from here on `import torch` fails, as where it is not installed
  assert_equal(convert(method, tmp_path / "state.npz", config), params)
  with pytest.raises(UserError, match="PyTorch is needed to read .*half.th(.|\n)*pip install torch(.|\n)*numpy.savez"):
    convert(method, tmp_path / "half.th", config)


@pytest.mark.parametrize("case", CASES)
def test_a_renamed_array_is_both_missing_and_unexpected(tmp_path, published, case):
  method, config, state = published(case)
  if method == "eszsl":
    state = {**state, "S": torch.zeros(3)}
  name, *_ = state
  np.savez(tmp_path / "a.npz", **{f"{name}_old" if n == name else n: np.array(tensor) for n, tensor in state.items()})
  with pytest.raises(UserError) as raised:
    convert(method, tmp_path / "a.npz", config)
  assert re.search(rf"^  missing {re.escape(name)} \([\d, ]+\)$", str(raised.value), re.MULTILINE)
  assert f"  unexpected {name}_old {tuple(state[name].shape)}" in str(raised.value)
  assert str(tmp_path / "a.npz") in str(raised.value)


def test_every_wrong_array_of_a_file_is_listed_with_what_is_wrong(tmp_path, published):
  method, config, state = published("vse")
  arrays = {name: np.array(tensor) for name, tensor in state.items()}
  arrays["vis_encoder.ft_embed.bias"] = np.zeros(11, np.float32)
  arrays["vis_encoder.ft_embed.weight"][3, 2] = np.nan
  arrays["txt_encoder.ft_embed.bias"] = np.ones(12, np.int64)
  np.savez(tmp_path / "a.npz", **arrays)
  with pytest.raises(UserError) as raised:
    convert(method, tmp_path / "a.npz", config)
  assert sorted(str(raised.value).splitlines()[1:]) == [
      "  txt_encoder.ft_embed.bias holds int64, expected finite floating-point numbers",
      "  vis_encoder.ft_embed.bias has shape (11,), expected (12,)",
      "  vis_encoder.ft_embed.weight holds float32 that are not finite, expected finite floating-point numbers"]


def test_weights_of_another_fusion_are_refused_by_name(tmp_path, published):
  _, _, state = published("ervse")
  _, config, _ = published("ervse, fc, attn")
  torch.save(state, tmp_path / "gate.th")
  with pytest.raises(UserError, match="missing mm_fusion.0.weight(.|\n)*unexpected act_gate_fc.0.weight"):
    convert("ervse", tmp_path / "gate.th", config)


def test_an_array_without_a_name_is_spoken_of(tmp_path, published):
  np.save(tmp_path / "W.npy", np.zeros((16, 6)))
  with pytest.raises(UserError, match=r"missing bilinear.weight \(300, 2048\)\n  unexpected array without a name \(16, 6\)"):
    convert("devise", tmp_path / "W.npy", published("devise")[1])


def test_the_matrix_of_eszsl_is_read_by_whatever_name(tmp_path, published):
  _, config, state = published("eszsl")
  matrix = state["W"]
  np.save(tmp_path / "W.npy", matrix.double().numpy())             # as the published code leaves it
  np.savez(tmp_path / "W.npz", matrix.numpy())
  torch.save(matrix, tmp_path / "tensor.th")
  torch.save({"weights": matrix}, tmp_path / "dict.th")
  for name in ("W.npy", "W.npz", "tensor.th", "dict.th"):
    assert_equal(convert("eszsl", tmp_path / name, config), {"eszsl/dense/kernel": matrix.numpy()})


def test_sizes_are_those_of_the_file(tmp_path, published):
  method, config, state = published("vse, lstm")
  larger = {**state, "vis_encoder.ft_embed.weight": torch.ones(12, 40),
            "txt_backbone.embedding.weight": torch.ones(70, 10)}
  torch.save(larger, tmp_path / "larger.th")
  params = convert(method, tmp_path / "larger.th", config)
  assert params["video_encoder/dense/kernel"].shape == (40, 12)
  assert params["text_backbone/embedding/embedding"].shape == (70, 10)


@pytest.mark.parametrize("name, content, message", [
    ("a.th", {"epoch": 3, "model": {"W": 2.0}}, "holds no tensors"),
    ("a.th", {"W": torch.zeros(2), "hook": print}, "could run code"),
    ("a.th", b"not a file of PyTorch", "as a PyTorch file of tensors"),
    ("a.npz", b"not an archive", "as a NumPy .npz archive"),
    ("a.npy", b"not an array", "as a NumPy .npy file"),
    ("missing.th", None, "No such file"),
])
def test_a_file_that_holds_no_weights_is_named(tmp_path, published, name, content, message):
  if isinstance(content, bytes):
    (tmp_path / name).write_bytes(content)
  elif content is not None:
    torch.save(content, tmp_path / name)
  for kind in ("vse", "eszsl"):
    with pytest.raises(UserError, match=message) as raised:
      convert(kind, tmp_path / name, published(kind)[1])
    assert str(tmp_path / name) in str(raised.value)


def test_word_vectors_alone_start_the_training_and_the_rest_is_random(tmp_path):
  dataset = small_dataset(tmp_path)
  table = torch.randn(len(dataset.word_list), 10)
  torch.save({"txt_backbone.embedding.weight": table}, tmp_path / "words.th")
  np.savez(tmp_path / "words.npz", weight=table.numpy())
  np.save(tmp_path / "words.npy", table.numpy())
  for suffix in ("th", "npz", "npy"):
    assert_equal(convert("word_embedding", tmp_path / f"words.{suffix}", None),
                 {"text_backbone/embedding/embedding": table.numpy()})
  array_files.write_orbax(tmp_path / "words", {"text_backbone": {"embedding": {"embedding": table.numpy()}}})

  config = small_config("vse_wordembed", "")
  random = flatten_dict(Experiment(config, tmp_path, dataset).first_params(), sep="/")
  config.init_from = str(tmp_path / "words")
  params = flatten_dict(Experiment(config, tmp_path, dataset).first_params(), sep="/")
  assert not np.array_equal(random["text_backbone/embedding/embedding"], table)
  assert_equal(params, {**random, "text_backbone/embedding/embedding": table.numpy()})
  dataset, config.model.text_backbone.word_dim = dataclasses.replace(dataset, read_word_table=lambda: None), 10
  assert_equal(flatten_dict(Experiment(config, tmp_path, dataset).first_params(), sep="/"), params)


def test_word_vectors_that_do_not_fit_are_refused_by_shape(tmp_path, bert_folder):
  dataset = small_dataset(tmp_path)
  table = np.ones((5, 10), np.float32)
  array_files.write_orbax(tmp_path / "words", {"text_backbone": {"embedding": {"embedding": table}}})
  wordembed = small_config("vse_wordembed", "", init_from=str(tmp_path / "words"))
  with pytest.raises(UserError, match=rf"text_backbone/embedding/embedding has shape \(5, 10\), expected "
                                      rf"\({len(dataset.word_list)}, 10\)"):
    Experiment(wordembed, tmp_path, dataset).first_params()
  of_bert = small_config("vse", bert_folder, init_from=str(tmp_path / "words"))
  with pytest.raises(UserError, match="unexpected text_backbone/embedding/embedding"):
    Experiment(of_bert, tmp_path, dataset).first_params()
