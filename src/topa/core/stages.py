"""Long work as a list of stages: how long it will take is said before it begins, and after each stage what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .calibration import Forecast, seconds_per_pass
from .formatting import rough_duration
from .progress import console
from .resources import measure


@dataclass(frozen=True, slots=True)
class WorkStage:
    """A stage. work: its cost in passes of `core.calibration`. do: does it; again, it goes on where it stopped."""

    name: str
    work: float
    do: Callable[[], object]


def run_stages(stages: Sequence[WorkStage], need: str = "") -> list[tuple[str, float, float]]:
    """Do one stage after the other; return the name of each, its seconds, and the most memory held in it, in MB.

    need: what else the work takes, said beside the time.
    """
    forecast = Forecast(sum(stage.work for stage in stages), seconds_per_pass())
    console.print(f"expect {rough_duration(forecast.remaining_seconds)} on this machine as busy as it is{need}")
    costs = []
    for stage in stages:
        with measure() as spent:
            stage.do()
        costs.append((stage.name, round(spent.seconds, 2), round(spent.peak_mb, 1)))
        forecast.advance(stage.work, spent.seconds)
        left = f"  {rough_duration(forecast.remaining_seconds)} left" if forecast.remaining_seconds >= 1 else ""
        console.print(f"{stage.name:<46} {spent.seconds:6.1f} s  {spent.peak_mb:7.0f} MB{left}", soft_wrap=True)
    return costs
