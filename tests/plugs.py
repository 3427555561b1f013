"""A copy of the tree for tests that add a file to it, as a user of the project would."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("er_jax", "input_pipeline", "configs", "scripts", "pyproject.toml")


def copy_of_the_tree(folder: Path) -> Path:
  """Copies what git tracks of the packages, as it is in the working tree, into a new folder."""
  listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *PARTS], cwd=ROOT,
                          capture_output=True, text=True, check=True)
  for name in listed.stdout.splitlines():
    if (ROOT / name).exists():
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(ROOT / name, folder / name, follow_symlinks=False)      # er_jax/configs is a link
  return folder
