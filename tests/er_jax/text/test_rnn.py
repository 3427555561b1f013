"""Word-level backbones against PyTorch's on packed sequences, text by text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from er_jax.text.bank import TextBank, TextReferences, Texts, concatenate_texts, gather_texts
from er_jax.text.embedding import EmbeddingTower
from er_jax.text.rnn import RNNTower

NUM_WORDS, WORD_DIM, HIDDEN = 11, 6, 5
GATES = {"gru": 3, "lstm": 4}
TOKENS = [np.array(ids, np.int32) for ids in ([3, 1, 4, 1, 5], [9], [], [2, 6, 10], [7, 0])]
EVERY = range(len(TOKENS))
LENGTHS = np.array([len(ids) for ids in TOKENS])
SPARE = 4                                         # unused slots behind the texts


def lay(ids=EVERY, rows=None, spare: int = SPARE) -> Texts:
  bank, ids = TextBank.build(TOKENS), np.array(list(ids), np.int32)
  capacity = bank.capacity(ids, 1)
  references = TextReferences(ids, capacity._replace(tokens=capacity.tokens + spare))
  return gather_texts(bank, references, ids if rows is None else rows)


def by_text(hidden, ids=EVERY) -> list[np.ndarray]:
  return np.split(np.asarray(hidden), np.cumsum(LENGTHS[list(ids)]))[:-1]


def rnn(cell="gru", bidirectional=True, **fields) -> RNNTower:
  return RNNTower(NUM_WORDS, WORD_DIM, cell, HIDDEN, bidirectional, **fields)


def torch_twin(params, cell: str, bidirectional: bool):
  """(torch.nn.Embedding, torch.nn.GRU or LSTM) with our parameters."""
  torch = pytest.importorskip("torch")
  kind = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell]
  table, network = torch.nn.Embedding(NUM_WORDS, WORD_DIM), kind(WORD_DIM, HIDDEN, bidirectional=bidirectional)
  with torch.no_grad():
    table.weight.copy_(torch.from_numpy(np.array(params["embedding"]["embedding"])))
    for name, parameter in network.named_parameters():
      parameter.copy_(torch.from_numpy(np.array(ours_of(params["rnn"], name))))
  return table, network


def ours_of(tree, name: str) -> np.ndarray:
  """Our array, transposed to PyTorch's, of PyTorch's `name`, such as weight_ih_l0_reverse."""
  direction = "backward" if name.endswith("_reverse") else "forward"
  side = "input" if "_ih_" in name else "hidden"
  if name.startswith("weight"):
    return np.asarray(tree[direction][f"{side}_kernel"]).T
  return np.asarray(tree[direction][f"{side}_bias"])


def run_torch(table, network, bidirectional: bool):
  """PyTorch's outputs (tokens, H) of the texts that have tokens, end to end; directions averaged."""
  import torch
  texts = [torch.from_numpy(ids).long() for ids in TOKENS if len(ids)]
  padded = torch.nn.utils.rnn.pad_sequence([table(ids) for ids in texts])
  packed = torch.nn.utils.rnn.pack_padded_sequence(padded, [len(ids) for ids in texts], enforce_sorted=False)
  hidden, lengths = torch.nn.utils.rnn.pad_packed_sequence(network(packed)[0])
  if bidirectional:
    hidden = (hidden[..., :HIDDEN] + hidden[..., HIDDEN:]) / 2
  return torch.cat([hidden[:n, i] for i, n in enumerate(lengths)])


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "both"])
@pytest.mark.parametrize("cell", GATES)
def test_outputs_and_gradients_equal_torch_on_packed_sequences(cell, bidirectional, jitted):
  texts, backbone = lay(), rnn(cell, bidirectional)
  params = backbone.init(jax.random.key(0), texts, True)["params"]
  weights = np.random.default_rng(0).normal(size=(LENGTHS.sum(), HIDDEN)).astype(np.float32)

  def loss(params):
    hidden = backbone.apply({"params": params}, texts, True)
    return jnp.sum(hidden[:len(weights)] * weights), hidden

  gradient = jax.grad(loss, has_aux=True)
  ours, hidden = (jax.jit(gradient) if jitted else gradient)(params)
  table, network = torch_twin(params, cell, bidirectional)
  import torch
  expected = run_torch(table, network, bidirectional)
  torch.sum(expected * torch.from_numpy(weights)).backward()

  np.testing.assert_allclose(hidden[:len(weights)], expected.detach().numpy(), atol=1e-5)
  np.testing.assert_array_equal(hidden[len(weights):], 0)
  np.testing.assert_allclose(ours["embedding"]["embedding"], table.weight.grad.numpy(), atol=1e-5)
  for name, parameter in network.named_parameters():
    np.testing.assert_allclose(ours_of(ours["rnn"], name), parameter.grad.numpy(), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("lengths", [[2], [3], [2, 2]], ids=str)
def test_texts_without_words_give_neither_outputs_nor_nan(cell, lengths):
  texts, backbone = lay(lengths, spare=1), rnn(cell)     # text 2 is the empty one
  params = backbone.init(jax.random.key(0), texts, True)
  gradients = jax.grad(lambda params: jnp.sum(backbone.apply(params, texts, True) ** 2))(params)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
  hidden = np.asarray(backbone.apply(params, texts, True))
  assert np.all(hidden[LENGTHS[lengths].sum():] == 0)
  if lengths != [3]:
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("cell", GATES)
def test_a_text_is_read_alike_wherever_it_lies_with_dropout_too(cell):
  backbone = rnn(cell, dropout_rate=0.4)
  params = backbone.init(jax.random.key(0), lay(), True)

  def hidden(texts, **random):
    return backbone.apply(params, texts, not random, rngs=random)

  order = [3, 0, 4]
  key = jax.random.key(1)
  for random in ({}, {"dropout": key}):
    alone = by_text(hidden(lay(), **random))
    again = by_text(hidden(lay(order), **random), order)
    for text, vectors in zip(order, again):
      np.testing.assert_allclose(vectors, alone[text], atol=1e-6)
  assert not np.allclose(hidden(lay()), hidden(lay(), dropout=key))
  merged = hidden(concatenate_texts([lay([3, 0]), lay([4])]))
  first = LENGTHS[[3, 0]].sum()
  np.testing.assert_allclose(merged[:first], hidden(lay([3, 0]))[:first], atol=1e-6)
  np.testing.assert_allclose(merged[first + SPARE:], hidden(lay([4])), atol=1e-6)


def test_dropout_falls_on_word_vectors_before_the_network():
  texts, backbone = lay(), rnn(dropout_rate=0.5)
  params = backbone.init(jax.random.key(0), texts, True)["params"]
  zeros = jnp.zeros_like(params["embedding"]["embedding"])
  params = {**params, "embedding": {"embedding": zeros}}        # nothing to drop
  np.testing.assert_array_equal(backbone.apply({"params": params}, texts, False, rngs={"dropout": jax.random.key(0)}),
                                backbone.apply({"params": params}, texts, True))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_parameters_are_those_of_torch_in_number_name_and_spread(cell, bidirectional):
  backbone = rnn(cell, bidirectional)
  params = flatten_dict(backbone.init(jax.random.key(0), lay(), True)["params"], sep="/")
  width = GATES[cell] * HIDDEN
  one = {"input_kernel": (WORD_DIM, width), "hidden_kernel": (HIDDEN, width), "input_bias": (width,),
         "hidden_bias": (width,)}
  expected = {"embedding/embedding": (NUM_WORDS, WORD_DIM)}
  for direction in ("forward", "backward")[:1 + bidirectional]:
    expected |= {f"rnn/{direction}/{name}": shape for name, shape in one.items()}
  assert {name: leaf.shape for name, leaf in params.items()} == expected
  assert all(leaf.dtype == jnp.float32 for leaf in params.values())
  ranges = [np.abs(leaf).max() for name, leaf in params.items() if name.startswith("rnn/")]
  assert 0.8 * HIDDEN ** -0.5 < min(ranges) and max(ranges) <= HIDDEN ** -0.5
  assert backbone.width == HIDDEN and not backbone.can_be_cached


def test_number_of_parameters_at_the_published_sizes():
  def shapes_of(backbone):
    return jax.eval_shape(lambda: backbone.init(jax.random.key(0), lay(), True))

  shapes = shapes_of(RNNTower(13561, 300, "gru", 512, True))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 13561 * 300 + 2 * 3 * 512 * (300 + 512 + 2)
  assert [leaf.shape for leaf in jax.tree.leaves(shapes_of(EmbeddingTower(13561, 300)))] == [(13561, 300)]


def test_embedding_looks_words_up_and_starts_normal():
  texts, backbone = lay(), EmbeddingTower(NUM_WORDS, WORD_DIM)
  params = backbone.init(jax.random.key(0), texts, True)
  table = np.asarray(params["params"]["embedding"]["embedding"])
  hidden = backbone.apply(params, texts, False)
  assert hidden.shape == (LENGTHS.sum() + SPARE, WORD_DIM)
  for vectors, ids in zip(by_text(hidden), TOKENS):
    np.testing.assert_array_equal(vectors, table[ids])
  assert backbone.width == WORD_DIM and not backbone.can_be_cached
  large = EmbeddingTower(1000, 50).init(jax.random.key(0), texts, True)["params"]["embedding"]["embedding"]
  assert abs(float(large.mean())) < 0.02 and abs(float(large.std()) - 1) < 0.02


@pytest.mark.parametrize("backbone", [rnn("gru"), rnn("lstm"), EmbeddingTower(NUM_WORDS, WORD_DIM)],
                         ids=["gru", "lstm", "embedding"])
def test_bfloat16_activations_stay_near_float32(backbone):
  texts = lay()
  params = backbone.init(jax.random.key(0), texts, True)
  half = backbone.clone(dtype=jnp.bfloat16)
  hidden = half.apply(params, texts, True)
  assert hidden.dtype == jnp.bfloat16
  np.testing.assert_allclose(hidden.astype(jnp.float32), backbone.apply(params, texts, True), atol=0.03)
  assert half.init(jax.random.key(0), texts, True)["params"]["embedding"]["embedding"].dtype == jnp.float32
