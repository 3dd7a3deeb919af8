"""Names and numbers as text: the same on the page, in the terminal and in the README.

Reads a report's values; gives strings, not yet escaped for any of the three.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metrics import IntervalEstimate
    from .report import Condition

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


def interval(estimate: IntervalEstimate) -> str:
    """The 95 % interval of an accuracy: "60.1–66.3"."""
    return f"{percent(estimate.low)}–{percent(estimate.high)}"


def kinds_of(conditions: Iterable[Condition]) -> list[str]:
    """Every kind of question in the order in which the conditions name them."""
    return list(dict.fromkeys(kind for condition in conditions for kind in condition.kinds))


def verdict(estimate: IntervalEstimate) -> str:
    """What a paired difference lets one say: "better", "worse", or "not clear" where zero is in the interval."""
    if estimate.low > 0:
        return "better"
    return "worse" if estimate.high < 0 else "not clear"


def markdown_line(cells: Iterable[str]) -> str:
    """A row of a table in Markdown; bars and newlines in cells can't end one."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
