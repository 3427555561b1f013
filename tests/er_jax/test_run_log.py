"""The metrics log and the best-so-far record."""

import json
import time

import pytest

from er_jax.run_log import BestSoFar, Board, MetricsLog
from input_pipeline.errors import Failure, UserError


def test_ties_go_to_the_earliest_step():
  record = BestSoFar()
  for step, value in ((0, 10.0), (5, 30.0), (10, 30.0), (15, 20.0)):
    record = record.with_value("val0", "precision@1", value, step)
  record = record.with_value("val1", "precision@1", 1.0, 15)
  assert record.splits["val0"]["precision@1"] == {"step": 5, "value": 30.0}
  assert record.best_steps == {5, 15} and record.evaluated == 15
  assert BestSoFar.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_resumed_log_repeats_no_line_and_drops_a_torn_one(tmp_path):
  path = tmp_path / "metrics.jsonl"
  log = MetricsLog(path)
  log.write({"step": 1, "loss": 2.0})
  log.write({"step": 1, "split": "val0", "precision@1": 3.0})
  with open(path, "a") as file:
    file.write('{"step": 2, "lo')
  again = MetricsLog(path)
  for line in ({"step": 1, "loss": 2.0}, {"step": 1, "split": "val0", "precision@1": 3.0}, {"step": 2, "loss": 1.0}):
    again.write(line)
  assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 1, 2]


def test_a_foreign_line_is_named(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1}\nhello\n')
  with pytest.raises(UserError, match="metrics.jsonl:2"):
    MetricsLog(path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_curves_that_cannot_be_written_end_the_training_and_do_not_hang(tmp_path):
  board = Board(tmp_path / "tensorboard", 1)
  events = board._writer.file_writer.event_writer._ev_writer

  def full(event):
    raise OSError(28, "No space left on device")

  events.write_event = full
  with pytest.raises(Failure, match=rf"Cannot write to {tmp_path}/tensorboard"):
    for step in range(1000):
      board.write("train", {"loss": 0.0}, step)
      time.sleep(0.001)
