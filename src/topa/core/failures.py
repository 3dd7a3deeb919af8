"""Failures of a run: equal ones are counted, and a run of which nothing came says which is the commonest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from .errors import AllFailed


def nameless(text: str, names: Collection[str]) -> str:
    """A reason without what names the one that failed, so that equal ones can be counted."""
    either = "|".join(re.escape(name) for name in sorted({*names} - {"", "."}, key=len, reverse=True))
    rest = re.sub(rf"(?<!\w)(?:[^\s:]*[/\\])?(?:{either})(?!\w)", "…", text) if either else text
    return " ".join(rest.removeprefix("…:").split())


def all_failed(run: str, noun: str, failures: Iterable[tuple[str, str]], where: str) -> AllFailed:
    """The error of a run in which everything failed. run: its verb. failures: the name and the reason of each, see
    `nameless`. where: a sentence that says where the rest lies."""
    known = list(failures)
    reason, count = Counter(reason for _, reason in known).most_common(1)[0]
    example = next(name for name, own in known if own == reason)
    share = "all" if count == len(known) else f"{count:,}"
    return AllFailed(
        f"{run}: all {len(known):,} {noun} failed; the commonest reason, of {share} of them (such as {example}): "
        f"{reason.rstrip('.')}. {where}"
    )
