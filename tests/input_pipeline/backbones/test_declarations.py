"""What every backbone declares, and the number of parameters of each of its variants."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest

from input_pipeline.backbones import BACKBONES, usual_samplings, with_role
from input_pipeline.backbones.declaration import FEATURE, OBJECTS, ROLES
from input_pipeline.errors import UserError
from input_pipeline.videos.sampling import ViewSampling

# Without batch norm's statistics. The tests of each backbone count these layer by layer.
PARAMETERS = {
    "bit": {
        "bit_r50x1": 68_256_659,
        "bit_r50x3": 345_399_315,
        "bit_r101x1": 87_248_787,
        "bit_r101x3": 516_015_123,
        "bit_r152x2": 321_728_979,
        "bit_r152x4": 1_107_299_923,
        "bit_toy": 5_741_083,
    },
    "tsm": {
        "tsm_resnet50": 24_327_632,
        "tsm_toy": 440_188,
    },
}
VARIANTS = [(name, variant) for name in BACKBONES.names() for variant in BACKBONES.load(name).variants]


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_every_variant_has_its_number_of_parameters(name, variant):
  backbone = BACKBONES.load(name)
  params = backbone.shapes(backbone.variants[variant])["params"]
  assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == PARAMETERS[name][variant]


@pytest.mark.parametrize("name, variant", VARIANTS)
def test_every_role_has_its_output_for_the_clips_that_the_variant_samples(name, variant):
  backbone = BACKBONES.load(name)
  config = backbone.variants[variant]
  views = ViewSampling(temporal_samples=2, spatial_crops=5)
  shorter_side, frames, boxes = backbone.sampling(config, views)
  shape = frames(100).shape
  for num_frames in (1, 3, 8, 100):
    indices = frames(num_frames)
    assert indices.shape == shape and (indices >= -1).all() and (indices < num_frames).all()
    assert (indices[:, 0] >= 0).all()
  width, height = 2 * shorter_side, shorter_side
  squares = boxes(width, height)
  (side,) = {right - left for left, _, right, _ in squares} | {bottom - top for _, top, _, bottom in squares}
  assert all(0 <= left and right <= width and 0 <= top and bottom <= height for left, top, right, bottom in squares)
  clips = jax.ShapeDtypeStruct((3, shape[1], side, side, 3), jnp.uint8)
  mask = jax.ShapeDtypeStruct((3, shape[1]), jnp.bool_)
  assert backbone.apply.keys() and backbone.apply.keys() <= set(ROLES)
  for role, apply in backbone.apply.items():
    output = jax.eval_shape(functools.partial(apply, config), backbone.shapes(config), clips, mask)
    size = {FEATURE: "feature_dim", OBJECTS: "num_concepts"}[role]
    assert output.shape == (3, getattr(config, size)) and output.dtype == jnp.float32


def test_backbones_are_found_by_their_role():
  assert with_role(FEATURE) == ["tsm"] and with_role(OBJECTS) == ["bit"]


def test_unknown_backbone_names_the_near_one():
  with pytest.raises(UserError, match="Unknown backbone 'bitt'. Did you mean bit?"):
    BACKBONES.load("bitt")


def test_usual_samplings_are_those_of_the_published_sizes():
  for sampling in usual_samplings(ViewSampling()):
    assert sampling.shorter_side == 256 and sampling.boxes(340, 256) == [(58, 16, 282, 240)]
