"""The log of a run: what was written is read, and what will be logged again is forgotten."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from topa.core.artifacts import RECORD, claim
from topa.core.errors import InputError, OutputError
from topa.training.metrics import MetricsLog, cut, read_metrics

ROWS = [
    {"step": 0, "held_out": {"loss": 3.0, "accuracy": None}},
    {"step": 1, "loss": 2.5},
    {"step": 2, "loss": 2.25},
    {"step": 2, "gates": [0.125, 0.25], "first_layer": 6},
    {"step": 2, "held_out": {"loss": 2.0, "accuracy": 0.5}},
    {"step": 3, "loss": 2.0},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as metrics:
        for row in ROWS:
            metrics.write(row)
    return path


def test_rows_come_back(log):
    assert list(read_metrics(log)) == ROWS
    with MetricsLog(log) as metrics:
        metrics.write({"step": 4, "loss": 1.0})
    assert list(read_metrics(log)) == [*ROWS, {"step": 4, "loss": 1.0}]


def test_flushed_rows_are_there_while_the_run_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as metrics:
        metrics.write(ROWS[1])
        metrics.flush()
        assert list(read_metrics(path)) == [ROWS[1]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_no_row(log, value):
    before = log.read_bytes()
    with pytest.raises(ValueError, match="JSON"), MetricsLog(log) as metrics:
        metrics.write({"step": 4, "loss": value})
    assert log.read_bytes() == before


@pytest.mark.parametrize(
    ("step", "validation", "kept"),
    [
        (9, True, 6),
        (9, False, 6),
        (3, False, 6),
        (2, True, 5),
        (2, False, 4),
        (1, True, 2),
        (0, True, 1),
        (0, False, 0),
    ],
)
def test_what_will_be_logged_again_is_forgotten(log, step, validation, kept):
    cut(log, step, validation=validation)
    assert list(read_metrics(log)) == ROWS[:kept]


def test_what_a_kill_cut_off_goes(log):
    with log.open("a") as file:
        file.write('{"step": 2, "lo')
    cut(log, 3)
    with MetricsLog(log) as metrics:
        metrics.write({"step": 4, "loss": 1.0})
    broken: list[int] = []
    assert list(read_metrics(log, broken)) == [*ROWS, {"step": 4, "loss": 1.0}]
    assert broken == []


def test_a_whole_last_line_without_its_end_stays(tmp_path):
    path = tmp_path / "metrics.jsonl"
    claim(path, "lines")
    path.write_text('{"step": 1, "loss": 2.0}')
    cut(path, 1)
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


def test_a_cut_that_fails_leaves_the_log(log, monkeypatch):
    before = log.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        cut(log, 1)
    assert log.read_bytes() == before
    assert {path.name for path in log.parent.iterdir()} == {log.name, RECORD}


def test_without_a_log_there_is_nothing_to_cut(tmp_path):
    cut(tmp_path / "metrics.jsonl", 3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b"7", b'{"loss": 1}', b'{"step": "3"}', b'{"step": true}', b"\xff\xfe", b""]
)
def test_lines_that_are_no_rows_are_passed_over_and_numbered(log, line):
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[2:], line]))
    broken: list[int] = []
    assert list(read_metrics(log, broken)) == ROWS
    assert broken == [3]  # the last line has no end: it is still being written
    cut(log, 3)
    assert log.read_bytes() == b"".join(lines)


def test_a_log_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"metrics.jsonl: can't be read \(No such file.*name the folder of a run"):
        list(read_metrics(tmp_path / "metrics.jsonl"))


def test_a_log_that_can_not_be_written_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="can't be written"), MetricsLog(tmp_path / "none" / "metrics.jsonl"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, as on macOS")
def test_a_full_disk_is_said(monkeypatch):
    monkeypatch.setattr("topa.training.metrics.open_to_append", lambda path: path.open("ab"))
    metrics = MetricsLog(Path("/dev/full")).__enter__()
    metrics.write(ROWS[0])
    with pytest.raises(OutputError, match=r"No space left on device.*Make room"):
        metrics.flush()
    with pytest.raises(OutputError, match=r"No space left on device"):
        metrics.write({"step": 1, "long": "x" * 100_000})
    with pytest.raises(OutputError, match=r"No space left on device"), MetricsLog(Path("/dev/full")) as metrics:
        metrics.write(ROWS[0])


def test_rows_are_json_lines(log):
    assert [json.loads(line) for line in log.read_text().splitlines()] == ROWS
