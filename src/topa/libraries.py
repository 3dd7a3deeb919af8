"""A library of videos, put together from its parts: the verb `index`, and the class that Python uses.

Used by the command line and as `topa.Library`. Nothing of torch is loaded where nothing is to be encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .exchange import ENCODER
from .library import catalogue, index
from .library.index import Towers, Wanted
from .library.outcome import Estimate, Result
from .microworld.paths import resolve

if TYPE_CHECKING:
    from .features.encoder import Encoder
    from .library.contents import Contents, Video


class Library:
    """Videos that were indexed once. Iterating gives them in the order of their paths; `len` says how many.

    path: its folder.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self.contents = contents
        """What is in it: the vectors of all frames, with the videos that they are of."""

    @classmethod
    def open(cls, path: str | Path) -> Library:
        """A library that `topa index` made. Raises ArtifactError where there is none, where it is of another format
        version or damaged."""
        folder = Path(path)
        return cls(folder, contents_of(folder))

    def add(self, *videos: str | Path, workers: int | None = None, wait: bool = False, show: bool = False) -> Result:
        """Index more videos, files, folders, patterns or lists; without any, look again at all that it was made of.

        workers: processes that decode. wait: until another process that is at work in it has ended. show: progress.
        Raises what `topa.library.index.index` raises.
        """
        wanted = Wanted(workers=workers, wait=wait)
        result = make([str(path) for path in videos], self.path, wanted, show=show)
        self.contents = contents_of(self.path)
        return result

    def __len__(self) -> int:
        return len(self.contents)

    def __iter__(self) -> Iterator[Video]:
        return iter(self.contents.videos)

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r}, videos={len(self)})"


def make(inputs: Sequence[str], out: Path, wanted: Wanted, *, show: bool = True) -> Result:
    """Make a library, or bring it up to date; see `topa.library.index.index`."""
    return index.index(inputs, out, wanted, _towers(), show=show)


def estimate(inputs: Sequence[str], out: Path, wanted: Wanted) -> Estimate:
    """What `make` would do; see `topa.library.index.estimate`."""
    return index.estimate(inputs, out, wanted, _towers())


def contents_of(folder: Path) -> Contents:
    """What is in a library. Raises as `Library.open` does."""
    from .features.store import FeatureStore
    from .library.contents import Contents, Video

    known = catalogue.read_finished(folder)
    videos = [
        Video(file.id, name, known.contents[file.id].duration, known.contents[file.id].frames)
        for name, file in known.files.items()
        if file.id is not None and file.id in known.contents and not file.gone
    ]
    parts = sorted({content.part for content in known.contents.values()})
    stores = [FeatureStore.open(folder / catalogue.FEATURES / part) for part in parts]
    return Contents(stores, videos, Path(catalogue.root(folder)))


def _towers() -> Towers:
    def load(name: str) -> Encoder:
        from transformers.utils import logging

        from .features.encoder import Encoder

        logging.disable_progress_bar()  # our own progress is enough
        return Encoder.from_pretrained(name)

    def identify(name: str) -> str:
        from .features.encoder import identify

        return identify(name)

    return Towers(ENCODER, resolve, load, identify)
