"""Made-up published class lists and tiny videos, for tests of datasets that lie in a folder a class.

    write_class_list(tmp_path / "metadata" / "ucf101", ["apply eye makeup", "archery"])
    write_avi(tmp_path / "UCF-101" / "Archery" / "v_Archery_g01_c01.avi", num_frames=3)
"""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest


def write_class_list(folder: Path, names: list[str], file: str = "classes_label_defn.json") -> None:
  """Writes the names as published, each with a description."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / file).write_text(json.dumps([{"word": name, "defn": f"To do {name}."} for name in names]))


def write_avi(path: Path, num_frames: int = 2, grey: int = 90) -> None:
  """Encodes an MPEG-4 video in an .avi file, as those of UCF101 and HMDB51 are; other greys give other bytes."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), "w") as container:
    stream = container.add_stream("mpeg4", rate=25)
    stream.width = stream.height = 16
    for index in range(num_frames):
      picture = np.full((16, 16, 3), grey + 10 * index, np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
    container.mux(stream.encode(None))


def published_folder() -> Path:
  """The published class lists; skips the test where there are none."""
  if not (shared := os.environ.get("ER_JAX_SHARED")):
    pytest.skip("set ER_JAX_SHARED to the folder that holds zsar_metadata/")
  return Path(shared) / "zsar_metadata"
