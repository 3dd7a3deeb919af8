"""The configs of the verbs about memories."""

from __future__ import annotations

from pathlib import Path

from ..core.verbs import VerbConfig, argument, option


class BuildMemoryConfig(VerbConfig):
    """Draw a memory of captions' features, by which pictures are later expressed in the language of text.

    Example:  topa memory build kitchen-features --out kitchen-memory --rows 1000000 --near 0.98
    """

    store: Path = argument("A store of Tideos, from topa encode.")
    out: Path = option("Folder of the memory.")
    rows: int = option("How many frames to draw, at most.", min=1)
    seed: int = option("Seed of the draw.", default=0)
    near: float | None = option(
        "Leave out rows whose cosine with another one is this or more, such as 0.98.", default=None
    )
    tideos: Path | None = option("The Tideos, for their captions. Default: where topa encode read them.", default=None)


class InspectMemoryConfig(VerbConfig):
    """Say what is in a memory: its size, how many of its rows are nearly the same, and what they say.

    Example:  topa memory inspect kitchen-memory --json
    """

    folder: Path = argument("A memory, or a saved model with one.", metavar="DIR")


class ImportMemoryConfig(VerbConfig):
    """The memory that TOPA's authors published. It has no captions: what frames were read as can't be said.

    Example:  topa import memory memory.pkl --out memory
    """

    path: Path = argument("The published memory.pkl.", metavar="MEMORY")
    out: Path = option("Folder of the memory.")
    encoder: str | None = option("Whose features they are. Default: CLIP ViT-L/14, the released one.", default=None)
