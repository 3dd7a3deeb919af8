"""Durations and shares as text, the same everywhere: in the terminal, in reports and on pages."""

from __future__ import annotations


def rough_duration(seconds: float) -> str:
    """Format an estimate with few digits: "about 40 seconds", "about 3 minutes", "about 5 hours"."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    step = 10 if seconds >= 20 else 5
    return f"about {max(step, step * round(seconds / step))} seconds"


def duration(seconds: float) -> str:
    """Format a measured duration: 3.21 is "3.2 s", 192 is "3 min 12 s", 1810 is "30 min", 7500 is "2 h 05 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours:,} h {minutes:02} min"


def percent(share: float, digits: int = 1) -> str:
    """Format a share: 0.6321 is "63.2 %"."""
    return f"{100 * share:.{digits}f} %"
