"""A list of classes, in whichever of the two formats: published, or one of our own.

    classes = read_class_list(Path("data/metadata/ucf101/classes_label_defn.json"))
    classes = read_class_list(Path("data/video_folder/1.0.0"))     # a folder that holds one, here classes.jsonl
"""

from pathlib import Path

from input_pipeline.errors import UserError
from input_pipeline.metadata import descriptions, published
from input_pipeline.metadata.descriptions import ActionClass

CLASS_FILES = ("classes.jsonl", *published.CLASS_FILES)


def class_list_file(path: Path) -> Path:
  """The file itself, or that in a folder which is a class list. Raises: UserError if a folder holds none."""
  if not path.is_dir():
    return path
  found = [path / name for name in CLASS_FILES if (path / name).is_file()]
  if not found:
    inside = sorted(str(file) for name in CLASS_FILES for file in path.rglob(name))[:3]
    raise UserError(f"{path} holds no class list; expected {', '.join(CLASS_FILES[:-1])} or {CLASS_FILES[-1]} in it."
                    + (f" Did you mean {' or '.join(inside)}?" if inside else ""))
  return found[0]


def read_class_list(path: Path) -> list[ActionClass]:
  """The classes of a list in either format, or of a folder with one.

  Raises:
    UserError: there is no class list there, or something is wrong in it.
  """
  path = class_list_file(path)
  return published.read_classes(path) if path.suffix.lower() == ".json" else descriptions.read_classes(path)
