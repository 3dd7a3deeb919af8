"""The classic caption toolkit, to ask what it says; and odd captions to ask it about."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence

import pytest

needs_java = pytest.mark.skipif(
    shutil.which("java") is None,
    reason="Java isn't here: apt-get install default-jre-headless, to ask the classic toolkit",
)

ODD = [
    *"""a A man The I is it's don't dog cat's dogs' o'clock 'tis 'twas gonna cannot Can't won`t n't 'd 'll 're
    've 's 'm U.S. U.K. e.g. i.e. p.m. etc. Mr. mr. Inc. Jr. No. no. fig. pp. Miss. miss. St. vs. v. C. z.
    Ph.D. non-U.S. 3 10 1990s '90s 90's 5pm 12:30 1,000 1.5 .5 ,5 :5 -5 +5 1/2 ½ 3-1/2 2/3/2010 555-1234
    (555) 123-4567 $ $5 US$ £ € ¢ # #tag @me a@b.com www.x.com http://a.b/c?d x.com/y <b> </b> <br/> < > &lt;
    &amp; &quot; &apos; &nbsp; &mdash; &eacute; &#39; " '' `` ' ` “ ” ‘ ’ « » ‹ › … -- --- - – — _ __ * **
    \\* / \\ . .. ... .... ..... ! ? ?! !! , ; : ( ) [ ] { } + = == ~ ^ | % & @ ° é naïve café Москва 東京
    हिन्दी 😀 ❤️ ★ x-ray t-shirt mother-in-law a-b-c C++ C# AT&T R&D S&P-500 and/or he/she w/ b/c c'mon y'all
    rock'n'roll 'em 'til till' O'Neil d'Art l'x j' n' 'n' ol' :) :-( ;D =) <3 ^_^ (-_-) 1st 2nd 3D 4x4 10am
    6ft 6'2 5'10" 100% 50/50 24/7 mid-air pro- anti- cap'n c'est cont'd 's- x. X. y.o. a.b.c a.txt Co. co.
    Ltd. ltd. pt. OK! T.V. sq. ft. lbs. kind-of- -like 2x4 1950's 16-year-old The They He About""".split(),  # noqa: SIM905
    "\xa0",
    "\xad",
    "\u200b",
    "\t",
    "soft\xadly",
    "1 1/2",
    "C. The man",
    "vitamin c. Then",
]
"""Pieces of captions that a tokeniser can get wrong."""
LETTERS = "abnstTdUSlm'’-.,019 /:&;!?\"()<>[]@$#_`*%é½£—"


def odd_caption(rng: random.Random) -> str:
    """Odd pieces, put together with and without spaces, and random signs."""
    made = []
    for _ in range(rng.randrange(8)):
        if rng.random() < 0.8:
            piece = rng.choice(ODD)
        else:
            piece = "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 8)))
        made.append(piece.upper() if rng.random() < 0.1 else piece)
        made.append(rng.choice((" ", " ", "", ".", ", ")))
    return "".join(made)


def java_words(captions: Sequence[str]) -> list[str]:
    """What the toolkit makes of captions, by Java."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    found = PTBTokenizer().tokenize({n: [{"caption": caption}] for n, caption in enumerate(captions)})
    return [found[n][0] for n in range(len(captions))]
