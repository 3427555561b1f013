"""Olympic Sports: its folders' names, and its files in a format that nothing decodes."""

import pytest

from input_pipeline.datasets import olympics_zsar
from input_pipeline.errors import UserError
from tests.input_pipeline.datasets.class_lists import published_folder, write_class_list

FOLDERS = """
basketball_layup bowling clean_and_jerk discus_throw diving_platform_10m diving_springboard_3m hammer_throw high_jump
javelin_throw long_jump pole_vault shot_put snatch tennis_serve triple_jump vault
""".split()


def test_official_folder_names_are_those_of_the_published_classes(tmp_path, capsys):
  metadata = published_folder()
  for name in FOLDERS:
    (tmp_path / name).mkdir()
    (tmp_path / name / "001.avi").touch()
  raw_dataset = olympics_zsar.DATASET.raw_dataset(tmp_path, metadata=metadata)
  assert len(raw_dataset.entries) == len(raw_dataset.classes) == len({entry.label for entry in raw_dataset.entries}) == 16
  assert capsys.readouterr().err == ""


def test_published_seq_files_are_to_be_converted(tmp_path):
  write_class_list(tmp_path / "olympics", ["bowling", "vault"])
  (tmp_path / "videos" / "bowling").mkdir(parents=True)
  (tmp_path / "videos" / "bowling" / "001.seq").touch()
  with pytest.raises(UserError, match="(?s)1 of .seq.* Convert them .*olympics_zsar/README.md"):
    olympics_zsar.DATASET.raw_dataset(tmp_path / "videos", metadata=tmp_path)
