"""Durations and shares as text; estimates are as rough as they are known."""

from __future__ import annotations

import pytest

from topa.core.formatting import duration, percent, rough_duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 5 seconds"),
        (17, "about 15 seconds"),
        (44, "about 40 seconds"),
        (118, "about 120 seconds"),
        (170, "about 3 minutes"),
        (7000, "about 117 minutes"),
        (20000, "about 6 hours"),
        (400000, "about 5 days"),
    ],
)
def test_times_are_said_as_roughly_as_they_are_known(seconds: float, words: str) -> None:
    assert rough_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (192, "3 min 12 s"),
        (599.6, "10 min"),
        (1810, "30 min"),
        (3599, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_measured_times_are_exact_where_it_matters(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_shares_are_percentages() -> None:
    assert (percent(0.6321), percent(0.6321, 0), percent(1)) == ("63.2 %", "63 %", "100.0 %")
