"""GCN: classifiers of unseen classes from a graph of all classes (Wang et al., CVPR 2018; Kipf & Welling 2017).

    edges = neighbour_graph(class_vectors, num_neighbors=5)                     # (N, N)
    h = leaky_relu(A (h W + b) + h W_loop), ...                                 # 300 -> 512 -> 1024 x 4 -> 2048

The graph's output for a seen class is trained to be the row of a video classifier that knows the class; that for an
unseen class then serves as its classifier. Shapes: n classes of the dataset, c of the class set, v vector width, f
feature width.
"""

import re
import sys
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, Int
from ml_collections import ConfigDict, FrozenConfigDict

from er_jax.dropout import Dropout
from er_jax.inputs import ClassInputs, Graph, Targets, VideoInputs
from er_jax.models.encoders import dense, l2_normalize
from er_jax.models.spec import DTYPES, FEATURES, GRAPH, PUBLISHED_SIZES, MethodSpec, Sizes
from er_jax.text.bank import Texts
from er_jax.types import Array
from input_pipeline.array_files import Arrays
from input_pipeline.dataset import Dataset, require
from input_pipeline.errors import UserError
from input_pipeline.loaders import class_means

TARGETS = ("classifier", "class_means")     # what the graph's outputs are trained to be


def neighbour_graph(vectors: Float[np.ndarray, "n v"], num_neighbors: int) -> Float[np.ndarray, "n n"]:
  """Which classes listen to which: each to its most similar ones by cosine, itself among them, and the other way.

  Args:
    vectors: of the classes.
    num_neighbors: links from each class, itself included; all classes if there are fewer.

  Returns:
    float32, rows sum to 1.
  """
  vectors = np.asarray(vectors, np.float32)
  unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
  nearest = np.argsort(-(unit @ unit.T), axis=1, kind="stable")[:, :num_neighbors]
  linked = np.zeros((len(vectors), len(vectors)), np.float32)
  np.put_along_axis(linked, nearest, 1.0, axis=1)
  linked = np.maximum(linked, linked.T)
  return linked / linked.sum(axis=1, keepdims=True)


class Layer(nn.Module):
  """A (x W + b) + x W_loop."""
  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, nodes: Float[Array, "n v"], edges: Float[Array, "n n"]) -> Float[Array, "n w"]:
    inputs = nodes.shape[-1]
    loop = self.param("loop_weight", nn.initializers.variance_scaling(4.0, "fan_avg", "uniform"),
                      (inputs, self.features))     # Xavier with ReLU's gain
    neighbours = dense(inputs, self.features, dtype=self.dtype, name="dense")(nodes)
    return edges.astype(self.dtype) @ neighbours + nodes.astype(self.dtype) @ loop.astype(self.dtype)


class GraphNetwork(nn.Module):
  """Normalised class vectors through the layers to normalised classifiers; dropout before the last layer."""
  hidden_dims: tuple[int, ...]
  feature_dim: int
  dropout_rate: float
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, graph: Graph, deterministic: bool) -> Float[Array, "n f"]:
    nodes = l2_normalize(graph.vectors)
    for index, width in enumerate(self.hidden_dims):
      nodes = nn.leaky_relu(Layer(width, self.dtype, name=f"layer_{index}")(nodes, graph.edges), 0.2)
    nodes = Dropout(self.dropout_rate)(nodes, jnp.arange(len(nodes)), deterministic)
    last = Layer(self.feature_dim, self.dtype, name=f"layer_{len(self.hidden_dims)}")
    return l2_normalize(last(nodes, graph.edges).astype(jnp.float32))


class GCN(nn.Module):
  """The graph of classes as a method of recognition: score = video feature . classifier.

  Attributes:
    feature_dim: F.
    config: `config.model`.
    loss: `config.loss`.
    dtype: of the activations.
  """
  feature_dim: int
  config: FrozenConfigDict
  loss: FrozenConfigDict
  dtype: DTypeLike = jnp.float32

  def setup(self):
    self.network = GraphNetwork(tuple(self.config.hidden_dims), self.feature_dim, self.config.dropout_rate, self.dtype,
                                name="gcn")

  def encode_classes(self, classes: ClassInputs, deterministic: bool) -> Float[Array, "c f"]:
    """Classifiers."""
    return self.network(classes.graph, deterministic)[classes.nodes]

  def encode_videos(self, videos: VideoInputs, deterministic: bool) -> Float[Array, "b f"]:
    """The features."""
    del deterministic
    return videos.features

  def score(self, videos: Float[Array, "b f"], classes: Float[Array, "c f"]) -> Float[Array, "b c"]:
    """Answers of the classifiers."""
    return videos @ classes.T

  def losses(self, videos: VideoInputs, classes: ClassInputs, concepts: Texts | None, targets: Targets,
             gather: Callable[[Array], Array], deterministic: bool = False) -> dict[str, Float[Array, ""]]:
    """This device's share of the mean squared error over the class set; see `er_jax.models.spec`. Videos play no part."""
    errors = jnp.square(self.encode_classes(classes, deterministic) - l2_normalize(classes.classifier))
    loss = jnp.sum(jnp.mean(errors, axis=1), where=classes.mask) / jnp.sum(gather(classes.mask))
    return {"loss": loss, "class_loss": loss}


def class_targets(config: ConfigDict, dataset: Dataset, class_ids: Int[np.ndarray, " c"]) -> Float[np.ndarray, "c f"]:
  """What the graph is to give for these classes: the rows of a video classifier, or the classes' mean features.

  Of a classifier, row r is class r's, or, if there is one for each class, they are in their order.

  Raises:
    UserError: if the dataset lacks the classifier, or has another network's.
  """
  if config.model.targets == "class_means":
    return class_means(dataset, "train", class_ids.tolist())
  rows = require(dataset, "classifier_rows", "method gcn with config.model.targets=classifier")
  if rows.shape[1] != dataset.feature_dim:
    raise UserError(f"{dataset.path}: the video classifier (classifier_rows.npy) has rows of {rows.shape[1]} numbers, but "
                    f"features have {dataset.feature_dim}. "
                    + ("It looks transposed; store its transpose. Or" if len(rows) == dataset.feature_dim else
                       "It belongs to another network; or")
                    + " train towards the mean features of the seen classes, with config.model.targets=class_means.")
  if len(rows) == dataset.feature_dim:
    print(f"{dataset.path}: the video classifier (classifier_rows.npy) is square and could be transposed; each row is taken "
          "as that of a class.", file=sys.stderr)
  if class_ids.max() < len(rows):
    return rows[class_ids]
  if len(rows) == len(class_ids):
    return rows
  raise UserError(f"{dataset.path}: the video classifier (classifier_rows.npy) has {len(rows)} rows, but the seen classes, "
                  f"of which it should have one each, are {len(class_ids)}, up to class {class_ids.max()}.")


def _graph(config: ConfigDict, vectors: np.ndarray) -> Graph:
  return Graph(vectors, neighbour_graph(vectors, config.model.num_neighbors))


def _build(config: ConfigDict, sizes: Sizes, tower: None) -> GCN:
  del tower
  return GCN(sizes.feature_dim, FrozenConfigDict(config.model), FrozenConfigDict(config.loss), DTYPES[config.dtype])


def _published_sizes(arrays: Arrays) -> Sizes:
  """From the first and the last layer, (width, F) and (V, width) transposed."""
  layers = {int(match[1]): arrays[name] for name in arrays if (match := re.fullmatch(r"gcn\.(\d+)\.fc\.weight", name))}
  if not layers or any(weight.ndim != 2 for weight in layers.values()):
    return PUBLISHED_SIZES
  return Sizes(layers[max(layers)].shape[0], layers[min(layers)].shape[1])


METHOD: MethodSpec = MethodSpec(
    title="GCN", paper="Wang et al., CVPR 2018", year=2018, losses=("mse",), needs=frozenset({FEATURES, GRAPH}),
    build=_build, choices={"targets": TARGETS}, graph=_graph, class_targets=class_targets,
    published_names={r"gcn/layer_(\d+)/dense/kernel": r"gcn.\1.fc.weight", r"gcn/layer_(\d+)/dense/bias": r"gcn.\1.fc.bias",
                     r"gcn/layer_(\d+)/loop_weight": r"gcn.\1.loop_weight"},
    published_sizes=_published_sizes)
