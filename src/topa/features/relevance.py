"""Which frames of a long video are read, by what is asked about it.

Reads features of frames and of the words of a question in one space, gives numbers of frames; see `keyframes` for what
a video shows whatever is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.errors import UsageError

# What asks, and what holds a sentence together: a caption of the frame that is looked for says none of it.
_ASKING = frozenset(
    """
    a an the is are was were be been being am do does did has have had can could will would should may might must
    what which who whom whose where when why how many much in on at of to from by for with and or as it its he she
    they them his her their this that these those there here i you we me my your our not no if than then so video
    picture frame image clip scene shown show shows seen see happens happen happening following option
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def content_words(text: str) -> str:
    """Return the words of a question that a caption could have, in order; all words where none would be left."""
    words = _WORD.findall(text)
    return " ".join([word for word in words if word.lower() not in _ASKING] or words)


def query(question: str, choices: Sequence[str], encode: Callable[[Sequence[str]], Tensor]) -> Tensor:
    """Encode what a frame that shows the answer looks like: float32 [D], a unit row of text space.

    encode: texts to unit rows [n, D]. The mean over the choices of the question's content words and the choice, or the
    content words alone (docs/log.md has the comparison with the question as it is).
    """
    words = content_words(question)
    return normalize(encode([f"{words} {choice}" for choice in choices] or [words]).mean(dim=0), dim=-1)


def even(total: int, count: int) -> list[int]:
    """Return the middle frames of `count` equal parts of `total`; all frames where there are no more."""
    return list(range(total)) if total <= count else [(2 * k + 1) * total // (2 * count) for k in range(count)]


def maximal_marginal_relevance(values: Tensor, query: Tensor, count: int, *, relevance: float = 0.9) -> list[int]:
    """Select `count` frames that are like the question and unlike each other; return their numbers, ascending.

    values: float [N, D] unit rows; query: float [D], of the same space. One after another, the frame is taken that has
    most of relevance x its cosine with the question - (1 - relevance) x its largest cosine with a frame taken before.
    Source: Carbonell & Goldstein 1998 (maximal marginal relevance). Raises UsageError for a count below 1, or a
    relevance that isn't from 0 to 1.
    """
    if count < 1 or not 0 <= relevance <= 1:
        raise UsageError(f"choosing: found count={count}, relevance={relevance}; expected 1 or more, and 0 to 1.")
    likeness = values @ query
    selection: list[int] = []
    nearest = torch.zeros_like(likeness)
    for _ in range(min(count, len(values))):
        worth = relevance * likeness - (1 - relevance) * nearest
        worth[selection] = -torch.inf
        selection.append(int(worth.argmax()))
        own = values @ values[selection[-1]]
        nearest = own if len(selection) == 1 else torch.maximum(nearest, own)
    return sorted(selection)


def segments(total: int, length: int) -> list[tuple[int, int]]:
    """Cut all frames into parts of `length` that overlap by half: each one's first frame, and the one behind its last.

    Raises UsageError for a length below 1.
    """
    if length < 1:
        raise UsageError(f"segments: found length={length}; expected 1 or more.")
    starts = list(range(0, max(1, total - length), max(1, length // 2)))
    if starts[-1] + length < total:
        starts.append(total - length)
    return [(start, min(start + length, total)) for start in starts]


def top_k(values: Tensor, query: Tensor, parts: Sequence[tuple[int, int]], count: int) -> list[tuple[int, float]]:
    """Return the `count` parts that are most like the question, best first: number, and likeness.

    The likeness of a part is the mean of its two best frames' cosines, so that no single frame decides. Of parts
    that overlap, the better one is taken. values: float [N, D] unit rows, query: float [D].
    """
    cosines = values @ query
    likeness = [float(cosines[start:end].topk(min(2, end - start)).values.mean()) for start, end in parts]
    best: list[tuple[int, float]] = []
    for number in sorted(range(len(parts)), key=lambda n: (-likeness[n], n)):
        start, end = parts[number]
        if len(best) < count and all(end <= parts[n][0] or parts[n][1] <= start for n, _ in best):
            best.append((number, likeness[number]))
    return best
