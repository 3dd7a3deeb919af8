"""The data card: what a set of Tideos holds, as numbers, as Markdown and as one HTML page without network or script.

Reads Tideos; describes them as they are, and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..core.artifacts import output_folder, write_atomically
from .quality import Leakage, clean, leakage, letters, texts, words
from .tideo import Tideo

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
body { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: 11rem 1fr 6rem; gap: .3rem 1rem; align-items: center; }
dd { margin: 0; } dd + dd { text-align: right; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: 1rem; } rect { fill: #0f766e; }
"""


class Card(BaseModel):
    """What there is. frames, kinds, letters: how many Tideos have so many frames, how many questions are of a kind,
    how often a letter is right. vocabulary: different words for each kind of seed. dropped: what `clean` would leave
    out, by reason, duplicates among it. examples: the first Tideos, whole."""

    model_config = ConfigDict(frozen=True)

    title: str
    tideos: int
    questions: int
    captions: int
    frames: dict[str, int]
    kinds: dict[str, int]
    letters: dict[str, int]
    seeds: dict[str, int]
    vocabulary: dict[str, int]
    dropped: dict[str, dict[str, Any]]
    leakage: Leakage
    examples: tuple[Tideo, ...]


def describe(tideos: Sequence[Tideo], title: str, examples: int = 3) -> Card:
    """The card of a set. Raises UsageError where datasketch, for near duplicates, isn't installed."""
    vocabulary: dict[str, set[str]] = {}
    seeds: Counter[str] = Counter()
    for tideo in tideos:
        kind = str(tideo.source.get("kind", "unknown"))
        seeds[kind] += 1
        vocabulary.setdefault(kind, set()).update(word for text in texts(tideo) for word in words(text))
    questions = [question for tideo in tideos for question in tideo.questions]
    frames = Counter(len(tideo.frames) for tideo in tideos)
    return Card(
        title=title,
        tideos=len(tideos),
        questions=len(questions),
        captions=sum(1 + len(frame.objects) for tideo in tideos for frame in tideo.frames),
        frames={str(number): frames[number] for number in sorted(frames)},
        kinds=dict(Counter(question.kind for question in questions).most_common()),
        letters=letters(tideos),
        seeds=dict(seeds.most_common()),
        vocabulary={kind: len(vocabulary[kind]) for kind, _ in seeds.most_common()},
        dropped=clean(tideos, 0).report.dropped,
        leakage=leakage(tideos),
        examples=tuple(tideos[:examples]),
    )


def write_card(card: Card, out: Path) -> None:
    """`card.json`, `card.md` and `card.html`. Raises OutputError where the folder can't be written."""
    output_folder(out)
    write_atomically(out / "card.json", card.model_dump_json(indent=1) + "\n")
    write_atomically(out / "card.md", markdown(card))
    write_atomically(out / "card.html", page(card))


def markdown(card: Card) -> str:
    """The card for a repository: a table for each histogram."""
    parts = [f"# {_plain(card.title)}\n\n{_summary(card)}\n\n{_blind(card)}\n"]
    for heading, counts in _histograms(card).items():
        rows = "".join(f"| {_plain(name)} | {number:,} |\n" for name, number in counts.items())
        parts.append(f"## {heading}\n\n| | |\n|---|---:|\n{rows or '| none | 0 |' + chr(10)}")
    told = "".join(f"- **{_plain(t.id)}**: {_plain(t.description)}\n" for t in card.examples)
    parts.append(f"## Examples\n\n{told}")
    return "\n".join(parts)


def page(card: Card) -> str:
    """The card as one HTML page; all texts of the data are escaped."""
    plots = "".join(f"<h2>{heading}</h2>\n{_plot(counts)}" for heading, counts in _histograms(card).items())
    told = "".join(_example(tideo) for tideo in card.examples)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(card.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(card.title)}</h1>\n"
        f"<p>{_summary(card)}</p>\n<p>{_blind(card)}</p>\n{plots}<h2>Examples</h2>\n{told}</body>\n</html>\n"
    )


def _histograms(card: Card) -> Mapping[str, Mapping[str, int]]:
    return {
        "Frames per Tideo": card.frames,
        "Kinds of question": card.kinds,
        "Letters of right answers": card.letters,
        "Tideos by kind of seed": card.seeds,
        "Different words by kind of seed": card.vocabulary,
        "Duplicates and faults": {reason: found["count"] for reason, found in card.dropped.items()},
    }


def _summary(card: Card) -> str:
    return f"{card.tideos:,} Tideos, {card.captions:,} captions, {card.questions:,} questions."


def _blind(card: Card) -> str:
    told = card.leakage
    return (
        f"Without a video, of {told.questions:,} questions with options: the longest option is right in "
        f"{told.longest:.1%}, the one most like the question in {told.overlap:.1%}, a guess in {told.chance:.1%}."
    )


def _plot(counts: Mapping[str, int]) -> str:
    if not counts:
        return "<p>none</p>\n"
    most = max(counts.values())
    rows = "".join(
        f'<dt>{escape(name)}</dt><dd><svg aria-hidden="true"><rect width="{100 * number / most:.2f}%" height="100%"/>'
        f"</svg></dd><dd>{number:,}</dd>\n"
        for name, number in counts.items()
    )
    return f"<dl>\n{rows}</dl>\n"


def _example(tideo: Tideo) -> str:
    frames = "".join(f"<li>{escape('; '.join((f.caption, *f.objects)))}</li>" for f in tideo.frames)
    asked = "".join(f"<li>{escape(q.question)} <b>{escape(q.right or '')}</b></li>" for q in tideo.questions)
    return f"<h3>{escape(tideo.id)}</h3>\n<p>{escape(tideo.description)}</p>\n<ol>{frames}</ol>\n<ul>{asked}</ul>\n"


def _plain(text: str) -> str:
    """One line that Markdown takes for words."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
