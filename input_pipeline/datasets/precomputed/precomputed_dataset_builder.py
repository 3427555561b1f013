"""The TFDS builder of precomputed features; `prepare` runs it."""

import tensorflow_datasets as tfds

from input_pipeline.preparation.tfds_builder import FeatureBuilder


class Builder(FeatureBuilder):
  """precomputed: features in the layout in which those of Kinetics-ZSAR are published."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
