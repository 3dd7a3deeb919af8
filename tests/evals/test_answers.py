"""Answers in words: equal ones after normalisation, and like ones by the real WordNet."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.core.errors import InputError
from topa.evals import wordnet as module
from topa.evals.answers import exact_match, normalised, wups
from topa.evals.wordnet import FOLDER, Meaning, WordNet, open_wordnet

needs_wordnet = pytest.mark.skipif(
    not (FOLDER / "data.noun").is_file(),
    reason=f"{FOLDER}/data.noun is not there: apt-get install wordnet-base, to read the real files",
)


@pytest.fixture(scope="module")
def wordnet() -> WordNet:
    found = open_wordnet()
    assert isinstance(found, WordNet)
    return found


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A dog.", "dog"),
        ("the  Dog's\tball", "dogs ball"),
        ("the dog’s ball", "dogs ball"),
        ("Two dogs, one cat", "2 dogs 1 cat"),
        ("1.5 metres", "1.5 metres"),
        ("1,000", "1,000"),
        ("t-shirt/jeans_x", "t shirt jeans x"),
        ("ＡＢＣ", "abc"),
        ("an the a", ""),
        ("eleven", "eleven"),
        ("café", "café"),
    ],
)
def test_normalised(answer, expected):
    assert normalised(answer) == expected


def test_exact_match():
    assert exact_match("The dog!", ["cat", "dog"]) == 1.0
    assert exact_match("two", ["2"]) == 1.0
    assert exact_match("dogs", ["dog"]) == 0.0
    assert exact_match("", ["the"]) == exact_match("", [""]) == exact_match("dog", []) == 0.0


@needs_wordnet
def test_base_forms(wordnet):
    words = ["geese", "children", "boxes", "running", "hurried", "plays", "wolves", "babies", "qwzx"]
    assert [wordnet.lemma(word) for word in words] == [
        "goose", "child", "box", "run", "hurry", "play", "wolf", "baby", "qwzx",
    ]  # fmt: skip


@needs_wordnet
def test_first_meanings_are_those_of_the_files(wordnet):
    assert wordnet.first("dog") == Meaning("n", 2084071)
    assert wordnet.first("dogs") == Meaning("n", 2084071)
    assert wordnet.first("hurry").kind == "n"
    assert wordnet.first("eat").kind == "v"
    assert wordnet.first("qwzx") is None


@needs_wordnet
@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # carnivore (depth 12 from 1) is 2 steps above both: canine, feline.
        ("dog", "cat", 2 * 12 / (2 * 12 + 2 + 2)),
        # canine (13) is right above both.
        ("dog", "wolf", 2 * 13 / (2 * 13 + 1 + 1)),
        # Of different kinds of words: the top that isn't in WordNet, 1 from 1. eat is at the top of its own.
        ("quickly", "eat", 2 * 1 / (2 * 1 + 1 + 2)),
        # Adjectives have nothing above them but that top, one step up.
        ("happy", "enormous", 2 * 1 / (2 * 1 + 1 + 1)),
    ],
)
def test_likenesses_by_hand(wordnet, one, other, expected):
    first, second = wordnet.first(one), wordnet.first(other)
    assert wordnet.likeness(first, second) == pytest.approx(expected)
    assert wordnet.likeness(second, first) == pytest.approx(expected)


@needs_wordnet
def test_wups_by_hand(wordnet):
    cat, wolf = 24 / 28, 26 / 28

    def score(said, right, threshold=0.9, kind=""):
        return wups(said, [right] if isinstance(right, str) else right, wordnet, threshold=threshold, kind=kind)

    assert score("a dog", "the dogs") == 1
    assert score("dog", "cat", 0) == pytest.approx(cat)
    assert score("dog", "cat") == pytest.approx(0.1 * cat)
    assert score("dog", "wolf") == pytest.approx(wolf)
    # Both of two words count, and the worse direction.
    assert score("dog ball", "wolf ball") == pytest.approx(wolf)
    assert score("dog", "dog cat", 0) == pytest.approx(cat)
    assert score("dog", ["cat", "wolf"]) == pytest.approx(wolf)
    # Words that say little count for nothing.
    assert score("he is playing with the guitar", "play guitar") == 1
    assert score("qwzx", "dog", 0) == score("", "dog") == score("the", "dog") == 0
    # A word that is like none of the others is left out, as in the data set's script.
    assert score("dog qwzx", "dog", 0) == 1
    for kind in ("DC", "DB"):
        assert score("dog", "wolf", kind=kind) == 0
        assert score("two", "2", kind=kind) == 1


def test_without_wordnet_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("TOPA_WORDNET", str(tmp_path))
    module.open_wordnet.cache_clear()
    try:
        assert "install Debian's wordnet-base" in open_wordnet()
        module.open_wordnet.cache_clear()
        (tmp_path / "data.noun").write_text("what is this\n")
        with pytest.raises(InputError, match="files for noun can't be read"):
            open_wordnet()
    finally:
        module.open_wordnet.cache_clear()


def test_damaged_files_are_named(tmp_path: Path):
    (tmp_path / "index.noun").write_text("dog n x\n")
    with pytest.raises(InputError, match="for noun"):
        WordNet(tmp_path)
