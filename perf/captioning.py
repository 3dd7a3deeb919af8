"""What scores of captions cost: `python perf/captioning.py [--json FILE]`.

Invented captions of as many videos as MSR-VTT's test split has, scored by us and by the classic toolkit
(`pycocoevalcap`): equal results are asserted first, of all captions and of each, then both are measured in turn,
processor time of one thread. Words of captions are the toolkit's by Java, whose processor time is not ours to measure:
there it is time on the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from measure import interleaved, save_figures
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from topa.evals.captioning import score_words
from topa.evals.tokenizer_ptb import tokenise

SCORES = "BLEU-1 to 4, ROUGE-L and CIDEr-D"
KNOWN = (
    "a man woman person is are two the in on of with and playing talking cooking singing guitar dog car kitchen".split()  # noqa: SIM905
)
ODD = ("t-shirt", "man's", "3", "it's", "10-year-old", "TV", "isn't")


def invented(videos: int, references: int) -> tuple[list[list[str]], list[str]]:
    """Captions of frequent and rare words, 4 to 16 each; those of a video share some. One of ten has something odd."""
    rng = random.Random(0)
    words = KNOWN + [
        f"{first}{last}" for first in "bdfgklmnprst" for last in ("one", "ind", "ole", "ute", "ary", "ening")
    ]
    words += [
        f"{word}{end}" for word in words[len(KNOWN) :] for end in ("s", "er", "ly", "ish", "al", "ed", "or", "ic")
    ]
    weights = [1 / (place + 3) for place in range(len(words))]

    def caption(shared: list[str]) -> str:
        made = [
            rng.choice(shared) if rng.random() < 0.5 else rng.choices(words, weights)[0]
            for _ in range(rng.randint(4, 16))
        ]
        if rng.random() < 0.1:
            made[rng.randrange(len(made))] = rng.choice(ODD)
        return " ".join(made) + rng.choice(("", "."))

    themes = [rng.choices(words, weights, k=8) for _ in range(videos)]
    return [[caption(theme) for _ in range(references)] for theme in themes], [caption(theme) for theme in themes]


def toolkit(references: dict[int, list[str]], said: dict[int, list[str]]) -> dict[str, tuple[float, Any]]:
    corpus, each = Bleu(4).compute_score(references, said, verbose=0)
    found = {f"BLEU-{n + 1}": (corpus[n], each[n]) for n in range(4)}
    rouge, cider = Rouge().compute_score(references, said), Cider().compute_score(references, said)
    return found | {"ROUGE-L": rouge, "CIDEr-D": cider}


def check_equal(references: list[list[str]], said: list[str]) -> None:
    ours = score_words(references, said)
    theirs = toolkit(dict(enumerate(references)), {n: [caption] for n, caption in enumerate(said)})
    for name, (corpus, each) in theirs.items():
        whole = ours[name].value(ours[name].statistics.sum(axis=0, keepdims=True))[0]
        assert abs(whole - corpus) < 1e-6, name
        np.testing.assert_allclose(ours[name].captions, each, atol=1e-6, err_msg=name)


def memory(work: Callable[[], object]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


def measure(videos: int, references: int, rounds: int) -> dict[str, Any]:
    raw, raw_said = invented(videos, references)
    flat = [caption for own in raw for caption in own] + raw_said
    words = tokenise(flat)
    given = {n: [{"caption": caption}] for n, caption in enumerate(flat)}
    java: list[float] = []
    for _ in range(rounds if shutil.which("java") else 0):
        began = time.perf_counter()
        found = PTBTokenizer().tokenize(given)
        java.append(time.perf_counter() - began)
        assert [found[n][0] for n in range(len(flat))] == words
    own = [words[n * references : (n + 1) * references] for n in range(videos)]
    said = words[videos * references :]
    check_equal(own, said)
    theirs = dict(enumerate(own)), {n: [caption] for n, caption in enumerate(said)}
    ways = {
        "ours": lambda: score_words(own, said),
        "toolkit": lambda: toolkit(*theirs),
        "words": lambda: tokenise(flat),
    }
    seconds = interleaved(ways, rounds).seconds
    rows = [
        {"what": SCORES, "toolkit": seconds["toolkit"], "ours": seconds["ours"], "unit": "s"},
        {
            "what": "words of captions (toolkit: Java)",
            "toolkit": min(java, default=0.0),
            "ours": seconds["words"],
            "unit": "s",
        },
        {
            "what": "memory of the scores",
            "toolkit": memory(lambda: toolkit(*theirs)),
            "ours": memory(lambda: score_words(own, said)),
            "unit": "MB",
        },
    ]
    return {"videos": videos, "references": references, "rows": rows}


def as_table(told: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"| {told['videos']:,} videos, {told['references']} captions each | toolkit | topa | ratio |",
        "|---|---:|---:|---:|",
    ]
    for row in told["rows"]:
        digits = 2 if row["unit"] == "s" else 0
        cells = [f"{row[name]:,.{digits}f} {row['unit']}" for name in ("toolkit", "ours")]
        lines.append(f"| {row['what']} | {' | '.join(cells)} | {row['toolkit'] / row['ours']:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=3000)
    parser.add_argument("--references", type=int, default=20)
    parser.add_argument("--table", type=Path, help="print the table of kept figures")
    given = parser.parse_args()
    told = json.loads(given.table.read_text()) if given.table else measure(given.videos, given.references, given.rounds)
    print(as_table(told))
    if given.json:
        save_figures(given.json, told)


if __name__ == "__main__":
    main()
