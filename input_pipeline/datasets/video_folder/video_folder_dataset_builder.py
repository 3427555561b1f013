"""The TFDS builder of the user's own videos; `prepare` runs it."""

import tensorflow_datasets as tfds

from input_pipeline.preparation.tfds_builder import FeatureBuilder


class Builder(FeatureBuilder):
  """video_folder: the user's own videos and classes."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First release."}
