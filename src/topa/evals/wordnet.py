"""WordNet's own files, read as far as likenesses of words need them: base forms, first meanings, and what is above one.

Debian's `wordnet-base` puts them into /usr/share/wordnet; TOPA_WORDNET names another folder. Python's libraries for
WordNet download theirs, or want files that this package doesn't have.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..core.errors import InputError

FOLDER = Path("/usr/share/wordnet")
_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_ENDINGS = {
    "n": (("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
          ("men", "man"), ("ies", "y")),
    "v": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}  # fmt: skip
_ROOT = -1  # above all meanings but nouns, which have one of their own


class Meaning(NamedTuple):
    """A set of synonyms. kind: n, v, a or r; place: where it begins in the file of that kind, in bytes."""

    kind: str
    place: int


class WordNet:
    """The files of a folder. Raises InputError where one is missing or isn't WordNet's."""

    def __init__(self, folder: Path) -> None:
        self._first: dict[str, dict[str, int]] = {}
        self._exceptions: dict[str, dict[str, list[str]]] = {}
        self._data: dict[str, bytes] = {}
        for kind, name in _FILES.items():
            try:
                self._first[kind] = dict(map(_first_place, _lines(folder / f"index.{name}")))
                exceptions = map(str.split, (folder / f"{name}.exc").read_text(encoding="utf-8").splitlines())
                self._exceptions[kind] = {word: forms for word, *forms in exceptions if forms}
                self._data[kind] = (folder / f"data.{name}").read_bytes()
            except (OSError, ValueError, IndexError) as error:
                raise InputError(
                    f"{folder}: WordNet's files for {name} can't be read ({error}). Expected index, data and exc files "
                    "as they are published. Install wordnet-base, or name another folder in TOPA_WORDNET."
                ) from error
        self._entry: Callable[[Meaning], tuple[str, tuple[int, ...]]] = cache(self._read)
        self._depths: Callable[[Meaning], tuple[int, int]] = cache(self._measure)

    def forms(self, word: str, kind: str) -> list[str]:
        """What a word may be a form of, itself first where WordNet has it; nothing where it has none of them."""
        if word in self._exceptions[kind]:
            made = self._exceptions[kind][word]
        else:
            made = [word.removesuffix(old) + new for old, new in _ENDINGS[kind] if word.endswith(old)]
        return [form for form in dict.fromkeys([word, *made]) if form in self._first[kind]]

    def lemma(self, word: str) -> str:
        """A word's base form: as a verb where it ends in "ing" or "ed", else as a noun; as what else it can be; itself.

        There is no tagger: a word's place in its sentence isn't looked at.
        """
        for kind in "vnar" if word.endswith(("ing", "ed")) else "nvar":
            if found := self.forms(word, kind):
                return min(found, key=len)
        return word

    def first(self, word: str) -> Meaning | None:
        """The first meaning: as a noun before that as a verb, an adjective, an adverb."""
        for kind in _FILES:
            for form in self.forms(word, kind):
                return Meaning(kind, self._first[kind][form])
        return None

    def likeness(self, one: Meaning, other: Meaning) -> float:
        """Wu and Palmer's: how deep lies what both are, beside how far they are below it; above 0, to 1.

        Of several that both are, the one counts whose shortest way to the top is the longest, with its longest way for
        the depth. All but nouns share a top that WordNet doesn't have.
        Source: Wu and Palmer (1994), "Verb semantics and lexical selection"; the choices are NLTK's.
        """
        nouns = one.kind == other.kind == "n"
        ours, theirs = self._above(one, nouns), self._above(other, nouns)
        shared = {place for place in ours if place == _ROOT or (one.kind == other.kind and place in theirs)}
        if not shared:
            return 0.0

        def order(place: int) -> tuple[int, bool, str]:
            if place == _ROOT:
                return 0, True, "*ROOT*"
            meaning = Meaning(one.kind, place)
            return -self._depths(meaning)[0], meaning != one, self._entry(meaning)[0]

        place = min(shared, key=order)
        if place == _ROOT:
            return 2 / (ours[place] + theirs[place] + 2)
        both = Meaning(one.kind, place)
        depth, above = self._depths(both)[1] + 1, self._above(both, nouns)
        # The shortest way may lead over what is above both.
        apart = sum(min(way[up] + above[up] for up in above if up in way) for way in (ours, theirs))
        return 2 * depth / (apart + 2 * depth)

    def _above(self, meaning: Meaning, nouns: bool) -> dict[int, int]:
        """What a meaning is, itself and everything above it, with the steps to each."""
        found, front, steps = {meaning.place: 0}, [meaning.place], 0
        while front:
            steps += 1
            above = [up for place in front for up in self._entry(Meaning(meaning.kind, place))[1]]
            front = [up for up in dict.fromkeys(above) if up not in found]
            found |= dict.fromkeys(front, steps)
        return found if nouns else found | {_ROOT: max(found.values()) + 1}

    def _measure(self, meaning: Meaning) -> tuple[int, int]:
        """The steps to the top: the shortest way, and the longest."""
        ups = [self._depths(Meaning(meaning.kind, up)) for up in self._entry(meaning)[1]]
        return (1 + min(low for low, _ in ups), 1 + max(high for _, high in ups)) if ups else (0, 0)

    def _read(self, meaning: Meaning) -> tuple[str, tuple[int, ...]]:
        """The first synonym, and the places of what is right above."""
        data = self._data[meaning.kind]
        fields = data[meaning.place : data.index(b"\n", meaning.place)].decode().split(" ")
        words = int(fields[3], 16)
        pointers = fields[5 + 2 * words :][: 4 * int(fields[4 + 2 * words])]
        ups = [int(place) for sign, place in zip(pointers[::4], pointers[1::4], strict=True) if sign in ("@", "@i")]
        return fields[4].lower(), tuple(ups)


@cache
def open_wordnet() -> WordNet | str:
    """WordNet, or what to do where it isn't there. Raises InputError where it can't be read."""
    folder = Path(os.environ.get("TOPA_WORDNET", FOLDER))
    if not (folder / "data.noun").is_file():
        return (
            f"WordNet isn't there ({folder}/data.noun): install Debian's wordnet-base, or name a folder with its files "
            "in TOPA_WORDNET"
        )
    return WordNet(folder)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(" ")]


def _first_place(line: str) -> tuple[str, int]:
    """Of a line of an index: the word, and where its first meaning is. The places are the last fields."""
    fields = line.split()
    return fields[0], int(fields[-int(fields[2])])
