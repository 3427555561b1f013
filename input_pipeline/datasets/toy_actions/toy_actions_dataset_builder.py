"""The TFDS builder of toy_actions; `prepare` runs it."""

import tensorflow_datasets as tfds

from input_pipeline.preparation.tfds_builder import FeatureBuilder


class Builder(FeatureBuilder):
  """toy_actions: rendered videos of a motion by an object."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
