"""Words of captions are those that the classic toolkit's program makes of them, where people write as they do."""

from __future__ import annotations

import random

import pytest

from topa.evals import toolkit
from topa.evals.tokenizer_ptb import tokenise

from .toolkit import EVERYDAY, everyday, java_words, needs_java


@needs_java
def test_everyday_captions_are_what_java_makes_of_them() -> None:
    rng = random.Random(1)
    captions = EVERYDAY + [everyday(rng) for _ in range(4000)]
    rows = zip(captions, java_words(captions), tokenise(captions), strict=True)
    assert [row for row in rows if row[1] != row[2]] == []


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("", ""),
        (" . ", ""),
        ("A man is playing, a guitar.", "a man is playing a guitar"),
        ("a man in a t-shirt (blue) can't sing", "a man in a t-shirt -lrb- blue -rrb- ca n't sing"),
        ("they cannot see the dog's ball.", "they can not see the dog 's ball"),
        ("Mr. Smith at 5 p.m. etc.", "mr. smith at 5 p.m. etc."),
        ("No. 5 said no.", "no. 5 said no"),
        ("Two dogs\nrun\u2028away\r\nfast", "two dogs run away fast"),
        ("Stra\u00dfe \u6771\u4eac", "stra\u00dfe \u6771\u4eac"),
        ("don\u2019t \u201csay\u201d \u2026 that\u2014ever", "do n't say that ever"),
    ],
)
def test_words_without_java(caption: str, words: str) -> None:
    assert tokenise([caption]) == [words]


def test_without_java_the_program_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkit.shutil, "which", lambda _: None)
    assert "needs Java" in toolkit.words(["a"])
