"""Estimates come from what this machine does, and come nearer as work is done."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from topa.core.calibration import Forecast, operations_per_second, seconds_per_pass


def test_a_pass_is_measured_within_its_budget() -> None:
    seconds_per_pass(0)
    start = time.perf_counter()
    each = seconds_per_pass(0.1)
    assert 0 < each <= time.perf_counter() - start < 0.1 + 40 * each


def test_a_busy_machine_is_measured_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement is of time on the wall, not on the processor: here a layer waits for its turn."""
    import topa.core.calibration as calibration

    layer, turn = calibration._layer, threading.Event()

    def slow(*arguments: object) -> torch.Tensor:
        turn.wait(0.05)
        return layer(*arguments)

    monkeypatch.setattr(calibration, "_layer", slow)
    assert seconds_per_pass(0.01) >= 0.05


def test_operations_are_counted() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert operations_per_second(64, torch.device("cpu"), dtype, 0.01) > 1e6


def test_a_forecast_follows_what_was_measured() -> None:
    forecast = Forecast(work=1000, pace=0.1)
    assert forecast.remaining_seconds == pytest.approx(100)
    forecast.advance(100, 40)  # four times slower than calibrated
    assert 0.1 * 900 < forecast.remaining_seconds < 0.4 * 900
    forecast.advance(400, 160)
    assert forecast.remaining_seconds == pytest.approx(0.4 * 500, rel=0.2)
    forecast.advance(500, 200)
    assert forecast.remaining_seconds == 0
