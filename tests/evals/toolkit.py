"""The classic caption toolkit, to ask what it says; and captions to ask it about."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence

import pytest

from topa.evals.toolkit import words

needs_java = pytest.mark.skipif(
    shutil.which("java") is None,
    reason="Java isn't here: apt-get install default-jre-headless, to ask the classic toolkit",
)

EVERYDAY = [
    "a man is playing a guitar", "A man's dog runs.", "two dogs don't stop", "They can't see", "he cannot swim",
    "it's a well-known actor", "a t-shirt (blue) on a table", "Mr. Smith and Mrs. Jones", "at 5 p.m. a girl sings",
    "in the U.S. people vote", 'a person says "hello" to me', "someone's gonna fall", "3 people and 10 dogs",
    "1,000 birds fly", "at 10:30 he eats", "a 1/2 cup of milk", "a 16-year-old boy", "the 1980s", "the 3rd man",
    "black and white", "rock & roll", "R&B singer", "AT&T ad", "and/or maybe", "a man... then a woman",
    "a man - a woman", "a man -- a woman", "what is it?", "look!", "a; b: c", "he said 'hi' to her",
    "it is 6 o'clock", "I'm here, you're there", "we've won", "they'll go", "he'd go",
    "nobody isn't won't shouldn't", "women's rights", "dogs' toys", "o'brien runs", "50% off", "$5 bill", "#1 fan",
    "5ft tall", "2x4 wood", "a.m. news", "etc.", "and so on etc.", "vs. them", "v. them", "dr. who", "st. louis",
    "no. 5", "the end.", "a b c", "e.g. this", "i.e. that", "U.S.A. team", "a man in a  red   shirt", "hello,world",
    "end.Start", "3.5 stars", "-5 degrees", "a @ b", "50 cents", "café naïve", "don’t stop", "“quoted” text", "a—b",
    "a–b", "x-ray of an arm", "mother-in-law", "up-to-date info", "the '90s", "90's music", "'cause why", "'em all",
    "y'all come", "ma'am no", "gotta go", "wanna dance", "gimme that", "lemme in", "1st place", "4k video",
    "mp3 player", "h2o", "iPhone 6s", "minecraft: xbox edition", "a man/woman", "he/she runs", "w/ friends",
    "100,000", "12:30pm", "5pm", "jan. 5", "inc. co.", "a co. owner", "a (b) c", "[x] y", "{z}", "a * b",
    "a + b = c", "~ a", "50-50", "24/7", "a, b, and c.", "an a", "letter a.", "group b.", "vitamin c.", "part 2.",
    "no.", "yes!!", "what?!", "hmm...", "....", "a . b .", "the dog 's ball", "do n't",
]  # fmt: skip
"""Captions as people write them, with what a tokeniser can get wrong in them."""
_WORDS = [
    "man",
    "woman",
    "dog",
    "cat",
    "boy",
    "girl",
    "people",
    "person",
    "guitar",
    "car",
    "ball",
    "kitchen",
    "street",
    "stage",
    "video",
    "game",
    "cartoon",
    "red",
    "blue",
    "small",
    "big",
    "two",
    "three",
    "running",
    "playing",
    "singing",
    "cooking",
    "talking",
    "driving",
    "a",
    "the",
    "an",
    "is",
    "are",
    "in",
    "on",
    "with",
    "of",
    "and",
    "to",
    "it's",
    "don't",
    "can't",
    "cannot",
    "he's",
    "they're",
    "someone's",
    "t-shirt",
    "well-known",
    "close-up",
    "3",
    "10",
    "1990s",
    "2nd",
    "5",
    "mr.",
    "u.s.",
    "news,",
    "tv.",
    "show.",
    "(funny)",
    "black-and-white",
    "o'clock",
    "and/or",
    "1,000",
    "10:30",
    "'90s",
]


def everyday(rng: random.Random) -> str:
    """An invented caption."""
    return " ".join(rng.choices(_WORDS, k=rng.randint(1, 14))) + rng.choice(("", ".", "!", " ."))


def java_words(captions: Sequence[str]) -> list[str]:
    """What the toolkit makes of captions, by Java."""
    found = words(captions)
    assert isinstance(found, list), found
    return found
