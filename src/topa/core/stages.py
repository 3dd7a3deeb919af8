"""The stages of long work: each is measured, and said aloud as it ends, with the time that is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .calibration import Forecast
from .durations import rough_duration
from .progress import console
from .resources import measure


@dataclass(slots=True)
class StageLog:
    """Stages that have ended: name, seconds, and the most memory held during it, in MB."""

    forecast: Forecast
    stages: list[tuple[str, float, float]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, work: float = 0.0) -> Iterator[None]:
        """Measure a stage. work: its share of the forecast's."""
        with measure() as spent:
            yield
        self.stages.append((name, round(spent.seconds, 2), round(spent.peak_mb, 1)))
        self.forecast.advance(work, spent.seconds)
        left = f"  {rough_duration(self.forecast.left)} left" if self.forecast.left >= 1 else ""
        console.print(f"{name:<46} {spent.seconds:6.1f} s  {spent.peak_mb:7.0f} MB{left}", soft_wrap=True)
