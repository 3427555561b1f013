"""The toy world's motions: where an acting object is, how large and how opaque, over the time of a clip.

    pose = motions.pose("left", time=0.25, move)     # time 0 is the first frame, 1 the last

Most come in pairs of which one is the other played backwards. So both show the very same pictures, and only their
order tells them apart.
"""

import math
from typing import NamedTuple

import numpy as np

OPPOSITES = {
    "left": "right",
    "up": "down",
    "counterclockwise": "clockwise",
    "shrink": "grow",
    "vanish": "appear",
}
MOTIONS = tuple(name for pair in OPPOSITES.items() for name in pair) + ("shake", "bounce")


class Pose(NamedTuple):
  """Offset from the object's place as parts of the visible square's side, factor of its size, and opacity (0, 1]."""

  x: float = 0.0
  y: float = 0.0
  scale: float = 1.0
  opacity: float = 1.0


class Move(NamedTuple):
  """How one clip performs its motion.

  Attributes:
    extent: how far it goes, [0, 1], small to large.
    speed: how often repeated motions repeat, [0, 1], few to many times.
    phase: where on its circle or in its swing it begins, [0, 1).
  """

  extent: float
  speed: float
  phase: float


def sample_move(rng: np.random.Generator) -> Move:
  """Draws extent, speed and phase evenly."""
  return Move(*rng.random(3))


def pose(motion: str, time: float, move: Move) -> Pose:
  """The acting object's pose.

  Args:
    motion: one of `MOTIONS`.
    time: [0, 1], first to last frame.
    move: the clip's way of performing it.

  Returns:
    The pose; that of a motion at `time` is that of its opposite at `1 - time`.
  """
  if motion in OPPOSITES:
    motion, time = OPPOSITES[motion], 1 - time
  extent, speed, phase = move
  along = time - 0.5
  if motion == "right":
    return Pose(x=(0.38 + 0.22 * extent) * along)
  if motion == "down":
    return Pose(y=(0.38 + 0.22 * extent) * along)
  if motion == "clockwise":
    angle = 2 * math.pi * (phase + (0.8 + 0.5 * speed) * along)
    radius = 0.15 + 0.09 * extent
    return Pose(x=radius * math.cos(angle), y=radius * math.sin(angle))    # y points down
  if motion == "grow":
    return Pose(scale=(2.0 + 0.8 * extent) ** along)
  if motion == "appear":
    return Pose(opacity=0.08 + 0.92 * time)
  if motion == "shake":
    return Pose(x=(0.07 + 0.05 * extent) * math.sin(2 * math.pi * (phase + (2.0 + speed) * along)))
  if motion == "bounce":
    return Pose(y=(0.2 + 0.1 * extent) * (0.5 - abs(math.sin(math.pi * (phase + (2.0 + speed) * along)))))
  raise ValueError(f"unknown motion {motion!r}; expected one of {MOTIONS}")


def reach(motion: str) -> tuple[float, float]:
  """How far the motion may carry an object from its place, in x and y, as parts of the visible square's side."""
  motion = OPPOSITES.get(motion, motion)
  return {"right": (0.3, 0.0), "down": (0.0, 0.3), "clockwise": (0.24, 0.24), "shake": (0.12, 0.0),
          "bounce": (0.0, 0.15)}.get(motion, (0.0, 0.0))
