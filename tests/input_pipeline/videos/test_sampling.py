"""The frames and squares of every view, against numbers worked by hand from the published extractor's formulas."""

import pytest

from input_pipeline.errors import UserError
from input_pipeline.videos.sampling import ViewSampling, bit_indices, centre_box, tsm_indices


@pytest.mark.parametrize("num_frames,expected", [
    (1, [0, 0, 0, 0, 0, 0, 0, 0]),
    (3, [0, 0, 0, 1, 1, 2, 2, 2]),           # 0.19 0.56 0.94 1.31 1.69 2.06 2.44 2.81
    (8, [0, 1, 2, 3, 4, 5, 6, 7]),
    (16, [1, 3, 5, 7, 9, 11, 13, 15]),
    (100, [6, 18, 31, 43, 56, 68, 81, 93]),  # 6.25 + 12.5 x
])
def test_tsm_takes_the_middle_of_eight_equal_stretches(num_frames, expected):
  assert tsm_indices(num_frames).tolist() == expected


@pytest.mark.parametrize("num_frames,expected", [
    (1, [0]),
    (8, [0, 1, 2, 3, 4, 5, 6, 7]),
    (9, [0, 1, 2, 3, 5, 6, 7, 8]),           # steps of 8/7
    (16, [0, 2, 4, 6, 9, 11, 13, 15]),       # steps of 15/7
    (100, [0, 14, 28, 42, 57, 71, 85, 99]),  # steps of 99/7
])
def test_bit_spreads_eight_frames_from_first_to_last(num_frames, expected):
  assert bit_indices(num_frames).tolist() == expected


def test_no_frames_have_no_indices():
  for indices in (tsm_indices, bit_indices, ViewSampling().frames):
    with pytest.raises(ValueError, match="at least 1"):
      indices(0)


def test_by_default_there_is_one_view_of_the_usual_frames():
  assert ViewSampling().count == 1 and ViewSampling().frames(100).tolist() == [tsm_indices(100).tolist()]


@pytest.mark.parametrize("samples,num_frames,further", [
    (2, 100, [[0, 12, 24, 36, 48, 60, 72, 84]]),                                    # 100 // 8 = 12 apart
    (3, 100, [[0, 12, 24, 36, 48, 60, 72, 84], [4, 16, 28, 40, 52, 64, 76, 88]]),   # shifted by 12 / 3
    (4, 23, [[0, 2, 4, 6, 8, 10, 12, 14]] * 2 + [[1, 3, 5, 7, 9, 11, 13, 15]]),     # by 0, 0.5 and 1
    (3, 7, [[0] * 8, [0] * 8]),
])
def test_further_samples_are_shifted_evenly(samples, num_frames, further):
  assert ViewSampling(samples).frames(num_frames).tolist() == [tsm_indices(num_frames).tolist(), *further]


@pytest.mark.parametrize("samples,stride,num_frames,expected", [
    (1, 2, 100, [[42, 44, 46, 48, 50, 52, 54, 56]]),              # one of 85 places: 85 // 2
    (3, 2, 100, [[0, 2, 4, 6, 8, 10, 12, 14], [42, 44, 46, 48, 50, 52, 54, 56], [84, 86, 88, 90, 92, 94, 96, 98]]),
    (4, 1, 12, [[0, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8], [2, 3, 4, 5, 6, 7, 8, 9],
                [4, 5, 6, 7, 8, 9, 10, 11]]),                     # 0 1.33 2.67 4
    (1, 8, 50, [[0, 8, 16, 24, 32, 40, 48, 6]]),                  # too short: begins at 0 and goes round
    (2, 3, 5, [[0, 3, 1, 4, 2, 0, 3, 1]] * 2),
])
def test_dense_samples_are_a_stride_apart_and_go_round(samples, stride, num_frames, expected):
  assert ViewSampling(samples, dense_stride=stride).frames(num_frames).tolist() == expected


@pytest.mark.parametrize("size,crops,expected", [
    ((341, 256), 1, [(58, 16, 282, 240)]),                                          # 58.5 rounds to the even 58
    ((341, 256), 3, [(0, 0, 256, 256), (84, 0, 340, 256), (42, 0, 298, 256)]),      # steps of (341 - 256) // 4 = 21
    ((256, 341), 3, [(0, 42, 256, 298)] * 3),                                       # the step to the right is 0
    ((341, 256), 5, [(0, 0, 224, 224), (116, 0, 340, 224), (0, 32, 224, 256), (116, 32, 340, 256),
                     (58, 16, 282, 240)]),                                          # (341 - 224) // 4 = 29, 32 // 4 = 8
])
def test_squares_lie_in_quarters_of_the_way(size, crops, expected):
  assert ViewSampling(spatial_crops=crops).boxes(*size, 224) == expected


def test_a_square_larger_than_the_frame_is_refused():
  with pytest.raises(ValueError, match="crop 64 is larger than a frame of 80 x 48"):
    centre_box(80, 48, 64)


def test_views_are_samples_times_crops():
  assert ViewSampling(temporal_samples=10, spatial_crops=3).count == 30


@pytest.mark.parametrize("values,message", [
    (dict(temporal_samples=0), "--temporal_samples is 0, expected at least 1"),
    (dict(spatial_crops=2), r"--spatial_crops is 2, expected 1 \(centre\), 3 .* or 5"),
    (dict(dense_stride=-1), "--dense_stride is -1, expected the distance"),
])
def test_views_that_cannot_be_are_refused_by_flag(values, message):
  with pytest.raises(UserError, match=message):
    ViewSampling(**values)
