"""Clips -> features and concepts: decoded in parallel, batched, jitted, sharded over devices, resumable.

    extractor = Extractor(load_network("tsm", tsm_path), load_network("bit", bit_path), batch_size=8)
    store = FeatureStore(folder, clips)
    skipped = extract(clips, extractor, store, num_workers=2)      # {clip index: reason}
    store[0].views, store[0].concept_ids                           # (V, D) float32, (20,) int32

A batch has the same number of clips on every device, and always the same; a smaller last batch is padded. So each
device runs one and the same program, however many devices there are and whichever clips are left to do. On CPUs that
program is a loop over single clips: kernels there round a clip in another way at another place of a batch, by the
processor's kind. So what comes out for a clip depends on no other clip, to the last bit; it may depend on XLA's number
of threads (EXTRACTION.md). GPUs and TPUs take the clips of a batch together, which is many times as fast; there the
last bits may depend on the batch.

All backbones see the frames of one decode; more views take more time, and more memory only for their frames. At most
`BATCHES_AHEAD` batches of clips are decoded ahead.
"""

import collections
import contextlib
import functools
import hashlib
import itertools
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from input_pipeline.backbones.declaration import FEATURE, OBJECTS, Backbone, Network
from input_pipeline.errors import UserError
from input_pipeline.features.store import NO_STAMP, FeatureStore, Stamp, VideoFeatures, stamp
from input_pipeline.features.variety import require_varied
from input_pipeline.metadata.concepts import NO_CONCEPT, TOP_CONCEPTS
from input_pipeline.near_names import no_file
from input_pipeline.progress import Progress
from input_pipeline.raw_dataset import VideoEntry
from input_pipeline.videos import decode
from input_pipeline.videos.sampling import ViewSampling

BATCHES_AHEAD = 2         # batches of clips decoded, or being decoded, at a time
ENOUGH_TO_DIFFER = 32     # clips
PREPROCESSING = 1        # to be raised when the same video and weights would give other features


class Task(NamedTuple):
  """A backbone, and what it is there for: some of its roles."""

  backbone: Backbone
  config: Any
  roles: tuple[str, ...]


@functools.partial(jax.jit, static_argnames=("tasks", "mesh", "clips_at_once"))
def features_and_concepts(
    variables: Sequence[Any],
    frames: Sequence[Array],
    masks: Sequence[Array],
    *,
    tasks: tuple[Task, ...],
    mesh: Mesh,
    clips_at_once: int,
) -> tuple[Array, Array, Array]:
  """All backbones on a batch of clips.

  Args:
    variables: of each network.
    frames: for each network, (N, V, T, S, S, 3) uint8 RGB, V views of each clip.
    masks: for each network, (N, V, T) bool, False on frames that only pad a clip.
    tasks: what the networks are; together they have both roles.
    mesh: of devices, on its axis "data"; clips are divided among them.
    clips_at_once: that a network sees together, a divisor of N / devices.

  Returns:
    (N, V, D) float32 features of the views; (N, 20) int32 concepts, best first, of the mean logits over the views;
    (N, 20) float32 their sigmoid scores, NaN for logits that are not finite. Slots beyond the vocabulary are -1 with
    score 0.
  """

  def of_network(task: Task, variables: Any, frames: Array, mask: Array) -> dict[str, Array]:
    def of_group(group: tuple[Array, Array]) -> dict[str, Array]:
      return {role: task.backbone.apply[role](task.config, variables, *group) for role in task.roles}

    groups = [x.reshape(-1, clips_at_once, *x.shape[2:]) for x in (frames, mask)]
    outputs = jax.lax.map(of_group, tuple(groups))
    return {role: output.reshape(*mask.shape[:2], -1) for role, output in outputs.items()}

  def on_one_device(frames: Sequence[Array], masks: Sequence[Array]) -> dict[str, Array]:
    return {role: output for network in zip(tasks, variables, frames, masks)
            for role, output in of_network(*network).items()}

  by_clip = PartitionSpec(*mesh.axis_names)
  outputs = jax.shard_map(on_one_device, mesh=mesh, in_specs=by_clip, out_specs=by_clip)(frames, masks)
  logits = jnp.mean(outputs[OBJECTS], axis=1)
  best, ids = jax.lax.top_k(logits, min(TOP_CONCEPTS, logits.shape[1]))
  padding = ((0, 0), (0, TOP_CONCEPTS - ids.shape[1]))
  return (
      outputs[FEATURE],
      jnp.pad(ids.astype(jnp.int32), padding, constant_values=NO_CONCEPT),
      jnp.pad(jnp.where(jnp.isfinite(best), jax.nn.sigmoid(best), jnp.nan), padding),
  )


class Extractor:
  """A network for features and one for objects, on some devices.

  Attributes:
    batch_size: clips a call takes at most, on all devices together.
    num_concepts: size of the vocabulary.
    samplings: what the networks see of each video.
  """

  def __init__(
      self,
      feature: Network,
      objects: Network,
      batch_size: int = 8,
      devices: Sequence[jax.Device] | None = None,     # pyright: ignore[reportInvalidTypeForm] (it is a class)
      views: ViewSampling = ViewSampling(),
  ):
    """Puts the weights on the devices, by default all of this process's.

    Args:
      feature, objects: the networks; the same one for both runs once.
      batch_size: clips a batch and device.
      devices: that share the work.
      views: of each video, as they are asked for.
    """
    networks = {(FEATURE, OBJECTS): feature} if feature is objects else {(FEATURE,): feature, (OBJECTS,): objects}
    mesh = Mesh(devices or jax.local_devices(), ("data",))
    self._by_clip = NamedSharding(mesh, PartitionSpec("data"))
    self._variables = jax.device_put(
        tuple(network.variables for network in networks.values()), NamedSharding(mesh, PartitionSpec()))
    self._configs = {f"{network.name}_config": network.config for network in networks.values()}
    on_cpus = mesh.devices.flat[0].platform == "cpu"
    self._program = {
        "tasks": tuple(Task(network.backbone, network.config, roles) for roles, network in networks.items()),
        "mesh": mesh, "clips_at_once": 1 if on_cpus else batch_size}
    self._titles = {FEATURE: feature.backbone.title, OBJECTS: objects.backbone.title}
    self._views = views
    self.batch_size = batch_size * mesh.size
    self.num_concepts = objects.config.num_concepts
    self.samplings = [network.backbone.sampling(network.config, views) for network in networks.values()]

  def __call__(self, clips: Sequence[decode.ClipFrames]) -> tuple[Array, Array, Array]:
    """Starts the computation on at most `batch_size` clips of these `samplings`; rows beyond them are padding."""
    missing = self.batch_size - len(clips)

    def batch(*clips: np.ndarray) -> np.ndarray:
      return np.pad(np.stack(clips), ((0, missing), *((0, 0),) * clips[0].ndim))

    frames, masks = jax.tree.map(batch, *[(clip.frames, clip.masks) for clip in clips])
    return features_and_concepts(self._variables, *jax.device_put((frames, masks), self._by_clip), **self._program)

  def require_finite(self, path: Path, views: np.ndarray, scores: np.ndarray) -> None:
    """Raises: UserError naming network and video, if one of its features or scores is not finite."""
    for role, values in ((FEATURE, views), (OBJECTS, scores)):
      if not np.isfinite(values).all():
        raise UserError(f"The {self._titles[role]} gives {role} for {path} that are not finite numbers. Its weights, though "
                        "finite, are too large or damaged; give others.")

  def fingerprint(self) -> str:
    """Hexadecimal digest of everything that decides what a video's features are."""
    views = repr(self._views).replace("ViewSampling", "Views")      # the class's name when the first were made
    digest = hashlib.sha256(f"({PREPROCESSING}, {views}, {sorted(self._configs.items())})".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(self._variables):
      array = np.ascontiguousarray(leaf)
      digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
      digest.update(array.data)
    return digest.hexdigest()


def extract(
    clips: Sequence[VideoEntry], extractor: Extractor, store: FeatureStore, num_workers: int
) -> dict[int, str]:
  """Puts the features of every readable clip into `store`, except of those it already has; warns of damaged ones.

  Args:
    clips: all clips of the dataset.
    extractor: the backbones.
    store: where results go; flushed when this ends, also by an exception. It has the stamps of the other clips then.
    num_workers: threads that decode.

  Returns:
    Why the other clips were skipped, by position in `clips`, in rising order.

  Raises:
    UserError: a network's output is not finite, or the same for all of the first `ENOUGH_TO_DIFFER` clips or more.
    Failure: the machine cannot read a clip.
  """
  pending = [index for index in range(len(clips)) if index not in store]
  skipped: dict[int, str] = {}
  may_be_constant = True
  running: tuple[list[tuple[int, Stamp, int, bool]], tuple[Array, ...]] | None = None

  def collect() -> None:
    if running:
      keys, results = running
      for (index, read_as, num_frames, damaged), views, ids, scores in zip(keys, *map(np.asarray, results)):
        extractor.require_finite(clips[index].path, views, scores)
        store.add(index, read_as, VideoFeatures(views, ids, scores, num_frames), damaged)
      progress.advance(len(keys))

  with Progress("extract", len(clips), "videos", done=len(store)) as progress:
    try:
      with contextlib.closing(_decode(clips, pending, extractor, num_workers, store, skipped, progress)) as decoded:
        while batch := list(itertools.islice(decoded, extractor.batch_size)):
          results = extractor([frames for _, _, frames in batch])      # runs while the next batch is decoded
          collect()
          if may_be_constant and len(store) >= ENOUGH_TO_DIFFER:      # asked early, or it would be after days
            require_varied(clips, store, of_videos=True)
            may_be_constant = False
          running = [(index, read_as, frames.num_frames, frames.damaged) for index, read_as, frames in batch], results
        collect()
    finally:
      store.flush()
  decode.warn_of_damaged([clips[index].path for index in store.damaged])
  return dict(sorted(skipped.items()))


def _decode(clips: Sequence[VideoEntry], pending: Sequence[int], extractor: Extractor, num_workers: int,
            store: FeatureStore, skipped: dict[int, str], progress: Progress
            ) -> Generator[tuple[int, Stamp, decode.ClipFrames]]:
  """The readable clips among `pending`, in order; the store skips the others, and why goes into `skipped`."""

  def read(index: int) -> tuple[Stamp, decode.ClipFrames | str]:
    read_as = stamp(clips[index].path)
    if read_as == NO_STAMP:
      return read_as, no_file(clips[index].path)
    try:
      return read_as, decode.read_clip(clips[index].path, extractor.samplings)
    except decode.VideoError as error:
      return read_as, str(error)

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
          read_as, seen = future.result()
        except Exception as error:
          error.add_note(f"The video was {clips[index].path}.")
          raise
        if isinstance(seen, str):
          skipped[index] = seen
          store.skip(index, read_as)
          progress.advance()
        else:
          yield index, read_as, seen
    finally:
      pool.shutdown(wait=True, cancel_futures=True)
