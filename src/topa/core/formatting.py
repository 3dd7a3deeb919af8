"""Durations in words."""

from __future__ import annotations


def rough_duration(seconds: float) -> str:
    """Say a duration as roughly as it is known: "about 40 seconds", "about 3 minutes", "about 5 hours"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    step = 10 if seconds >= 20 else 5
    return f"about {max(step, step * round(seconds / step))} seconds"
