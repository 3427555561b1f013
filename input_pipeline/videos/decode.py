"""Videos as the backbones take them: the right frames, exactly, resized and cropped, from one decode.

    samplings = [network.sampling for network in ...]     # `ClipSampling`s, see sampling.py
    clip = read_clip("drumming.mp4", samplings)           # raises VideoError, whose text is the reason to skip the file
    clip.frames[0]                                        # (V, T, S, S, 3) uint8 RGB, V views for the first network

Of several video streams the film is taken, not a cover picture; a file that is itself a picture, or whose frames are
larger than `MAX_PIXELS`, is refused. A frame's index is its place in presentation order. Time stamps play no part (a
frame shown for ten seconds counts once), frames that an edit list cuts away do not count, and pictures are turned as
the file's display matrix says.
"""

import contextlib
import errno
import io
import itertools
import os
import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from PIL import Image

from input_pipeline import faults, files
from input_pipeline.videos.sampling import ClipSampling, centre_box

# Codecs whose every packet is one frame, so that packets alone tell the order (VP8 has packets without one).
FRAME_PER_PACKET = frozenset({"h264", "hevc", "mpeg4", "vp9", "av1", "mjpeg"})
NO_PICTURE_BYTES = 19     # an MPEG-4 packet up to this size may say "no picture", as in AVI files by XviD and DivX
WEB_PAGE = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml")   # how one begins, or a server's refusal
# PyAV before 19 refuses a file whose title is not UTF-8 unless told not to; since then it never does.
ANY_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if hasattr(InputContainer, "metadata_errors") else {}
# Text files that have FFmpeg open others, wherever these lie.
PLAYLIST = (b"#extm3u", b"ffconcat version", b"[playlist]", b"v=0\r\no=", b"v=0\no=")
KEEP_BYTES = 64 * 2**20   # packets of files up to this size stay in memory between indexing and decoding
MAX_STREAMS = 128         # of pictures, sound and subtitles; each takes some milliseconds to open
MAX_LACKING = 0.1         # of a video's length, at whose end there may be no frames though nothing is damaged
DAMAGED_SHOWN = 10        # videos that a warning lists
MAX_PIXELS = 2**26        # of a frame, twice those of 8K; decoding one takes 1 GB or so


class VideoError(Exception):
  """A file that gives no frames; the message is a short reason in plain words, without the file's name."""


class ClipFrames(NamedTuple):
  """What several networks see of one video: V views of T frames of S x S pixels, which differ from network to network.

  Attributes:
    frames: of each network, uint8 (V, T, S, S, 3) RGB, views crop by crop; zeros where the mask is False.
    masks: of each network, bool (V, T), False where the video has too few frames.
    num_frames: of the whole video, or of what is left of it.
    damaged: whether it breaks off, or something inside it could not be decoded, as far as was noticed.
  """

  frames: tuple[np.ndarray, ...]
  masks: tuple[np.ndarray, ...]
  num_frames: int
  damaged: bool = False


class Count(NamedTuple):
  """The frames of a video that were counted; `damaged` is whether it is seen to break off."""

  num_frames: int
  damaged: bool


def preprocess(frame: np.ndarray, shorter_side: int = 256, crop: int = 224) -> np.ndarray:
  """Resizes the shorter side and cuts the centre square, by the rules of torchvision's Resize and CenterCrop.

  Args:
    frame: uint8 (H, W, 3).
    shorter_side: pixels of the shorter side after the resize.
    crop: side of the square, at most `shorter_side`.

  Returns:
    uint8 (crop, crop, 3).
  """
  image = resize(frame, shorter_side)
  return np.array(image.crop(centre_box(*image.size, crop)))


def resize(frame: np.ndarray, shorter_side: int) -> Image.Image:
  """uint8 (H, W, 3) as an image of that shorter side (PIL's antialiased bilinear filter)."""
  image = Image.fromarray(frame)
  short, long = sorted(image.size)
  if short != shorter_side:
    longer_side = int(shorter_side * long / short)
    size = (shorter_side, longer_side) if image.width == short else (longer_side, shorter_side)
    image = image.resize(size, Image.Resampling.BILINEAR)
  return image


def count_frames(path: str | os.PathLike) -> int:
  """Number of frames the video shows: read off its packets where they can be trusted, else by decoding it.

  Damage inside an otherwise whole file is seen only by decoding, so `read_clip` may find fewer.

  Raises:
    VideoError: if there is no such file, or no frame in it.
    Failure: if the machine cannot read it.
  """
  return count(path).num_frames


def count(path: str | os.PathLike) -> Count:
  """The same, and whether the video is damaged."""
  with _open(path) as video:
    num_frames = len(video.index.pts) if video.index else sum(1 for _ in video.decode_all())
    return Count(num_frames, video.damaged)


def read_frames(path: str | os.PathLike, indices: Sequence[int]) -> list[np.ndarray]:
  """The frames at `indices` (presentation order, 0-based, in any order, repeats allowed).

  An index outside the video gives frame 0, as in the published extractor.

  Returns:
    One uint8 (H, W, 3) RGB array for each index.

  Raises:
    VideoError: if there is no such file, or no frame in it.
    Failure: if the machine cannot read it.
  """
  def inside(num_frames: int) -> list[int]:
    return [i if 0 <= i < num_frames else 0 for i in map(int, indices)]

  with _open(path) as video:
    num_frames, frames = _pick(video, inside, lambda rgb: rgb)
  return [frames[i] for i in inside(num_frames)]


def read_clip(path: str | os.PathLike, samplings: Sequence[ClipSampling]) -> ClipFrames:
  """The frames of one video that networks see, from one decode; a frame is resized once for each shorter side.

  Args:
    path: the file.
    samplings: what each network sees.

  Raises:
    VideoError: if there is no such file, or no frame in it.
    Failure: if the machine cannot read it.
  """
  def wanted(num_frames: int) -> list[int]:
    return [i for sampling in samplings for i in sampling.frames(num_frames).flat if i >= 0]

  def cut(rgb: np.ndarray) -> list[list[np.ndarray]]:   # the squares for each network
    images = {side: resize(rgb, side) for side in {sampling.shorter_side for sampling in samplings}}
    return [[np.array(images[side].crop(box)) for box in boxes(*images[side].size)] for side, _, boxes in samplings]

  with _open(path) as video:
    num_frames, found = _pick(video, wanted, cut)
  views = [_views(sampling.frames(num_frames), {i: squares[place] for i, squares in found.items()})
           for place, sampling in enumerate(samplings)]
  frames, masks = zip(*views)
  return ClipFrames(frames, masks, num_frames, video.damaged)


def warn_of_damaged(paths: Sequence[Path]) -> None:
  """Says on stderr which videos are damaged, if any are."""
  if paths:
    print("\n".join([
        f"warning: {len(paths)} videos break off, or are damaged inside; what can be decoded of them is used:",
        *(f"  {path}" for path in paths[:DAMAGED_SHOWN]), *["  ..."] * (len(paths) > DAMAGED_SHOWN)]), file=sys.stderr)


def write_video(
    path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float = 24, codec: str = "libx264", **options
) -> None:
  """Encodes an mp4 file; the same frames give the same bytes on every run with the same libraries.

  Args:
    path: replaced atomically; its folder is made if needed.
    frames: at least one; uint8 (H, W, 3) RGB, all of one size. Colour is stored at half resolution (yuv420p)
      if H and W are even, at full resolution (yuv444p, which fewer players know) if not.
    fps: frames a second.
    codec: an encoder of FFmpeg's that mp4 can hold.
    **options: the encoder's own, e.g. crf=18, g=12, bf=0. libx264's start from a fast preset at crf=20, and
      without its macroblock tree, which reads memory that it never wrote.

  Raises:
    ValueError: no frames, frames of several sizes, or an option that the encoder does not know.
  """
  path, frames = Path(path), iter(frames)
  first = next(frames, None)
  if first is None:
    raise ValueError(f"no frames to write to {path}")
  defaults = {"preset": "superfast", "tune": "fastdecode", "crf": 20, "mbtree": 0} if codec == "libx264" else {}
  options = {name: str(value) for name, value in {**defaults, **options}.items()}
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
    stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width, _ = first.shape
    stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
    # How threads share the work changes the bytes, and small frames are not worth a thread's start.
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    for frame in itertools.chain([first], frames):
      if frame.shape != first.shape or frame.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 {first.shape} as the first, got {frame.dtype} {frame.shape}")
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
    container.mux(stream.encode(None))
    if stream.codec_context.options:   # what the encoder left over
      raise ValueError(f"{codec} does not know the option {', '.join(stream.codec_context.options)}")
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  try:   # as files.replacing, but without waiting for the disk, which takes as long as encoding a small clip
    temporary.write_bytes(buffer.getbuffer())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


class _Packet(NamedTuple):
  """What is known of a packet before it is decoded."""

  pts: int | None   # in the stream's time base
  key: bool         # decoding can begin here
  hidden: bool      # cut away by an edit list: others need it, but it is not shown


class _Index(NamedTuple):
  """Where the n shown frames are, in presentation order."""

  pts: list[int]      # (n,) strictly ascending
  starts: list[int]   # (n,) position of the keyframe packet from which decoding gives the frame exactly


class _Untrusted(Exception):
  """The decoder gives other frames than the packets promised."""


def _index(packets: list[_Packet]) -> _Index | None:
  """The index of a stream's packets (in decoding order), or None if they leave any doubt."""
  if not packets or not packets[0].key:
    return None
  key_pts, key_positions, shown = [], [], []      # of keyframes that a later packet may need, both ascending
  for position, (pts, key, hidden) in enumerate(packets):
    if pts is None:
      return None
    if key:
      while key_pts and key_pts[-1] >= pts:
        del key_pts[-1], key_positions[-1]
      key_pts.append(pts)
      key_positions.append(position)
    if not hidden:
      # Frames stored after a keyframe but shown before it (open GOP) need the keyframe before that one.
      place = bisect_right(key_pts, pts)
      if not place:
        return None
      shown.append((pts, key_positions[place - 1]))
  shown.sort()
  pts, starts = [pts for pts, _ in shown], [start for _, start in shown]
  return _Index(pts, starts) if pts and len(set(pts)) == len(pts) else None


class _Video:
  """The packets and frames of an open file.

  Attributes:
    packets: of its film.
    index: of the frames; None where the packets cannot be trusted.
    damaged: whether the file breaks off or, as far as was decoded, a packet behind the first frame gave an error.
  """

  def __init__(self, container: InputContainer):
    stream = _film(container)
    self._path, self._place = container.name, stream.index
    self._context = stream.codec_context
    self._context.options = {"max_pixels": str(MAX_PIXELS)}      # where frames grow on the way
    # One video is one thread's work: callers read several at once, and small frames are not worth more.
    self._context.thread_type, self._context.thread_count = "NONE", 1
    codec = self._context.codec.canonical_name
    is_mpeg4 = codec == "mpeg4"
    self._kept = [] if container.size <= KEEP_BYTES else None
    self.packets, trusted, end = [], True, 0
    self.damaged = False
    for packet in self._demux(container):
      self.packets.append(_Packet(packet.pts, packet.is_keyframe, packet.is_discard))
      self.damaged |= packet.is_corrupt
      trusted &= not (is_mpeg4 and packet.size <= NO_PICTURE_BYTES)
      end = max(end, (packet.pts or 0) + (packet.duration or 0))
      if self._kept is not None:
        self._kept.append(packet)
    trusted &= not self.damaged
    self.damaged |= _lacks_frames(container, stream, [packet.pts for packet in self.packets], end)
    if len(self.packets) == 1 and container.duration is None:
      raise VideoError("a picture, not a video")
    trusted &= codec in FRAME_PER_PACKET
    self.index = _index(self.packets) if trusted else None

  def _demux(self, container: InputContainer) -> Iterator[av.Packet]:
    """The packets of the film, to where the file breaks off."""
    try:
      yield from (packet for packet in container.demux(container.streams[self._place]) if packet.size)
    except FFmpegError as error:
      faults.require_own(self._path, error, of_ffmpeg=True)
      self.damaged = True

  def _read(self) -> Iterator[av.Packet | None]:
    """The packets again, and the None at which a decoder hands out what it holds back."""
    if self._kept is not None:
      yield from self._kept
    else:
      with _av_open(self._path) as container:
        yield from self._demux(container)
    yield None

  def decode_all(self) -> Iterator[tuple[int, av.VideoFrame]]:
    """(index, frame) of every frame that decodes, at least one; a damaged packet costs no other's frame."""
    self._context.flush_buffers()
    index = 0
    for packet in self._read():
      try:
        frames = self._context.decode(packet)
      except FFmpegError as error:
        faults.require_own(self._path, error, of_ffmpeg=True)
        self.damaged |= index > 0 and packet is not None and packet.size > NO_PICTURE_BYTES
        continue
      for frame in frames:
        yield index, frame
        index += 1
    if not index:
      raise VideoError("no frame in it can be decoded")

  def decode_near(self, indices: Iterable[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """(index, frame), ascending, of the frames at `indices` and of those decoded on the way to them.

    Wherever a keyframe allows, packets before the next wanted frame are passed over: that is all that a seek
    would do, and it does not depend on how well the container seeks. Raises _Untrusted.
    """
    assert self.index is not None
    pts, starts = self.index
    missing = sorted(set(indices), reverse=True)
    jumped = True
    for position, packet in enumerate(self._read()):
      if not missing:
        return
      if starts[missing[-1]] > position:
        jumped = True
        continue
      if jumped:
        self._context.flush_buffers()
        landing = self.packets[position].pts
        upcoming = bisect_left(pts, landing)
        jumped = False
      try:
        frames = self._context.decode(packet)
      except FFmpegError as error:
        raise _Untrusted from error
      for frame in frames:
        if frame.pts is None or frame.is_corrupt or upcoming == len(pts) or frame.pts > pts[upcoming]:
          raise _Untrusted
        if frame.pts == landing and not frame.key_frame:   # the container's word for it was wrong
          raise _Untrusted
        if frame.pts == pts[upcoming]:   # smaller: shown before the keyframe, and not to be had from there
          if missing and upcoming == missing[-1]:
            missing.pop()
          yield upcoming, frame
          upcoming += 1
    if missing:
      raise _Untrusted


def _pick(
    video: _Video, choose: Callable[[int], Iterable[int]], convert: Callable[[np.ndarray], Any]
) -> tuple[int, dict[int, Any]]:
  """(number of frames, {index: converted frame}) for the indices that `choose` wants of that many frames."""
  to_rgb = VideoReformatter()

  def collect(frames: Iterable[tuple[int, av.VideoFrame]], wanted: set[int]) -> tuple[int, dict]:
    found, index = {}, -1
    for index, frame in frames:
      if index in wanted:
        found[index] = convert(_upright_rgb(frame, to_rgb))
    return index + 1, found

  if video.index:
    num_frames = len(video.index.pts)
    wanted = set(choose(num_frames))
    with contextlib.suppress(_Untrusted):
      return num_frames, collect(video.decode_near(wanted), wanted)[1]
  guess = max(1, sum(not packet.hidden for packet in video.packets))
  for _ in range(3):   # the guess is nearly always right; if not, the second time it is
    num_frames, found = collect(video.decode_all(), set(choose(guess)))
    if num_frames == guess:
      return num_frames, found
    guess = num_frames
  raise VideoError("damaged: it decodes to another number of frames each time")


def _views(indices: np.ndarray, squares: dict[int, list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
  """Frames (V, T, S, S, 3) and their mask (V, T), crop by crop, of times (samples, T) and {index: squares}."""
  crops = next(iter(squares.values()))
  none = [np.zeros_like(crop) for crop in crops]
  frames = np.stack([[squares.get(i, none)[place] for i in sample]
                     for place in range(len(crops)) for sample in indices.tolist()])
  return frames, np.tile(indices >= 0, (len(crops), 1))


def _upright_rgb(frame: av.VideoFrame, to_rgb: VideoReformatter) -> np.ndarray:
  """The picture as it is to be shown: uint8 (H, W, 3), turned and mirrored by the display matrix."""
  rgb = to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
  try:
    matrix = frame.side_data["DISPLAYMATRIX"]   # pyright: ignore[reportGeneralTypeIssues] (not in its stub)
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
  except KeyError:
    pass
  except ValueError:   # PyAV lists none where one is of a kind new to it (EXIF), but still tells the angle
    rgb = np.rot90(rgb, round(frame.rotation / 90))
  else:   # x' = a x + c y, y' = b x + d y: one of the eight ways to lay a rectangle down
    if abs(b) > abs(a):
      rgb, a, d = rgb.transpose(1, 0, 2), c, b
    rgb = rgb[::-1 if d < 0 else 1, ::-1 if a < 0 else 1]
  return np.ascontiguousarray(rgb)


def _film(container: InputContainer) -> av.VideoStream:
  """Of the video streams that can be decoded, the one to watch: moving, by default, with most frames, the first."""
  streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
  if not streams:
    others = ", only a picture" if container.streams.video else ", only sound" if container.streams.audio else ""
    raise VideoError("no video stream in it" + others)
  streams = [s for s in streams if s.codec_context is not None]
  if not streams:
    raise VideoError("its video is of a kind that FFmpeg cannot decode")
  film = max(streams, key=_rank(container.name, streams)) if len(streams) > 1 else streams[0]
  width, height = film.codec_context.width, film.codec_context.height
  if width * height > MAX_PIXELS:
    raise VideoError(f"its frames are said to be {width} x {height} pixels, more than {MAX_PIXELS}")
  return film


def _lacks_frames(container: InputContainer, stream: av.VideoStream, times: Sequence[int | None], end: int) -> bool:
  """Whether there are clearly fewer frames than the container promises.

  Args:
    container, stream: the film.
    times: of its packets; nothing is known of the others if one is None.
    end: until when the last one is shown, in the stream's time base.
  """
  known = [time for time in times if time is not None]
  if len(known) < max(2, len(times)):
    return False
  if stream.duration is not None:
    promised = (stream.start_time or 0) + stream.duration
  elif container.duration is not None and stream.time_base:      # as Matroska and FLV tell it
    promised = container.duration / (av.time_base * stream.time_base)
  else:
    return False
  step = (max(known) - min(known)) / (len(known) - 1)
  return promised - end > MAX_LACKING * (promised - min(known)) + 2 * step


def _rank(path: str, streams: Sequence[av.VideoStream]) -> Callable[[av.VideoStream], tuple[bool, int, int]]:
  """What is larger for the stream to watch; frames are counted, because few containers tell how many they hold."""
  counts = Counter()
  with _av_open(path) as container, contextlib.suppress(FFmpegError):
    counts.update(packet.stream_index for packet in container.demux([container.streams[s.index] for s in streams])
                  if packet.size)

  def rank(stream: av.VideoStream) -> tuple[bool, int, int]:
    of_some = bool(stream.disposition & (Disposition.hearing_impaired | Disposition.visual_impaired))
    by_default = bool(stream.disposition & Disposition.default)
    return counts[stream.index] > 1, by_default - of_some, counts[stream.index]

  return rank


def _av_open(path: str) -> InputContainer:
  # Only local files: a playlist given as a video must not reach for the network.
  try:
    return av.open(path, options={"protocol_whitelist": "file", "max_streams": str(MAX_STREAMS)}, **ANY_METADATA)
  except FFmpegError as error:
    if error.errno == errno.ENOMEM:      # what FFmpeg says of more streams, and of absurd lengths
      raise VideoError(f"holds more than {MAX_STREAMS} streams, or is damaged at its start") from error
    raise


@contextlib.contextmanager
def _open(path: str | os.PathLike) -> Iterator[_Video]:
  """Opens a file and reads its packets; what FFmpeg finds wrong with it inside the block is a VideoError.

  Raises: Failure if it is the machine that cannot read it.
  """
  try:
    files.require_regular(path)
    with open(path, "rb") as file:
      beginning = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
      if not file.tell():
        raise VideoError("the file is empty (0 bytes)")
      if beginning.startswith(WEB_PAGE):
        raise VideoError("looks like a web page, not a video; its download probably failed")
      if beginning.startswith(PLAYLIST):
        raise VideoError("a list of videos, not a video")
  except OSError as error:
    faults.require_own(path, error)
    raise VideoError(f"cannot be opened: {str(error.strerror).lower()}") from error
  reason = "not a video, or cut off or damaged at its start"
  try:
    with _av_open(os.path.abspath(path)) as container:
      reason = "cannot be decoded"
      video = _Video(container)
      try:
        yield video
      finally:
        if video.damaged:
          faults.require_readable(path)
  except FFmpegError as error:
    faults.require_own(path, error, of_ffmpeg=True)
    faults.require_readable(path)
    raise VideoError(f"{reason} ({str(error.strerror).lower()})") from error
