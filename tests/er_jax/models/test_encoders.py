"""Poolings and encoders against NumPy on texts of different length."""

import jax
import numpy as np
import pytest

from er_jax.models.encoders import GlobalFeatureEncoder, TextEncoder, l2_normalize
from er_jax.text import ragged as ragged_lib

LENGTHS, WIDTH, EMBED = [3, 1, 4], 6, 5
RANDOM = np.random.default_rng(0)
TOKENS = [RANDOM.normal(size=(n, WIDTH)).astype(np.float32) for n in LENGTHS]


def embed(pooling, embed_dim=EMBED, normalize=True):
  ragged = ragged_lib.layout(np.array(LENGTHS), np.arange(3), capacity=11, max_length=5)
  hidden = np.concatenate([*TOKENS, np.full((3, WIDTH), 7.0, np.float32)])     # unused slots hold anything
  encoder = TextEncoder(embed_dim, pooling, dropout_rate=0.5, normalize=normalize)
  params = encoder.init(jax.random.key(0), hidden, ragged, True)
  return np.asarray(encoder.apply(params, hidden, ragged, True)), params.get("params", {})


def softmax(x):
  return np.exp(x) / np.exp(x).sum(axis=0)


def pooled_by_numpy(pooling, params):
  if pooling == "attn":
    hidden, score = params["attention_hidden"], params["attention_score"]
    weights = [softmax(np.maximum(t @ hidden["kernel"] + hidden["bias"], 0) @ score["kernel"] + score["bias"])
               for t in TOKENS]
    return np.stack([(t * w).sum(axis=0) for t, w in zip(TOKENS, weights)])
  rule = {"first": lambda t: t[0], "last": lambda t: t[-1], "avg": lambda t: t.mean(axis=0),
          "max": lambda t: t.max(axis=0)}[pooling]
  return np.stack([rule(t) for t in TOKENS])


@pytest.mark.parametrize("pooling", ["first", "last", "avg", "max", "attn"])
def test_pooling_dense_and_normalisation_equal_numpy(pooling):
  ours, params = embed(pooling)
  x = pooled_by_numpy(pooling, params) @ params["dense"]["kernel"] + params["dense"]["bias"]
  np.testing.assert_allclose(ours, x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-5)


def test_no_dense_layer_where_the_widths_agree():
  ours, params = embed("avg", embed_dim=WIDTH, normalize=False)
  assert not params
  np.testing.assert_allclose(ours, pooled_by_numpy("avg", params), atol=1e-6)


def test_video_encoder_is_dense_and_normalisation():
  features = RANDOM.normal(size=(4, 7)).astype(np.float32)
  encoder = GlobalFeatureEncoder(EMBED, dropout_rate=0.5)
  params = encoder.init(jax.random.key(0), features, np.arange(4), True)
  x = features @ params["params"]["dense"]["kernel"] + params["params"]["dense"]["bias"]
  np.testing.assert_allclose(encoder.apply(params, features, np.arange(4), True),
                             x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-5)
  assert np.abs(params["params"]["dense"]["kernel"]).max() <= 7 ** -0.5


def test_normalising_zero_gives_zero():
  assert not np.isnan(l2_normalize(np.zeros((1, 3), np.float32))).any()
