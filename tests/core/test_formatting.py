"""Durations are said as roughly as they are known."""

from __future__ import annotations

import pytest

from topa.core.formatting import rough_duration


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
