"""The TFDS builder of olympics_zsar; `prepare` runs it."""

import tensorflow_datasets as tfds

from input_pipeline.preparation.tfds_builder import FeatureBuilder


class Builder(FeatureBuilder):
  """olympics_zsar: 16 sports, random halves of them seen."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
