"""The graph of classes by hand: six nodes whose neighbours can be seen, and one layer written out."""

import jax
import numpy as np
import pytest

from er_jax.inputs import Graph
from er_jax.models.gcn import GraphNetwork, Layer, neighbour_graph

# Six classes on a circle, at these angles: two close pairs, and two alone.
ANGLES = np.radians([0, 10, 90, 95, 180, 265])
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32) * np.arange(1, 7)[:, None]


def test_six_nodes_by_hand():
  edges = neighbour_graph(VECTORS, num_neighbors=2)        # itself and the nearest: 0-1, 1-0, 2-3, 3-2, 4-3, 5-4
  linked = np.array([[1, 1, 0, 0, 0, 0],
                     [1, 1, 0, 0, 0, 0],
                     [0, 0, 1, 1, 0, 0],
                     [0, 0, 1, 1, 1, 0],                   # 4 has chosen 3
                     [0, 0, 0, 1, 1, 1],                   # and 5 has chosen 4
                     [0, 0, 0, 0, 1, 1]])
  np.testing.assert_allclose(edges, linked / linked.sum(axis=1, keepdims=True), rtol=1e-6)
  assert edges.dtype == np.float32


def test_more_neighbours_than_classes_link_all():
  np.testing.assert_allclose(neighbour_graph(VECTORS, 9), np.full((6, 6), 1 / 6), rtol=1e-6)


def test_a_layer_adds_neighbours_and_itself():
  edges = np.array([[0.5, 0.5], [0.0, 1.0]], np.float32)
  nodes = np.array([[1.0, 2.0], [3.0, -1.0]], np.float32)
  params = {"dense": {"kernel": np.array([[1.0], [10.0]]), "bias": np.array([0.5])},
            "loop_weight": np.array([[2.0], [0.0]])}
  # x W + b = [21.5, -6.5]; over the edges [7.5, -6.5]; x W_loop = [2, 6]
  np.testing.assert_allclose(Layer(1).apply({"params": params}, nodes, edges), [[9.5], [-0.5]], rtol=1e-6)


def test_the_network_has_the_published_sizes_and_unit_outputs():
  graph = Graph(np.random.default_rng(0).normal(size=(6, 300)).astype(np.float32), np.eye(6, dtype=np.float32))
  network = GraphNetwork((512, 1024, 1024, 1024, 1024), 2048, 0.5)
  params = jax.eval_shape(lambda: network.init(jax.random.key(0), graph, True))["params"]
  sizes = [300, 512, 1024, 1024, 1024, 1024, 2048]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == sum(2 * a * b + b for a, b in zip(sizes, sizes[1:]))
  small = GraphNetwork((4,), 5, 0.5)
  output = small.apply(small.init(jax.random.key(0), graph, True), graph, True)
  np.testing.assert_allclose(np.linalg.norm(output, axis=1), 1, rtol=1e-5)


def test_dropout_is_before_the_last_layer_alone():
  graph = Graph(np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32), np.eye(6, dtype=np.float32))
  network = GraphNetwork((16,), 5, 0.5)
  params = network.init(jax.random.key(0), graph, True)

  def hidden(deterministic):
    _, state = network.apply(params, graph, deterministic, rngs={"dropout": jax.random.key(1)},
                             capture_intermediates=True, mutable=["intermediates"])
    found = state["intermediates"]
    return found["layer_0"]["__call__"][0], found["layer_1"]["__call__"][0]

  (first, last), (first_dropped, last_dropped) = hidden(True), hidden(False)
  np.testing.assert_array_equal(first, first_dropped)
  assert np.abs(last - last_dropped).max() > 1e-3


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_is_always_its_own_neighbour(count):
  assert (np.diag(neighbour_graph(VECTORS, count)) > 0).all()
