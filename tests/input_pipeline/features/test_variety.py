"""Features that are the same for all videos are refused, unless the videos are."""

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.features.store import VideoFeatures
from input_pipeline.features.variety import require_varied
from input_pipeline.raw_dataset import VideoEntry


def features(feature: float, score: float = 0.5) -> VideoFeatures:
  return VideoFeatures(np.full((2, 4), feature, np.float32), np.arange(20, dtype=np.int32),
                       np.full(20, score, np.float32), 8)


@pytest.fixture
def entries(tmp_path) -> list[VideoEntry]:
  """Three videos whose files differ."""
  entries = [VideoEntry(f"v{i}", tmp_path / f"v{i}.mp4", 0, "train") for i in range(3)]
  for index, entry in enumerate(entries):
    entry.path.write_bytes(bytes([index]))
  return entries


def test_features_that_differ_anywhere_are_accepted(entries):
  require_varied(entries, {0: features(0, 0.5), 1: features(0, 0.5), 2: features(1, 0.4)}, of_videos=True)
  require_varied(entries, {0: features(0), 2: features(1)}, of_videos=False)


@pytest.mark.parametrize("made, what", [([(0, 0.1), (0, 0.2)], "feature"), ([(1, 0.1), (2, 0.1)], "objects")])
def test_network_that_gives_all_videos_the_same_is_refused(entries, made, what):
  given = {index: features(*numbers) for index, numbers in zip((0, 2), made)}
  with pytest.raises(UserError, match=f"same {what} for all 2 videos, such as .*v0.mp4 and .*v2.mp4: .* give others"):
    require_varied(entries, given, of_videos=True)


def test_copies_of_one_video_may_have_the_same_features_but_feature_files_may_not(entries):
  for entry in entries:
    entry.path.write_bytes(b"the same")
  same = {index: features(0) for index in range(3)}
  require_varied(entries, same, of_videos=True)
  with pytest.raises(UserError, match="3 of 3 feature files hold the same numbers"):
    require_varied(entries, same, of_videos=False)
  entries[2].path.unlink()      # nobody can tell
  with pytest.raises(UserError, match="same feature for all 3 videos"):
    require_varied(entries, same, of_videos=True)


def test_files_most_of_which_are_the_same_are_refused_and_fewer_are_named(entries, capsys):
  with pytest.raises(UserError, match="2 of 3 feature files hold the same numbers, such as .*v0.mp4 and .*v2.mp4: .* anew"):
    require_varied(entries, {0: features(0), 1: features(1), 2: features(0)}, of_videos=False)
  more = [*entries, entries[0]._replace(path=entries[0].path.with_name("v3.mp4"))]
  require_varied(more, {index: features(index % 3) for index in range(4)}, of_videos=False)
  assert capsys.readouterr().err == ("warning: 2 of 4 feature files hold the same numbers as another one:\n"
                                     f"  {more[0].path}: 2 files, also {more[3].path}\n")


def test_a_file_that_is_of_two_splits_is_no_copy_of_itself(entries, capsys):
  require_varied([entries[0], entries[0]._replace(split="test")], {0: features(0), 1: features(0)}, of_videos=False)
  assert capsys.readouterr().err == ""


def test_one_video_has_nothing_to_differ_from(entries):
  require_varied(entries, {1: features(0)}, of_videos=True)
