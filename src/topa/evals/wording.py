"""How names and numbers are put: the same on the page, in the terminal and in the README.

Reads a report's values; gives strings, not yet escaped for any of the three.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metrics import Estimate
    from .report import Condition

METHOD = "projected"
"""The condition that is the method itself; every other one is there to be compared with it."""
BASELINES = ("chance", "blind", "raw")
"""What the headline sets the method against."""
NONE = "–"


def label(name: str) -> str:
    """A name of the code as words: `before_after` is "before after"; " - " gets a real minus sign."""
    return name.replace("_", " ").replace(" - ", " − ")


def letter(place: int) -> str:
    """The name of an option by its place: A for 0; after Z the number, from 1."""
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)


def percent(share: float) -> str:
    """0.6321 is "63.2"."""
    return f"{100 * share:.1f}"


def measured(name: str, share: float) -> str:
    """The value of a score by its name, times 100: "63.2 %" of an accuracy, "54.3" of what isn't a share."""
    return f"{percent(share)} %" if name.startswith(("accuracy", "exact match")) else percent(share)


def points(share: float) -> str:
    """A difference in percentage points, always with its sign: 0.123 is "+12.3"."""
    # Rounded first: -0.0001 would be "-0.0". A real minus sign lines up with the plus.
    return f"{round(100 * share, 1) + 0:+.1f}".replace("-", "−")


def interval(estimate: Estimate) -> str:
    """The 95 % interval of an accuracy: "60.1–66.3"."""
    return f"{percent(estimate.low)}–{percent(estimate.high)}"


def duration(seconds: float) -> str:
    """3.21 is "3.2 s", 192 is "3 min 12 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def kinds_of(conditions: Iterable[Condition]) -> list[str]:
    """Every kind of question in the order in which the conditions name them."""
    return list(dict.fromkeys(kind for condition in conditions for kind in condition.kinds))


def verdict(estimate: Estimate) -> str:
    """What a paired difference lets one say: "better", "worse", or "not clear" where zero is in the interval."""
    if estimate.low > 0:
        return "better"
    return "worse" if estimate.high < 0 else "not clear"
