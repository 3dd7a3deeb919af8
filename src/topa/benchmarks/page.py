"""The report as one HTML page: no script, no network, light and dark, wide and narrow.

Reads a `DemoReport` and `page.css`; gives the text of `report.html` to `publish.write_report`.
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..core.errors import InputError
from .plots import accuracy_plot, difference_plot
from .wording import BASELINES, METHOD, NONE, duration, interval, kinds_of, label, percent

if TYPE_CHECKING:
    from .report import Condition, DemoReport, FrameView, Sample

# Even if something hostile got past the escaping, the browser would run and fetch nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self' file:"


def page(report: DemoReport, folder: Path) -> str:
    """The whole page. Pictures named by path are read from `folder` and put inside.

    Raises InputError where such a picture is not there.
    """
    sections = {
        "results": ("How often it is right", accuracy_plot(report.conditions)),
        "kinds": ("By kind of question", _kinds(report.conditions)),
        "differences": ("What makes the difference", difference_plot(report.differences)),
        "samples": ("What it saw and what it said", _samples(report.samples, folder)),
        "cost": ("What it cost", _stages(report)),
        "reproduce": ("Run it again", _reproduce(report)),
        "notes": ("Notes", _list(report.notes)),
    }
    filled = {key: section for key, section in sections.items() if section[1]}
    links = "".join(f'<a href="#{key}">{heading}</a>' for key, (heading, _) in filled.items())
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{heading}</h2>\n{content}</section>\n'
        for key, (heading, content) in filled.items()
    )
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(report.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{escape(report.title)}</h1>\n{_headline(report)}<nav aria-label="Sections">{links}</nav>\n'
        f"</header>\n<main>\n{body}</main>\n"
        f"<footer>Made by <code>{escape(report.command)}</code> on {escape(report.created)}.</footer>\n"
        "</body>\n</html>\n"
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


def _kinds(conditions: Iterable[Condition]) -> str:
    conditions = list(conditions)
    kinds = kinds_of(conditions)
    if not kinds:
        return ""
    chance = next((condition for condition in conditions if condition.name == "chance"), None)
    head = "".join(
        f'<th scope="col"{_mark(condition)}>{escape(label(condition.name))}</th>' for condition in conditions
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(label(kind))}</th>'
        + "".join(_cell(condition, kind, chance) for condition in conditions)
        + "</tr>\n"
        for kind in kinds
    )
    return (
        "<p>Per cent right, the 95 % interval below. The deeper the colour, the further above chance.</p>\n"
        '<div class="scroll" tabindex="0" role="region" aria-label="Accuracy by kind of question and condition">'
        f'<table class="heat"><thead><tr><th scope="col">kind</th>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>'
        "</div>\n"
    )


def _cell(condition: Condition, kind: str, chance: Condition | None) -> str:
    if kind not in condition.kinds:
        return f"<td{_mark(condition)}>{NONE}</td>"
    found = condition.kinds[kind]
    floor = chance.kinds[kind].value if chance and kind in chance.kinds else 0.0
    heat = max(0.0, found.value - floor) / max(1 - floor, 1e-9)
    return (
        f'<td{_mark(condition)} style="--heat:{heat:.3f}" title="{found.questions} questions">'
        f"{percent(found.value)}<small>{interval(found)}</small></td>"
    )


def _mark(condition: Condition) -> str:
    return ' class="method"' if condition.name == METHOD else ""


def _samples(samples: Iterable[Sample], folder: Path) -> str:
    return "".join(_sample(number, sample, folder) for number, sample in enumerate(samples, 1))


def _sample(number: int, sample: Sample, folder: Path) -> str:
    images = [_inline(frame.image, folder) for frame in sample.frames]
    poster = f' poster="{images[0]}"' if images else ""
    address = quote(sample.video)
    right = sample.choice == sample.answer
    frames = "".join(_frame(frame, image) for frame, image in zip(sample.frames, images, strict=True))
    return (
        f'<article class="sample" aria-labelledby="sample-{number}">\n<div class="asked">\n<figure>'
        f'<video controls preload="none" playsinline src="{address}"{poster} aria-label="Video {number}">'
        f'<a href="{address}">{escape(sample.video)}</a></video>'
        f"<figcaption><b>What happens:</b> {escape(sample.description)}</figcaption></figure>\n"
        f'<div><p class="tags"><span>{escape(label(sample.kind))}</span>'
        f'<span class="{"right" if right else "wrong"}">{"✓ right" if right else "✗ wrong"}</span></p>'
        f'<h3 id="sample-{number}">{escape(sample.question)}</h3>\n{_options(sample)}</div>\n</div>\n'
        f'<h4>The frames, and the memory captions each was read as</h4>\n<ol class="frames">{frames}</ol>\n</article>\n'
    )


def _options(sample: Sample) -> str:
    def option(k: int, text: str, probability: float) -> str:
        notes = {
            (True, True): ("right", "✓ chosen, right"),
            (True, False): ("wrong", "✗ chosen, wrong"),
            (False, True): ("missed", "✓ the right one"),
            (False, False): ("", ""),
        }
        state, words = notes[k == sample.choice, k == sample.answer]
        mark = f" <em>{words}</em>" if words else ""
        return (
            f'<li class="{state}"><span>{escape(text)}{mark}</span><b>{100 * probability:.0f} %</b>'
            f'<i style="--share:{min(probability, 1):.3f}" aria-hidden="true"></i></li>'
        )

    rows = zip(sample.options, sample.probabilities, strict=True)
    return f'<ol class="options">{"".join(option(k, *row) for k, row in enumerate(rows))}</ol>'


def _frame(frame: FrameView, image: str) -> str:
    captions = "".join(
        f'<li style="--share:{min(max(weight, 0.0), 1.0):.3f}"><b>{100 * weight:.0f} %</b> {escape(caption)}</li>'
        for caption, weight in zip(frame.captions, frame.weights, strict=True)
    )
    alt = f"Frame at {frame.time:.1f} seconds" + (f", read as: {frame.captions[0]}" if frame.captions else "")
    return (
        f'<li><img src="{image}" alt="{escape(alt)}"><div><time>{frame.time:.1f} s</time><ul>{captions}</ul></div></li>'
    )


def _inline(image: str, folder: Path) -> str:
    """A data URI as it is; a file's bytes as one."""
    if image.startswith("data:"):
        return image
    path = folder / image
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not path.is_file() or not kind.startswith("image/"):
        raise InputError(f"{path}: the report shows this picture; expected a PNG or JPEG file. Make the samples again.")
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _stages(report: DemoReport) -> str:
    if not report.stages:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(label(stage.name))}</th><td>{duration(stage.seconds)}</td>'
        f"<td>{stage.peak_mb:,.0f} MB</td></tr>\n"
        for stage in report.stages
    )
    total, peak = sum(stage.seconds for stage in report.stages), max(stage.peak_mb for stage in report.stages)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Time and memory by stage"><table class="plain">'
        '<thead><tr><th scope="col">stage</th><th scope="col">time</th><th scope="col">peak memory</th></tr></thead>\n'
        f'<tbody>\n{rows}</tbody>\n<tfoot><tr><th scope="row">all of it</th><td>{duration(total)}</td>'
        f"<td>{peak:,.0f} MB</td></tr></tfoot></table></div>\n"
    )


def _reproduce(report: DemoReport) -> str:
    command = (
        '<pre tabindex="0" role="region" aria-label="The command that made this report">'
        f"<code>{escape(report.command)}</code></pre>\n"
    )
    groups: dict[str, Mapping[str, int | str]] = {
        "Parameters": report.parameters,
        "Seeds": report.seeds,
        "Versions": report.versions,
    }
    facts = "".join(_facts(heading, values) for heading, values in groups.items() if values)
    return f'{command}<div class="facts">{facts}</div>\n'


def _facts(heading: str, values: Mapping[str, int | str]) -> str:
    # Seeds and versions are names, not quantities: no thousands separators.
    separated = heading == "Parameters"
    rows = "".join(
        f"<div><dt>{escape(label(key))}</dt>"
        f"<dd>{escape(f'{value:,}' if separated and isinstance(value, int) else str(value))}</dd></div>"
        for key, value in values.items()
    )
    return f"<div><h3>{heading}</h3><dl>{rows}</dl></div>"


def _list(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""
