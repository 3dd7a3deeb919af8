"""Count the failures of a run by reason, and report a run in which everything failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from .errors import AllFailed


def nameless(text: str, names: Collection[str]) -> str:
    """Replace the names of the failed item in an error message, so that equal reasons can be counted."""
    either = "|".join(re.escape(name) for name in sorted({*names} - {"", "."}, key=len, reverse=True))
    rest = re.sub(rf"(?<!\w)(?:[^\s:]*[/\\])?(?:{either})(?!\w)", "…", text) if either else text
    return " ".join(rest.removeprefix("…:").split())


def all_failed(run: str, noun: str, failures: Iterable[tuple[str, str]], where: str) -> AllFailed:
    """Return the error of a run in which everything failed.

    run: its verb. noun: what the items are. failures: (name, reason) pairs, see `nameless`. where: a sentence that says
    where the details are.
    """
    pairs = list(failures)
    reason, count = Counter(reason for _, reason in pairs).most_common(1)[0]
    example = next(name for name, other_reason in pairs if other_reason == reason)
    share = "all" if count == len(pairs) else f"{count:,}"
    return AllFailed(
        f"{run}: all {len(pairs):,} {noun} failed; the commonest reason, of {share} of them (such as {example}): "
        f"{reason.rstrip('.')}. {where}"
    )
