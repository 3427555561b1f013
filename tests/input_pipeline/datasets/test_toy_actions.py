"""toy_actions: the drawn world, its texts and splits, its files, and what its backbones are trained on."""

import itertools
import json
from collections import Counter, defaultdict

import jax
import numpy as np
import pytest

from er_jax.text.tokenizers import Words
from input_pipeline.backbones import tsm
from input_pipeline.datasets import toy_actions
from input_pipeline.datasets.toy_actions import backbone_data, icons, motions, scenes, videos, word_vectors
from input_pipeline.errors import Failure, UserError
from input_pipeline.metadata.class_splits import read_splits
from input_pipeline.metadata.concepts import concept_text, read_concepts
from input_pipeline.metadata.descriptions import class_text, read_classes
from input_pipeline.videos import decode

CLASSES = read_classes(toy_actions.FOLDER / "classes.jsonl")
CONCEPTS = read_concepts(toy_actions.FOLDER / "concepts.jsonl")
SPLITS = read_splits(toy_actions.FOLDER / "class_splits.json", len(CLASSES))
UNSEEN = [i for i in range(len(CLASSES)) if i not in SPLITS[0].seen]
OPPOSITES = {**motions.OPPOSITES, **{there: here for here, there in motions.OPPOSITES.items()}}


def at_rest_but_for_the_actor(motion: str) -> scenes.Scene:
  """A scene in which only the actor moves."""
  scene = scenes.sample_scene(np.random.default_rng(3), motion, "key", list(icons.ICONS))
  distractors = tuple(thing._replace(drift=(0.0, 0.0)) for thing in scene.distractors)
  return scene._replace(distractors=distractors, background=scene.background._replace(drift=(0.0, 0.0)))


def actor_centres(scene: scenes.Scene) -> np.ndarray:
  """Where the actor is in each frame, from the pixels that differ from the scene with the actor elsewhere."""
  without = scene._replace(actor=scene.actor._replace(x=-200.0), motion=None)
  centres = []
  for with_actor, empty in zip(scenes.render(scene, range(scene.num_frames)), scenes.render(without, range(scene.num_frames))):
    rows, columns = np.nonzero(np.any(with_actor != empty, axis=2))
    centres.append((columns.mean(), rows.mean()))
  return np.array(centres)


def test_every_icon_differs_clearly_from_every_other():
  pictures = {name: np.asarray(icons.draw(name)[0].resize((24, 24))) / 255 for name in icons.ICONS}
  assert len(pictures) >= 40
  for (a, first), (b, second) in itertools.combinations(pictures.items(), 2):
    assert np.abs(first - second).mean() > 0.03, (a, b)


@pytest.mark.parametrize("motion", OPPOSITES)
def test_opposite_motions_show_the_same_frames_in_reverse_order(motion):
  scene = at_rest_but_for_the_actor(motion)
  forward = scenes.render(scene, range(scene.num_frames))
  opposite = scenes.render(scene._replace(motion=OPPOSITES[motion]), range(scene.num_frames))
  for here, there in zip(forward, reversed(opposite)):
    np.testing.assert_array_equal(here, there)
  assert not np.array_equal(forward[0], forward[-1]) or motion in ("clockwise", "counterclockwise")


@pytest.mark.parametrize("motion, axis, sign", [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)])
def test_the_actor_moves_as_the_motion_says(motion, axis, sign):
  scene = at_rest_but_for_the_actor(motion)
  steps = np.diff(actor_centres(scene), axis=0)
  assert np.all(sign * steps[:, axis] > -0.5)
  side = scenes.VISIBLE * scene.height
  assert 0.3 * side < sign * steps[:, axis].sum() < 0.7 * side
  assert np.abs(steps[:, 1 - axis]).max() < 0.5


def test_clockwise_is_clockwise_to_the_eye():
  scene = at_rest_but_for_the_actor("clockwise")
  offsets = actor_centres(scene) - (scene.actor.x, scene.actor.y)
  turns = offsets[:-1, 0] * offsets[1:, 1] - offsets[:-1, 1] * offsets[1:, 0]   # > 0: clockwise where y points down
  assert np.all(turns > 0)


def test_the_actor_is_larger_than_every_distractor_and_distractors_are_any_nouns():
  nouns = Counter()
  for index in range(0, len(videos.VIDEOS), 5):
    scene = videos.scene(0, index)
    assert 2 <= len(scene.distractors) <= 4
    assert scene.actor.size > max(thing.size for thing in scene.distractors)
    assert 16 <= scene.num_frames <= 48 and scene.width % 2 == scene.height % 2 == 0
    nouns.update(thing.noun for thing in scene.distractors)
    assert scene.actor.noun not in [thing.noun for thing in scene.distractors]
  assert set(nouns) == set(icons.ICONS)


def test_seen_and_unseen_classes_are_as_the_protocol_asks():
  seen_pairs = {(c.motion, c.noun) for c in (videos.CLASSES[i] for i in SPLITS[0].seen)}
  unseen_pairs = {(c.motion, c.noun) for c in (videos.CLASSES[i] for i in UNSEEN)}
  assert len(CLASSES) >= 60 and len(seen_pairs) + len(unseen_pairs) == len(CLASSES)
  assert not seen_pairs & unseen_pairs
  assert set(motions.MOTIONS) == {motion for motion, _ in seen_pairs} == {motion for motion, _ in unseen_pairs}
  motions_of, nouns_of = defaultdict(set), defaultdict(set)
  for motion, noun in seen_pairs:
    motions_of[noun].add(motion)
    nouns_of[motion].add(noun)
  assert len(motions_of) >= 12
  assert min(map(len, motions_of.values())) >= 3 and min(map(len, nouns_of.values())) >= 4
  new = [noun not in motions_of for _, noun in unseen_pairs]
  assert 1 / 3 <= np.mean(new) <= 1 / 2
  assert len(SPLITS) == 3 and len({split.val for split in SPLITS}) == 3 and len({split.seen for split in SPLITS}) == 1
  for _, val, test in SPLITS:
    assert sorted(val + test) == UNSEEN


def test_counts_of_videos():
  by_class = Counter((video.split, video.label) for video in videos.VIDEOS)
  assert len({video.name for video in videos.VIDEOS}) == len(videos.VIDEOS)
  for label in range(len(CLASSES)):
    counts = [by_class[split, label] for split in ("train", "val", "test")]
    assert counts == ([15, 2, 3] if label in SPLITS[0].seen else [0, 5, 10])


def test_texts_are_distinct_and_name_their_object_and_motion():
  assert len({c.name for c in CLASSES}) == len({c.description for c in CLASSES}) == len(CLASSES)
  assert len({c.wnid for c in CONCEPTS}) == len({c.definition for c in CONCEPTS}) == len(CONCEPTS)
  assert [c.name for c in CONCEPTS] == list(icons.ICONS)
  definitions = {c.name: set(word_vectors.words_of(c.definition)) for c in CONCEPTS}
  common = {word for word, count in Counter(itertools.chain(*definitions.values())).items() if count > 3}
  for action, toy in zip(CLASSES, videos.CLASSES):
    assert action.name == toy.name and action.name.startswith(toy.noun)
    said = set(word_vectors.words_of(action.description))
    assert len(said & definitions[toy.noun] - common) >= 2, action.name


def test_descriptions_of_a_motion_share_words_that_the_opposite_never_uses():
  words = defaultdict(list)
  for action, toy in zip(CLASSES, videos.CLASSES):
    words[toy.motion].append(set(word_vectors.words_of(action.description)))
  for motion, opposite in OPPOSITES.items():
    shared = set.intersection(*words[motion]) - set.union(*words[opposite])
    assert len(shared) >= 2, (motion, shared)


def test_no_word_is_unknown_to_the_vocabulary_and_texts_are_short():
  from transformers import BertTokenizer
  tokenizer = BertTokenizer(str(toy_actions.BERT / "vocab.txt"))
  config = json.loads((toy_actions.BERT / "config.json").read_text())
  assert config["vocab_size"] == len(tokenizer)
  texts = [class_text(c, "name_description") for c in CLASSES] + [concept_text(c, True) for c in CONCEPTS]
  for text in [*texts, "A word that is not in it: zebra, 42!"]:
    tokens = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in tokens
    assert len(tokens) <= 100


def test_written_vectors_and_vocabulary_are_those_of_the_texts():
  assert (toy_actions.BERT / "vocab.txt").read_text().split("\n")[:-1] == word_vectors.vocabulary(word_vectors.corpus())
  stored, computed = np.load(toy_actions.FOLDER / "class_vectors.npy"), word_vectors.class_vectors()
  assert stored.dtype == np.float32 and stored.shape == (len(CLASSES), word_vectors.DIM)
  np.testing.assert_allclose(stored @ stored.T, computed @ computed.T, atol=1e-3)   # whatever basis the SVD chose


def test_the_word_list_knows_every_word_and_no_other():
  words = json.loads((toy_actions.FOLDER / "word_list.json").read_text())
  texts = [f"{action.name} {action.description}" for action in CLASSES]
  texts += [f"{concept.name} {concept.definition.lower()}" for concept in CONCEPTS]
  for text, ids in zip(texts, Words(words).encode(texts, max_tokens=1000)):
    assert " ".join(words[i] for i in ids) == " ".join(text.split())
  assert set(words) == set(" ".join(texts).split()) and "A" in words and "star," in words
  assert sum(map(len, Words(words).encode([action.name for action in CLASSES], 100))) == sum(
      len(action.name.split()) for action in CLASSES)


def test_the_word_table_agrees_with_the_class_vectors():
  words = json.loads((toy_actions.FOLDER / "word_list.json").read_text())
  table = np.load(toy_actions.FOLDER / "word_table.npy")
  assert table.dtype == np.float32 and table.shape == (len(words), word_vectors.DIM)
  of = dict(zip(words, table))
  np.testing.assert_array_equal(of["star,"], of["star"])
  np.testing.assert_array_equal(of["A"], of["a"])
  assert not np.array_equal(of["star"], of["fish"]) and np.all(np.any(table, axis=1))
  class_vectors = np.load(toy_actions.FOLDER / "class_vectors.npy")
  means = [np.mean([of[word] for word in action.name.split()], axis=0) for action in CLASSES]
  np.testing.assert_allclose(means, class_vectors, atol=1e-6)


def test_vectors_of_entries_with_several_words_and_with_none():
  vectors = word_vectors.word_vectors(word_vectors.corpus())
  table = word_vectors.word_table(["star-fish", "42"])
  np.testing.assert_allclose(table[0], (vectors["star"] + vectors["fish"]) / 2, atol=1e-6)
  np.testing.assert_array_equal(table[1], 0)


def test_classifier_rows_are_those_of_the_weights_file_and_tell_the_classes_of_clips_apart():
  rows = np.load(toy_actions.FOLDER / "classifier_rows.npy")
  assert rows.dtype == np.float32 and list(SPLITS[0].seen) == list(range(len(rows)))
  with np.load(toy_actions.DATASET.weights["tsm"]) as weights:
    np.testing.assert_array_equal(rows, weights["module.new_fc.weight"].astype(np.float32),
                                  err_msg="tsm.npz has changed: run input_pipeline.datasets.toy_actions.word_vectors")
  config, variables, _ = tsm.load(toy_actions.DATASET.weights["tsm"])
  clips, labels = backbone_data.backbone_clips(seed=7, start=0, count=32)
  features, _ = jax.jit(tsm.TSM(config).apply)(variables, tsm.normalize(clips))
  scores = np.mean(features, axis=1) @ rows.T
  assert np.mean(np.argmax(scores, axis=1) == labels) > 0.5      # chance is 1/56


def test_rendering_is_deterministic_resumes_and_is_real_video(tmp_path):
  indices = [0, 7, 900]
  videos.render_missing(tmp_path / "a", seed=0, indices=indices, num_workers=2)
  first = [videos.path(tmp_path / "a", i) for i in indices]
  contents = [path.read_bytes() for path in first]
  assert all(1000 < len(content) < 40_000 for content in contents)
  for index, path in zip(indices, first):
    scene = videos.scene(0, index)
    assert decode.count_frames(path) == scene.num_frames
    shown, = decode.read_frames(path, [scene.num_frames // 2])
    drawn, = scenes.render(scene, [scene.num_frames // 2])
    assert np.abs(shown.astype(float) - drawn).mean() < 10
  first[1].unlink()
  stamps = [path.stat().st_mtime_ns for path in (first[0], first[2])]
  videos.render_missing(tmp_path / "a", seed=0, indices=indices, num_workers=2)
  assert [path.read_bytes() for path in first] == contents
  assert [path.stat().st_mtime_ns for path in (first[0], first[2])] == stamps


def test_no_video_depends_on_what_the_memory_held_before(tmp_path, monkeypatch):
  indices = [48, 108, 172, 192, 200, 368, 380, 384]      # x264's macroblock tree made other files of these
  for filling in ("1", "201"):
    monkeypatch.setenv("MALLOC_PERTURB_", filling)       # glibc's; the worker processes start with it
    videos.render_missing(tmp_path / filling, seed=0, indices=indices, num_workers=2)
  for index in indices:
    first, second = (videos.path(tmp_path / filling, index).read_bytes() for filling in ("1", "201"))
    assert first == second, videos.VIDEOS[index].name


def test_videos_of_another_seed_are_replaced_and_foreign_ones_left_alone(tmp_path):
  videos.render_missing(tmp_path, seed=0, indices=[0, 1])
  before = videos.path(tmp_path, 0).read_bytes()
  videos.render_missing(tmp_path, seed=1, indices=[0])
  assert videos.path(tmp_path, 0).read_bytes() != before
  assert not videos.path(tmp_path, 1).exists()
  (tmp_path / videos.MARKER).unlink()
  with pytest.raises(UserError, match="rendered_by.json"):
    videos.render_missing(tmp_path, seed=0, indices=[0])


def test_a_video_that_cannot_be_written_is_a_failure_with_its_reason(tmp_path):
  videos.path(tmp_path, 0).parent.touch()
  with pytest.raises(Failure, match=f"Cannot render the videos in {tmp_path}: .*File exists.* the same command again"):
    videos.render_missing(tmp_path, seed=0, indices=[0])


def test_collection_is_complete(monkeypatch, tmp_path):
  monkeypatch.setattr(videos, "render_missing", lambda source, seed: None)
  made = toy_actions.DATASET.raw_dataset(tmp_path)
  assert {entry.split for entry in made.entries} == {"train", "val", "test"}
  assert {entry.label for entry in made.entries if entry.split == "train"} == set(made.class_splits[0].seen)
  assert made.entries[5].path == tmp_path / f"{made.entries[5].name}.mp4"
  assert set(made.extras) == {"class_vectors.npy", "word_list.json", "word_table.npy", "classifier_rows.npy"}
  assert all(path.is_file() and path.name == name for name, path in made.extras.items())


def test_backbone_examples_are_a_function_of_seed_and_index():
  clips, labels = backbone_data.backbone_clips(seed=0, start=10, count=3)
  assert clips.shape == (3, 8, 64, 64, 3) and clips.dtype == np.uint8 and labels.dtype == np.int32
  np.testing.assert_array_equal(clips[1:2], backbone_data.backbone_clips(seed=0, start=11, count=1)[0])
  assert not np.array_equal(clips, backbone_data.backbone_clips(seed=1, start=10, count=3)[0])
  pictures, nouns = backbone_data.backbone_pictures(seed=0, start=0, count=200)
  assert pictures.shape == (200, 64, 64, 3) and pictures.dtype == np.uint8
  assert nouns.min() >= 0 and nouns.max() < len(CONCEPTS) and len(set(nouns)) > 40


def test_weights_are_small():
  assert sum(path.stat().st_size for path in toy_actions.DATASET.weights.values()) <= 2**20
