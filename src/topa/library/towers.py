"""Where the encoder of a library comes from. Nothing of torch is loaded where nothing is to be encoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.embedded import PAPER_ENCODER, resolve

if TYPE_CHECKING:
    from ..features.encoder import Encoder


@dataclass(frozen=True)
class Towers:
    """Where encoders come from. resolve: what a name stands for. default: the name where none is given. load: reads
    one by what its name stands for; identify: only says which it is."""

    default: str
    resolve: Callable[[str], str]
    load: Callable[[str], Encoder]
    identify: Callable[[str], str]


def default_towers() -> Towers:
    """Return where encoders come from, unless a caller has them already."""

    def load(name: str) -> Encoder:
        from ..core.verbosity import silence_bars
        from ..features.encoder import Encoder

        silence_bars()  # our own progress is enough
        return Encoder.from_pretrained(name)

    def identify(name: str) -> str:
        from ..features.encoder import identify

        return identify(name)

    return Towers(PAPER_ENCODER, resolve, load, identify)
