"""The report as one HTML page: no script, no network, light and dark, wide and narrow.

Reads a `DemoReport` and `page.css`; gives the text of `report.html` to `publish.write_report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..core import pages
from . import pieces
from .plots import accuracy_plot, difference_plot
from .wording import BASELINES, METHOD, duration, label, percent

_SAMPLES = (
    "The first question of each kind, each about another video, in the order of <code>questions.jsonl</code>: chosen "
    "without looking at the answers."
)

if TYPE_CHECKING:
    from .report import DemoReport, Sample


def page(report: DemoReport, folder: Path) -> str:
    """The whole page. Pictures named by path are read from `folder` and put inside.

    Raises InputError where such a picture is not there.
    """
    sections = {
        "results": ("How often it is right", accuracy_plot(report.conditions, METHOD)),
        "kinds": ("By kind of question", pieces.kinds_table(report.conditions, METHOD)),
        "differences": ("What makes the difference", difference_plot(report.differences)),
        "samples": ("What it saw and what it said", _samples(report.samples, _SAMPLES, folder)),
        "mistakes": ("Where it was wrong", _samples(report.mistakes, _mistakes(report), folder, len(report.samples))),
        "cost": ("What it cost", _stages(report)),
        "reproduce": ("Run it again", _reproduce(report)),
        "notes": ("Notes", pages.bullets(report.notes)),
    }
    return pages.document(
        report.title,
        style=pieces.style(),
        header=_headline(report),
        sections=sections,
        footer=f"Made by <code>{escape(report.command)}</code> on {escape(report.created)}.",
        allow=("media-src 'self' file:",),
    )


def _headline(report: DemoReport) -> str:
    named = {condition.name: condition for condition in report.conditions}
    first = named.get(METHOD, report.conditions[0])
    found = first.accuracy
    cards = "".join(
        f'<li class="{"method" if condition is first else "baseline"}"><b>{percent(condition.accuracy.value)}'
        f"<small> %</small></b><span>{escape(label(condition.name))}</span><i>{escape(condition.about)}</i></li>"
        for condition in [first, *(named[name] for name in BASELINES if name in named and named[name] is not first)]
    )
    return (
        '<p class="lead">A frozen language model answers questions about videos through a small adapter '
        "that learned from written stories alone. Here it was asked "
        f"{found.questions:,} questions about {found.groups:,} videos, the first it ever met.</p>\n"
        f'<ul class="cards" aria-label="Share of right answers">{cards}</ul>\n'
    )


def _samples(samples: Sequence[Sample], rule: str, folder: Path, before: int = 0) -> str:
    """Samples under the rule by which they were chosen. before: number of samples that stand above them."""
    if not samples:
        return ""
    shown = "".join(_sample(number, sample, folder) for number, sample in enumerate(samples, before + 1))
    return f"<p>{rule}</p>\n{shown}"


def _mistakes(report: DemoReport) -> str:
    number, count = len(report.mistakes), report.mistake_count
    which = f"The first {number} of {count:,} wrong answers" if number < count else "All wrong answers"
    return f"{which}, in the order of the questions in <code>questions.jsonl</code>."


def _sample(number: int, sample: Sample, folder: Path) -> str:
    images = [pieces.inline(frame.image, folder) for frame in sample.frames]
    poster = f' poster="{images[0]}"' if images and images[0] else ""
    address = quote(sample.video)
    right = sample.choice == sample.answer
    options = pages.options(sample.options, sample.probabilities, sample.choice, sample.answer)
    return (
        f'<article class="sample" aria-labelledby="sample-{number}">\n<div class="asked">\n<figure>'
        f'<video controls preload="none" playsinline src="{address}"{poster} aria-label="Video {number}">'
        f'<a href="{address}">{escape(sample.video)}</a></video>'
        f"<figcaption><b>What happens:</b> {escape(sample.description)}</figcaption></figure>\n"
        f'<div><p class="tags"><span>{escape(label(sample.kind))}</span>'
        f'<span class="{"right" if right else "wrong"}">{"✓ right" if right else "✗ wrong"}</span></p>'
        f'<h3 id="sample-{number}">{escape(sample.question)}</h3>\n{options}</div>\n</div>\n'
        f"<h4>The frames, and the memory captions each was read as</h4>\n"
        f"{pieces.frames(sample.frames, images)}\n</article>\n"
    )


def _stages(report: DemoReport) -> str:
    if not report.stages:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(label(stage.name))}</th><td>{duration(stage.seconds)}</td>'
        f"<td>{stage.peak_mb:,.0f} MB</td></tr>\n"
        for stage in report.stages
    )
    total, peak = sum(stage.seconds for stage in report.stages), max(stage.peak_mb for stage in report.stages)
    table = (
        '<table class="plain">'
        '<thead><tr><th scope="col">stage</th><th scope="col">time</th><th scope="col">peak memory</th></tr></thead>\n'
        f'<tbody>\n{rows}</tbody>\n<tfoot><tr><th scope="row">all of it</th><td>{duration(total)}</td>'
        f"<td>{peak:,.0f} MB</td></tr></tfoot></table>"
    )
    return pages.scroller("Time and memory by stage", table)


def _reproduce(report: DemoReport) -> str:
    # Seeds and versions are names, not quantities: no thousands separators.
    counted = {label(key): f"{v:,}" if isinstance(v, int) else v for key, v in report.parameters.items()}
    seeds = {label(key): str(value) for key, value in report.seeds.items()}
    versions = {label(key): value for key, value in report.versions.items()}
    return pages.command("The command that made this report", report.command) + pieces.facts(
        {"Parameters": counted, "Seeds": seeds, "Versions": versions}
    )
