"""The examples on the page of a report: filtered and leafed through by the page's script, a plain list without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..core import pages
from .formatting import label
from .html import frames, inline

if TYPE_CHECKING:
    from .report import ReportSample, Verdict

_VERDICTS: dict[Verdict, str] = {
    "right": "✓ right",
    "wrong": "✗ wrong",
    "error": "! no answer",
    "unmarked": "not marked",
}


def examples(samples: Sequence[ReportSample], folder: Path) -> str:
    """Return the examples of a report, each to be opened; nothing where there are none.

    folder: of the report, below which its pictures lie. Raises InputError where one of them is not there.
    """
    if not samples:
        return ""
    first = next((sample for sample in samples if sample.error is None), samples[0])
    rows = "".join(_example(sample, folder, opened=sample is first) for sample in samples)
    return (
        f'{_toolbar(samples)}<div id="browser">\n{rows}'
        '<p class="leaf" hidden><button type="button" id="before">← previous</button>'
        '<span id="at" role="status"></span><button type="button" id="after">next →</button></p>\n</div>\n'
    )


def _toolbar(samples: Sequence[ReportSample]) -> str:
    """Hidden until the script is there to serve it."""
    verdicts = Counter(sample.verdict for sample in samples)
    kinds = Counter(sample.kind for sample in samples)
    choices = "".join(
        f'<label><input type="radio" name="verdict" value="{value}"{" checked" * (not value)}> {words}'
        f" <small>{number:,}</small></label>"
        for value, words, number in [("", "all", len(samples)), *((v, w, verdicts[v]) for v, w in _VERDICTS.items())]
        if number
    )
    kind = ""
    if len(kinds) > 1:
        listed = "".join(
            f'<option value="{escape(name)}">{escape(label(name))} ({number})</option>'
            for name, number in sorted(kinds.items())
        )
        kind = f'<label class="field">type <select id="kind"><option value="">all</option>{listed}</select></label>'
    return (
        '<div class="toolbar" role="search" aria-label="Filter the examples" hidden>\n'
        f'<fieldset><legend>show</legend>{choices}</fieldset>\n<div class="fields">{kind}'
        '<label class="field">words <input type="search" id="words" autocomplete="off" spellcheck="false"></label>'
        '</div>\n<p id="count" role="status"></p>\n'
        "<p>Keys, on an example: <kbd>→</kbd> or <kbd>j</kbd> opens the next one, <kbd>←</kbd> or <kbd>k</kbd> the one "
        "before.</p></div>\n"
    )


def _example(sample: ReportSample, folder: Path, *, opened: bool) -> str:
    images = [inline(frame.image, folder) for frame in sample.frames]
    verdict = sample.verdict
    words = _VERDICTS[verdict]
    if sample.credit is not None and 0 < sample.credit < 1:
        words += f", {100 * sample.credit:.0f} % of the credit"
    read = ""
    if images:
        read = f"<h4>The frames, and the memory captions each was read as</h4>\n{frames(sample.frames, images)}"
    return (
        f'<details class="sample {verdict}" data-verdict="{verdict}" data-kind="{escape(sample.kind)}"'
        f'{" open" * opened}>\n<summary><span class="verdict">{words}</span>'
        f'<span class="asked-for">{escape(sample.question) or "a description of the video"}</span>'
        f'<span class="of">{escape(label(sample.kind))}</span></summary>\n'
        f"{_question(sample, images)}{read}\n"
        f'<p class="tags"><span>record {escape(sample.id)}</span><span>video {escape(sample.video)}</span></p>\n'
        "</details>\n"
    )


def _question(sample: ReportSample, images: Sequence[str | None]) -> str:
    """The answer, with the video beside it where it can be played."""
    if sample.file is None:
        return _answer(sample)
    address = quote(sample.file)
    poster = f' poster="{images[0]}"' if images and images[0] else ""
    happens = f"<figcaption><b>What happens:</b> {escape(sample.description)}</figcaption>"
    return (
        f'<div class="asked">\n<figure><video controls preload="none" playsinline src="{address}"{poster} '
        f'aria-label="Video of record {escape(sample.id)}"><a href="{address}">{escape(sample.file)}</a></video>'
        f"{happens if sample.description else ''}</figure>\n<div>{_answer(sample)}</div>\n</div>\n"
    )


def _answer(sample: ReportSample) -> str:
    parts = ""
    if sample.error is not None:
        parts += f'<p class="reason">{escape(sample.error)}</p>\n'
    if sample.options:
        parts += pages.options(sample.options, sample.probabilities, sample.choice, sample.answer) + "\n"
    elif sample.error is None:
        parts += f"<h4>It said</h4>\n<p>{escape(sample.text) or '<i>nothing</i>'}</p>\n"
    if sample.references and not sample.options:
        listed = "".join(f"<li>{escape(reference)}</li>" for reference in sample.references)
        parts += f'<h4>What was expected</h4>\n<ul class="references">{listed}</ul>\n'
    return parts
