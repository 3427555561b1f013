"""Loading weights: round trips, the config that is worked out, and files that are not what they should be."""

import dataclasses

import jax
import numpy as np
import pytest

from input_pipeline import array_files
from input_pipeline.backbones import bit, checkpoints, tsm
from input_pipeline.errors import UserError

TSM = tsm.TSMConfig(stage_sizes=(1, 2), width=8, num_classes=5)
BIT = bit.BiTConfig(depths=(1, 2), base_width=32, num_concepts=7)
CASES = {
    "tsm": (TSM, tsm.FORMAT),
    "bit": (BIT, bit.FORMAT),
}


def load(path, form):
  return checkpoints.load(path, form)[:2]


def random_variables(form, config):
  shapes = form.shapes(config)
  random = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape, np.float32), shapes)


@pytest.fixture(params=CASES)
def saved(request, tmp_path):
  """A network of each kind: its file, its config, its variables, its format."""
  config, form = CASES[request.param]
  variables = random_variables(form, config)
  path = tmp_path / f"{request.param}.npz"
  checkpoints.save_npz(path, form, variables, np.float32)
  return path, config, variables, form


def rewrite(path, change) -> None:
  """Applies `change` to the file's dict of arrays."""
  arrays = dict(np.load(path))
  change(arrays)
  np.savez(path, **arrays)


def test_saved_weights_are_read_back_with_their_config(saved):
  path, config, variables, form = saved
  found, actual = load(path, form)
  assert found == config
  jax.tree.map(np.testing.assert_array_equal, actual, variables)


def test_float16_weights_are_read_as_float32(saved):
  path, config, variables, form = saved
  checkpoints.save_npz(path, form, variables)
  assert all(array.dtype == np.float16 for array in np.load(path).values())
  _, actual = load(path, form)
  jax.tree.map(np.testing.assert_array_equal, actual,
               jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), variables))


def test_converted_folder_gives_the_same_as_the_file(saved, tmp_path):
  path, config, variables, form = saved
  array_files.write_orbax(tmp_path / "converted", variables)
  found, actual = load(tmp_path / "converted", form)
  assert found == config
  jax.tree.map(np.testing.assert_array_equal, actual, variables)


def test_registered_variant_brings_its_input_size_and_groups(tmp_path):
  toy = dataclasses.replace(bit.VARIANTS["bit_toy"], num_concepts=3)
  checkpoints.save_npz(tmp_path / "toy.npz", bit.FORMAT, random_variables(bit.FORMAT, toy))
  assert bit.load(tmp_path / "toy.npz").config == toy
  toy = dataclasses.replace(tsm.VARIANTS["tsm_toy"], num_classes=3)
  checkpoints.save_npz(tmp_path / "toy.npz", tsm.FORMAT, random_variables(tsm.FORMAT, toy))
  assert tsm.load(tmp_path / "toy.npz").config == toy


def test_value_too_large_for_float16_is_refused_and_nothing_written(tmp_path):
  variables = random_variables(tsm.FORMAT, TSM)
  variables["batch_stats"]["bn1"]["var"][0] = 1e6
  with pytest.raises(ValueError, match="module.base_model.bn1.running_var"):
    checkpoints.save_npz(tmp_path / "tsm.npz", tsm.FORMAT, variables)
  assert not list(tmp_path.iterdir())


def test_counter_of_batch_norm_is_ignored_and_explained(tmp_path):
  checkpoints.save_npz(tmp_path / "tsm.npz", tsm.FORMAT, random_variables(tsm.FORMAT, TSM))
  name = "module.base_model.layer1.0.bn1.num_batches_tracked"
  rewrite(tmp_path / "tsm.npz", lambda arrays: arrays.update({name: np.array(7)}))
  loaded = tsm.load(tmp_path / "tsm.npz")
  assert loaded.config == TSM
  assert list(loaded.ignored) == [name] and "training steps" in loaded.ignored[name]


def test_every_missing_and_unexpected_name_and_wrong_shape_is_reported(saved):
  path, _, _, form = saved
  names = sorted(np.load(path).files)
  renamed, lost, reshaped = names[3], names[5], names[8]

  def spoil(arrays):
    arrays["something.else"] = arrays.pop(renamed)
    del arrays[lost]
    arrays[reshaped] = np.zeros((2, *arrays[reshaped].shape), np.float32)

  rewrite(path, spoil)
  with pytest.raises(UserError) as error:
    load(path, form)
  message = str(error.value)
  assert f"missing {renamed} " in message and f"missing {lost} " in message
  assert "unexpected something.else " in message
  assert f"{reshaped} has shape (2, " in message and "expected (" in message
  assert message.count("\n  ") == 4


def test_shape_is_expected_as_it_is_in_the_file(saved):
  path, _, _, form = saved
  name = {"tsm.npz": "module.base_model.layer1.0.conv2.weight",
          "bit.npz": "resnet/block1/unit01/b/standardized_conv2d/kernel"}[path.name]
  shape = {"tsm.npz": (8, 8, 3, 3), "bit.npz": (3, 3, 32, 32)}[path.name]
  rewrite(path, lambda arrays: arrays.update({name: np.zeros((5, 4, 3, 2), np.float32)}))
  with pytest.raises(UserError) as error:
    load(path, form)
  assert f"{name} has shape (5, 4, 3, 2), expected {shape}" in str(error.value)


def test_integers_where_weights_should_be_are_refused(saved):
  path, _, _, form = saved
  name = np.load(path).files[0]
  rewrite(path, lambda arrays: arrays.update({name: arrays[name].astype(np.int32)}))
  with pytest.raises(UserError, match=f"{name} holds int32"):
    load(path, form)


def test_weights_of_the_other_network_are_refused(saved):
  path, _, _, form = saved
  other = bit if form is tsm.FORMAT else tsm
  with pytest.raises(UserError, match="does not hold a"):
    other.load(path)


def test_bit_of_unknown_width_that_32_groups_do_not_divide_is_refused(tmp_path):
  odd = dataclasses.replace(BIT, base_width=8, num_groups=4)
  checkpoints.save_npz(tmp_path / "odd.npz", bit.FORMAT, random_variables(bit.FORMAT, odd))
  with pytest.raises(UserError, match="root width 8"):
    bit.load(tmp_path / "odd.npz")


OTHER_NAMES = {
    "tsm": {"without module": ("module.", ""), "backbone": ("module.base_model.", "backbone."), "model": ("module.", "model."),
            "compiled": ("module.", "_orig_mod."), "bare": ("module.base_model.", ""), "twice": ("module.", "module.module.")},
    "bit": {"model": ("resnet/", "model/resnet/"), "module": ("resnet/", "module.resnet/")},
}


@pytest.mark.parametrize("kind, form", [(kind, form) for kind in OTHER_NAMES for form in OTHER_NAMES[kind]])
def test_weights_under_another_prefix_are_the_same(tmp_path, kind, form):
  config, published = CASES[kind]
  variables = random_variables(published, config)
  checkpoints.save_npz(tmp_path / "w.npz", published, variables, np.float32)
  theirs, given = OTHER_NAMES[kind][form]
  rewrite(tmp_path / "w.npz", lambda arrays: [arrays.update({name.replace(theirs, given): arrays.pop(name)})
                                              for name in list(arrays)])
  found, actual = load(tmp_path / "w.npz", published)
  assert found == config
  jax.tree.map(np.testing.assert_array_equal, actual, variables)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_in_other_kinds_of_files_are_the_same(saved, tmp_path, suffix):
  torch = pytest.importorskip("torch")
  path, config, variables, form = saved
  tensors = {name: torch.from_numpy(array).contiguous() for name, array in np.load(path).items()}
  if suffix == "pth":
    torch.save({"net": {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}}, tmp_path / "w.pth")
  else:
    pytest.importorskip("safetensors.torch").save_file(tensors, tmp_path / "w.safetensors")
  found, actual = load(tmp_path / f"w.{suffix}", form)
  assert found == config
  jax.tree.map(np.testing.assert_array_equal, actual, variables)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("suffix", ["npz", "pth", "safetensors", "folder"])
def test_weights_that_are_not_finite_are_refused_in_every_form(tmp_path, value, suffix):
  variables = random_variables(tsm.FORMAT, TSM)
  variables["batch_stats"]["bn1"]["mean"] = np.full(8, value)
  path, arrays = tmp_path / f"w.{suffix}", checkpoints.published(tsm.FORMAT, variables)
  if suffix == "npz":
    np.savez(path, **arrays)
  elif suffix == "folder":
    array_files.write_orbax(path, variables)
  else:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    torch.save(tensors, path) if suffix == "pth" else pytest.importorskip("safetensors.torch").save_file(tensors, path)
  with pytest.raises(UserError, match="module.base_model.bn1.running_mean holds float32 that are not finite"):
    load(path, tsm.FORMAT)


def test_converted_folder_of_bfloat16_is_read_as_float32(tmp_path):
  variables = jax.tree.map(lambda x: x.astype(jax.numpy.bfloat16), random_variables(tsm.FORMAT, TSM))
  array_files.write_orbax(tmp_path / "converted", variables)
  _, actual = load(tmp_path / "converted", tsm.FORMAT)
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y.astype(np.float32)), actual, variables)
