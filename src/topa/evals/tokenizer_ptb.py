"""Words of captions by the conventions of the Penn Treebank: lower case, clitics apart, without punctuation.

The classic caption toolkit lets Stanford's PTBTokenizer cut captions, in Java. This is not that program and has fewer
rules: on captions as people write them the words are the same (tests/evals/test_tokenizer_ptb.py asks Java); on web
addresses, markup, smileys, phone numbers and fractions they can differ. `toolkit.words` is the program itself.
Source: the Treebank's conventions (Marcus, Santorini and Marcinkiewicz, 1993); the toolkit's list of punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

PUNCTUATION = frozenset({"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"})
"""Tokens that the toolkit leaves out."""
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
"""The toolkit's list has brackets in upper case while words are in lower case by then, so that they stay."""
_TITLES = "mr mrs ms dr prof st mt ft jr sr gen col lt sgt capt rev sen gov pres"
_OTHERS = "etc vs inc ltd co corp dept ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri"
_SHORT = frozenset(f"{_TITLES} {_OTHERS}".split())
_TWO = {"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "lemme": 3, "gimme": 3}
"""Words that are two, and where the second one begins."""
_TOKEN = re.compile(
    r"""
      (?P<dots>\.{2,} | -{2,})
    | (?P<marks>[?!]{2,})
    | (?P<initials>[^\W\d_](?:\.[^\W\d_])*\.(?!\w) | [^\W\d_](?:\.[^\W\d_])+\b)    # U.S.  p.m.  vitamin c.
    | (?P<number>[-+]?\d*(?:[.,:/]\d+)+ | '?\d+(?:-?\w+(?:-\w+)*)? | [-+]\d+)    # 1,000.5  10:30  1/2  '90s  3rd
    | (?P<short>'(?:em|til|till|cause|n)\b | y'(?=all\b))
    | (?P<word>[^\W_]+(?:[-/.][^\W_]+)*(?:&[^\W_]+)*(?:'(?!(?:re|ve|ll)\b)[^\W\d_]{2,})?)
    | (?P<clitic>'(?:s|m|d|re|ve|ll)\b)
    | (?P<sign>\S)
    """,
    re.VERBOSE,
)
_NUMBERED = re.compile(r"(?:nos?|figs?|pp)\. ?\d")
_SIGNS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "–": "--", "—": "--", "\xad": None})


def tokenise(captions: Sequence[str]) -> list[str]:
    """The words of each caption, with a space between two; "" where it has none."""
    return [" ".join(_words(caption)) for caption in captions]


def _words(caption: str) -> Iterator[str]:
    text = caption.translate(_SIGNS).lower()
    text = re.sub(r"(?<=\w)(n't)\b", r" \1 ", text)
    at = 0
    while match := _TOKEN.search(text, at):
        at = match.end()
        kind, token = match.lastgroup, match[0]
        if kind == "word" and token == "n" and text.startswith("'t", at):
            yield "n't"
            at += 2
        elif kind == "word" and token in _TWO:
            yield token[: _TWO[token]]
            yield token[_TWO[token] :]
        elif kind == "word" and text.startswith(".", at) and (token in _SHORT or _NUMBERED.match(text, match.start())):
            yield f"{token}."
            at += 1
        elif kind == "sign" and token == '"':
            continue
        elif kind != "dots" and token not in PUNCTUATION:
            yield _BRACKETS.get(token, token)
