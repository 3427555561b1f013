"""A small dataset in the published feature layout, for tests that want one on disk.

    layout = write_layout(tmp_path / "layout")
    prepare("precomputed", tmp_path / "data", layout.source)
    layout.feature("v3"), layout.predictions["v3"]      # what was written for a video

12 classes, 6 of them seen (the list is not sorted) and 6 unseen, divided in 3 ways into 2 for validation and 4 for
test; 5 videos a seen class, 4 an unseen one in each of val and test; names with sub-folders and dots; two videos that
val and test share; one seen class's videos in the unseen metas. `write_layout` writes all optional files;
tests remove or rewrite those that they are about.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NUM_CLASSES, FEATURE_DIM, NUM_CONCEPTS, VECTOR_DIM = 12, 16, 30, 8
SEEN = (7, 2, 11, 0, 5, 9)
VAL = ((1, 3), (8, 4), (10, 6))
TEST = ((4, 6, 8, 10), (10, 1, 3, 6), (1, 3, 4, 8))
WORDS = ("ride", "a", "horse", "with", "saddle", "water", "swim", "throw", "ball", "run", "jump", "rope", "cook", "egg")


class Video(NamedTuple):
  """A line of a metas file; `name` is `file` without its last extension."""

  name: str
  file: str
  num_frames: int
  label: int


class Layout(NamedTuple):
  """What was written.

  Attributes:
    source: the folder.
    videos: by published set ("trn", "val", "tst"), in the order of the metas file, those of other classes too.
    predictions: {name: [concept ids, scores]}.
    class_vectors, classifier_rows, word_table: the arrays of the optional files, float32.
  """

  source: Path
  videos: dict[str, list[Video]]
  predictions: dict[str, list[list]]
  class_vectors: np.ndarray
  classifier_rows: np.ndarray
  word_table: np.ndarray

  def feature(self, name: str) -> np.ndarray:
    """(FEATURE_DIM,) float32: the first number is its class, the rest noise from the name alone."""
    (label,) = {video.label for videos in self.videos.values() for video in videos if video.name == name}
    noise = np.random.default_rng(list(name.encode())).normal(size=FEATURE_DIM - 1)
    return np.array([label, *noise], np.float32)

  def path(self, what: str) -> Path:
    """A file below zsl220/."""
    return self.source / "zsl220" / what

  def feature_path(self, name: str) -> Path:
    """The .npy file of a video."""
    return self.source / "features" / "tsm_resnet50" / f"{name}.npy"

  @property
  def predictions_path(self) -> Path:
    """The JSON file of concepts."""
    return self.source / "features" / "bit-m-r50x1_top20_preds.json"

  def members(self, name: str) -> list[Video]:
    """The videos of a set whose class is in one of its lists."""
    labels = {"trn": SEEN, "val": np.ravel(VAL), "tst": np.ravel(TEST)}[name]
    return [video for video in self.videos[name] if video.label in labels]


def write_layout(folder: Path) -> Layout:
  """Writes the whole layout below `folder`, the same every time."""
  random = np.random.default_rng(0)
  layout = Layout(
      folder, _videos(), {},
      class_vectors=random.normal(size=(NUM_CLASSES, VECTOR_DIM)).astype(np.float32),
      classifier_rows=random.normal(size=(len(SEEN), FEATURE_DIM)).astype(np.float32),
      word_table=random.normal(size=(len(WORDS), VECTOR_DIM)).astype(np.float32))
  lists = {"trn": (SEEN, SEEN[::-1], SEEN[2:] + SEEN[:2]), "val": VAL, "tst": TEST}
  for name, videos in layout.videos.items():
    write_json(layout.path(f"{name}_class_idxs.json"), lists[name])
    write_json(layout.path(f"{name}_video_names.json"), [f"{video.name}.avi" for video in reversed(videos)])
    write_metas(layout.path(f"{name}_video_metas.jsonl"), videos)
    for video in videos:
      layout.feature_path(video.name).parent.mkdir(parents=True, exist_ok=True)
      np.save(layout.feature_path(video.name), layout.feature(video.name)[None])
      choice = np.random.default_rng(video.num_frames)
      layout.predictions[video.name] = [choice.permutation(NUM_CONCEPTS)[:20].tolist(),
                                        np.sort(choice.random(20))[::-1].tolist()]
  write_json(layout.predictions_path, layout.predictions)
  write_json(layout.path("classes620_label_defn.json"), [
      {"word": f"{WORDS[i]}ing (x)", "defn": f"To {WORDS[i]}.", "cleaned_word": f"{WORDS[i]} ing {WORDS[i + 1]}",
       "cleaned_defn": f"to {WORDS[i]} with a {WORDS[i + 2]} ."} for i in range(NUM_CLASSES)])
  np.save(layout.path("labels_glove42b.npy"), layout.class_vectors.astype(np.float64))
  write_json(layout.path("label_word_list.json"), WORDS)
  np.savez(layout.path("word.glove42b.npz"), weight=layout.word_table)
  layout.path("KG").mkdir()
  np.save(layout.path("KG/pretsm.k400.fc.weight.npy"), layout.classifier_rows)
  (folder / "concepts.jsonl").write_text("".join(
      json.dumps({"wnid": f"n{i:08d}", "name": f"thing {i}", "definition": f"a thing of kind {i}"}) + "\n"
      for i in range(NUM_CONCEPTS)))
  return layout


def write_json(path: Path, value: Any) -> None:
  """Writes JSON, and the folder if need be."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(value))


def write_metas(path: Path, videos: list[Video]) -> None:
  """Writes a metas file."""
  path.write_text("".join(
      json.dumps({"videoname": video.file, "nframes": video.num_frames, "label": video.label}) + "\n"
      for video in videos))


def _videos() -> dict[str, list[Video]]:
  """All videos; in each file the classes take turns."""
  unseen = sorted(set(range(NUM_CLASSES)) - set(SEEN))
  videos: dict[str, list[Video]] = {"trn": [], "val": [], "tst": []}
  for name, labels, count in (("trn", SEEN, 5), ("val", [*unseen, SEEN[0]], 4), ("tst", [SEEN[1], *unseen], 4)):
    for number in range(count):
      for label in labels:
        stem = (f"some class {label}/{name}.v{number}", f"{name}_{label}_{number}")[number % 2]
        videos[name].append(Video(stem, f"{stem}.mp4", 30 + 100 * label + len(videos[name]), label))
  videos["tst"] += videos["val"][:2]      # the same videos in both sets
  return videos
