"""Where models compute: one choice for a process, which all of it follows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import topa
from topa.core import devices
from topa.core.embedded import resolve
from topa.core.errors import UsageError
from topa.core.processes import Processes
from topa.features.encoder import Encoder

SOURCE = Path(topa.__file__).parent


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch):
    """A second device that every machine has."""
    monkeypatch.setattr(devices, "_NAME", re.compile("auto|cpu|meta|cuda:1"))
    monkeypatch.setattr(devices, "devices", lambda: ("auto", "cpu", "meta", "cuda:1"))
    with devices.restored_device():
        devices.choose_device("meta")
        yield
    assert devices.chosen_device() is None


def test_the_choice_reaches_what_computes(meta):
    assert devices.default_device() == torch.device("meta")
    assert Encoder.from_pretrained(resolve("microworld/clip")).device == torch.device("meta")
    assert Processes().device == torch.device("meta")


def test_a_device_in_the_call_comes_first(meta):
    assert Encoder.from_pretrained(resolve("microworld/clip"), "cpu").device == torch.device("cpu")


def test_one_gpu_is_not_for_several_processes(meta, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    devices.choose_device("cuda:1")
    with pytest.raises(UsageError, match="found one GPU for 2 processes"):
        Processes()


def test_nobody_chooses_for_himself():
    """A place that asks torch for a GPU by itself would not follow --device."""
    own = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if "is_available()" in path.read_text()}
    assert own == {
        "core/devices.py",
        "core/processes.py",  # whether several processes have GPUs at all
        "integrations/lmms_model.py",  # its harness has a device of its own
        "models/base.py",  # where a caller gives none
    }
