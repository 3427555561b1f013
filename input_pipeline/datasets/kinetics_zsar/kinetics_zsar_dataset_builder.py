"""The TFDS builder of kinetics_zsar; `prepare` runs it."""

import tensorflow_datasets as tfds

from input_pipeline.preparation.tfds_builder import FeatureBuilder


class Builder(FeatureBuilder):
  """kinetics_zsar: 620 classes of Kinetics-600, the 400 of Kinetics-400 seen."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
