"""Frames by index, against videos whose frames show their own number and against a plain decode."""

import errno
import io
import os
import pathlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from input_pipeline import faults, files
from input_pipeline.backbones import bit, tsm
from input_pipeline.errors import Failure
from input_pipeline.videos import decode
from input_pipeline.videos.sampling import ClipSampling, ViewSampling, bit_indices, centre_box, tsm_indices

COUNT = 24
STEADY = list(range(COUNT))
UNSTEADY = np.cumsum([1 + 6 * (i % 7 == 3) + (i % 4 == 1) for i in range(COUNT)]).tolist()


def numbered(number, height=48, width=64):
  """A frame whose left half shows number % 10 and right half number // 10, as grey levels 24 apart."""
  frame = np.empty((height, width, 3), np.uint8)
  frame[:, :width // 2] = 8 + 24 * (number % 10)
  frame[:, width // 2:] = 8 + 24 * (number // 10)
  return frame


def number_of(frame):
  height, width, _ = frame.shape
  rows = slice(height // 4, 3 * height // 4)
  ones = frame[rows, width // 8:3 * width // 8].mean()
  tens = frame[rows, 5 * width // 8:7 * width // 8].mean()
  return round((ones - 8) / 24) + 10 * round((tens - 8) / 24)


def read_both(path, shorter_side=256, crop=224, views=ViewSampling()):
  """What TSM and BiT see of a video."""
  return decode.read_clip(path, [
      tsm.sampling(tsm.TSMConfig(shorter_side=shorter_side, crop=crop), views),
      bit.sampling(bit.BiTConfig((1,), shorter_side=shorter_side, crop=crop), views)])


def encode(path, frames, codec="libx264", pix_fmt="yuv420p", pts=None, movflags="", matrix=None, **options):
  """Writes a video with time stamps `pts` (1/24 s); mp4 cuts away frames of negative ones by an edit list."""
  frames = list(frames)
  pts = pts or list(range(len(frames)))
  with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
    options = {name: str(value) for name, value in options.items()}
    stream = container.add_stream(codec, rate=24, options=options)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pix_fmt
    stream.codec_context.thread_count = 1
    stream.codec_context.time_base = Fraction(1, 24)
    if matrix:
      stream.set_display_matrix(matrix)
    packets = []
    for time, frame in zip(pts, frames):
      picture = av.VideoFrame.from_ndarray(frame, "rgb24")
      picture.pts, picture.time_base = time - min(pts), Fraction(1, 24)
      packets += stream.encode(picture)
    for packet in packets + stream.encode(None):
      packet.pts, packet.dts = packet.pts + min(pts), packet.dts + min(pts)
      container.mux(packet)
  return path


def plain_decode(path):
  """All frames as FFmpeg gives them, front to back."""
  frames = []
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_type = "NONE"
    for packet in container.demux(stream):
      try:
        frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
      except av.FFmpegError:
        pass
  return frames


def textured(count):
  """Frames that nothing predicts, so that a file's bytes are nearly all pictures."""
  blocks = np.random.default_rng(0).integers(0, 255, (count, 12, 16, 3), dtype=np.uint8)
  return blocks.repeat(4, axis=1).repeat(4, axis=2)


def same(frames, others):
  return len(frames) == len(others) and all(map(np.array_equal, frames, others))


KINDS = {
    "b_frames": ("mp4", dict(bf=3, g=8)),
    "b_frames_one_keyframe": ("mp4", {"bf": 5, "x264-params": "b-pyramid=normal:ref=4:scenecut=0"}),
    "open_gop": ("mkv", {"bf": 3, "g": 8, "x264-params": "open-gop=1:scenecut=0"}),
    "intra_refresh": ("mkv", {"bf": 0, "x264-params": "intra-refresh=1:keyint=8:scenecut=0"}),
    "interlaced": ("mkv", {"bf": 2, "x264-params": "tff=1:keyint=8"}),
    "transport_stream": ("ts", dict(bf=2, g=8)),
    "h264_avi": ("avi", dict(bf=2, g=8)),
    "h265": ("mp4", {"codec": "libx265", "x265-params": "keyint=8:bframes=3:log-level=none:pools=none"}),
    "mpeg4_avi": ("avi", dict(codec="mpeg4", g=8, bf=0, b=8000000, sc_threshold=1000000000)),
    "mpeg4_b_frames_avi": ("avi", dict(codec="mpeg4", g=8, bf=2, b=8000000, sc_threshold=1000000000)),
    "mpeg2": ("mpg", dict(codec="mpeg2video", g=8, bf=2, b=8000000)),
    "vp8_hidden_frames": ("webm", {"codec": "libvpx", "g": 8, "auto-alt-ref": 1, "lag-in-frames": 8}),
    "vp9": ("webm", {"codec": "libvpx-vp9", "g": 8, "lag-in-frames": 8, "cpu-used": 8}),
    "motion_jpeg": ("avi", dict(codec="mjpeg", pix_fmt="yuvj420p", b=8000000)),
    "gif": ("gif", dict(codec="gif", pix_fmt="gray")),
    "grey": ("mkv", dict(codec="ffv1", pix_fmt="gray")),
    "ten_bit": ("mp4", dict(pix_fmt="yuv420p10le", g=8)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_index_gives_the_frame_that_shows_it(kind, tmp_path):
  extension, options = KINDS[kind]
  path = encode(tmp_path / f"a.{extension}", map(numbered, range(COUNT)), **options)
  frames = [decode.read_frames(path, [i])[0] for i in range(COUNT)]
  assert [number_of(frame) for frame in frames] == list(range(COUNT))
  assert same(frames, plain_decode(path))
  assert decode.count(path) == (COUNT, False)
  assert read_both(path, 48, 32)[2:] == (COUNT, False)


@pytest.mark.parametrize("extension", ["mp4", "mkv", "avi"])
def test_variable_frame_rate_does_not_move_indices(extension, tmp_path):
  path = encode(tmp_path / f"a.{extension}", map(numbered, range(COUNT)), pts=UNSTEADY, bf=3, g=8)
  assert [number_of(decode.read_frames(path, [i])[0]) for i in range(COUNT)] == list(range(COUNT))
  assert decode.count(path) == (COUNT, False)


def test_frames_that_an_edit_list_cuts_away_do_not_count(tmp_path):
  path = encode(tmp_path / "a.mp4", map(numbered, range(COUNT)), pts=[i - 11 for i in STEADY], bf=3, g=8)
  assert decode.count(path) == (COUNT - 11, False)
  assert [number_of(decode.read_frames(path, [i])[0]) for i in range(COUNT - 11)] == list(range(11, COUNT))


def test_frames_come_in_the_order_asked_for_and_outside_the_video_is_frame_0(tmp_path):
  path = encode(tmp_path / "a.mp4", map(numbered, range(COUNT)), g=8)
  frames = decode.read_frames(path, np.array([23, 3, 3, 24, -1, 17]))
  assert [number_of(frame) for frame in frames] == [23, 3, 3, 0, 0, 17]


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "intra_refresh", "mpeg4_b_frames_avi", "vp9"])
@pytest.mark.parametrize("kept_in_memory", [True, False])
def test_passing_over_packets_equals_decoding_straight_through(kind, kept_in_memory, tmp_path, monkeypatch):
  extension, options = KINDS[kind]
  path = encode(tmp_path / f"a.{extension}", textured(COUNT), pts=UNSTEADY, **options)
  monkeypatch.setattr(decode, "KEEP_BYTES", 2**26 if kept_in_memory else 0)
  pairs = [decode.read_frames(path, [i, i + COUNT // 2]) for i in range(COUNT // 2)]
  monkeypatch.setattr(decode, "_index", lambda packets: None)
  straight = decode.read_frames(path, range(COUNT))
  assert same([first for first, _ in pairs] + [second for _, second in pairs], straight)
  assert same(straight, plain_decode(path))


def test_far_apart_frames_leave_what_is_between_undecoded(tmp_path):
  options = {"x264-params": "keyint=5:scenecut=0:bframes=0"}
  path = encode(tmp_path / "a.mp4", map(numbered, range(COUNT)), **options)
  with decode._open(path) as opened:
    decoded = [index for index, _ in opened.decode_near([1, 22])]
  assert decoded == [0, 1, 20, 21, 22]


@pytest.mark.parametrize("kind", ["b_frames", "mpeg4_avi", "vp9"])
def test_wrongly_marked_keyframes_do_not_spoil_frames(kind, tmp_path, monkeypatch):
  extension, options = KINDS[kind]
  path = encode(tmp_path / f"a.{extension}", map(numbered, range(COUNT)), **options)
  index = decode._index
  monkeypatch.setattr(decode, "_index", lambda packets: index([p._replace(key=True) for p in packets]))
  assert same([decode.read_frames(path, [i])[0] for i in range(COUNT)], plain_decode(path))


def test_packets_without_trustworthy_time_stamps_give_no_index():
  packets = [decode._Packet(pts, pts == 0, False) for pts in (0, 3, 1, 2)]
  assert decode._index(packets) == ([0, 1, 2, 3], [0, 0, 0, 0])
  assert decode._index(packets + [decode._Packet(3, False, False)]) is None      # shown twice at once
  assert decode._index(packets + [decode._Packet(None, False, False)]) is None   # shown who knows when
  assert decode._index(packets[1:]) is None                                     # begins in mid-air
  assert decode._index(packets + [decode._Packet(-1, False, False)]) is None     # shown before all keyframes
  assert decode._index([]) is None


def test_open_gop_frames_start_from_the_keyframe_before():
  stored = [(0, True), (2, False), (1, False), (5, True), (3, False), (4, False), (6, False)]
  index = decode._index([decode._Packet(pts, key, False) for pts, key in stored])
  assert index.starts == [0, 0, 0, 0, 0, 3, 3]


@pytest.mark.parametrize("size", [(47, 64), (48, 63), (35, 37)])
def test_odd_sizes_keep_every_pixel(size, tmp_path):
  rng = np.random.default_rng(0)
  frames = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for _ in range(3)]
  path = encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0")
  assert same(decode.read_frames(path, range(3)), frames)


ONE = 1 << 16
LAYOUTS = {   # matrix (a, b, c, d) of x' = a x + c y, y' = b x + d y: what becomes of [[1, 2, 3], [4, 5, 6]]
    "as_stored": ((1, 0, 0, 1), [[1, 2, 3], [4, 5, 6]]),
    "phone_upright": ((0, 1, -1, 0), [[4, 1], [5, 2], [6, 3]]),
    "phone_upside_down": ((0, -1, 1, 0), [[3, 6], [2, 5], [1, 4]]),
    "half_turn": ((-1, 0, 0, -1), [[6, 5, 4], [3, 2, 1]]),
    "mirrored": ((-1, 0, 0, 1), [[3, 2, 1], [6, 5, 4]]),
    "upside_down_mirrored": ((1, 0, 0, -1), [[4, 5, 6], [1, 2, 3]]),
    "transposed": ((0, 1, 1, 0), [[1, 4], [2, 5], [3, 6]]),
    "transposed_across": ((0, -1, -1, 0), [[6, 3], [5, 2], [4, 1]]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_are_laid_out_as_the_display_matrix_says(layout, tmp_path):
  (a, b, c, d), expected = LAYOUTS[layout]
  stored = np.kron(np.array([[1, 2, 3], [4, 5, 6]]), np.full((16, 16), 40)).astype(np.uint8)
  matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
  path = encode(tmp_path / "a.mp4", [np.repeat(stored[..., None], 3, axis=2)] * 3, matrix=matrix, crf=1)
  frame = decode.read_frames(path, [1])[0]
  assert np.round(frame[8::16, 8::16, 0] / 40).tolist() == expected
  assert frame.shape == (16 * len(expected), 16 * len(expected[0]), 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation_inside_jpeg_pictures_is_followed(orientation, tmp_path):
  levels = np.kron(np.arange(6).reshape(2, 3), np.full((16, 16), 40)).astype(np.uint8)
  picture = Image.fromarray(levels).convert("RGB")
  exif, data = Image.Exif(), io.BytesIO()
  exif[0x0112] = orientation
  picture.save(data, "JPEG", exif=exif, quality=95)
  with av.open(str(tmp_path / "a.mkv"), "w") as container:
    stream = container.add_stream("mjpeg", rate=24)
    stream.width, stream.height, stream.pix_fmt = *picture.size, "yuvj420p"
    packet = av.Packet(data.getvalue())
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 24)
    container.mux(packet)
  frame = decode.read_frames(tmp_path / "a.mkv", [0])[0]
  upright = np.asarray(ImageOps.exif_transpose(Image.open(data)), float)
  assert frame.shape == upright.shape and np.abs(frame - upright).mean() < 3


@pytest.mark.parametrize("name,space,kr,kb", [("bt709", 1, 0.2126, 0.0722), ("bt601", 6, 0.299, 0.114)])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_follow_the_matrix_and_range_the_file_names(name, space, kr, kb, full_range, tmp_path):
  with av.open(str(tmp_path / "a.mp4"), "w") as container:
    stream = container.add_stream("libx264", rate=24, options={"qp": "0"})
    stream.width = stream.height = 64
    stream.codec_context.colorspace, stream.codec_context.color_range = space, 2 if full_range else 1
    planes = np.repeat([120, 90, 170], [64, 16, 16])[:, None] * np.ones((1, 64))
    frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8), "yuv420p")
    frame.colorspace, frame.color_range = space, 2 if full_range else 1
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
  y, u, v = (120 / 255, -38 / 255, 42 / 255) if full_range else (104 / 219, -38 / 224, 42 / 224)
  red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
  green = (y - kr * red - kb * blue) / (1 - kr - kb)
  pixel = decode.read_frames(tmp_path / "a.mp4", [0])[0][32, 32]
  np.testing.assert_allclose(pixel, 255 * np.array([red, green, blue]), atol=2.5)


def test_one_frame_is_a_video(tmp_path):
  path = encode(tmp_path / "a.mp4", [numbered(7)])
  clip = read_both(path, 48, 32)
  assert decode.count_frames(path) == clip.num_frames == 1
  assert clip.masks[1].tolist() == [[True] + [False] * 7]
  assert clip.frames[0].shape == (1, 8, 32, 32, 3) and (clip.frames[0] == clip.frames[1][0, 0]).all()


@pytest.mark.parametrize("kind", ["b_frames", "h264_avi", "mpeg4_b_frames_avi", "vp9", "transport_stream"])
@pytest.mark.parametrize("part", [0.45, 0.8])
def test_a_truncated_file_gives_what_decodes_and_says_so(kind, part, tmp_path):
  extension, options = KINDS[kind]
  movflags = "faststart" if extension == "mp4" else ""
  whole = encode(tmp_path / f"whole.{extension}", textured(COUNT), movflags=movflags, **options)
  path = tmp_path / f"a.{extension}"
  path.write_bytes(whole.read_bytes()[:int(part * whole.stat().st_size)])
  expected = plain_decode(path)
  assert 0 < len(expected) < COUNT
  seen = len(expected), kind != "transport_stream"      # which promises nothing
  assert decode.count(path) == read_both(path, 48, 32)[2:] == seen
  assert same(decode.read_frames(path, range(len(expected))), expected)


def test_a_half_of_a_matroska_file_is_seen_to_lack_frames_though_it_gives_no_error(tmp_path):
  whole = encode(tmp_path / "whole.mkv", textured(COUNT), bf=3, g=8).read_bytes()
  (tmp_path / "a.mkv").write_bytes(whole[:len(whole) // 2])
  assert read_both(tmp_path / "a.mkv", 48, 32).damaged and decode.count(tmp_path / "a.mkv").damaged


def test_what_the_machine_cannot_read_is_no_fault_of_the_video(tmp_path, monkeypatch):
  whole = encode(tmp_path / "whole.mkv", textured(COUNT), g=8).read_bytes()
  (tmp_path / "half.mkv").write_bytes(whole[:len(whole) // 2])
  (tmp_path / "none.mkv").write_bytes(whole[:300])

  def fail(code):
    def raises(path, *_):
      raise av.error.classes[code](code, os.strerror(code), path)
    return raises

  with monkeypatch.context() as patch, pytest.raises(Failure, match="whole.mkv: Too many open files.*same command again"):
    patch.setattr(decode, "_av_open", fail(errno.EMFILE))
    decode.count_frames(tmp_path / "whole.mkv")
  with monkeypatch.context() as patch, pytest.raises(Failure, match="whole.mkv: Stale file handle"):
    patch.setattr(files, "require_regular", fail(errno.ESTALE))
    decode.count_frames(tmp_path / "whole.mkv")
  for name in ("half.mkv", "none.mkv"):      # as if it were the disk that ended them
    with monkeypatch.context() as patch, pytest.raises(Failure, match=f"{name}: Input/output error"):
      patch.setattr(faults, "open", fail(errno.EIO), raising=False)
      read_both(tmp_path / name, 48, 32)


def test_a_damaged_packet_costs_no_other_frame(tmp_path):
  whole = encode(tmp_path / "whole.mp4", map(numbered, range(COUNT)), g=1)
  data = bytearray(whole.read_bytes())
  with av.open(str(whole)) as container:
    start, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][13]
  data[start:start + size] = bytes(size)
  path = tmp_path / "a.mp4"
  path.write_bytes(data)
  left = [i for i in range(COUNT) if i != 13]
  assert [number_of(frame) for frame in decode.read_frames(path, range(COUNT - 1))] == left
  assert read_both(path, 48, 32).damaged and not decode.count(path).damaged


def no_film(name):
  """Writes a file that gives no frames below the current folder."""
  path = pathlib.Path(name)
  if name == "text.mp4":
    path.write_text("Once upon a time there was a video.\n" * 50)
  elif name == "page.mp4":
    path.write_text("\ufeff\n<!DOCTYPE HTML>\n<html><body>404: not found</body></html>")
  elif name == "refusal.avi":
    path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')
  elif name == "zero.mp4":
    path.touch()
  elif name == "folder.mp4":
    path.mkdir()
  elif name == "cut.mp4":   # its table of contents is at the end, and gone
    data = encode(path, map(numbered, range(COUNT))).read_bytes()
    path.write_bytes(data[:len(data) // 2])
  elif name == "noise.mp4":
    whole = encode(path, map(numbered, range(COUNT)), movflags="faststart").read_bytes()
    end = whole.index(b"mdat") + 4
    path.write_bytes(whole[:end] + np.random.default_rng(0).bytes(len(whole) - end))
  elif name == "sound.mp4":
    with av.open(name, "w") as container:
      stream = container.add_stream("aac", rate=16000)
      sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
      sound.sample_rate = 16000
      container.mux(stream.encode(sound))
      container.mux(stream.encode(None))
  return path


@pytest.mark.parametrize("name,reason", [
    ("missing.mp4", "no such file"),
    ("folder.mp4", "is a directory"),
    ("zero.mp4", "empty"),
    ("text.mp4", "not a video"),
    ("page.mp4", "looks like a web page, not a video; its download probably failed"),
    ("refusal.avi", "looks like a web page"),
    ("cut.mp4", "not a video, or cut off"),
    ("noise.mp4", "no frame in it can be decoded"),
    ("sound.mp4", "no video stream in it, only sound"),
])
def test_a_file_without_frames_is_refused_in_one_silent_line(name, reason, tmp_path, monkeypatch, capfd):
  monkeypatch.chdir(tmp_path)
  path = no_film(name)
  readers = [read_both, lambda path: decode.read_frames(path, [0])]
  readers += [decode.count_frames] if name != "noise.mp4" else []   # whose packets look sound until decoded
  capfd.readouterr()
  for read in readers:
    with pytest.raises(decode.VideoError, match=reason) as caught:
      read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 120
  assert capfd.readouterr() == ("", "")


def test_a_cover_picture_is_no_video(tmp_path):
  cover = io.BytesIO()
  Image.new("RGB", (32, 32)).save(cover, "JPEG")
  with av.open(str(tmp_path / "song.mp4"), "w") as container:
    stream = container.add_stream("mjpeg", rate=24)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    packet = av.Packet(cover.getvalue())
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 24)
    container.mux(packet)
  with pytest.raises(decode.VideoError, match="no video stream"):
    read_both(tmp_path / "song.mp4")


def encode_streams(path, *streams):
  """Writes a video of several streams (codec, dispositions, frames), one after another."""
  with av.open(str(path), "w") as container:
    added = []
    for codec, disposition, frames in streams:
      stream = container.add_stream(codec, rate=24)
      stream.height, stream.width = frames[0].shape[:2]
      stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
      stream.disposition = disposition
      added.append(stream)
    for stream, (_, _, frames) in zip(added, streams):
      for time, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, "rgb24")
        picture.pts = time
        container.mux(stream.encode(picture))
      container.mux(stream.encode(None))
  return path


COVER, FILM = [numbered(99, 96, 128)], [numbered(i) for i in range(5)]
NONE, DEFAULT, ATTACHED, FOR_SOME = av.stream.Disposition(0), av.stream.Disposition.default, (
    av.stream.Disposition.attached_pic), av.stream.Disposition.hearing_impaired


@pytest.mark.parametrize("extension, streams", [
    ("mp4", [("mjpeg", DEFAULT, COVER), ("libx264", NONE, FILM)]),       # as FFmpeg's muxer marks the first stream
    ("mp4", [("png", NONE, COVER), ("libx264", DEFAULT, FILM)]),
    ("mp4", [("mjpeg", ATTACHED, COVER), ("libx264", NONE, FILM)]),
    ("mkv", [("mjpeg", NONE, COVER), ("libx264", NONE, FILM)]),
    ("avi", [("png", NONE, COVER), ("libx264", NONE, FILM)]),
    ("mkv", [("libx264", NONE, [numbered(99)] * 9), ("libx264", DEFAULT, FILM)]),
    ("mkv", [("libx264", NONE, [numbered(99)] * 3), ("libx264", NONE, FILM)]),
    ("mkv", [("libx264", FOR_SOME, [numbered(99)] * 5), ("libx264", NONE, FILM)]),
    ("mkv", [("libx264", NONE, FILM), ("libx264", NONE, [numbered(99)] * 5)]),
])
@pytest.mark.parametrize("kept_in_memory", [True, False])
def test_of_several_video_streams_the_film_is_taken(extension, streams, kept_in_memory, tmp_path, monkeypatch):
  path = encode_streams(tmp_path / f"a.{extension}", *streams)
  monkeypatch.setattr(decode, "KEEP_BYTES", 2**26 if kept_in_memory else 0)
  assert decode.count_frames(path) == 5
  assert [number_of(frame) for frame in decode.read_frames(path, range(5))] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF"])
def test_a_picture_that_is_called_a_video_is_none(format, tmp_path):
  Image.fromarray(textured(1)[0]).save(tmp_path / "a.mp4", format)
  for read in (decode.count_frames, read_both):
    with pytest.raises(decode.VideoError, match="a picture, not a video"):
      read(tmp_path / "a.mp4")


def test_frames_that_would_fill_the_memory_are_refused_by_their_header(tmp_path):
  path = encode(tmp_path / "a.avi", FILM, "ffv1")
  small, large = (np.array(size, "<i4").tobytes() for size in ((64, 48), (16000, 16000)))
  path.write_bytes(path.read_bytes().replace(small, large))
  with pytest.raises(decode.VideoError, match="16000 x 16000 pixels, more than"):
    decode.count_frames(path)


def test_frames_larger_than_their_container_says_are_refused_too(tmp_path, monkeypatch):
  path = encode(tmp_path / "a.mp4", FILM)
  monkeypatch.setattr(decode, "MAX_PIXELS", 40 * 40)
  monkeypatch.setattr(decode, "_film", lambda container: container.streams.video[0])      # as if it said less
  with pytest.raises(decode.VideoError, match="no frame in it can be decoded|cannot be decoded"):
    decode.read_frames(path, [0])


def test_a_file_of_more_streams_than_any_film_has_is_refused(tmp_path, monkeypatch):
  path = encode_streams(tmp_path / "a.mp4", *[("libx264", NONE, FILM)] * 3)
  monkeypatch.setattr(decode, "MAX_STREAMS", 2)
  with pytest.raises(decode.VideoError, match="holds more than 2 streams"):
    decode.count_frames(path)


def test_pipes_and_devices_are_refused_without_waiting_for_them(tmp_path):
  os.mkfifo(tmp_path / "pipe.mp4")
  (tmp_path / "zero.mp4").symlink_to("/dev/zero")
  (tmp_path / "loop.mp4").symlink_to("loop.mp4")
  for name, reason in (("pipe.mp4", "pipe, socket or device"), ("zero.mp4", "device"), ("loop.mp4", "symbolic links")):
    with pytest.raises(decode.VideoError, match=reason):
      decode.count_frames(tmp_path / name)


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"])
def test_lists_that_name_other_files_are_no_videos(text, tmp_path):
  encode(tmp_path / "other.ts", FILM)
  (tmp_path / "a.mp4").write_text(text.format("other.ts"))
  with pytest.raises(decode.VideoError, match="a list of videos, not a video"):
    decode.count_frames(tmp_path / "a.mp4")


def test_index_of_any_packets_is_quick_and_starts_at_the_last_keyframe_not_after_the_frame():
  rng = np.random.default_rng(0)
  packets = [decode._Packet(int(pts), bool(key), False) for pts, key in zip(rng.permutation(200), rng.random(200) < 0.3)]
  packets.insert(0, decode._Packet(-1, True, False))
  expected = sorted((packet.pts, max(at for at, other in enumerate(packets[:place + 1])
                                     if other.key and other.pts <= packet.pts)) for place, packet in enumerate(packets))
  index = decode._index(packets)
  assert index and list(zip(*index)) == expected
  many = 50_000      # whose square would take an hour
  packets = [decode._Packet(i, True, False) for i in range(many)] + [decode._Packet(0, False, False)] * many
  assert decode._index(packets) is None      # as many time stamps are the same


def triangle_weights(size, new_size):
  """(new_size, size) weights of antialiased bilinear resizing, from its definition."""
  scale = size / new_size
  centres = (np.arange(new_size)[:, None] + 0.5) * scale
  distance = np.abs(np.arange(size)[None] + 0.5 - centres) / max(scale, 1.0)
  weights = np.maximum(0.0, 1.0 - distance)
  return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("shape,resized,top,left", [
    ((240, 320), (256, 341), 16, 58),   # (341 - 224) / 2 = 58.5 rounds to the even 58
    ((320, 243), (337, 256), 56, 16),   # int(256 * 320 / 243) = 337; 56.5 rounds to 56
    ((300, 300), (256, 256), 16, 16),
    ((500, 281), (455, 256), 116, 16),  # int(455.5) = 455; 115.5 rounds to 116
    ((256, 300), (256, 300), 16, 38),   # left as it is
])
def test_preprocess_is_a_resize_and_a_centre_crop(shape, resized, top, left):
  frame = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
  rows, columns = triangle_weights(shape[0], resized[0]), triangle_weights(shape[1], resized[1])
  expected = np.einsum("ih,hwc,jw->ijc", rows, frame, columns, optimize=True)[top:top + 224, left:left + 224]
  result = decode.preprocess(frame)
  assert result.shape == (224, 224, 3) and result.dtype == np.uint8
  assert np.abs(result - expected).max() <= 1.01   # PIL rounds after each of its two passes


def test_preprocess_leaves_a_frame_of_the_right_height_untouched():
  frame = np.random.default_rng(0).integers(0, 255, (32, 41, 3), dtype=np.uint8)
  np.testing.assert_array_equal(decode.preprocess(frame, 32, 24), frame[4:28, 8:32])


def test_a_crop_larger_than_the_resized_frame_is_refused():
  with pytest.raises(ValueError, match="crop 64 is larger"):
    decode.preprocess(numbered(0), 48, 64)


@pytest.mark.parametrize("count", [3, 8, 21])
def test_read_clip_gives_both_backbones_their_frames(count, tmp_path):
  path = encode(tmp_path / "a.mp4", map(numbered, range(count)), g=6)
  clip = read_both(path, shorter_side=40, crop=36)
  frames = [decode.preprocess(frame, 40, 36) for frame in plain_decode(path)]
  assert clip.num_frames == count
  assert [seen.shape for seen in clip.frames] == [(1, 8, 36, 36, 3)] * 2
  assert [seen.dtype for seen in clip.frames] == [np.uint8] * 2
  assert same(clip.frames[0][0], [frames[i] for i in tsm_indices(count)])
  assert clip.masks[0].tolist() == [[True] * 8]
  assert clip.masks[1].tolist() == [[i < count for i in range(8)]]
  assert same(clip.frames[1][clip.masks[1]], [frames[i] for i in bit_indices(count)])
  assert not clip.frames[1][~clip.masks[1]].any()


def test_networks_of_other_sizes_see_one_decode_each_resized_and_cut_its_own_way(tmp_path, monkeypatch):
  path = encode(tmp_path / "a.mp4", textured(5), g=6)
  resized, resize = [], decode.resize
  monkeypatch.setattr(decode, "resize", lambda frame, side: resized.append(side) or resize(frame, side))

  def sampling(side, crop, *times):
    return ClipSampling(side, lambda n: np.array(times), lambda width, height: [centre_box(width, height, crop)])

  large, short, small = decode.read_clip(path, [
      sampling(40, 36, [0, 4, 4]), sampling(40, 8, [2, -1], [-1, -1]), sampling(24, 20, [0], [3])]).frames
  assert sorted(resized) == [24] * 4 + [40] * 4      # frames 0, 2, 3 and 4, once for each shorter side
  frames = plain_decode(path)
  assert same(large, [[decode.preprocess(frames[i], 40, 36) for i in (0, 4, 4)]])
  assert same(short[0, 0], decode.preprocess(frames[2], 40, 8)) and not short[0, 1].any() and not short[1].any()
  assert same(small, [[decode.preprocess(frames[i], 24, 20)] for i in (0, 3)])


# 32 x 42 pixels after the resize, so that the steps are (42 - 32) // 4 = 2 for squares of 32, 3 and 1 for those of 28.
SQUARES = {
    1: [np.s_[2:30, 7:35]],
    3: [np.s_[:, 0:32], np.s_[:, 8:40], np.s_[:, 4:36]],
    5: [np.s_[0:28, 0:28], np.s_[0:28, 12:40], np.s_[4:32, 0:28], np.s_[4:32, 12:40], np.s_[2:30, 6:34]],
}


@pytest.mark.parametrize("crops", SQUARES)
def test_views_are_the_crops_one_after_another_each_at_its_times_and_bit_sees_the_centre(crops, tmp_path, monkeypatch):
  path = encode(tmp_path / "a.mp4", textured(17), g=6)
  frames = [np.asarray(decode.resize(frame, 32)) for frame in plain_decode(path)]
  resized, resize = [], decode.resize
  monkeypatch.setattr(decode, "resize", lambda frame, side: resized.append(frame) or resize(frame, side))
  clip = read_both(path, shorter_side=32, crop=28, views=ViewSampling(temporal_samples=2, spatial_crops=crops))
  times = [1, 3, 5, 7, 9, 11, 13, 15], [0, 2, 4, 6, 8, 10, 12, 14]       # int(17/16 + 17/8 x); 17 // 8 x
  assert same(clip.frames[0], [[frames[i][square] for i in time] for square in SQUARES[crops] for time in times])
  assert same(clip.frames[1][0], [frames[i][2:30, 7:35] for i in (0, 2, 5, 7, 9, 11, 14, 16)])      # round(16 / 7 x)
  assert len(resized) == 17      # 16 frames for TSM, 8 for BiT, of which only the last is not among those


@pytest.mark.parametrize("name", ["a b (c) #1 & 100%.mp4", "ünïcode 拍手.mp4", "caf\udce9.mp4", "%03d.mp4", "a:b.mp4"])
def test_any_file_name_will_do(name, tmp_path):
  os.rename(encode(tmp_path / "a.mp4", map(numbered, range(3))), tmp_path / name)
  assert read_both(tmp_path / name, 48, 32).num_frames == decode.count_frames(tmp_path / name) == 3


def test_a_title_that_is_not_utf8_is_no_obstacle(tmp_path):
  path = tmp_path / "a.mp4"
  with av.open(str(path), "w") as container:
    container.metadata["title"] = "a caf\u00e9"
    stream = container.add_stream("libx264", rate=24)
    stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
    container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(0), "rgb24")))
    container.mux(stream.encode(None))
  data = path.read_bytes()
  assert data.count("a caf\u00e9".encode()) == 1
  path.write_bytes(data.replace("a caf\u00e9".encode(), b"an caf\xe9"))
  assert decode.count_frames(path) == len(decode.read_frames(path, [0])) == 1


NO_PICTURE = bytes.fromhex("000001b6 50007f")      # MPEG-4's "vop_coded = 0": nothing new to show


def as_avi(path, count, bf, rewrite, size=(48, 64)):
  """Writes an AVI file of `rewrite`(MPEG-4 packets, [(key, bytes)]), marked as XviD's, of numbered frames."""
  encoded = encode(path.with_suffix(".mkv"), (numbered(i, *size) for i in range(count)), "mpeg4",
                   bf=bf, g=8, b=8000000, sc_threshold=1000000000)
  with av.open(str(encoded)) as container, av.open(str(path), "w") as output:
    header = container.streams.video[0].codec_context.extradata
    packets = [(packet.is_keyframe, bytes(packet)) for packet in container.demux(video=0) if packet.size]
    packets[0] = (True, header + packets[0][1])
    stream = output.add_stream("mpeg4", rate=25)
    stream.height, stream.width = size
    stream.pix_fmt, stream.codec_context.codec_tag = "yuv420p", "XVID"
    for time, (key, data) in enumerate(rewrite(packets)):
      packet = av.Packet(data)
      packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), key
      packet.pts = packet.dts = time
      output.mux(packet)
  return path


def packed(packets):
  """B frames as DivX and XviD store them in AVI: in the packet of the frame that they need, then an empty one."""
  vop = b"\x00\x00\x01\xb6"
  key, first = packets[0]
  result = [(key, first.replace(vop, b"\x00\x00\x01\xb2DivX503b1393p" + vop, 1))]
  for key, data in packets[1:]:
    if data[data.index(vop) + 4] >> 6 == 2:      # a B frame
      result[-1] = (result[-1][0], result[-1][1] + data)
      result.append((False, NO_PICTURE))
    else:
      result.append((key, data))
  return result


def with_gaps(packets):
  """Now and then a packet that shows nothing, as for a frame that was dropped in recording."""
  return [*packets[:5], (False, NO_PICTURE), *packets[5:14], (False, NO_PICTURE), *packets[14:]]


@pytest.mark.parametrize("bf,rewrite", [(0, list), (1, list), (1, packed), (0, with_gaps)])
def test_frames_of_xvid_and_divx_files_are_exact(bf, rewrite, tmp_path):
  path = as_avi(tmp_path / "v_Archery_g01_c01.avi", COUNT, bf, rewrite)
  assert [number_of(decode.read_frames(path, [i])[0]) for i in range(COUNT)] == list(range(COUNT))
  assert same(decode.read_frames(path, range(COUNT)), plain_decode(path))
  assert decode.count(path) == read_both(path, 48, 32)[2:] == (COUNT, False)


def test_a_video_of_ucf101s_kind_gives_the_frames_of_the_published_times(tmp_path):
  path = as_avi(tmp_path / "a.avi", 40, 0, list, size=(240, 320))
  clip = read_both(path)
  assert [number_of(frame) for frame in clip.frames[0][0]] == [2, 7, 12, 17, 22, 27, 32, 37]      # 2.5 + 5 x
  assert [number_of(frame) for frame in clip.frames[1][0]] == [0, 6, 11, 17, 22, 28, 33, 39]         # 39 / 7 x


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_written_video_reads_back_and_is_the_same_bytes_each_time(size, tmp_path):
  frames = [numbered(i, *size) for i in range(20)]
  decode.write_video(tmp_path / "new" / "a.mp4", iter(frames), fps=12.5)
  decode.write_video(tmp_path / "b.mp4", frames, fps=12.5)
  assert (tmp_path / "new" / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
  read = decode.read_frames(tmp_path / "b.mp4", range(20))
  assert decode.count_frames(tmp_path / "b.mp4") == 20
  assert [number_of(frame) for frame in read] == list(range(20)) and read[0].shape == (*size, 3)
  with av.open(str(tmp_path / "b.mp4")) as container:
    assert container.streams.video[0].average_rate == Fraction(25, 2)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
  path = tmp_path / "a.mp4"
  path.write_bytes(b"old")
  bad = [(ValueError, dict(frames=[])), (ValueError, dict(frames=[numbered(0), numbered(0, 32, 32)])),
         (ValueError, dict(frames=[numbered(0)], crv=18))]
  for error, arguments in bad:
    with pytest.raises(error):
      decode.write_video(path, **arguments)

  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "replace", full)
  with pytest.raises(OSError, match="No space left"):
    decode.write_video(path, [numbered(0)])
  assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.skipif("ER_JAX_SHARED" not in os.environ, reason="ER_JAX_SHARED is not set")
def test_frames_of_a_real_clip_equal_a_plain_decode():
  path = pathlib.Path(os.environ["ER_JAX_SHARED"]) / "clips" / "water_bottle_drumming.mp4"
  frames = plain_decode(path)
  count = len(frames)
  clip = read_both(path)
  assert decode.count_frames(path) == clip.num_frames == count
  assert same(clip.frames[0][0], [decode.preprocess(frames[i]) for i in tsm_indices(count)])
  assert same(clip.frames[1][0], [decode.preprocess(frames[i]) for i in bit_indices(count)])
  wanted = [count - 1, 0, 57, 13, 58]
  assert same(decode.read_frames(path, wanted), [frames[i] for i in wanted])
