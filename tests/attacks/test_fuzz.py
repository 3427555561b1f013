"""A small part of the damaged files of tests/attacks/fuzz.py."""

from unittest import mock

import pytest

from input_pipeline.backbones import bit, tsm
from tests.attacks import fuzz, kinds

CASES, SEED = 8, 1


@pytest.fixture(autouse=True)
def variants():
  with mock.patch.dict(tsm.VARIANTS), mock.patch.dict(bit.VARIANTS):
    yield


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_damaged_files_are_read_or_refused_with_words(kind, tmp_path):
  findings = []
  fuzz.run_cases(kind, tmp_path, range(CASES), SEED, lambda case, found: findings.extend(found))
  assert not findings


def test_a_reader_that_fails_in_another_way_is_found(tmp_path, monkeypatch):
  def careless(folder):
    path = folder / "number.txt"
    path.write_text("1")
    return lambda: int(path.read_bytes())

  monkeypatch.setitem(kinds.KINDS, "careless", careless)
  findings = []
  fuzz.run_cases("careless", tmp_path, range(40), SEED, lambda case, found: findings.extend(found))
  assert any("ValueError" in finding.what for finding in findings)
