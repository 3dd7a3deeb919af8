"""The report of an evaluation as one HTML page: no network, light and dark, wide and narrow.

Reads an `EvaluationReport`; gives the text of `report.html` to `publish.write_report`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import pages
from ..core.formatting import duration
from .formatting import NONE, interval, label, measured, percent
from .html import facts, kinds_table
from .plots import accuracy_plot, difference_plot, letters_plot, parts_plot, reliability_plot
from .report import MODEL
from .sample_page import examples

if TYPE_CHECKING:
    from .report import Calibration, EvaluationReport, RecordCounts, Score

LISTED = 1000
"""So many records without an answer are listed on the page at most; report.json has all."""
_REASONS = 12
_BASELINES = ("chance", "blind")


def page(report: EvaluationReport, folder: Path) -> str:
    """Return the whole page. Pictures named by path are read from `folder` and put inside.

    Raises InputError where such a picture is not there.
    """
    many = len(report.conditions) > 1
    sections = {
        "results": ("Results", _results(report)),
        "differences": ("Against the baselines", difference_plot(report.differences)),
        "parts": (_partitions(report), _parts(report)),
        "kinds": ("By type, with the baselines", kinds_table(report.conditions, MODEL, "type") if many else ""),
        "letters": ("Which letters it chooses", _letters(report)),
        "calibration": ("What its probabilities are worth", _calibration(report.calibration)),
        "examples": ("Examples", examples(report.samples, folder)),
        "missing": ("Records without an answer", _missing(report)),
        "cost": ("What it cost", _stages(report)),
        "reproduce": ("Run it again", _reproduce(report)),
        "notes": ("Notes", pages.bullets(report.notes)),
    }
    return pages.document(
        report.title,
        style=pages.resource(__package__, "page.css"),
        header=_headline(report),
        sections=sections,
        footer=f"Made by <code>{escape(report.command)}</code> on {escape(report.created)}.",
        allow=("media-src 'self' file:",) if any(sample.file for sample in report.samples) else (),
        script=pages.resource(__package__, "page.js") if report.samples else "",
    )


def _headline(report: EvaluationReport) -> str:
    named = {condition.name: condition for condition in report.conditions}
    cards = []
    for place, score in enumerate(report.scores[:3]):
        value, about = _value(score)
        cards.append(("" if place else "method", value, escape(score.name), about))
    for name in _BASELINES:
        if name in named:
            value = f"{percent(named[name].accuracy.value)}<small> %</small>"
            cards.append(("", value, escape(label(name)), escape(named[name].about)))
    tags = {"benchmark": report.benchmark, "split": report.split, "task": report.task, "protocol": report.protocol}
    spans = "".join(f"<span>{name}: {escape(value)}</span>" for name, value in tags.items() if value)
    about = f"{escape(report.about)} " if report.about else ""
    return (
        f'<p class="lead">{about}{_denominators(report.counts)}</p>\n{pages.cards("Headline numbers", cards)}'
        f'<p class="tags">{spans}</p>\n'
    )


def _value(score: Score) -> tuple[str, str]:
    if score.estimate is None:
        return NONE, escape(score.note or "not computed")
    value, _, unit = measured(score.name, score.estimate.value).partition(" ")
    shown = f"{value}<small> {unit}</small>" if unit else value
    return shown, f"95 % interval {interval(score.estimate)}"


def _denominators(counts: RecordCounts) -> str:
    """What the numbers are of, in words."""
    if not counts.public:
        return (
            f"{counts.published:,} records were asked. No right answer of this split is public, so nothing can be said "
            "here about how many are right."
        )
    every = f"All {counts.published:,} published records are"
    if counts.hidden:
        every = f"{counts.public:,} of {counts.published:,} published records, all whose right answer is public, are"
    gone = counts.unanswered
    lacking = f"; {gone:,} of them {'has' if gone == 1 else 'have'} no answer and count{'s' * (gone == 1)} as wrong"
    return f"{every} in every number{lacking if gone else ''}."


def _results(report: EvaluationReport) -> str:
    plot = accuracy_plot(report.conditions, MODEL) if report.conditions else ""
    return f'{plot}<div class="pair">{_scores(report.scores)}{_counts(report)}</div>\n'


def _scores(scores: Sequence[Score]) -> str:
    rows = ""
    for score in scores:
        found = score.estimate
        cells = [NONE] * 4
        if found is not None:
            cells = [measured(score.name, found.value), interval(found), f"{found.questions:,}", f"{found.groups:,}"]
        note = f"<small>{escape(score.note)}</small>" if score.note else ""
        rows += pages.row(score.name, cells, note)
    return pages.table("Scores with intervals", ["score", "value", "95 % interval", "records", "videos"], rows)


def _counts(report: EvaluationReport) -> str:
    counts = report.counts
    rows = pages.row("published", [f"{counts.published:,}"]) + pages.row("right answer hidden", [f"{counts.hidden:,}"])
    rows += pages.row("in the numbers", [f"{counts.public:,}"])
    rows += pages.row("of these without an answer, wrong", [f"{counts.unanswered:,}"])
    most = Counter(counts.errors).most_common()
    rows += "".join(pages.row(f"– {reason}", [f"{number:,}"]) for reason, number in most[:_REASONS])
    if most[_REASONS:]:
        rows += pages.row(f"– {len(most) - _REASONS} other reasons", [f"{sum(n for _, n in most[_REASONS:]):,}"])
    return pages.table("What the numbers are of", ["records", "number"], rows)


def _partitions(report: EvaluationReport) -> str:
    """The heading of the parts: "By type, duration"."""
    return f"By {', '.join(escape(label(name)) for name in report.breakdowns)}"


def _parts(report: EvaluationReport) -> str:
    chance = next((condition.kinds for condition in report.conditions if condition.name == "chance"), {})
    return "".join(
        f"<h3>{escape(label(name))}</h3>\n{parts_plot(parts, chance if name == 'type' else {})}"
        for name, parts in report.breakdowns.items()
        if parts
    )


def _letters(report: EvaluationReport) -> str:
    letters = report.letters
    return letters_plot(letters) if letters is not None and sum(letters.chosen) + sum(letters.right) else ""


def _calibration(found: Calibration | None) -> str:
    if found is None:
        return ""
    rows = "".join(
        pages.row(
            f"{100 * b.low:.0f} to {100 * b.high:.0f} %",
            [f"{b.questions:,}", f"{percent(b.confidence)} %", f"{percent(b.accuracy)} %"],
        )
        for b in found.bins
    )
    total = sum(b.questions for b in found.bins)
    return (
        f"<p>Expected calibration error: {percent(found.error)} points, the mean gap between probability and share of "
        f"right answers over {total:,} question{'s' * (total != 1)} that were answered.</p>\n"
        f'<div class="beside">{reliability_plot(found)}'
        f"{pages.table('Calibration by bin', ['probability', 'questions', 'mean', 'right'], rows)}</div>\n"
    )


def _missing(report: EvaluationReport) -> str:
    if not report.missing:
        return ""
    total = len(report.missing)
    rows = "".join(pages.row(name, [why]) for name, why in list(report.missing.items())[:LISTED])
    rest = f" The first {LISTED:,} are listed here, all are in report.json." if total > LISTED else ""
    wrong = report.counts.unanswered
    counted = "counted" if wrong == total else f"the {wrong:,} whose right answer is public count as"
    return (
        f"<p>{total:,} record{'s' * (total != 1)} got no answer; {counted} wrong.{rest}</p>\n"
        "<details><summary>which, and why</summary>\n"
        + pages.table("Records without an answer", ["record", "why"], rows, "plain why")
        + "</details>\n"
    )


def _stages(report: EvaluationReport) -> str:
    if not report.stages:
        return ""
    rows = "".join(
        pages.row(stage.name, [duration(stage.seconds), f"{stage.peak_mb:,.0f} MB"]) for stage in report.stages
    )
    total, peak = sum(stage.seconds for stage in report.stages), max(stage.peak_mb for stage in report.stages)
    foot = pages.row("all of it", [duration(total), f"{peak:,.0f} MB"])
    return pages.table("Time and memory by stage", ["stage", "time", "peak memory"], rows, foot=foot)


def _reproduce(report: EvaluationReport) -> str:
    settings = {key: NONE if value is None else str(value) for key, value in report.settings.items()}
    if report.seconds:
        settings["took"] = duration(report.seconds)
    hashes = f'<h3>Hashes</h3>\n<dl class="hashes">{pages.terms(report.hashes)}</dl>\n' if report.hashes else ""
    seeds = {key: str(value) for key, value in report.seeds.items()}
    counted = {name: f"{number:,}" for name, number in report.parameters.items()}
    return (
        pages.command("The command that made this report", report.command)
        + facts({"Settings": settings, "Parameters": counted, "Seeds": seeds, "Versions": report.versions})
        + hashes
    )
