"""State dicts as variables and back: names, layouts, and the list of all that does not fit."""

import numpy as np
import pytest

from input_pipeline.errors import UserError
from input_pipeline.state_dicts import (
    Unneeded,
    as_they_are,
    from_variables,
    kernels_transposed,
    renamed,
    to_variables,
    unwrapped,
)

SHAPES = {"layer_0/kernel": (2, 3), "layer_0/bias": (3,), "table/embedding": (4, 2)}
NAMES = {"layer_0/kernel": "layers.0.weight", "layer_0/bias": "layers.0.bias", "table/embedding": "table.weight"}
COUNTER = Unneeded(r".*\.steps", "counts steps")


def state_dict() -> dict[str, np.ndarray]:
  """A file's arrays: layers.0.weight is (out, in)."""
  return {"layers.0.weight": np.arange(6, dtype=np.float16).reshape(3, 2), "layers.0.bias": np.ones(3, np.float64),
          "table.weight": np.arange(8, dtype=np.float32).reshape(4, 2)}


def read(arrays, axes=kernels_transposed):
  return to_variables(arrays, SHAPES, NAMES, axes, "w.npz does not hold a net", (COUNTER,))


def test_dense_kernels_are_transposed_and_everything_is_contiguous_float32():
  variables, ignored = read(state_dict())
  assert variables["layer_0/kernel"].tolist() == [[0, 2, 4], [1, 3, 5]]
  assert variables["table/embedding"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
  assert list(variables) == list(SHAPES) and ignored == {}
  assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in variables.values())


def test_variables_go_back_to_the_arrays_that_they_came_from():
  arrays = from_variables(read(state_dict())[0], NAMES, kernels_transposed)
  assert arrays.keys() == state_dict().keys()
  for name, array in state_dict().items():
    np.testing.assert_array_equal(arrays[name], array)


def test_convolutions_of_any_layout_are_described_by_a_function():
  def axes(key, ndim):      # (out, in, height, width) in the file, (height, width, in, out) here
    return (2, 3, 1, 0) if ndim == 4 else None

  array = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)
  variables, _ = to_variables({"w": array}, {("conv", "kernel"): (5, 7, 3, 2)}, {("conv", "kernel"): "w"}, axes, "w")
  assert variables["conv", "kernel"][4, 6, 2, 1] == array[1, 2, 4, 6]
  np.testing.assert_array_equal(from_variables(variables, {("conv", "kernel"): "w"}, axes)["w"], array)
  with pytest.raises(UserError, match=r"missing w \(2, 3, 5, 7\)"):
    to_variables({}, {("conv", "kernel"): (5, 7, 3, 2)}, {("conv", "kernel"): "w"}, axes, "w")


def test_names_that_are_not_needed_are_given_back_with_why():
  _, ignored = read({**state_dict(), "layers.0.steps": np.array(7)})
  assert ignored == {"layers.0.steps": "counts steps"}


def test_all_that_does_not_fit_is_listed_with_shapes_as_in_the_file():
  arrays = {"layers.0.bias": np.ones(4, np.float32), "table.weight": np.ones((4, 2), np.int64),
            "odd": np.ones(5, np.float32), "": np.ones((), np.float32)}
  with pytest.raises(UserError) as raised:
    read(arrays)
  assert str(raised.value).splitlines() == [
      "w.npz does not hold a net:",
      "  missing layers.0.weight (3, 2)",
      "  unexpected odd (5,)",
      "  unexpected array without a name ()",
      "  layers.0.bias has shape (4,), expected (3,)",
      "  table.weight holds int64, expected finite floating-point numbers",
  ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(value):
  arrays = state_dict()
  arrays["layers.0.bias"][1] = value
  with pytest.raises(UserError, match="layers.0.bias holds float64 that are not finite, expected finite"):
    read(arrays)


def test_arrays_that_lie_as_ours_do_are_taken_as_they_are():
  variables, _ = read({**state_dict(), "layers.0.weight": np.ones((2, 3), np.float32)}, as_they_are)
  assert variables["layer_0/kernel"].shape == (2, 3)


def test_names_are_made_by_the_first_pattern_that_a_whole_name_matches():
  assert renamed(["layer_12/query/kernel", "norm"], {
      r"layer_(\d+)/(\w+)/kernel": r"encoder.layer.\1.\2.weight", r"norm": "n", r".*": "rest"}) == {
          "layer_12/query/kernel": "encoder.layer.12.query.weight", "norm": "n"}
  with pytest.raises(KeyError, match="norm_2"):
    renamed(["norm_2"], {"norm": "n"})


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.backbone.", "_orig_mod.module.", "net/"])
def test_what_stands_before_all_names_is_taken_off(prefix):
  arrays = {f"{prefix}layers.0.weight": 1, f"{prefix}layers.1.layers.weight": 2, f"{prefix}table": 3, "other.weight": 4}
  assert unwrapped(arrays, "layers|table") == {"layers.0.weight": 1, "layers.1.layers.weight": 2, "table": 3, "other.weight": 4}
  assert list(unwrapped(arrays, "layers|table", as_="m.")) == ["m.layers.0.weight", "m.layers.1.layers.weight", "m.table",
                                                              "other.weight"]


def test_names_with_different_things_before_them_stay_as_they_are():
  arrays = {"teacher.layers.0.weight": 1, "student.layers.0.weight": 2}
  assert unwrapped(arrays, "layers") == arrays
