"""Why it answered so, as one HTML page: no script, no network, light and dark, wide and narrow.

Reads an `Explanation` and thumbnails; gives the text of `explain.html` to `evidence.write_evidence`. Drawings are SVG
inside the page, which follows its colours; positions are per cent of the width, so that text never shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from ..core import pages
from ..core.formatting import percent

if TYPE_CHECKING:
    from ..inference.explain import ExplainedFrame, Explanation

_TICKS = 6
"""So many times stand below a drawing at most."""
_MASKED = {
    "masked": "A frame is taken away by masking it: the model reads no token in its place, and the other frames keep "
    "their places in time. Zeros or a mean would be one more frame, of a kind that it has never seen.",
    "padding": "A frame is taken away by putting padding in its place. This adapter was released by TOPA's authors, "
    "whose models read padding where a frame is missing.",
}
_NOTES = (
    "Support is the score with all frames minus the score without the frame. Above zero the frame supports the answer, "
    "below zero it speaks against it.",
    "Frames that show the same stand in for each other: without one of them the other is still there, so neither needs "
    "to have much support. Look at the score without any frame.",
    "Attention says where the model looked while it answered: the share that goes to a frame, of all that the answer's "
    "tokens attend to, a mean over heads, layers and tokens. Attention isn't an explanation. What a frame does when it "
    "is gone, its support, is the stronger evidence.",
    "What a frame was read as are captions of the memory. Where they miss what the picture shows, the encoder or the "
    "memory is at fault, not the language model.",
)


def evidence_page(explanation: Explanation, images: Sequence[str | None], video: str, command: str | None) -> str:
    """The whole page. images: a data URI per frame, None where there is no picture. video: as it is named to readers.
    command: what made the page, where that is known."""
    said = explanation.text
    asked = explanation.question or "What does the video show?"
    sections = {
        "answer": ("The answer", _answer(explanation)),
        "timeline": ("Over the video", _timeline(explanation)),
        "frames": ("Frame by frame", _frames(explanation, images)),
        "notes": ("How to read this", pages.bullets((_MASKED[explanation.masking], *_NOTES))),
        "warnings": ("Warnings", pages.bullets(explanation.warnings)),
        "again": ("Run it again", (command and pages.command("The command that made this page", command)) or ""),
    }
    return pages.document(
        f"Why “{said}”?" if len(said) <= 60 else "Why it said so",
        style=pages.resource(__package__, "evidence.css"),
        header=f'<p class="lead"><span>{escape(asked)}</span></p>\n{_cards(explanation)}'
        f'<p class="of">video: {escape(video)}</p>\n',
        sections=sections,
        footer=f"Score: {escape(explanation.measure)}.",
    )


def signed(value: float) -> str:
    """A difference of scores: +1.23, with a real minus."""
    return f"{value:+.3f}".replace("-", "−")


def moment(frame: ExplainedFrame, number: int) -> str:
    """How a frame is named: by its time, or by its number, which counts from 0."""
    return f"frame {number + 1}" if frame.time is None else f"{frame.time:.1f} s"


def _cards(explanation: Explanation) -> str:
    best = explanation.strongest
    if best is None:
        first = ("method", "none", "supports it alone", "without any single frame it answers as surely, or more")
    else:
        frame = explanation.frames[best]
        first = ("method", moment(frame, best), "supports it most", f"support {signed(frame.support)}")
    cards = [
        first,
        (
            "",
            signed(explanation.score - explanation.blind),
            "all frames together",
            "the score above that without any frame",
        ),
    ]
    if explanation.choice is not None:
        chance = explanation.probabilities[explanation.choice]
        cards.append(
            ("", f"{100 * chance:.0f} %", "probability of the answer", f"of {len(explanation.options)} options")
        )
    return pages.cards("In short", cards)


def _answer(explanation: Explanation) -> str:
    if not explanation.options:
        return f"<blockquote>{escape(explanation.text)}</blockquote>\n"
    return pages.options(explanation.options, explanation.probabilities, explanation.choice, None) + "\n"


def _timeline(explanation: Explanation) -> str:
    frames = explanation.frames
    support = [frame.support for frame in frames]
    attention = [frame.attention for frame in frames]
    best = explanation.strongest
    told = f"Support of each of {len(frames)} frames. All values are listed below."
    if best is not None:
        told = (
            f"Support of each of {len(frames)} frames; the most, {signed(support[best])}, has "
            f"{moment(frames[best], best)}. All values are listed below."
        )
    return (
        _drawing("Support", "what the score loses without the frame", support, places(frames), best, told)
        + _drawing(
            "Attention",
            "where the answer's tokens looked",
            attention,
            places(frames),
            None,
            f"Attention to each of {len(frames)} frames. All values are listed below.",
        )
        + _axis(frames)
    )


def places(frames: Sequence[ExplainedFrame]) -> list[float]:
    """Where each frame stands, as shares of the width: by their times where these are known and rise, else evenly."""
    count = len(frames)
    times = [frame.time for frame in frames if frame.time is not None]
    rising = len(times) == count > 1 and all(a < b for a, b in pairwise(times))
    if not rising:
        return [(number + 0.5) / count for number in range(count)]
    step = (times[-1] - times[0]) / (count - 1)
    return [(time - times[0] + step / 2) / (times[-1] - times[0] + step) for time in times]


def _drawing(name: str, about: str, values: Sequence[float], at: Sequence[float], best: int | None, told: str) -> str:
    """Bars from zero, one a frame. best: the one that stands out. told: text, what a screen reader says instead."""
    top, bottom = max(*values, 0.0), min(*values, 0.0)
    reach = (top - bottom) or 1.0
    gaps = [b - a for a, b in pairwise(at)]
    width = min(0.08, 0.7 * min(gaps, default=1.0))
    zero = top / reach
    bars = "".join(
        f'<rect class="{_kind(number, value, best)}" x="{100 * (x - width / 2):.2f}%" width="{100 * width:.2f}%" '
        f'y="{100 * (zero - max(value, 0) / reach):.2f}%" height="{100 * abs(value) / reach:.2f}%"/>'
        for number, (value, x) in enumerate(zip(values, at, strict=True))
    )
    line = f'<line class="zero" x1="0" x2="100%" y1="{100 * zero:.2f}%" y2="{100 * zero:.2f}%"/>'
    return (
        f'<figure class="strip"><figcaption><b>{name}</b> {about}</figcaption>'
        f'<svg role="img" aria-label="{escape(told)}">{bars}{line}</svg></figure>\n'
    )


def _kind(number: int, value: float, best: int | None) -> str:
    if value < 0:
        return "against"
    return "best" if number == best else "for"


def _axis(frames: Sequence[ExplainedFrame]) -> str:
    stride = -(-len(frames) // _TICKS)
    ticks = "".join(
        f'<text x="{100 * x:.2f}%" y="1em" text-anchor="middle">{moment(frame, number)}</text>'
        for number, (frame, x) in enumerate(zip(frames, places(frames), strict=True))
        if number % stride == 0
    )
    return f'<svg class="axis" aria-hidden="true">{ticks}</svg>\n'


def _frames(explanation: Explanation, images: Sequence[str | None]) -> str:
    most = max((abs(frame.support) for frame in explanation.frames), default=0.0) or 1.0
    looked = max((frame.attention for frame in explanation.frames), default=0.0) or 1.0
    rows = "".join(
        _frame(explanation, number, image, most, looked)
        for number, image in zip(range(len(explanation.frames)), images, strict=True)
    )
    return f'<ol class="evidence">{rows}</ol>\n'


def _frame(explanation: Explanation, number: int, image: str | None, most: float, looked: float) -> str:
    frame = explanation.frames[number]
    name = moment(frame, number)
    picture = f'<img src="{image}" alt="The frame at {name}">' if image else '<p class="none">no picture</p>'
    kind = _kind(number, frame.support, explanation.strongest)
    captions = "".join(
        f'<li style="--share:{min(max(weight, 0.0), 1.0):.3f}"><b>{percent(weight, 0)}</b> {escape(caption)}</li>'
        for caption, weight in zip(frame.captions, frame.weights, strict=True)
    )
    read = f'<ul aria-label="Read as">{captions}</ul>' if captions else ""
    return (
        f'<li class="{kind}"><div>{picture}</div><div><h3><time>{name}</time></h3>\n<dl>'
        f"{_bar('support', signed(frame.support), abs(frame.support) / most)}"
        f"{_bar('attention', percent(frame.attention), frame.attention / looked)}"
        f"{_without(explanation, frame)}</dl></div>{read}</li>\n"
    )


def _bar(name: str, value: str, share: float) -> str:
    return (
        f'<div class="{name}"><dt>{name}</dt><dd>{value}</dd>'
        f'<i style="--share:{min(max(share, 0), 1):.3f}" aria-hidden="true"></i></div>'
    )


def _without(explanation: Explanation, frame: ExplainedFrame) -> str:
    """What would be answered without the frame."""
    if frame.choice is None or frame.probability is None:
        return ""
    if frame.choice == explanation.choice:
        return f"<div><dt>without it</dt><dd>the same, {percent(frame.probability, 0)}</dd></div>"
    return f'<div class="other"><dt>without it</dt><dd>{escape(explanation.options[frame.choice])}</dd></div>'
