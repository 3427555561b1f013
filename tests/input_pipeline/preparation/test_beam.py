"""The extraction as a Beam pipeline; with Beam itself where it is installed."""

import importlib.util
import sys

import pytest

from input_pipeline import prepare
from input_pipeline.errors import Failure, UserError
from input_pipeline.videos import decode
from tests.input_pipeline.preparation.test_shards import files_of, run_shards
from tests.input_pipeline.small_preparation import chunks, inputs, run, small, videos_read, whole

__all__ = ["inputs", "small", "videos_read", "whole"]     # the fixtures

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="needs apache-beam: pip install -r requirements-beam.txt")


@needs_beam
def test_pipeline_gives_the_bytes_of_the_plain_command(inputs, whole, small, tmp_path):
  run(inputs, tmp_path, beam_runner="DirectRunner", num_shards=3)
  assert files_of(tmp_path) == files_of(whole)


@needs_beam
def test_pipeline_goes_on_with_shards_that_are_done(inputs, small, videos_read, tmp_path):
  run_shards(inputs, tmp_path, 1)
  already = len(videos_read)
  run(inputs, tmp_path, beam_runner="DirectRunner", num_shards=3)
  assert len(videos_read) - already == 8


@needs_beam
def test_failing_worker_says_why_and_keeps_what_is_done(inputs, whole, small, tmp_path, monkeypatch):
  def fail(*_):
    raise OSError("disk on fire")

  run_shards(inputs, tmp_path, 0)
  before = chunks(tmp_path)
  with monkeypatch.context() as patch:
    patch.setattr(decode, "read_clip", fail)
    with pytest.raises(Failure, match="The Beam pipeline failed on DirectRunner: .*disk on fire"):
      run(inputs, tmp_path, beam_runner="DirectRunner", num_shards=3)
  assert before and set(before) <= set(chunks(tmp_path))
  run(inputs, tmp_path, beam_runner="DirectRunner", num_shards=3)
  assert files_of(tmp_path) == files_of(whole)


@needs_beam
def test_mistake_that_only_a_worker_sees_is_told_in_its_words(inputs, small, tmp_path):
  with pytest.raises(UserError, match="absent.npz") as raised:
    run(inputs._replace(tsm=tmp_path / "absent.npz"), tmp_path, beam_runner="DirectRunner", num_shards=3)
  assert "Traceback" not in str(raised.value) and "while running" not in str(raised.value)


def test_without_beam_the_command_that_installs_it_is_shown(inputs, small, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(UserError, match="pip install -r requirements.txt -r requirements-beam.txt"):
    run(inputs, tmp_path, beam_runner="DirectRunner", num_shards=3)


def test_unknown_runner_names_the_near_one(tmp_path, small):
  with pytest.raises(UserError, match="Did you mean FlinkRunner"):
    prepare.prepare("toy_actions", tmp_path, beam_runner="FlinkRuner")
