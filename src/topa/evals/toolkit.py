"""What only the classic caption toolkit has, in Java: its words, METEOR and SPICE; and what a score is made of.

The toolkit (`pycocoevalcap`) brings METEOR's program along. SPICE's needs models that it downloads by itself, which
nothing here does. Where something isn't there, the score isn't computed, and the reason is given.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import WorkerError
from ..core.install import install_line

Floats = NDArray[np.float64]

_LENGTHS, _CHUNKS, _MATCHED = (0, 1), 20, (21, 22)
"""Places in METEOR's statistics: words of caption and reference; pieces of what matches; words that match in both."""


@dataclass(frozen=True)
class CaptionMetric:
    """A score of captions. captions: [videos], one value each. statistics: [videos, any], and value: sums of them
    [n, any] -> the score of all those captions [n]. most: the highest value there is."""

    captions: Floats
    statistics: Floats
    value: Callable[[Floats], Floats]
    most: float = 1.0


def mean_of(captions: Floats, most: float = 1.0) -> CaptionMetric:
    """A score that is the mean of its captions'."""
    statistics = np.stack([captions, np.ones(len(captions))], axis=1)
    return CaptionMetric(captions, statistics, lambda sums: np.asarray(sums[:, 0] / sums[:, 1]), most)


def meteor(references: Sequence[Sequence[str]], said: Sequence[str]) -> CaptionMetric | str:
    """METEOR 1.5 of words with a space between two; or why there is none.

    Raises WorkerError where its program fails.
    """
    program = _program("meteor/meteor-1.5.jar")
    if isinstance(program, str):
        return f"METEOR {program}"

    def lines(asked: Sequence[str]) -> list[str]:
        command = ["java", "-jar", "-Xmx2G", program.name, "-", "-", "-stdio", "-l", "en", "-norm"]
        done = subprocess.run(  # noqa: S603 - the toolkit's own program
            command, cwd=program.parent, input="".join(f"{line}\n" for line in asked).encode(), capture_output=True
        )
        if done.returncode:
            raise WorkerError(f"METEOR's program failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return done.stdout.decode().splitlines()

    def scores(statistics: Floats) -> Floats:
        """One line of statistics, its score, and that of all lines of the request, which is the same one."""
        told = lines(["EVAL ||| " + " ".join(map(str, row)) for row in statistics])
        return np.array([float(line) for line in told[::2]])

    asked = [
        " ||| ".join(["SCORE", *of_video, caption.replace("|||", "").replace("  ", " ")])
        for of_video, caption in zip(references, said, strict=True)
    ]
    found = lines(asked)
    statistics = np.array([[float(number) for number in line.split()] for line in found])
    each = scores(statistics)
    # Its sums take a caption that is a reference word for word for one without a break, 0 chunks instead of 1.
    equal = (statistics[:, _CHUNKS] == 1) & (statistics[:, _LENGTHS] == statistics[:, _MATCHED]).all(axis=1)
    statistics[equal, _CHUNKS] = 0
    return CaptionMetric(each, statistics, scores)


def words(captions: Sequence[str]) -> list[str] | str:
    """The words of each caption as the toolkit gets them, with a space between two; or why there are none."""
    program = _program("tokenizer/stanford-corenlp-3.4.1.jar")
    if isinstance(program, str):
        return f"the toolkit's words {program}"
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with redirect_stdout(io.StringIO()):  # it talks
        found = PTBTokenizer().tokenize({n: [{"caption": caption}] for n, caption in enumerate(captions)})
    return [found[n][0] for n in range(len(captions))]


def spice(references: Sequence[Sequence[str]], said: Sequence[str]) -> CaptionMetric | str:
    """SPICE 1.0 of words with a space between two; or why there is none."""
    program = _program("spice/spice-1.0.jar")
    if isinstance(program, str):
        return f"SPICE {program}"
    if not (program.parent / "lib" / "stanford-corenlp-3.6.0-models.jar").is_file():
        return (
            "SPICE needs Stanford CoreNLP 3.6.0 and its models, some 400 MB that the toolkit downloads: "
            "python -m pycocoevalcap.spice.get_stanford_models"
        )
    from pycocoevalcap.spice.spice import Spice

    names = [f"{number:09d}" for number in range(len(said))]
    try:
        _, found = Spice().compute_score(
            {name: list(of_video) for name, of_video in zip(names, references, strict=True)},
            {name: [caption] for name, caption in zip(names, said, strict=True)},
        )
    except subprocess.CalledProcessError as error:
        return f"SPICE's program, which was written for Java 8, failed: {error}"
    captions = np.array([one["All"]["f"] for one in found], dtype=np.float64)
    if not np.isfinite(captions).all():
        return f"SPICE gave no number for caption {int(np.argmin(np.isfinite(captions)))}"
    return mean_of(captions)


def _program(jar: str) -> Path | str:
    spec = importlib.util.find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        return f"needs the classic caption toolkit: {install_line('coco-eval')}"
    if shutil.which("java") is None:
        return "needs Java: install a runtime, such as Debian's default-jre-headless"
    program = Path(next(iter(spec.submodule_search_locations))) / jar
    if not program.is_file():
        return f"isn't in the caption toolkit that is installed: {install_line('coco-eval')}"
    return program
