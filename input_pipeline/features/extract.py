"""Clips -> TSM features and concepts: decoded in parallel, batched, jitted, sharded over devices, resumable.

    extractor = Extractor(*checkpoints.load_tsm(tsm_path), *checkpoints.load_bit(bit_path), batch_size=8)
    store = FeatureStore(folder, clips)
    skipped = extract(clips, extractor, store, num_workers=2)      # {clip index: reason}
    store[0].views, store[0].concept_ids                           # (V, D) float32, (20,) int32

A batch has the same number of clips on every device, and always the same; a smaller last batch is padded. So each
device runs one and the same program, however many devices there are and whichever clips are left to do. On CPUs that
program is a loop over single clips: kernels there round a clip in another way at another place of a batch, by the
processor's kind. So what comes out for a clip depends on no other clip, to the last bit. GPUs and TPUs take the clips
of a batch together, which is many times as fast; there the last bits may depend on the batch.

Both backbones see the frames of one decode; more views take more time, and more memory only for their frames. At most
`BATCHES_AHEAD` batches of clips are decoded ahead.
"""

import collections
import contextlib
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from input_pipeline.backbones import bit, tsm
from input_pipeline.errors import UserError
from input_pipeline.features.store import NO_STAMP, FeatureStore, Stamp, VideoFeatures, stamp
from input_pipeline.metadata.concepts import NO_CONCEPT, TOP_CONCEPTS
from input_pipeline.progress import Progress
from input_pipeline.raw_dataset import VideoEntry
from input_pipeline.videos import decode
from input_pipeline.videos.sampling import ViewSampling

BATCHES_AHEAD = 2         # batches of clips decoded, or being decoded, at a time
NO_FILE = "no such file"     # why a missing video is skipped
PREPROCESSING = 1        # to be raised when the same video and weights would give other features


@functools.partial(jax.jit, static_argnames=("tsm_config", "bit_config", "mesh", "clips_at_once"))
def features_and_concepts(
    tsm_variables: Any,
    bit_variables: Any,
    tsm_frames: Array,
    bit_frames: Array,
    bit_mask: Array,
    *,
    tsm_config: tsm.TSMConfig,
    bit_config: bit.BiTConfig,
    mesh: Mesh,
    clips_at_once: int,
) -> tuple[Array, Array, Array]:
  """Both backbones on a batch of clips.

  Args:
    tsm_variables, bit_variables: of the two networks.
    tsm_frames: (N, V, 8, S, S, 3) uint8 RGB, V views of each clip.
    bit_frames: (N, 8, S, S, 3) uint8 RGB.
    bit_mask: (N, 8) bool, False on frames that only pad a clip of fewer than 8.
    tsm_config, bit_config: what the networks are.
    mesh: of devices, on its axis "data"; clips are divided among them.
    clips_at_once: that a network sees together, a divisor of N / devices.

  Returns:
    (N, V, D) float32 features, the mean over the frames of each view; (N, 20) int32 concepts, best first, of the
    mean logits over the real frames; (N, 20) float32 their sigmoid scores. Slots beyond the vocabulary are -1 with
    score 0.
  """

  def feature(frames: Array) -> Array:     # (n, 8, S, S, 3) to (n, D)
    return jnp.mean(tsm.TSM(tsm_config).apply(tsm_variables, tsm.normalize(frames))[0], axis=1)

  def logits(frames: Array, mask: Array) -> Array:     # (n, 8, S, S, 3) to (n, concepts)
    images = frames.reshape(-1, *frames.shape[2:])
    of_frames = bit.BiT(bit_config).apply(bit_variables, bit.normalize(images)).reshape(*mask.shape, -1)
    count = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    return jnp.sum(of_frames, axis=1, where=mask[..., None]) / count

  def in_groups(function: Callable[..., Array], *clips: Array) -> Array:
    groups = [x.reshape(-1, clips_at_once, *x.shape[1:]) for x in clips]
    results = jax.lax.map(lambda group: function(*group), groups)
    return results.reshape(-1, *results.shape[2:])

  def on_one_device(tsm_frames: Array, bit_frames: Array, bit_mask: Array) -> tuple[Array, Array]:
    features = in_groups(feature, tsm_frames.reshape(-1, *tsm_frames.shape[2:]))
    return features.reshape(*tsm_frames.shape[:2], -1), in_groups(logits, bit_frames, bit_mask)

  by_clip = PartitionSpec(*mesh.axis_names)
  features, mean_logits = jax.shard_map(on_one_device, mesh=mesh, in_specs=(by_clip,) * 3, out_specs=by_clip)(
      tsm_frames, bit_frames, bit_mask)
  best, ids = jax.lax.top_k(mean_logits, min(TOP_CONCEPTS, bit_config.num_concepts))
  padding = ((0, 0), (0, TOP_CONCEPTS - ids.shape[1]))
  return (
      features,
      jnp.pad(ids.astype(jnp.int32), padding, constant_values=NO_CONCEPT),
      jnp.pad(jax.nn.sigmoid(best), padding),
  )


class Extractor:
  """The two backbones, on some devices.

  Attributes:
    batch_size: clips a call takes at most, on all devices together.
    feature_dim: D.
    num_concepts: size of BiT's vocabulary.
    shorter_side, crop: pixels, what clips are scaled and cut to.
    views: what TSM sees of each video.
  """

  def __init__(
      self,
      tsm_config: tsm.TSMConfig,
      tsm_variables: Any,
      bit_config: bit.BiTConfig,
      bit_variables: Any,
      batch_size: int = 8,
      devices: Sequence[jax.Device] | None = None,
      views: ViewSampling = ViewSampling(),
  ):
    """Puts the weights on the devices, by default all of this process's.

    Args:
      tsm_config, tsm_variables, bit_config, bit_variables: the networks.
      batch_size: clips a batch and device.
      devices: that share the work.
      views: what TSM sees of each video.

    Raises:
      UserError: if the two networks want other clips.
    """
    if (tsm_config.shorter_side, tsm_config.crop) != (bit_config.shorter_side, bit_config.crop):
      raise UserError(f"TSM takes frames of {tsm_config.crop} pixels, BiT of {bit_config.crop}; clips are "
                      "decoded once for both, so choose weights of the same kind.")
    mesh = Mesh(devices or jax.local_devices(), ("data",))
    self._by_clip = NamedSharding(mesh, PartitionSpec("data"))
    self._variables = jax.device_put((tsm_variables, bit_variables), NamedSharding(mesh, PartitionSpec()))
    self._configs = {"tsm_config": tsm_config, "bit_config": bit_config}
    on_cpus = mesh.devices.flat[0].platform == "cpu"
    self._layout = {"mesh": mesh, "clips_at_once": 1 if on_cpus else batch_size}
    self.batch_size = batch_size * mesh.size
    self.feature_dim, self.num_concepts = tsm_config.feature_dim, bit_config.num_concepts
    self.shorter_side, self.crop = tsm_config.shorter_side, tsm_config.crop
    self.views = views

  def __call__(self, clips: Sequence[decode.ClipFrames]) -> tuple[Array, Array, Array]:
    """Starts the computation on at most `batch_size` clips of these `views`; rows beyond them are padding."""
    columns = [[getattr(clip, field) for clip in clips] for field in ("tsm", "bit", "bit_mask")]
    missing = self.batch_size - len(clips)
    batch = [np.pad(np.stack(column), ((0, missing), *((0, 0),) * column[0].ndim)) for column in columns]
    return features_and_concepts(*self._variables, *jax.device_put(batch, self._by_clip),
                                 **self._configs, **self._layout)

  def fingerprint(self) -> str:
    """Hexadecimal digest of everything that decides what a video's features are."""
    digest = hashlib.sha256(repr((PREPROCESSING, self.views, sorted(self._configs.items()))).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(self._variables):
      array = np.ascontiguousarray(leaf)
      digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
      digest.update(array.data)
    return digest.hexdigest()


def extract(
    clips: Sequence[VideoEntry], extractor: Extractor, store: FeatureStore, num_workers: int
) -> dict[int, str]:
  """Puts the features of every readable clip into `store`, except of those it already has.

  Args:
    clips: all clips of the dataset.
    extractor: the backbones.
    store: where results go; flushed when this ends, also by an exception.
    num_workers: threads that decode.

  Returns:
    Why the other clips were skipped, by position in `clips`, in rising order.
  """
  pending = [index for index in range(len(clips)) if index not in store]
  skipped: dict[int, str] = {}
  running: tuple[list[tuple[int, Stamp, int]], tuple[Array, ...]] | None = None

  def collect() -> None:
    if running:
      keys, results = running
      for (index, read_as, num_frames), *row in zip(keys, *map(np.asarray, results)):
        store.add(index, read_as, VideoFeatures(*row, num_frames))
      progress.advance(len(keys))

  with Progress("extract", len(clips), "videos", done=len(store)) as progress:
    try:
      with contextlib.closing(_decode(clips, pending, extractor, num_workers, skipped, progress)) as decoded:
        while batch := list(itertools.islice(decoded, extractor.batch_size)):
          results = extractor([frames for _, _, frames in batch])      # runs while the next batch is decoded
          collect()
          running = [(index, read_as, frames.num_frames) for index, read_as, frames in batch], results
        collect()
    finally:
      store.flush()
  return dict(sorted(skipped.items()))


def _decode(clips: Sequence[VideoEntry], pending: Sequence[int], extractor: Extractor, num_workers: int,
            skipped: dict[int, str], progress: Progress) -> Iterator[tuple[int, Stamp, decode.ClipFrames]]:
  """The readable clips among `pending`, in order; why others are not goes into `skipped`."""

  def read(index: int) -> tuple[Stamp, decode.ClipFrames]:
    read_as = stamp(clips[index].path)
    if read_as == NO_STAMP:
      raise decode.VideoError(NO_FILE)
    return read_as, decode.read_clip(clips[index].path, extractor.shorter_side, extractor.crop, extractor.views)

  with ThreadPoolExecutor(num_workers, thread_name_prefix="decode") as pool:
    ahead: collections.deque[tuple[int, Future]] = collections.deque()
    remaining = iter(pending)
    try:
      while True:
        for index in itertools.islice(remaining, BATCHES_AHEAD * extractor.batch_size - len(ahead)):
          ahead.append((index, pool.submit(read, index)))
        if not ahead:
          return
        index, future = ahead.popleft()
        try:
          read_as, frames = future.result()
        except decode.VideoError as error:
          skipped[index] = str(error)
          progress.advance()
        except Exception as error:
          error.add_note(f"The video was {clips[index].path}.")
          raise
        else:
          yield index, read_as, frames
    finally:
      pool.shutdown(wait=True, cancel_futures=True)
