"""precomputed: features, classes and splits in the layout in which those of Kinetics-ZSAR are published.

    DATASETS.load("precomputed").raw_dataset(Path("DIR"))      # the videos and classes that DIR/zsl220 lists

README.md here shows the layout.
"""

from pathlib import Path, PurePath

from input_pipeline.dataset_spec import DatasetSpec
from input_pipeline.errors import UserError
from input_pipeline.metadata import published
from input_pipeline.metadata.concepts import Concept, read_concepts
from input_pipeline.raw_dataset import RawDataset, VideoEntry

METADATA = PurePath("zsl220")
FEATURES = PurePath("features/tsm_resnet50")
PREDICTIONS = PurePath("features/bit-m-r50x1_top20_preds.json")
CONCEPTS = PurePath("concepts.jsonl")
SHOWN = 20      # entries of a folder that an error lists


def read(source: Path) -> RawDataset:
  """The videos that the layout at `source` lists, and what is known about their classes.

  Raises:
    UserError: `source` holds no such layout, or naming the file, the line and the value that is wrong.
  """
  source = Path(source)
  _require_layout(source)
  folder = source / METADATA
  classes = published.read_classes(published.class_file(folder))
  splits = published.read_splits(folder, len(classes))
  return RawDataset(
      entries=[VideoEntry(video.name, source / FEATURES / f"{video.name}.npy", video.label, video.split,
                          video.num_frames) for video in published.read_videos(folder, splits, len(classes))],
      classes=classes,
      concepts=_concepts(source),
      class_splits=splits,
      extras=published.find_extras(folder, classes),
  )


def _require_layout(source: Path) -> None:
  class_file = METADATA / published.class_file(source / METADATA).name
  wanted = [*(METADATA / name for name in published.FILES), class_file, FEATURES]
  missing = [path.as_posix() for path in wanted if not (source / path).exists()]
  if not missing:
    return
  if source.is_dir():
    held = sorted(path.relative_to(source).as_posix() + "/" * path.is_dir()
                  for folder in (source, source / METADATA) if folder.is_dir() for path in folder.iterdir())
    seen = "it holds " + (", ".join(held[:SHOWN]) + (", ..." if len(held) > SHOWN else "") or "nothing")
  else:
    seen = "there is no such folder"
  raise UserError("\n  ".join([f"{source} is no folder in the published feature layout: {seen}. It lacks", *missing])
                  + "\nGive the folder that holds zsl220/ and features/ with --source=DIR.")


def _concepts(source: Path) -> list[Concept]:
  """The vocabulary; none where no video's concepts are known."""
  path = source / CONCEPTS
  if not (path.exists() and (source / PREDICTIONS).exists()):
    return []
  concepts = read_concepts(path)
  if not concepts:
    raise UserError(f"{path}: no concepts in it; expected one {{\"wnid\", \"name\", \"definition\"}} a line.")
  return concepts


DATASET = DatasetSpec(
    summary="features in the layout in which those of Kinetics-ZSAR are published",
    readme=Path(__file__).with_name("README.md"),
    size="large",
    read=read,
    options={},
    features_from="files",
    predictions=PREDICTIONS,
)
