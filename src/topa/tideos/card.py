"""The data card: statistics of a set of Tideos as JSON, as Markdown and as one self-contained HTML page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..core.artifacts import output_folder, write_atomically
from .quality import Cleaner, Leakage, LeakageCounter, letters, texts, words
from .tideo import Tideo

FILES = ("card.json", "card.md", "card.html")
"""The files that `write_card` writes."""
_OPENINGS = 12  # most frequent beginnings of questions to list
_OPENING = 40  # characters of a question to look for its first two words in
_KINDS_HEADING = "What the prompt's own kinds of question mean"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
body { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 4fr) 4rem; gap: .3rem 1rem; align-items: center; }
dd { margin: 0; } dd + dd { text-align: right; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: 1rem; } rect { fill: #0f766e; }
"""


class DataCard(BaseModel):
    """The statistics of a set.

    frames: number of Tideos by number of frames. kinds, openings, letters: number of questions by kind, by first two
    words, by letter of the right answer. seeds, vocabulary: number of Tideos, and of distinct words, by kind of seed,
    or by writer without seeds. kind_descriptions: meaning of the kinds of question that a user's prompt declared.
    dropped: Tideos left out, by reason, including duplicates. refused: unusable replies, by reason. cost: tokens and
    money, if there is a ledger. examples: the first Tideos.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    tideos: int
    questions: int
    captions: int
    frames: dict[str, int]
    kinds: dict[str, int]
    kind_descriptions: dict[str, str] = {}
    openings: dict[str, int]
    letters: dict[str, int]
    seeds: dict[str, int]
    vocabulary: dict[str, int]
    dropped: dict[str, dict[str, Any]]
    refused: dict[str, int] = {}
    cost: dict[str, float] | None = None
    leakage: Leakage
    examples: tuple[Tideo, ...]


class CardBuilder:
    """Build the card of a stream of Tideos, keeping only the examples."""

    def __init__(self, examples: int = 3) -> None:
        self._max_examples = examples
        self._examples: list[Tideo] = []
        self._questions = self._captions = 0
        self._frames, self._kinds, self._openings = Counter[int](), Counter[str](), Counter[str]()
        self._letters, self._seeds = Counter[str](), Counter[str]()
        self._vocabulary: dict[str, set[str]] = {}

    def add(self, tideo: Tideo, tideo_words: Iterable[str]) -> None:
        """Count one Tideo. tideo_words: the words of its texts."""
        kind = str(tideo.source.get("seed_kind") or tideo.source.get("writer") or "unknown")
        self._seeds[kind] += 1
        self._vocabulary.setdefault(kind, set()).update(tideo_words)
        self._frames[len(tideo.frames)] += 1
        self._captions += sum(1 + len(frame.objects) for frame in tideo.frames)
        for question in tideo.questions:
            self._questions += 1
            self._kinds[question.kind] += 1
            self._openings[" ".join(words(question.question[:_OPENING])[:2])] += 1
        self._letters.update(letters(tideo))
        if len(self._examples) < self._max_examples:
            self._examples.append(tideo)

    def card(
        self,
        title: str,
        dropped: Mapping[str, Mapping[str, Any]],
        leakage: Leakage,
        refused: Mapping[str, int] | None = None,
        cost: Mapping[str, float] | None = None,
        kind_descriptions: Mapping[str, str] | None = None,
    ) -> DataCard:
        """Return the card of all added Tideos. Declared kinds are listed even if no question is of them."""
        descriptions = kind_descriptions or {}
        return DataCard(
            title=title,
            tideos=self._seeds.total(),
            questions=self._questions,
            captions=self._captions,
            frames={str(number): self._frames[number] for number in sorted(self._frames)},
            kinds={**dict(self._kinds.most_common()), **{kind: self._kinds[kind] for kind in descriptions}},
            kind_descriptions=dict(descriptions),
            openings=dict(self._openings.most_common(_OPENINGS)),
            letters=dict(sorted(self._letters.items())),
            seeds=dict(self._seeds.most_common()),
            vocabulary={kind: len(self._vocabulary[kind]) for kind, _ in self._seeds.most_common()},
            dropped={reason: dict(entry) for reason, entry in dropped.items()},
            refused=dict(refused or {}),
            cost=None if cost is None else dict(cost),
            leakage=leakage,
            examples=tuple(self._examples),
        )


def describe(tideos: Iterable[Tideo], title: str) -> DataCard:
    """Return the card of an existing set; `dropped` is what `Cleaner` would leave out.

    Raises UsageError if rensa, which finds near duplicates, isn't installed.
    """
    describer, cleaner, leaks = CardBuilder(), Cleaner(0), LeakageCounter()

    def read() -> Iterator[Tideo]:
        for tideo in tideos:
            describer.add(tideo, words(" ".join(texts(tideo))))
            leaks.add(tideo)
            yield tideo

    for _ in cleaner(read()):
        pass
    return describer.card(title, cleaner.report.dropped, leaks.shares)


def write_card(card: DataCard, out: Path) -> None:
    """Write `card.json`, `card.md` and `card.html`. Raises OutputError if the folder can't be written."""
    output_folder(out, *FILES)
    write_atomically(out / "card.json", card.model_dump_json(indent=1) + "\n")
    write_atomically(out / "card.md", markdown(card))
    write_atomically(out / "card.html", page(card))


def markdown(card: DataCard) -> str:
    """Format the card as Markdown, with a table for each histogram."""
    parts = [f"# {_plain(card.title)}\n\n{_summary(card)}\n\n{_blind(card)}\n"]
    for heading, counts in _histograms(card).items():
        rows = "".join(f"| {_plain(name)} | {number:,} |\n" for name, number in counts.items())
        parts.append(f"## {heading}\n\n| | |\n|---|---:|\n{rows or '| none | 0 |' + chr(10)}")
    if card.kind_descriptions:
        meanings = "".join(
            f"- **{_plain(kind)}**: {_plain(about or '-')}\n" for kind, about in card.kind_descriptions.items()
        )
        parts.append(f"## {_KINDS_HEADING}\n\n{meanings}")
    examples = "".join(f"- **{_plain(t.id)}**: {_plain(t.description)}\n" for t in card.examples)
    parts.append(f"## Examples\n\n{examples}")
    return "\n".join(parts)


def page(card: DataCard) -> str:
    """Format the card as one HTML page. All data are escaped."""
    plots = "".join(f"<h2>{heading}</h2>\n{_plot(counts)}" for heading, counts in _histograms(card).items())
    examples = "".join(_example(tideo) for tideo in card.examples)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(card.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(card.title)}</h1>\n"
        f"<p>{_summary(card)}</p>\n<p>{_blind(card)}</p>\n{plots}{_meanings(card)}<h2>Examples</h2>\n{examples}</body>\n</html>\n"
    )


def _histograms(card: DataCard) -> Mapping[str, Mapping[str, int]]:
    return {
        "Frames per Tideo": card.frames,
        "Kinds of question": card.kinds,
        "How questions begin": card.openings,
        "Letters of right answers": card.letters,
        "Tideos by kind of seed": card.seeds,
        "Different words by kind of seed": card.vocabulary,
        "Duplicates and faults": {reason: entry["count"] for reason, entry in card.dropped.items()},
        "Replies that could not be used": card.refused,
    }


def _summary(card: DataCard) -> str:
    cost = card.cost or {}
    tokens = f" Written with {cost['tokens_in']:,.0f} tokens read, {cost['tokens_out']:,.0f} written" if cost else ""
    money = f", for {cost['cost']:,.4f}" if cost.get("cost") else ""
    end = "." if tokens else ""
    return f"{card.tideos:,} Tideos, {card.captions:,} captions, {card.questions:,} questions.{tokens}{money}{end}"


def _blind(card: DataCard) -> str:
    leakage = card.leakage
    return (
        f"Without a video, of {leakage.questions:,} questions with options: the longest option is right in "
        f"{leakage.longest:.1%}, the one most like the question in {leakage.overlap:.1%}, a guess in "
        f"{leakage.chance:.1%}."
    )


def _meanings(card: DataCard) -> str:
    if not card.kind_descriptions:
        return ""
    rows = "".join(f"<li><b>{escape(kind)}</b> {escape(about)}</li>" for kind, about in card.kind_descriptions.items())
    return f"<h2>{_KINDS_HEADING}</h2>\n<ul>{rows}</ul>\n"


def _plot(counts: Mapping[str, int]) -> str:
    if not counts:
        return "<p>none</p>\n"
    largest = max(counts.values())
    rows = "".join(
        f'<dt>{escape(name)}</dt><dd><svg aria-hidden="true"><rect width="{100 * number / largest:.2f}%" '
        f'height="100%"/></svg></dd><dd>{number:,}</dd>\n'
        for name, number in counts.items()
    )
    return f"<dl>\n{rows}</dl>\n"


def _example(tideo: Tideo) -> str:
    frames = "".join(f"<li>{escape('; '.join((f.caption, *f.objects)))}</li>" for f in tideo.frames)
    questions = "".join(f"<li>{escape(q.question)} <b>{escape(q.right or '')}</b></li>" for q in tideo.questions)
    return f"<h3>{escape(tideo.id)}</h3>\n<p>{escape(tideo.description)}</p>\n<ol>{frames}</ol>\n<ul>{questions}</ul>\n"


def _plain(text: str) -> str:
    """Escape a text for Markdown, on one line."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
