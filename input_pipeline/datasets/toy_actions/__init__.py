"""toy_actions: a zero-shot action dataset drawn on the spot, small enough to try everything on two cores.

    DATASETS.load("toy_actions").raw_dataset(Path("data/sources/toy_actions"))     # renders what is not there yet

An action is a motion performed by an object among others, "fish growing". The unseen classes are new pairs;
nearly half of them name an object that no seen class names.
"""

from pathlib import Path

from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.datasets.toy_actions import videos
from input_pipeline.metadata.class_splits import read_splits
from input_pipeline.metadata.concepts import read_concepts
from input_pipeline.metadata.descriptions import read_classes
from input_pipeline.raw_dataset import RawDataset, VideoEntry

FOLDER = Path(__file__).parent
EXTRAS = ("class_vectors.npy", "word_list.json", "word_table.npy", "classifier_rows.npy")     # see word_vectors.py
BERT = FOLDER / "bert"      # config.json and vocab.txt of a small text encoder to be trained from scratch


def read(source: Path, seed: int = 0) -> RawDataset:
  """The dataset's videos below `source`, rendered if they are not there, and what is known about its classes."""
  source = Path(source)
  videos.render_missing(source, seed)
  classes = read_classes(FOLDER / "classes.jsonl")
  return RawDataset(
      entries=[VideoEntry(name, videos.path(source, index), label, split)
               for index, (name, label, split) in enumerate(videos.VIDEOS)],
      classes=classes,
      concepts=read_concepts(FOLDER / "concepts.jsonl"),
      class_splits=read_splits(FOLDER / "class_splits.json", len(classes)),
      extras={name: FOLDER / name for name in EXTRAS},
  )


DATASET = DatasetSpec(
    summary="rendered videos of a motion by an object",
    readme=FOLDER / "README.md",
    size="toy",
    read=read,
    options={},
    features_from="videos",
    weights={"tsm": FOLDER / "tsm.npz", "bit": FOLDER / "bit.npz"},
    has_vocabulary=True,
    needs_source=False,
)
