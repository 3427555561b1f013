"""Endless examples to train the toy backbones on, drawn in memory as the backbones see decoded videos.

    clips, classes = backbone_clips(seed=0, start=0, count=32)          # (32, 8, 64, 64, 3) uint8, (32,) int32
    pictures, nouns = backbone_pictures(seed=0, start=0, count=64)      # (64, 64, 64, 3) uint8, (64,) int32

Example i of a seed is always the same, and none is among the dataset's videos. TSM gets clips of seen classes only,
BiT pictures of a single object out of the whole vocabulary, some with doodles beside it.
"""

from collections.abc import Iterable

import numpy as np

from input_pipeline.datasets.toy_actions import icons, scenes, videos
from input_pipeline.videos import decode, sampling

SHORTER_SIDE, CROP = 72, 64
CLIP_STREAM, PICTURE_STREAM = 1, 2     # see videos.VIDEO_STREAM
NOUNS = list(icons.ICONS)


def backbone_clips(seed: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Clips `start` to `start + count` of the stream: seen classes, evenly.

  Returns:
    frames uint8 (count, 8, CROP, CROP, 3), those that TSM samples; labels int32 (count,), positions in the list of
    seen classes.
  """
  frames, labels = [], []
  for index in range(start, start + count):
    rng = np.random.default_rng([seed, CLIP_STREAM, index])
    label = int(rng.integers(len(videos.SEEN)))
    _, motion, noun = videos.CLASSES[videos.SEEN[label]]
    scene = scenes.sample_scene(rng, motion, noun, NOUNS)
    frames.append(_seen_by_backbone(scene, sampling.tsm_indices(scene.num_frames)))
    labels.append(label)
  return np.stack(frames), np.array(labels, np.int32)


def backbone_pictures(seed: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
  """Pictures `start` to `start + count` of the stream, each of a single object, among doodles that are none.

  Returns:
    pictures uint8 (count, CROP, CROP, 3); labels int32 (count,), positions in the concept vocabulary.
  """
  pictures, labels = [], []
  for index in range(start, start + count):
    rng = np.random.default_rng([seed, PICTURE_STREAM, index])
    label = int(rng.integers(len(NOUNS)))
    pictures.append(_seen_by_backbone(scenes.sample_still(rng, NOUNS[label]), [0])[0])
    labels.append(label)
  return np.stack(pictures), np.array(labels, np.int32)


def _seen_by_backbone(scene: scenes.Scene, indices: Iterable[int]) -> np.ndarray:
  """Frames (T, CROP, CROP, 3), not encoded and decoded on the way: what that loses does not matter here."""
  return np.stack([decode.preprocess(frame, SHORTER_SIDE, CROP) for frame in scenes.render(scene, indices)])
