"""The options of a question: `--choice red blue` as well as `--choice red --choice blue`.

A comma is part of an option. A parser's options take one value each, so the words behind a `--choice` are spread before
it reads them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence

from .errors import UsageError

FLAG = "--choice"
_ARGUMENTS = ("VIDEO", "QUESTION")
_OPTION = re.compile(r"-(?!\.?\d).+")  # -5 and -.5 are values


def spread(words: Sequence[str], valued: Collection[str], verb: str) -> list[str]:
    """Words with a `--choice` before each choice. valued: the names of options with a value.

    Where just as many of VIDEO and QUESTION are missing as words stand behind first values, these are meant: the order
    `--choice red --choice blue VIDEO QUESTION` is read as ever. Raises UsageError where they could be meant or not.
    """
    parts: list[tuple[bool, list[str]]] = []  # whether they are choices, and words
    left, outside = deque(words), 0
    while left:
        word = left.popleft()
        if word == "--":
            parts.append((False, [word, *left]))
            outside += len(left)
            break
        if word == FLAG and left:
            run = [left.popleft()]
            while left and not _OPTION.fullmatch(left[0]):
                run.append(left.popleft())
            parts.append((True, run))
        else:
            parts.append((False, [word, left.popleft()] if word in valued and left else [word]))
            outside += not word.startswith("-")
    further = [word for chosen, run in parts if chosen for word in run[1:]]
    missing = len(_ARGUMENTS) - outside
    flags = sum(chosen or run[0].startswith(f"{FLAG}=") for chosen, run in parts)
    behind = 0 < missing == len(further)
    if missing > 0 and (len(further) > missing or (behind and flags < 2)):
        raise UsageError(
            f"{FLAG}: found no {' and no '.join(_ARGUMENTS[-missing:])} before it, and takes all words behind it as "
            f"options. Expected: {verb} {' '.join(_ARGUMENTS)} {FLAG} TEXT TEXT"
        )
    spread_words: list[str] = []
    for chosen, run in parts:
        flag = [FLAG] if chosen else []
        spread_words += [*flag, run[0], *(w for more in run[1:] for w in ([*flag, more] if not behind else [more]))]
    return spread_words
