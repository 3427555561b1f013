"""The base of the methods that read texts: a text tower, a text encoder, and losses over all of a batch's texts.

    class VSE(TextModel):
      def embed(self, videos, objects, deterministic): ...      # videos (and their objects' embeddings) -> anything
      def scores(self, videos, texts, rehearsing): ...          # that, and text embeddings (C, D) -> scores (b, C)

The class texts, the videos' object texts and the rehearsal concepts go through the backbone together, once a step.
"""

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Bool, Float
from ml_collections import ConfigDict, FrozenConfigDict

from er_jax import losses
from er_jax.inputs import ClassInputs, Targets, VideoInputs
from er_jax.models.encoders import POOLINGS, TextEncoder
from er_jax.models.spec import DTYPES, TEXTS, MethodSpec, Sizes, dense_names, read_sizes
from er_jax.text.bank import Texts, concatenate_texts
from er_jax.types import Array


class TextModel(nn.Module):
  """The base of VSE, CPT and ER-ZSAR.

  Each of them has `embed(videos, objects, deterministic)`: embeddings of the videos, leading axis b; `objects` are the
  embeddings (b * s, d) of their object texts, or None.

  Attributes:
    tower: a text tower's module, Texts -> (n, h).
    config: `config.model`.
    loss: `config.loss`.
    dtype: of the activations.
  """
  tower: nn.Module
  config: FrozenConfigDict
  loss: FrozenConfigDict
  dtype: DTypeLike = jnp.float32

  @staticmethod
  def check(config: ConfigDict) -> None:
    """Raises: UserError if values of the experiment's config do not go together."""

  def setup(self):
    config = self.config
    self.text_backbone = self.tower.copy(name="text_backbone", parent=self)
    self.text_encoder = TextEncoder(config.embed_dim, config.pooling, config.text_encoder.dropout_rate,
                                    config.l2_normalize, self.dtype)

  def scores(self, videos: Any, texts: Float[Array, "c d"],
             rehearsing: bool = False) -> tuple[Float[Array, "b c"], ...]:
    """Scores of the videos against text embeddings: every one that is trained, the final one last."""
    del rehearsing
    return (videos @ texts.T,)

  def frozen_texts(self, texts: Texts) -> Float[Array, "n h"]:
    """The output of the text backbone's frozen layers, a function of the text alone."""
    return self.text_backbone.frozen(texts)

  def encode_texts(self, texts: Texts, deterministic: bool) -> Float[Array, "s d"]:
    """Embeddings of any texts."""
    return self.text_encoder(self.text_backbone(texts, deterministic), texts.ragged, deterministic)

  def encode_together(self, parts: Sequence[Texts], deterministic: bool) -> Sequence[Float[Array, "_ d"]]:
    """Embeddings of each group of texts, by one run of the text backbone over all of them."""
    if any(part.hidden is not None for part in parts):   # groups whose frozen output is not kept run it now
      parts = [part if part.hidden is not None else part.replace(hidden=self.frozen_texts(part)) for part in parts]
    embeddings = self.encode_texts(concatenate_texts(parts), deterministic)
    return jnp.split(embeddings, np.cumsum([len(part.ragged.lengths) for part in parts])[:-1])

  def encode_classes(self, classes: ClassInputs, deterministic: bool) -> Float[Array, "c d"]:
    """Embeddings of the class texts."""
    return self.encode_texts(classes.texts, deterministic)

  def encode_videos(self, videos: VideoInputs, deterministic: bool) -> Any:
    """Embeddings of the videos, leading axis b."""
    objects = None if videos.objects is None else self.encode_texts(videos.objects, deterministic)
    return self.embed(videos, objects, deterministic)

  def score(self, videos: Any, classes: Float[Array, "c d"]) -> Float[Array, "b c"]:
    """Scores of videos and classes."""
    return self.scores(videos, classes)[-1]

  def class_loss(self, videos: Any, classes: Float[Array, "c d"], class_mask: Bool[Array, " c"],
                 targets: Targets) -> Float[Array, ""]:
    """What is asked of the scores against the class embeddings."""
    scores = self.scores(videos, classes)
    trained = scores if self.loss.kind == "ce" else scores[-1:]   # a ranking loss is one of the final score alone
    return _sum(losses.classification_loss(part, targets.classes, targets.weights, class_mask, self.loss)
                for part in trained)

  def losses(self, videos: VideoInputs, classes: ClassInputs, concepts: Texts | None, targets: Targets,
             gather: Callable[[Array], Array], deterministic: bool = False) -> dict[str, Float[Array, ""]]:
    """This device's share of the batch's losses; see `er_jax.models.spec`."""
    named = {"classes": classes.texts, "objects": videos.objects, "concepts": concepts}
    groups = {name: texts for name, texts in named.items() if texts is not None}
    embedded = dict(zip(groups, self.encode_together([*groups.values()], deterministic)))
    embeddings = self.embed(videos, embedded.get("objects"), deterministic)
    class_loss = self.class_loss(embeddings, gather(embedded["classes"]), gather(classes.mask), targets)
    if concepts is None:
      return {"loss": class_loss, "class_loss": class_loss}
    concept_mask = gather(targets.concept_mask)
    temperature = self.loss.temperature if self.loss.kind == "ce" else 1.0
    rehearsal_loss = _sum(losses.rehearsal_loss(part, targets.concepts, concept_mask, temperature=temperature)
                          for part in self.scores(embeddings, gather(embedded["concepts"]), rehearsing=True))
    return {"loss": class_loss + self.loss.rehearsal_weight * rehearsal_loss, "class_loss": class_loss,
            "rehearsal_loss": rehearsal_loss}


def _sum(terms: Iterable[Array]) -> Array:
  return functools.reduce(operator.add, terms)


def text_method(module: type[TextModel], *, losses: tuple[str, ...], needs: Sequence[str],
                published_modules: Mapping[str, str] = {}, choices: Mapping[str, Sequence[object]] = {},
                **declared: Any) -> MethodSpec:
  """The declaration of a method that reads texts.

  Args:
    module: its class.
    losses: see `MethodSpec`.
    needs: what it needs besides class texts.
    published_modules: published names of its dense layers besides those of the text encoder.
    choices: of its fields besides `pooling`.
    declared: the other fields of `MethodSpec`.
  """

  def build(config: ConfigDict, sizes: Sizes, tower: nn.Module) -> TextModel:
    del sizes      # seen in the data
    module.check(config)
    return module(tower, FrozenConfigDict(config.model), FrozenConfigDict(config.loss), DTYPES[config.dtype])

  modules = {"text_encoder/dense": "txt_encoder.ft_embed", "text_encoder/attention_hidden": "txt_encoder.ft_attn.0",
             "text_encoder/attention_score": "txt_encoder.ft_attn.3", **published_modules}
  return MethodSpec(losses=losses, needs=frozenset({TEXTS, *needs}), build=build, published_names=dense_names(modules),
                    published_sizes=read_sizes(feature_dim=("vis_encoder.ft_embed.weight", 1)),
                    choices={"pooling": POOLINGS, **choices}, **declared)
