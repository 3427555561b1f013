"""The frames of a video that backbones see, and the squares of a frame: numbers only, no pixels.

    views = ViewSampling(temporal_samples=2, spatial_crops=3)
    views.count                                    # V = 6, the clips of 8 frames that TSM sees of a video
    views.frames(num_frames=300)                   # (2, 8), the frames of each temporal sample
    views.boxes(width=341, height=256, crop=224)   # (left, top, right, bottom) of each crop, in pixels
    bit_indices(300)                               # (8,), the frames for BiT

Views are those of the published extractor, in its order: crop by crop, and within a crop by temporal sample, so that
view = crop * temporal_samples + sample.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from input_pipeline.errors import UserError

SEGMENTS = 8      # frames of a view, and at most of those for BiT
# Where the squares lie, in quarters of the way that a square can move to the right and down.
QUARTERS = {
    3: ((0, 2), (4, 2), (2, 2)),                     # left, right, centre
    5: ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2)),     # corners, centre
}
Box = tuple[int, int, int, int]


class ClipSampling(NamedTuple):
  """What one network sees of a video: its views are the squares one after another, each at all times.

  Attributes:
    shorter_side: pixels, to which frames are resized.
    frames: of a video of that many frames, those of each sample in time: int (samples, T), T being the same for all
      videos; -1 where a video has too few.
    boxes: of a resized frame of that width and height, the squares; all of one size.
  """

  shorter_side: int
  frames: Callable[[int], np.ndarray]
  boxes: Callable[[int, int], list[Box]]


@dataclasses.dataclass(frozen=True)
class ViewSampling:
  """What TSM sees of a video: by default one clip of 8 frames spread over it, their centre squares.

  Attributes:
    temporal_samples: clips of 8 frames at different times.
    spatial_crops: squares cut out of each frame. 1: the centre. 3: left, right and centre of a wide video, of the
      full height (as published also of a tall one, where the three then lie upon each other). 5: corners and centre.
    dense_stride: if above 0, a clip's frames are this far apart instead of spread over the whole video.

  Raises:
    UserError: naming the flag whose value cannot be.
  """

  temporal_samples: int = 1
  spatial_crops: int = 1
  dense_stride: int = 0

  def __post_init__(self):
    if self.temporal_samples < 1:
      raise UserError(f"--temporal_samples is {self.temporal_samples}, expected at least 1.")
    if self.spatial_crops not in (1, *QUARTERS):
      raise UserError(f"--spatial_crops is {self.spatial_crops}, expected 1 (centre), 3 (left, right and centre) or 5 "
                      "(four corners and centre).")
    if self.dense_stride < 0:
      raise UserError(f"--dense_stride is {self.dense_stride}, expected the distance in frames between the 8 frames of "
                      "a sample, or 0 to spread them over the whole video.")

  @property
  def count(self) -> int:
    """V, the number of views."""
    return self.temporal_samples * self.spatial_crops

  def frames(self, num_frames: int) -> np.ndarray:
    """Which frames each temporal sample takes of a video of `num_frames`.

    Returns:
      int64 (temporal_samples, 8), in [0, num_frames).
    """
    _require_frames(num_frames)
    samples, steps = self.temporal_samples, np.arange(SEGMENTS)
    if self.dense_stride:
      positions = max(1, 1 + num_frames - SEGMENTS * self.dense_stride)
      starts = np.linspace(0, positions - 1, samples).astype(np.int64) if samples > 1 else np.array([positions // 2])
      return (starts[:, None] + steps * self.dense_stride) % num_frames
    stretch = num_frames // SEGMENTS
    shifts = [math.floor(stretch / samples * sample) for sample in range(samples - 1)]
    return np.stack([tsm_indices(num_frames), *(steps * stretch + shift for shift in shifts)])

  def boxes(self, width: int, height: int, crop: int) -> list[Box]:
    """The squares cut out of a frame, of `crop` pixels; of the frame's shorter side if there are three.

    Args:
      width, height: of the resized frame, at least `crop`.
      crop: pixels.
    """
    if self.spatial_crops == 1:
      return [centre_box(width, height, crop)]
    side = min(width, height) if self.spatial_crops == 3 else crop
    right, down = (width - side) // 4, (height - side) // 4
    return [(x * right, y * down, x * right + side, y * down + side) for x, y in QUARTERS[self.spatial_crops]]


def centre_box(width: int, height: int, side: int) -> Box:
  """The centre square, where torchvision's CenterCrop takes it. Raises: ValueError if it does not fit in."""
  if side > min(width, height):
    raise ValueError(f"crop {side} is larger than a frame of {width} x {height} pixels")
  left, top = (int(round((length - side) / 2.0)) for length in (width, height))
  return left, top, left + side, top + side


def tsm_indices(num_frames: int, segments: int = SEGMENTS) -> np.ndarray:
  """Middle frame of each of `segments` equal stretches (TSM, Lin et al. 2019, rounded as published).

  Returns:
    int64 (segments,), 0-based and ascending; repeats where num_frames < segments.
  """
  _require_frames(num_frames)
  tick = num_frames / segments
  return np.array([int(tick / 2 + tick * x) for x in range(segments)])


def bit_indices(num_frames: int, limit: int = SEGMENTS) -> np.ndarray:
  """All frames, or `limit` of them evenly spread from the first to the last.

  Returns:
    int64 (min(limit, num_frames),), 0-based and ascending.
  """
  _require_frames(num_frames)
  if num_frames <= limit:
    return np.arange(num_frames)
  return np.round(np.linspace(0, num_frames - 1, limit)).astype(np.int64)


def _require_frames(num_frames: int) -> None:
  if num_frames < 1:
    raise ValueError(f"num_frames must be at least 1, got {num_frames}")
