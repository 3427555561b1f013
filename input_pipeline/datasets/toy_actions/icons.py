"""The toy world's nouns as small drawings, each a handful of strokes on a square of 100 x 100 units.

    mask, detail = icons.draw("umbrella")     # two uint8 pictures (SIDE, SIDE): where it is, where its second tone is

x grows to the right and y downwards. A stroke paints one of three tones: the body, a detail in a second tone, or a
hole. Colours are chosen by whoever places the icon, so that no noun can be told by its colour.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

MARGIN = 24             # empty border, so that an icon can be shifted by parts of a pixel and tilted
UNIT = 1.44             # picture pixels a unit
SIDE = 192              # = 2 * MARGIN + 100 * UNIT

HOLE, BODY, DETAIL = 0, 128, 255
Stroke = Callable[[ImageDraw.ImageDraw], None]


def _at(points) -> list[tuple[float, float]]:
  return [(MARGIN + UNIT * x, MARGIN + UNIT * y) for x, y in points]


def disc(x: float, y: float, radius: float, tone: int = BODY) -> Stroke:
  return oval(x - radius, y - radius, x + radius, y + radius, tone)


def oval(left: float, top: float, right: float, bottom: float, tone: int = BODY) -> Stroke:
  return lambda pen: pen.ellipse(_at([(left, top), (right, bottom)]), fill=tone)


def box(left: float, top: float, right: float, bottom: float, tone: int = BODY, corner: float = 0) -> Stroke:
  return lambda pen: pen.rounded_rectangle(_at([(left, top), (right, bottom)]), corner * UNIT, fill=tone)


def shape(*points: tuple[float, float], tone: int = BODY) -> Stroke:
  return lambda pen: pen.polygon(_at(points), fill=tone)


def line(*points: tuple[float, float], width: float = 8, tone: int = BODY) -> Stroke:
  return lambda pen: pen.line(_at(points), fill=tone, width=round(width * UNIT), joint="curve")


def arc(x: float, y: float, radius: float, start: float, end: float, width: float = 8, tone: int = BODY) -> Stroke:
  """Part of a circle's rim; angles in degrees, from the x axis clockwise."""
  corners = _at([(x - radius, y - radius), (x + radius, y + radius)])
  return lambda pen: pen.arc(corners, start, end, fill=tone, width=round(width * UNIT))


def slice_(x: float, y: float, radius: float, start: float, end: float, tone: int = BODY) -> Stroke:
  corners = _at([(x - radius, y - radius), (x + radius, y + radius)])
  return lambda pen: pen.pieslice(corners, start, end, fill=tone)


def _around(count: int, radius: float, turn: float = -90.0) -> list[tuple[float, float]]:
  """`count` points on a circle about the middle, the first at `turn` degrees."""
  angles = [math.radians(turn + 360 * i / count) for i in range(count)]
  return [(50 + radius * math.cos(a), 50 + radius * math.sin(a)) for a in angles]


def _star(spikes: int, inner: float, outer: float) -> Stroke:
  far, near = _around(spikes, outer), _around(spikes, inner, -90 + 180 / spikes)
  return shape(*[point for pair in zip(far, near) for point in pair])


ICONS: dict[str, tuple[Stroke, ...]] = {
    "star": (_star(5, 20, 50),),
    "fish": (oval(24, 24, 98, 76), shape((34, 50), (2, 20), (2, 80)), disc(80, 42, 6, DETAIL),
             shape((44, 46), (62, 56), (44, 66), tone=DETAIL)),
    "key": (disc(22, 50, 22), disc(22, 50, 11, HOLE), box(42, 43, 98, 57), box(68, 56, 77, 74), box(86, 56, 96, 80)),
    "house": (box(20, 46, 80, 94), shape((4, 50), (50, 6), (96, 50), tone=DETAIL), box(42, 64, 58, 94, DETAIL)),
    "umbrella": (slice_(50, 52, 48, 180, 360), *[disc(x, 54, 10, HOLE) for x in (12, 37, 63, 88)],
                 line((50, 30), (50, 88), width=6, tone=DETAIL), arc(41, 86, 12, 0, 180, 6, DETAIL)),
    "mushroom": (slice_(50, 54, 46, 180, 360), box(36, 52, 64, 96, DETAIL, 8), disc(34, 34, 8, DETAIL),
                 disc(58, 24, 7, DETAIL), disc(74, 42, 7, DETAIL)),
    "hammer": (box(43, 34, 57, 98, DETAIL), box(14, 8, 76, 38, corner=3), shape((76, 12), (96, 30), (76, 34))),
    "cup": (arc(70, 50, 24, -90, 90, 9), box(12, 18, 72, 86, corner=10), oval(12, 10, 72, 28, DETAIL)),
    "bell": (disc(50, 12, 9), slice_(50, 44, 32, 180, 360), shape((18, 43), (82, 43), (94, 80), (6, 80)),
             disc(50, 88, 11, DETAIL), box(6, 72, 94, 80, DETAIL)),
    "boat": (shape((2, 64), (98, 64), (80, 92), (20, 92)), line((48, 64), (48, 6), width=6),
             shape((54, 8), (54, 56), (92, 56), tone=DETAIL), shape((42, 18), (42, 56), (14, 56), tone=DETAIL)),
    "crown": (shape((10, 88), (2, 26), (28, 54), (50, 12), (72, 54), (98, 26), (90, 88)), disc(50, 12, 7, DETAIL),
              disc(5, 26, 6, DETAIL), disc(95, 26, 6, DETAIL), box(12, 70, 88, 80, DETAIL)),
    "butterfly": (oval(2, 8, 48, 56), oval(52, 8, 98, 56), oval(12, 48, 48, 92), oval(52, 48, 88, 92),
                  disc(24, 32, 9, HOLE), disc(76, 32, 9, HOLE), line((50, 22), (50, 88), width=9, tone=DETAIL),
                  line((50, 24), (38, 4), width=4, tone=DETAIL), line((50, 24), (62, 4), width=4, tone=DETAIL)),
    "scissors": (line((32, 4), (64, 72), width=10), line((68, 4), (36, 72), width=10),
                 arc(26, 80, 18, 0, 360, 8, DETAIL), arc(74, 80, 18, 0, 360, 8, DETAIL)),
    "anchor": (arc(50, 14, 13, 0, 360, 7), box(46, 24, 54, 92), box(24, 32, 76, 41), arc(50, 52, 42, 15, 165, 9),
               shape((2, 46), (22, 66), (2, 74)), shape((98, 46), (78, 66), (98, 74))),
    "tree": (box(42, 76, 58, 98, DETAIL), shape((50, 2), (78, 34), (22, 34)), shape((50, 20), (88, 58), (12, 58)),
             shape((50, 42), (96, 82), (4, 82))),
    "heart": (disc(27, 32, 25), disc(73, 32, 25), shape((5, 44), (27, 30), (73, 30), (95, 44), (50, 96))),
    "rocket": (shape((50, 0), (68, 24), (68, 72), (32, 72), (32, 24)), shape((32, 50), (10, 80), (32, 74)),
               shape((68, 50), (90, 80), (68, 74)), disc(50, 34, 10, DETAIL),
               shape((38, 76), (62, 76), (50, 100), tone=DETAIL)),
    "chair": (box(18, 2, 30, 98), box(30, 50, 82, 62), box(70, 62, 82, 98), box(30, 10, 36, 42, DETAIL)),
    "bottle": (box(40, 2, 60, 36), box(26, 38, 74, 98, corner=8), shape((40, 30), (60, 30), (74, 46), (26, 46)),
               box(26, 60, 74, 80, DETAIL), box(40, 2, 60, 10, DETAIL)),
    "candle": (box(38, 34, 62, 84), oval(10, 78, 90, 98), line((50, 36), (50, 28), width=4),
               oval(40, 10, 60, 32, DETAIL), shape((42, 16), (58, 16), (50, 0), tone=DETAIL)),
    "duck": (oval(4, 44, 84, 94), disc(70, 30, 20), shape((4, 66), (0, 36), (30, 54)), disc(74, 26, 5, DETAIL),
             shape((86, 24), (100, 36), (84, 40), tone=DETAIL), oval(26, 56, 62, 78, DETAIL)),
    "cactus": (box(40, 4, 60, 98, corner=10), box(10, 26, 24, 58, corner=7), box(10, 48, 44, 62, corner=7),
               box(76, 16, 90, 48, corner=7), box(56, 38, 90, 52, corner=7)),
    "ball": (disc(50, 50, 46), arc(8, 50, 40, -65, 65, 8, DETAIL), arc(92, 50, 40, 115, 245, 8, DETAIL)),
    "ring": (disc(50, 50, 46), disc(50, 50, 28, HOLE)),
    "cross": (box(36, 4, 64, 96), box(4, 36, 96, 64)),
    "moon": (disc(46, 50, 46), disc(70, 42, 40, HOLE)),
    "flower": (*[disc(x, y, 17) for x, y in _around(6, 31)], disc(50, 50, 16, DETAIL)),
    "car": (box(2, 44, 98, 76, corner=8), shape((18, 46), (32, 20), (70, 20), (84, 46)),
            shape((36, 42), (40, 28), (62, 28), (68, 42), tone=HOLE), disc(25, 76, 13, DETAIL), disc(75, 76, 13, DETAIL)),
    "ladder": (box(24, 0, 34, 100), box(66, 0, 76, 100), *[box(30, y, 70, y + 7, DETAIL) for y in (10, 32, 54, 76)]),
    "table": (box(2, 26, 98, 40), box(12, 40, 22, 90, DETAIL), box(78, 40, 88, 90, DETAIL)),
    "kite": (shape((50, 0), (80, 32), (50, 76), (20, 32)), line((50, 0), (50, 76), width=4, tone=DETAIL),
             line((20, 32), (80, 32), width=4, tone=DETAIL),
             line((50, 76), (60, 84), (46, 90), (56, 100), width=5, tone=DETAIL)),
    "cloud": (disc(28, 60, 24), disc(54, 42, 28), disc(78, 60, 20), box(26, 58, 80, 84, corner=10)),
    "raindrop": (disc(50, 66, 32), shape((50, 2), (79, 54), (21, 54)), arc(50, 66, 20, 90, 170, 7, DETAIL)),
    "leaf": (*[arc(50 + d, 50, 62, a, b, 26) for d, a, b in ((38, 128, 232), (-38, -52, 52))], oval(34, 12, 66, 88),
             line((50, 100), (50, 18), width=5, tone=DETAIL), line((50, 66), (68, 48), width=4, tone=DETAIL),
             line((50, 54), (32, 36), width=4, tone=DETAIL)),
    "apple": (disc(34, 58, 30), disc(66, 58, 30), oval(22, 50, 78, 98), line((50, 36), (54, 8), width=6),
              oval(54, 8, 86, 24, DETAIL)),
    "cherry": (disc(24, 76, 20), disc(76, 72, 20), line((24, 60), (58, 6), width=5, tone=DETAIL),
               line((76, 56), (58, 6), width=5, tone=DETAIL)),
    "hat": (box(26, 12, 74, 82), box(2, 76, 98, 90, corner=6), box(26, 60, 74, 74, DETAIL)),
    "boot": (box(20, 4, 56, 70), box(20, 60, 94, 88, corner=12), box(16, 86, 96, 96, DETAIL), box(16, 4, 60, 16, DETAIL)),
    "cogwheel": (disc(50, 50, 36), *[line((50, 50), point, width=16) for point in _around(8, 49)], disc(50, 50, 15, HOLE)),
    "fork": (box(44, 40, 56, 100), box(22, 2, 31, 44), box(45, 2, 54, 44), box(69, 2, 78, 44), box(22, 38, 78, 50)),
    "comb": (box(2, 20, 98, 42), *[box(x, 40, x + 6, 82) for x in range(3, 98, 11)]),
    "envelope": (box(2, 20, 98, 82), line((2, 22), (50, 58), (98, 22), width=6, tone=DETAIL)),
    "book": (shape((2, 18), (48, 28), (48, 88), (2, 78)), shape((98, 18), (52, 28), (52, 88), (98, 78)),
             *[line((10, y), (40, y + 7), width=4, tone=DETAIL) for y in (34, 48, 62)],
             *[line((60, y + 7), (90, y), width=4, tone=DETAIL) for y in (34, 48, 62)]),
    "bone": (box(18, 40, 82, 60), disc(16, 36, 15), disc(16, 64, 15), disc(84, 36, 15), disc(84, 64, 15)),
    "spider": (disc(50, 58, 22), disc(50, 30, 13, DETAIL),
               *[line((50, 48), (50 + s * 30, y), (50 + s * 46, z), width=5)
                 for s in (-1, 1) for y, z in ((22, 4), (38, 34), (62, 68), (76, 98))]),
    "balloon": (oval(20, 0, 80, 70), shape((44, 78), (56, 78), (50, 66)), arc(44, 26, 14, 180, 270, 5, DETAIL),
                line((50, 78), (56, 86), (46, 92), (52, 100), width=4, tone=DETAIL)),
    "spectacles": (arc(24, 54, 24, 0, 360, 8), arc(76, 54, 24, 0, 360, 8), line((44, 48), (56, 48), width=7),
                   line((2, 50), (10, 28), width=6, tone=DETAIL), line((98, 50), (90, 28), width=6, tone=DETAIL)),
    "hourglass": (shape((18, 8), (82, 8), (18, 92), (82, 92)), box(10, 0, 90, 12, DETAIL), box(10, 88, 90, 100, DETAIL)),
    "magnet": (arc(50, 46, 44, 180, 360, 26), box(6, 45, 32, 94), box(68, 45, 94, 94), box(6, 74, 32, 96, DETAIL),
               box(68, 74, 94, 96, DETAIL)),
    "padlock": (arc(50, 38, 30, 180, 360, 11), box(20, 36, 31, 54), box(69, 36, 80, 54), box(10, 46, 90, 98, corner=8),
                disc(50, 66, 9, DETAIL), box(46, 68, 54, 86, DETAIL)),
}


def doodle(number: int) -> tuple[Stroke, ...]:
  """A meaningless scribble of two to five strokes, always the same for a number: what pictures hold besides nouns."""
  rng = np.random.default_rng(number)

  def point() -> tuple[float, float]:
    return tuple(rng.uniform(4, 96, 2))

  strokes = []
  for index in range(int(rng.integers(2, 6))):
    tone = int(rng.choice([BODY, DETAIL, HOLE])) if index else BODY
    kind, (x, y), width = rng.integers(5), rng.uniform(25, 75, 2), float(rng.uniform(5, 16))
    if kind == 0:
      half = rng.uniform(8, 25, 2)
      strokes.append(oval(x - half[0], y - half[1], x + half[0], y + half[1], tone))
    elif kind == 1:
      half = rng.uniform(6, 25, 2)
      strokes.append(box(x - half[0], y - half[1], x + half[0], y + half[1], tone, float(rng.uniform(0, 5))))
    elif kind == 2:
      strokes.append(shape(*[point() for _ in range(int(rng.integers(3, 6)))], tone=tone))
    elif kind == 3:
      strokes.append(line(*[point() for _ in range(int(rng.integers(2, 5)))], width=width, tone=tone))
    else:
      start = float(rng.uniform(0, 360))
      strokes.append(arc(x, y, float(rng.uniform(14, 45)), start, start + float(rng.uniform(60, 300)), width, tone))
  return tuple(strokes)


@functools.lru_cache(256)
def draw(name: str | int) -> tuple[Image.Image, Image.Image]:
  """The icon of one noun, or the doodle of one number, large.

  Returns:
    Two pictures of mode "L", SIDE x SIDE: 255 where the icon covers, and 255 where its detail shows.

  Raises:
    KeyError: no such noun.
  """
  canvas = Image.new("L", (SIDE, SIDE), HOLE)
  pen = ImageDraw.Draw(canvas)
  for stroke in ICONS[name] if isinstance(name, str) else doodle(name):
    stroke(pen)
  tones = np.asarray(canvas)
  return (Image.fromarray(np.where(tones != HOLE, 255, 0).astype(np.uint8)),
          Image.fromarray(np.where(tones == DETAIL, 255, 0).astype(np.uint8)))
