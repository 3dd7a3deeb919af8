"""The report of an evaluation as one HTML page: no network, light and dark, wide and narrow.

Its one script filters the examples and opens the next; without it they are a list to open one by one. Reads an
`EvaluationReport`; gives the text of `report.html` to `publish.write_evaluation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import pages
from . import pieces
from .evaluation import MODEL, Verdict
from .plots import accuracy_plot, difference_plot, letters_plot, parts_plot, reliability_plot
from .wording import NONE, duration, interval, label, measured, percent

if TYPE_CHECKING:
    from .evaluation import Calibration, Counts, EvaluationReport, Score, Shown

LISTED = 1000
"""So many records without an answer are listed on the page at most; report.json has all."""
_REASONS = 12
_SAID: dict[Verdict, str] = {"right": "✓ right", "wrong": "✗ wrong", "error": "! no answer", "unmarked": "not marked"}
_BASELINES = ("chance", "blind")


def evaluation_page(report: EvaluationReport, folder: Path) -> str:
    """The whole page. Pictures named by path are read from `folder` and put inside.

    Raises InputError where such a picture is not there.
    """
    many = len(report.conditions) > 1
    sections = {
        "results": ("Results", _results(report)),
        "differences": ("Against the baselines", difference_plot(report.differences)),
        "parts": (_partitions(report), _parts(report)),
        "kinds": ("By type, with the baselines", pieces.kinds_table(report.conditions, MODEL, "type") if many else ""),
        "letters": ("Which letters it chooses", _letters(report)),
        "calibration": ("What its probabilities are worth", _calibration(report.calibration)),
        "examples": ("Examples", _examples(report.samples, folder)),
        "missing": ("Records without an answer", _missing(report)),
        "reproduce": ("Run it again", _reproduce(report)),
        "notes": ("Notes", pages.bullets(report.notes)),
    }
    return pages.document(
        report.title,
        style=pieces.style() + pages.resource(__package__, "evaluation.css"),
        header=_headline(report),
        sections=sections,
        footer=f"Made by <code>{escape(report.command)}</code> on {escape(report.created)}.",
        script=pages.resource(__package__, "evaluation.js") if report.samples else "",
    )


def _headline(report: EvaluationReport) -> str:
    named = {condition.name: condition for condition in report.conditions}
    cards = [_card("method" if not k else "", s.name, *_value(s)) for k, s in enumerate(report.scores[:3])]
    cards += [
        _card("", label(name), f"{percent(named[name].accuracy.value)}<small> %</small>", escape(named[name].about))
        for name in _BASELINES
        if name in named
    ]
    facts = {"benchmark": report.benchmark, "split": report.split, "task": report.task, "protocol": report.protocol}
    told = "".join(f"<span>{name}: {escape(value)}</span>" for name, value in facts.items() if value)
    return (
        f'<p class="lead">{_denominators(report.counts)}</p>\n'
        f'<ul class="cards" aria-label="Headline numbers">{"".join(cards)}</ul>\n'
        f'<p class="tags">{told}</p>\n'
    )


def _card(kind: str, name: str, value: str, about: str) -> str:
    return f'<li class="{kind}"><b>{value}</b><span>{escape(name)}</span><i>{about}</i></li>'


def _value(score: Score) -> tuple[str, str]:
    if score.estimate is None:
        return NONE, escape(score.note or "not computed")
    value, _, unit = measured(score.name, score.estimate.value).partition(" ")
    shown = f"{value}<small> {unit}</small>" if unit else value
    return shown, f"95 % interval {interval(score.estimate)}"


def _denominators(counts: Counts) -> str:
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
        rows += _row(score.name, cells, note)
    return _table("Scores with intervals", ["score", "value", "95 % interval", "records", "videos"], rows)


def _counts(report: EvaluationReport) -> str:
    counts = report.counts
    rows = _row("published", [f"{counts.published:,}"]) + _row("right answer hidden", [f"{counts.hidden:,}"])
    rows += _row("in the numbers", [f"{counts.public:,}"])
    rows += _row("of these without an answer, wrong", [f"{counts.unanswered:,}"])
    most = Counter(counts.errors).most_common()
    rows += "".join(_row(f"– {reason}", [f"{number:,}"]) for reason, number in most[:_REASONS])
    if most[_REASONS:]:
        rows += _row(f"– {len(most) - _REASONS} other reasons", [f"{sum(n for _, n in most[_REASONS:]):,}"])
    return _table("What the numbers are of", ["records", "number"], rows)


def _row(name: str, cells: Iterable[str], note: str = "") -> str:
    """A row of text; note: HTML below the name."""
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(name)}{note}</th>{rest}</tr>\n'


def _table(name: str, columns: Iterable[str], rows: str, kind: str = "plain") -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return pages.scroller(
        name, f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>'
    )


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
        _row(
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
        f"{_table('Calibration by bin', ['probability', 'questions', 'mean', 'right'], rows)}</div>\n"
    )


def _examples(samples: Sequence[Shown], folder: Path) -> str:
    if not samples:
        return ""
    first = next((sample for sample in samples if sample.error is None), samples[0])
    rows = "".join(_example(sample, folder, opened=sample is first) for sample in samples)
    return (
        f'{_toolbar(samples)}<div id="browser">\n{rows}'
        '<p class="leaf" hidden><button type="button" id="before">← previous</button>'
        '<span id="at" role="status"></span><button type="button" id="after">next →</button></p>\n</div>\n'
    )


def _toolbar(samples: Sequence[Shown]) -> str:
    """Hidden until the script is there to serve it."""
    verdicts = Counter(sample.verdict for sample in samples)
    kinds = Counter(sample.kind for sample in samples)
    choices = "".join(
        f'<label><input type="radio" name="verdict" value="{value}"{" checked" * (not value)}> {said}'
        f" <small>{number:,}</small></label>"
        for value, said, number in [("", "all", len(samples)), *((v, s, verdicts[v]) for v, s in _SAID.items())]
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


def _example(sample: Shown, folder: Path, *, opened: bool) -> str:
    images = [pieces.inline(frame.image, folder) for frame in sample.frames]
    verdict = sample.verdict
    said = _SAID[verdict]
    if sample.credit is not None and 0 < sample.credit < 1:
        said += f", {100 * sample.credit:.0f} % of the credit"
    frames = ""
    if images:
        frames = "<h4>The frames, and the memory captions each was read as</h4>\n" + pieces.frames(
            sample.frames, images
        )
    return (
        f'<details class="sample {verdict}" data-verdict="{verdict}" data-kind="{escape(sample.kind)}"'
        f'{" open" * opened}>\n<summary><span class="verdict">{said}</span>'
        f'<span class="asked-for">{escape(sample.question) or "a description of the video"}</span>'
        f'<span class="of">{escape(label(sample.kind))}</span></summary>\n'
        f"{_answered(sample)}{frames}\n"
        f'<p class="tags"><span>record {escape(sample.id)}</span><span>video {escape(sample.video)}</span></p>\n'
        "</details>\n"
    )


def _answered(sample: Shown) -> str:
    parts = ""
    if sample.error is not None:
        parts += f'<p class="reason">{escape(sample.error)}</p>\n'
    if sample.options:
        parts += pages.options(sample.options, sample.probabilities, sample.choice, sample.answer) + "\n"
    elif sample.error is None:
        parts += f"<h4>It said</h4>\n<p>{escape(sample.text) or '<i>nothing</i>'}</p>\n"
    if sample.references and not sample.options:
        told = "".join(f"<li>{escape(reference)}</li>" for reference in sample.references)
        parts += f'<h4>What was expected</h4>\n<ul class="references">{told}</ul>\n'
    return parts


def _missing(report: EvaluationReport) -> str:
    if not report.missing:
        return ""
    total = len(report.missing)
    rows = "".join(_row(name, [why]) for name, why in list(report.missing.items())[:LISTED])
    rest = f" The first {LISTED:,} are listed here, all are in report.json." if total > LISTED else ""
    wrong = report.counts.unanswered
    counted = "counted" if wrong == total else f"the {wrong:,} whose right answer is public count as"
    return (
        f"<p>{total:,} record{'s' * (total != 1)} got no answer; {counted} wrong.{rest}</p>\n"
        "<details><summary>which, and why</summary>\n"
        + _table("Records without an answer", ["record", "why"], rows, "plain why")
        + "</details>\n"
    )


def _reproduce(report: EvaluationReport) -> str:
    settings = {key: NONE if value is None else str(value) for key, value in report.settings.items()}
    if report.seconds:
        settings["took"] = duration(report.seconds)
    hashes = f'<h3>Hashes</h3>\n<dl class="hashes">{pages.terms(report.hashes)}</dl>\n' if report.hashes else ""
    seeds = {key: str(value) for key, value in report.seeds.items()}
    return (
        pages.command("The command that made this report", report.command)
        + pieces.facts({"Settings": settings, "Seeds": seeds, "Versions": report.versions})
        + hashes
    )
