"""The card says what the data hold, and shows texts of others as texts."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from topa.tideos.card import DataCard, describe, markdown, page
from topa.tideos.jsonl import write_jsonl
from topa.tideos.tideo import Question, TextFrame, Tideo

HOSTILE = "<script>alert(1)</script> | **x**"


def tideo(name: str, frames: int, **source: str) -> Tideo:
    text_frames = tuple(TextFrame(caption=f"{name} does thing {i}", objects=("a hat",)) for i in range(frames))
    questions = (
        Question(question="who ?", kind="person", options=("a", "bb", "c"), answer=1),
        Question(question=HOSTILE, answer_text="because"),
    )
    return Tideo(id=name, frames=text_frames, description=f"{name} is {HOSTILE}", questions=questions, source=source)


SET = (tideo("ann", 2, seed_kind="ego4d"), tideo("bob", 3, seed_kind="ego4d"), tideo("eve", 3), tideo("eve", 3))


def test_what_the_card_counts():
    card = describe(SET, "people")
    assert (card.tideos, card.questions, card.captions) == (4, 8, 22)
    assert card.frames == {"2": 1, "3": 3}
    assert card.kinds == {"person": 4, "other": 4}
    assert card.openings == {"who": 4, "script alert": 4}
    assert card.letters == {"B": 4}
    assert card.seeds == {"ego4d": 2, "unknown": 2}
    # The names, and: is script alert 1 x does thing 0 2 a hat
    assert card.vocabulary == {"ego4d": 2 + 11, "unknown": 1 + 11}
    assert card.dropped == {"its id came before": {"count": 1, "examples": ["eve"]}}
    assert (card.leakage.questions, card.leakage.longest) == (4, 1)
    assert describe((), "nothing").tideos == 0


def test_texts_of_others_stay_texts():
    html_page = page(describe(SET, HOSTILE))
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)
    parser.feed(html_page)
    assert "script" not in tags
    assert {"svg", "rect"} <= set(tags)
    assert not re.search(r"(src|href)=|https?:", html_page)
    text = markdown(describe(SET, HOSTILE))
    assert "<script" not in text.replace("\\<script", "")
    assert markdown(describe((), "nothing")).count("| none | 0 |") == 8


def test_the_verb(topa, tmp_path):
    write_jsonl(SET, tmp_path / "people.jsonl")
    result = topa("card", tmp_path / "people.jsonl", "--out", tmp_path / "out")
    assert (result.code, result.out) == (0, f"card: {tmp_path / 'out' / 'card.html'} (4 Tideos)\n")
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["card.html", "card.json", "card.md"]
    output = topa("card", tmp_path / "people.jsonl", "--out", tmp_path / "out", "--json").out
    assert DataCard.model_validate(json.loads(output)) == describe(SET, "people")
