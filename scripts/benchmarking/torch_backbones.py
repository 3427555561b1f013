"""TSM and BiT in plain eager PyTorch: what the benchmark compares ours with, and the tests' reference.

    network = TSM(config)                         # our TSMConfig; its state_dict has the published names
    load_tsm(network, arrays)                     # arrays by published name, as in an .npz file
    features, logits = network.eval()(frames)     # (N, T, H, W, 3) normalised -> (N, T, F), (N, num_classes)

Networks of torch.nn layers alone. Shapes: N clips or pictures, T frames (segments), H x W pixels; channels
come last in what is put in, and are moved to PyTorch's place inside.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from input_pipeline.backbones import bit, checkpoints, tsm
from input_pipeline.backbones.bit import BiTConfig
from input_pipeline.backbones.checkpoints import Format
from input_pipeline.backbones.tsm import TSMConfig


class Shifted(nn.Module):
  """A layer `net` (the published name) that sees a few channels of the neighbouring frames."""

  def __init__(self, net: nn.Module, segments: int):
    super().__init__()
    self.net, self.segments = net, segments

  def forward(self, x: Tensor) -> Tensor:
    clips, fold = x.unflatten(0, (-1, self.segments)), x.shape[1] // 8
    shifted = torch.zeros_like(clips)
    shifted[:, :-1, :fold] = clips[:, 1:, :fold]
    shifted[:, 1:, fold:2 * fold] = clips[:, :-1, fold:2 * fold]
    shifted[:, :, 2 * fold:] = clips[:, :, 2 * fold:]
    return self.net(shifted.flatten(0, 1))


class Bottleneck(nn.Module):
  """ResNet v1.5's, with the temporal shift before its first convolution."""

  def __init__(self, inputs: int, width: int, stride: int, segments: int):
    super().__init__()
    self.conv1 = Shifted(nn.Conv2d(inputs, width, 1, bias=False), segments)
    self.bn1 = nn.BatchNorm2d(width)
    self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
    self.bn2 = nn.BatchNorm2d(width)
    self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
    self.bn3 = nn.BatchNorm2d(4 * width)
    self.downsample = None
    if stride > 1 or inputs != 4 * width:
      self.downsample = nn.Sequential(
          nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

  def forward(self, x: Tensor) -> Tensor:
    y = torch.relu(self.bn1(self.conv1(x)))
    y = torch.relu(self.bn2(self.conv2(y)))
    y = self.bn3(self.conv3(y))
    return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class TSM(nn.Module):
  """Frames (N, T, H, W, 3), normalised, to features (N, T, F) and logits (N, num_classes)."""

  def __init__(self, config: TSMConfig):
    super().__init__()
    self.segments, width, inputs = config.segments, config.width, config.width
    self.base_model = nn.Sequential()
    self.base_model.add_module("conv1", nn.Conv2d(3, width, 7, 2, padding=3, bias=False))
    self.base_model.add_module("bn1", nn.BatchNorm2d(width))
    self.base_model.add_module("relu", nn.ReLU())
    self.base_model.add_module("maxpool", nn.MaxPool2d(3, 2, padding=1))
    for stage, num_blocks in enumerate(config.stage_sizes):
      blocks = nn.Sequential()
      for block in range(num_blocks):
        blocks.append(Bottleneck(inputs, width * 2**stage, 2 if stage and not block else 1, config.segments))
        inputs = 4 * width * 2**stage
      self.base_model.add_module(f"layer{stage + 1}", blocks)
    self.new_fc = nn.Linear(config.feature_dim, config.num_classes)

  def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
    maps = self.base_model(frames.flatten(0, 1).permute(0, 3, 1, 2))
    features = maps.mean(dim=(2, 3)).unflatten(0, (-1, self.segments))
    return features, self.new_fc(features).mean(dim=1)


class StandardizedConv(nn.Conv2d):
  """A convolution without bias whose filters are brought to zero mean and unit variance."""

  def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1):
    super().__init__(inputs, outputs, size, stride, padding=size // 2, bias=False)

  def forward(self, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
    return self._conv_forward(x, (self.weight - mean) / torch.sqrt(variance + 1e-10), None)


class PreActivated(nn.Module):
  """Group norm, ReLU, convolution; and, where a unit's shortcut needs one, a projection of the same."""

  def __init__(self, inputs: int, outputs: int, size: int, stride: int, groups: int,
               projected: tuple[int, int] | None = None):
    super().__init__()
    self.group_norm = nn.GroupNorm(groups, inputs)
    self.standardized_conv2d = StandardizedConv(inputs, outputs, size, stride)
    self.proj = None
    if projected:
      width, projection_stride = projected
      self.proj = nn.Sequential()
      self.proj.add_module("standardized_conv2d", StandardizedConv(inputs, width, 1, projection_stride))

  def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.relu(self.group_norm(x))
    return self.standardized_conv2d(y), x if self.proj is None else self.proj(y)


class Unit(nn.Module):
  """Three pre-activated convolutions beside a shortcut."""

  def __init__(self, inputs: int, width: int, stride: int, groups: int):
    super().__init__()
    projected = (4 * width, stride) if stride > 1 or inputs != 4 * width else None
    self.a = PreActivated(inputs, width, 1, 1, groups, projected)
    self.b = PreActivated(width, width, 3, stride, groups)
    self.c = PreActivated(width, 4 * width, 1, 1, groups)

  def forward(self, x: Tensor) -> Tensor:
    y, shortcut = self.a(x)
    return shortcut + self.c(self.b(y)[0])[0]


class BiT(nn.Module):
  """Images (N, H, W, 3), normalised, to logits (N, num_concepts); parts have the published names."""

  def __init__(self, config: BiTConfig):
    super().__init__()
    width = inputs = config.width
    self.root_block = nn.Sequential()
    self.root_block.add_module("standardized_conv2d", StandardizedConv(3, width, 7, 2))
    self.root_block.add_module("pad", nn.ZeroPad2d(1))
    self.root_block.add_module("maxpool", nn.MaxPool2d(3, 2))
    self.blocks = [f"block{number}" for number in range(1, len(config.depths) + 1)]
    for name, depth in zip(self.blocks, config.depths):
      units = nn.Sequential()
      for number in range(1, depth + 1):
        stride = 2 if name != "block1" and number == 1 else 1
        units.add_module(f"unit{number:02d}", Unit(inputs, width, stride, config.num_groups))
        inputs = 4 * width
      self.add_module(name, units)
      width *= 2
    self.group_norm = nn.GroupNorm(config.num_groups, inputs)
    self.head = nn.Sequential()
    self.head.add_module("conv2d", nn.Conv2d(inputs, config.num_concepts, 1))

  def forward(self, images: Tensor) -> Tensor:
    x = self.root_block(images.permute(0, 3, 1, 2))
    for name in self.blocks:
      x = self.get_submodule(name)(x)
    pooled = torch.relu(self.group_norm(x)).mean(dim=(2, 3), keepdim=True)
    return self.head(pooled)[:, :, 0, 0]


def load_tsm(network: TSM, arrays: Mapping[str, np.ndarray]) -> None:
  """Copies published arrays ("module.base_model....") into it; counts of training steps may be absent."""
  counts = ".num_batches_tracked"
  state = {name: value for name, value in network.state_dict().items() if name.endswith(counts)}
  state |= {name.removeprefix("module."): _tensor(array) for name, array in arrays.items()}
  network.load_state_dict(state)


def load_bit(network: BiT, arrays: Mapping[str, np.ndarray]) -> None:
  """Copies published arrays ("resnet/block1/unit01/a/...") into the network."""
  leaves = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
  state = {}
  for name, array in arrays.items():
    *path, leaf = name.split("/")[1:]
    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    state[".".join([*path, leaves[leaf]])] = _tensor(array)
  network.load_state_dict(state)


class Peer(NamedTuple):
  """How PyTorch computes what a backbone of ours gives."""
  network: Callable[[Any], nn.Module]
  form: Format                                        # of the weights
  load: Callable[[Any, Mapping[str, np.ndarray]], None]
  mean: Tensor
  std: Tensor
  outputs: Callable[[nn.Module, Tensor], Tensor]      # of normalised clips (N, T, H, W, 3), the mean over the frames


PEERS = {
    "tsm": Peer(TSM, tsm.FORMAT, load_tsm, torch.tensor(tsm.MEAN), torch.tensor(tsm.STD),
                lambda network, clips: network(clips)[0].mean(dim=1)),
    "bit": Peer(BiT, bit.FORMAT, load_bit, torch.tensor(0.5), torch.tensor(0.5),
                lambda network, clips: network(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).mean(dim=1)),
}


def clip_outputs(name: str, config: Any, variables: dict, frames: ArrayLike) -> Callable[[], np.ndarray]:
  """A function that computes TSM's features (N, F) or BiT's logits (N, num_concepts) of clips.

  Args:
    name: of the backbone.
    config, variables: ours.
    frames: (N, T, H, W, 3) uint8.
  """
  peer, clips = PEERS[name], torch.tensor(np.array(frames))
  network = peer.network(config)
  peer.load(network, checkpoints.published(peer.form, variables))
  network.eval()

  @torch.no_grad()
  def run() -> np.ndarray:
    return peer.outputs(network, (clips / 255 - peer.mean) / peer.std).numpy()

  return run


def _tensor(value: np.ndarray) -> Tensor:
  return torch.tensor(np.ascontiguousarray(value))   # a copy
