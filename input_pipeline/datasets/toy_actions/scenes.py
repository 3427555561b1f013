"""Toy scenes: an acting object and its distractors before a moving texture, and the pictures of it.

    scene = sample_scene(np.random.default_rng(0), "left", "star", nouns)
    frames = render(scene, range(scene.num_frames))      # uint8 (height, width, 3) each

Everything varies but the motion and the noun: colours, sizes, places, speed, length, background, distractors.
Positions and sizes are pixels of the video. Only the middle square is sure to be seen by the backbones, which crop;
everything happens in it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from input_pipeline.datasets.toy_actions import icons, motions
from input_pipeline.datasets.toy_actions.motions import Move

VISIBLE = 8 / 9           # side of the square that is left of a frame's shorter side after resizing and cropping
MAX_DRIFT = 12            # pixels that the background moves at most in a clip, in x and in y
EYE = (0.8, 1.3, 0.5)     # how much a difference in red, green and blue counts towards contrast
Colour = tuple[int, int, int]


class Thing(NamedTuple):
  """An object in a scene: what, its colours, size (pixels), tilt (degrees), middle, and drift in the clip (pixels)."""

  noun: str | int      # a number: a doodle
  colours: tuple[Colour, Colour]
  size: float
  tilt: float
  mirrored: bool
  x: float
  y: float
  drift: tuple[float, float] = (0.0, 0.0)


class Background(NamedTuple):
  """A texture between two colours, made from its own random stream, and its drift in the clip (pixels)."""

  colours: tuple[Colour, Colour]
  stream: int
  drift: tuple[float, float]


class Scene(NamedTuple):
  """All that determines a clip; `motion` None leaves the actor at rest."""

  width: int
  height: int
  num_frames: int
  motion: str | None
  move: Move
  actor: Thing
  distractors: tuple[Thing, ...]
  background: Background


def sample_scene(rng: np.random.Generator, motion: str, noun: str, nouns: Sequence[str]) -> Scene:
  """Draws a clip of `noun` doing `motion`, with two to four distractors out of `nouns`."""
  width, height = _sample_size(rng)
  background = _sample_background(rng)
  side = VISIBLE * height
  size = side * rng.uniform(0.34, 0.46)
  x, y = (_sample_place(rng, middle, side, size / 2 + far * side)
          for middle, far in zip((width / 2, height / 2), motions.reach(motion)))
  actor = _sample_thing(rng, noun, size, x, y, background)
  others = [other for other in nouns if other != noun]
  others = [others[pick] for pick in rng.choice(len(others), size=int(rng.integers(2, 5)), replace=False)]
  distractors = _sample_distractors(rng, others, actor, width, height, background)
  num_frames = int(rng.integers(16, 49))
  return Scene(width, height, num_frames, motion, motions.sample_move(rng), actor, distractors, background)


def sample_still(rng: np.random.Generator, noun: str) -> Scene:
  """Draws a picture of `noun`, from as small as a distractor to larger than an actor, and up to four doodles."""
  width, height = _sample_size(rng)
  background = _sample_background(rng)
  side = VISIBLE * height
  size = side * rng.uniform(0.18, 0.56)
  x, y = (_sample_place(rng, middle, side, 0.45 * size) for middle in (width / 2, height / 2))
  thing = _sample_thing(rng, noun, size, x, y, background)
  doodles = rng.integers(2**31, size=int(rng.integers(0, 5))).tolist()
  beside = _sample_distractors(rng, doodles, thing, width, height, background)
  return Scene(width, height, 1, None, motions.sample_move(rng), thing, beside, background)


def render(scene: Scene, indices: Iterable[int]) -> list[np.ndarray]:
  """Pictures of the scene.

  Args:
    scene: what is to be seen.
    indices: frames wanted, each in [0, scene.num_frames).

  Returns:
    A uint8 (height, width, 3) RGB array for each index.
  """
  texture = _texture(scene)
  actor = _Sprite(scene.actor)
  sprites = [_Sprite(thing) for thing in scene.distractors]
  side = VISIBLE * scene.height
  frames = []
  for index in indices:
    time = index / max(scene.num_frames - 1, 1)
    left, top = (round(MAX_DRIFT / 2 + drift * (time - 0.5)) for drift in scene.background.drift)
    frame = texture.crop((left, top, left + scene.width, top + scene.height))
    for sprite, (*_, x, y, drift) in zip(sprites, scene.distractors):
      sprite.paste(frame, x + drift[0] * (time - 0.5), y + drift[1] * (time - 0.5))
    pose = motions.pose(scene.motion, time, scene.move) if scene.motion else motions.Pose()
    actor.paste(frame, scene.actor.x + side * pose.x, scene.actor.y + side * pose.y, pose.scale, pose.opacity)
    frames.append(np.asarray(frame))
  return frames


class _Sprite:
  """A thing, coloured and tilted once, to be put into many frames."""

  def __init__(self, thing: Thing):
    self._side = min(icons.SIDE, math.ceil(2 * thing.size))
    cover, detail = (mask.resize((self._side, self._side), Image.Resampling.BILINEAR) for mask in icons.draw(thing.noun))
    picture = Image.new("RGBA", cover.size, thing.colours[0])
    picture.paste(thing.colours[1], mask=detail)
    picture.putalpha(cover)
    if thing.mirrored:
      picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    self._picture = picture.convert("RGBa").rotate(thing.tilt, Image.Resampling.BILINEAR)
    self._size = thing.size * icons.SIDE / (icons.SIDE - 2 * icons.MARGIN)    # pixels, with the empty border
    self._last = None

  def paste(self, frame: Image.Image, x: float, y: float, scale: float = 1.0, opacity: float = 1.0) -> None:
    """Draws the thing into `frame` with its middle at (x, y), antialiased at parts of a pixel."""
    if self._last is None or self._last[0] != (x, y, scale, opacity):    # a thing at rest is drawn once
      self._last = ((x, y, scale, opacity), *self._placed(x, y, scale, opacity))
    _, corner, picture = self._last
    frame.paste(picture, corner, picture)

  def _placed(self, x: float, y: float, scale: float, opacity: float) -> tuple[tuple[int, int], Image.Image]:
    size = self._size * scale
    left, top = math.ceil(x - size / 2), math.ceil(y - size / 2)
    side = math.floor(size) - 1
    zoom = self._side / size
    x0, y0 = (left - x + size / 2) * zoom, (top - y + size / 2) * zoom
    box = (x0, y0, x0 + side * zoom, y0 + side * zoom)
    picture = self._picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    if opacity < 1:
      picture = Image.blend(Image.new(picture.mode, picture.size), picture, opacity)
    return (left, top), picture


def _sample_size(rng: np.random.Generator) -> tuple[int, int]:
  """Width and height of a video; even numbers, as its encoding wants them."""
  return 2 * int(rng.integers(52, 63)), 2 * int(rng.integers(42, 49))


def _sample_distractors(rng: np.random.Generator, nouns: Iterable[str | int], actor: Thing, width: int, height: int,
                        background: Background) -> tuple[Thing, ...]:
  """Small things beside the actor and each other, half of them drifting slowly."""
  side = VISIBLE * height
  things = [actor]
  for noun in nouns:
    size = side * rng.uniform(0.18, 0.26)
    places = [tuple(_sample_place(rng, middle, side, size / 2) for middle in (width / 2, height / 2)) for _ in range(12)]
    x, y = max(places, key=lambda p: min(math.dist(p, (t.x, t.y)) - t.size / 2 for t in things))
    drift = tuple(rng.uniform(-7, 7, 2)) if rng.random() < 0.5 else (0.0, 0.0)
    things.append(_sample_thing(rng, noun, size, x, y, background)._replace(drift=drift))
  return tuple(things[1:])


def _sample_place(rng: np.random.Generator, middle: float, side: float, room: float) -> float:
  """A coordinate at least `room` from the ends of the visible square, or its middle if there is no such place."""
  free = max(side / 2 - room, 0)
  return middle + rng.uniform(-free, free)


def _sample_thing(rng: np.random.Generator, noun: str | int, size: float, x: float, y: float, background: Background) -> Thing:
  body = _sample_colour(rng, background.colours, 110)
  detail = _sample_colour(rng, (body, *background.colours), 90)
  return Thing(noun, (body, detail), size, rng.uniform(-14, 14), bool(rng.random() < 0.5), x, y)


def _sample_background(rng: np.random.Generator) -> Background:
  colour = rng.integers(20, 236, 3)
  other = np.clip(colour + rng.integers(-45, 46, 3), 0, 255)
  drift = tuple(rng.uniform(-MAX_DRIFT, MAX_DRIFT, 2))
  return Background((tuple(colour.tolist()), tuple(other.tolist())), int(rng.integers(2**31)), drift)


def _sample_colour(rng: np.random.Generator, others: Iterable[Colour], distance: float) -> Colour:
  """A colour that stands out from `others`: the first of a few draws that is far enough, else the farthest one."""
  draws = rng.integers(0, 256, (12, 3))
  far = np.min([np.linalg.norm((draws - other) * EYE, axis=1) for other in others], axis=0)
  best = np.argmax(far > distance) if np.any(far > distance) else np.argmax(far)
  return tuple(draws[best].tolist())


def _texture(scene: Scene) -> Image.Image:
  """The background, larger than a frame by what it drifts: blotches, stripes or checks, with some grain."""
  rng = np.random.default_rng(scene.background.stream)
  width, height = scene.width + MAX_DRIFT, scene.height + MAX_DRIFT
  y, x = np.mgrid[:height, :width].astype(np.float32)
  kind = rng.integers(3)
  if kind == 0:
    cells = rng.random((int(rng.integers(5, 12)), int(rng.integers(6, 15))), np.float32)
    level = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
  else:
    angle, pitch, phase = rng.uniform(0, math.pi), rng.uniform(8, 24), rng.uniform(0, 2 * math.pi)
    level = np.sin((x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / pitch) + phase)
    if kind == 2:
      level = level * np.sin((y * math.cos(angle) - x * math.sin(angle)) * (2 * math.pi / pitch))
    level = 0.5 + 0.5 * level
  grain = np.asarray(Image.fromarray(rng.random((height // 2, width // 2), np.float32)).resize((width, height)))
  level = np.clip(0.8 * level + 0.2 * grain, 0, 1)[..., None]
  first, second = (np.asarray(colour, np.float32) for colour in scene.background.colours)
  return Image.fromarray((first + (second - first) * level).astype(np.uint8))
