"""Each tracker in earnest: what was logged is read back from its own files, and nothing goes over the network."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from topa.core.errors import UsageError
from topa.training.trackers import TRACKERS, Trackers, flatten, open_trackers

SETTINGS = {"llm": "microworld/llm", "lr": 0.005, "projector_lr": None, "epochs": 4}
ROWS = [
    {"step": 0, "held_out": {"loss": 3.0, "accuracy": None, "questions": 20}},
    {"step": 1, "epoch": 0, "loss": 2.5, "lr": 0.001},
    {"step": 2, "epoch": 0, "loss": 2.25, "lr": 0.002},
    {"step": 2, "gates": [0.125, 0.25], "video_bias": [3.5, 3.25], "first_layer": 3},
    {"step": 2, "held_out": {"loss": 2.0, "accuracy": 0.5, "questions": 20}},
]
EXPECTED = {
    "held_out/loss": {0: 3.0, 2: 2.0},
    "held_out/accuracy": {2: 0.5},
    "held_out/questions": {0: 20, 2: 20},
    "epoch": {1: 0, 2: 0},
    "loss": {1: 2.5, 2: 2.25},
    "lr": {1: 0.001, 2: 0.002},
    "gates/layer_03": {2: 0.125},
    "gates/layer_04": {2: 0.25},
    "video_bias/layer_03": {2: 3.5},
    "video_bias/layer_04": {2: 3.25},
}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)


def log(names: list[str], folder: Path, rows: list[dict] = ROWS, step: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    with open_trackers(names, folder, "kitchen", SETTINGS, step=step) as trackers:
        for row in rows:
            trackers.log(row, row["step"])


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {
        tag: {event.step: pytest.approx(event.value, rel=1e-6) for event in events.Scalars(tag)}
        for tag in events.Tags()["scalars"]
    }


def records(path: Path) -> Iterator[bytes]:
    """The records of a `.wandb` file: LevelDB's log format, 32 KiB blocks behind a header of 7 bytes."""
    data, at, pending = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6 : at + 7]
        if at + 7 + size > len(data):
            return  # still being written
        pending += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (b"\1", b"\4"):  # whole, or the last part
            yield pending
            pending = b""


def whole(path: Path) -> list[Any]:
    """The records of a `.wandb` file when the last one is there: wandb's own process writes on after `finish`."""
    from wandb.proto import wandb_internal_pb2

    deadline = time.monotonic() + 60
    while True:
        found = [wandb_internal_pb2.Record.FromString(data) for data in records(path)]
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def logged(path: Path) -> tuple[dict[str, str], dict[str, dict[int, float]]]:
    """The settings and the values of a run of W&B."""
    told: dict[str, str] = {}
    values: dict[str, dict[int, float]] = {}
    for record in whole(path):
        if record.WhichOneof("record_type") == "run":
            told |= {item.key: item.value_json for item in record.run.config.update}
            told |= {"name": record.run.display_name, "host": record.run.host, "project": record.run.project}
        if record.WhichOneof("record_type") == "history":
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for key, value in row.items():
                if not key.startswith("_"):
                    values.setdefault(key, {})[row["_step"]] = value
    return told, values


def test_rows_become_flat_numbers():
    found: dict[str, dict[int, float]] = {}
    for row in ROWS:
        for name, value in flatten(row).items():
            found.setdefault(name, {})[row["step"]] = value
    assert found == EXPECTED
    assert flatten({"step": 3, "note": "text", "done": True, "gates": [1]}) == {"gates/layer_00": 1}


def test_tensorboard_shows_what_was_logged(tmp_path):
    log(["tensorboard"], tmp_path)
    assert scalars(tmp_path) == EXPECTED


def test_tensorboard_forgets_what_a_run_logs_again(tmp_path):
    log(["tensorboard"], tmp_path)
    log(["tensorboard"], tmp_path, [{"step": 2, "loss": 7.0}, {"step": 3, "loss": 1.0}], step=1)
    found = scalars(tmp_path)
    assert found["loss"] == {1: 2.5, 2: 7.0, 3: 1.0}
    assert found["held_out/loss"] == {0: 3.0}


def test_wandb_keeps_the_run_offline_in_its_folder(tmp_path):
    log(["wandb"], tmp_path)
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    told, values = logged(path)
    assert values == EXPECTED
    assert {key: json.loads(told[key]) for key in SETTINGS} == SETTINGS
    assert (told["name"], told["project"], told["host"]) == ("kitchen", "topa", "")
    assert not list(tmp_path.rglob("wandb-metadata.json"))


def test_wandb_knows_a_run_that_goes_on(tmp_path):
    log(["wandb"], tmp_path)
    log(["wandb"], tmp_path, [{"step": 3, "loss": 1.0}], step=2)
    log(["wandb"], tmp_path / "other")
    assert len({path.name for path in tmp_path.glob("wandb/offline-run-*/*.wandb")}) == 1
    assert len({path.name for path in tmp_path.rglob("*.wandb")}) == 2


def test_wandb_does_as_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    log(["wandb"], tmp_path)
    assert not list(tmp_path.rglob("*.wandb"))


TRACKIO = """
import json, sys
from pathlib import Path
from topa.training.trackers import open_trackers
for folder, step, rows in json.loads(sys.argv[1]):
    with open_trackers(["trackio"], Path(folder), "kitchen", {"lr": 0.005, "none": None}, step=step) as trackers:
        for row in rows:
            trackers.log(row, row["step"])
"""


def test_trackio_keeps_all_runs_on_this_machine(tmp_path):
    """In a process of its own: trackio's folder is fixed when it is imported."""
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir(), b.mkdir()
    sittings = [(str(a), 0, ROWS), (str(a), 2, [{"step": 3, "loss": 1.0}]), (str(b), 0, [{"step": 1, "loss": 9.0}])]
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")}
    command = [sys.executable, "-c", TRACKIO, json.dumps(sittings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with sqlite3.connect(tmp_path / "trackio" / "topa.db") as base:
        values: dict[str, dict[str, dict[int, float]]] = {}
        for name, step, row in base.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id"):
            for key, value in json.loads(row).items():
                values.setdefault(name, {}).setdefault(key, {})[step] = value
        told = [json.loads(config) for (config,) in base.execute("SELECT config FROM configs")]
    first, second = values.values()
    assert first == EXPECTED | {"loss": {1: 2.5, 2: 2.25, 3: 1.0}}
    assert second == {"loss": {1: 9.0}}
    assert all(name.startswith("kitchen-") for name in values)
    assert all(settings["lr"] == 0.005 for settings in told)


@pytest.mark.parametrize("variable", ["TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"])
def test_trackio_does_not_upload(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "somebody/something")
    with pytest.raises(UsageError, match=f"{variable} is set.*unset {variable}"):
        open_trackers(["trackio"], tmp_path, "kitchen", SETTINGS)


def test_an_unknown_tracker_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        open_trackers(["wandb", "tensorbord"], tmp_path, "kitchen", SETTINGS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "library"), list(zip(TRACKERS, ("tensorboard", "wandb", "trackio"), strict=True)))
def test_a_missing_library_is_said(tmp_path, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(UsageError, match=rf"{name} isn't installed: .*pip install .*\[track\]'"):
        open_trackers([name], tmp_path, "kitchen", SETTINGS)


class Failing:
    def __init__(self) -> None:
        self.seen: list[int] = []

    def log(self, row, step):
        self.seen.append(step)
        if step == 2:
            raise OSError(28, "No space left on device")

    def close(self):
        self.seen.append(-1)
        raise RuntimeError("gone")


def test_a_tracker_that_fails_costs_nothing_else(tmp_path, capsys):
    one, other = Failing(), Failing()
    trackers = Trackers({"one": one, "other": other})
    trackers.log({"loss": 1.0}, 1)
    other.log = lambda row, step: other.seen.append(step)
    trackers.log({"loss": 1.0}, 2)
    trackers.log({"loss": 1.0}, 3)
    trackers.close()
    trackers.close()
    assert (one.seen, other.seen) == ([1, 2], [1, 2, 3, -1])
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: one failed and is left out ([Errno 28] No space left on device)" in said
    assert "warning: other failed and is left out (gone)" in said


def test_no_tracker_is_none(tmp_path):
    log([], tmp_path)
    assert not list(tmp_path.iterdir())
