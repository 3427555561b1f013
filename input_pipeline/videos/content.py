"""Whether a file is a video by how it begins, whatever its name.

    looks_like_video(Path("v_Archery_g01_c01"))      # True for what FFmpeg would open as a video, or an animated GIF
"""

import os
import re

from input_pipeline import faults, files

BEGINNING = 512      # bytes
SIGNATURES = re.compile(rb"|".join([
    rb".{4}ftyp(?!avif|hei[cfsx]|mif1|msf1|M4[AB] )", rb".{4}(?:moov|mdat|wide|pnot)",      # MP4 and QuickTime
    rb"\x1a\x45\xdf\xa3",                                                   # Matroska and WebM
    rb"RIFF.{4}AVI ", rb"FLV\x01", rb"GIF8[79]a", rb"OggS", rb"\.RMF",
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",                                   # ASF and WMV
    rb"\x00\x00\x01[\xb3\xba]",                                             # MPEG-1 and MPEG-2
    rb"G.{187}G.{187}G", rb".{4}G.{191}G",                                  # MPEG transport streams, M2TS
    rb"\x06\x0e\x2b\x34", rb"YUV4MPEG2 ", rb"DKIF",                         # MXF, Y4M, IVF
]), re.DOTALL)


def looks_like_video(path: str | os.PathLike) -> bool:
  """Whether the file begins like a video; reads `BEGINNING` bytes. False for what is no file or may not be read.

  Raises: Failure if the machine cannot read it.
  """
  try:
    files.require_regular(path)
    with open(path, "rb") as file:
      return SIGNATURES.match(file.read(BEGINNING)) is not None
  except PermissionError:      # as of what the system keeps beside the videos
    return False
  except OSError as error:
    faults.require_own(path, error)
    return False
