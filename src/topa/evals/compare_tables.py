"""The verb `compare`: a comparison of two evaluations as text, for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.artifacts import output_folder, write_atomically
from ..core.printable import Printout
from .compare import Comparison, Flip, PairedScores, compare
from .formatting import NONE, interval, letter, markdown_line, percent, points, verdict
from .verbs import CompareConfig

_SCORES = ("", "A", "95 %", "B", "95 %", "A − B", "95 %", "A is", "p")
_LEVEL = 0.05
_FLIPS = ("record", "type", "right answer", "A said", "B said", "right")


def run(config: CompareConfig) -> Printout[Comparison]:
    """Compare two evaluations, and write it down where `out` names a folder. Raises as `compare.compare` does."""
    if config.out is not None:
        output_folder(config.out, "comparison.json", "comparison.md")
    found = compare(config.a, config.b, seed=config.seed)
    text = [comparison_table(found, config.flips)]
    if config.out is not None:
        write_atomically(config.out / "comparison.json", found.model_dump_json(indent=1) + "\n")
        write_atomically(config.out / "comparison.md", comparison_markdown(found))
        text.append(f"comparison: {config.out / 'comparison.md'}")
    return Printout(found, text)


def comparison_table(found: Comparison, flips: int = 10) -> RenderableType:
    """The numbers and the first `flips` records that only one answered right, for the terminal."""
    parts: list[RenderableType] = [Text(line) for line in _heading(found)]
    parts.append(_table(_SCORES, list(_scores(found)), right=True))
    if test := found.overall.mcnemar:
        parts.append(
            Text(f"both right {test.both:,}, only A {test.only_a:,}, only B {test.only_b:,}, neither {test.neither:,}")
        )
    if found.flips and flips:
        parts.append(Text(f"answered right by one only, {min(flips, len(found.flips)):,} of {len(found.flips):,}:"))
        parts.append(_table(_FLIPS, [_flip(flip) for flip in found.flips[:flips]]))
    return Group(*parts)


def comparison_markdown(found: Comparison) -> str:
    """The same with all flips."""
    lines = [f"# {found.benchmark}, {found.split}", "", *(f"- {line}" for line in _heading(found)), ""]
    lines += [markdown_line(("of", *_SCORES[1:])), markdown_line(["---", *["---:"] * (len(_SCORES) - 1)])]
    lines += [markdown_line(row) for row in _scores(found)]
    if test := found.overall.mcnemar:
        lines += ["", markdown_line(("", "B right", "B wrong")), "|---|---:|---:|"]
        lines.append(markdown_line(("A right", f"{test.both:,}", f"{test.only_a:,}")))
        lines.append(markdown_line(("A wrong", f"{test.only_b:,}", f"{test.neither:,}")))
    if found.flips:
        lines += ["", f"## Answered right by one only ({len(found.flips):,})", "", markdown_line(_FLIPS)]
        lines += ["|---|---|---|---|---|---|", *(markdown_line(_flip(flip)) for flip in found.flips)]
    return "\n".join(lines) + "\n"


def _heading(found: Comparison) -> list[str]:
    of = found.overall.a
    told = f"{found.metric} of {of.questions:,} records about {of.groups:,} videos"
    hidden = f", {found.hidden:,} hidden (in no number)" if found.hidden else ""
    test = "; p: McNemar's exact test" if found.overall.mcnemar else ""
    return [f"A: {found.a}", f"B: {found.b}", f"{told}{hidden}; intervals: bootstrap over videos, paired{test}"]


def _scores(found: Comparison) -> Iterator[tuple[str, ...]]:
    for name, one in {"all": found.overall, **found.kinds}.items():
        yield (
            name, percent(one.a.value), interval(one.a), percent(one.b.value), interval(one.b),
            points(one.difference.value), f"{points(one.difference.low)} to {points(one.difference.high)}",
            _judged(one), _probability(one),
        )  # fmt: skip


def _judged(one: PairedScores) -> str:
    """Better or worse where both tests say so: a few records that differ can please the bootstrap alone."""
    unclear = one.mcnemar is not None and one.mcnemar.p >= _LEVEL
    return "not clear" if unclear else verdict(one.difference)


def _probability(one: PairedScores) -> str:
    return NONE if one.mcnemar is None else "<0.0001" if one.mcnemar.p < 1e-4 else f"{one.mcnemar.p:.4f}"


def _flip(flip: Flip) -> tuple[str, ...]:
    def said(choice: int | None, text: str, error: str | None) -> str:
        if error is not None:
            return f"nothing: {error}"
        return text if choice is None else f"{letter(choice)}: {text}"

    right = flip.right if flip.answer is None else f"{letter(flip.answer)}: {flip.right}"
    ours, theirs = said(flip.choice_a, flip.text_a, flip.error_a), said(flip.choice_b, flip.text_b, flip.error_b)
    return flip.id, flip.kind, right, ours, theirs, flip.by


def _table(headings: Sequence[str], rows: Sequence[tuple[str, ...]], *, right: bool = False) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for place, heading in enumerate(headings):
        made.add_column(Text(heading), justify="right" if right and place else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))  # answers may hold what rich takes for markup
    return made
