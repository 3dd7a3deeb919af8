"""A library of videos, put together from its parts: the class that Python uses.

Used by the command line and as `topa.Library`. Nothing of torch is loaded where nothing is to be encoded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ArtifactMismatch, InputError
from ..inference.request import check_explained, check_query, check_question
from . import catalogue
from .index import index
from .outcome import IndexResult
from .verbs import IndexConfig

if TYPE_CHECKING:
    from ..core.protocols import Protocol
    from ..features.encoder import Encoder
    from ..inference.answer import Answer
    from ..inference.engine import Topa
    from ..inference.explain import Explanation
    from .contents import Contents, Moment, Video
    from .requests import LibraryRequests
    from .search import Search


class Library:
    """Videos that were indexed once. Iterating gives them in the order of their paths; `len` says how many.

    path: its folder. encoder: its encoder's name. What answers is loaded when it is first asked for, and kept.
    """

    def __init__(self, path: Path, contents: Contents, encoder: str) -> None:
        self.path = path
        self.encoder = encoder
        self.contents = contents
        """What is in it: the vectors of all frames, with the videos that they are of."""
        self._loaded: dict[tuple[str, ...], Any] = {}

    @classmethod
    def open(cls, path: str | Path) -> Library:
        """A library that `topa index` made. Raises InputError where there is none, ArtifactError where it is
        unfinished, damaged or of another format version."""
        folder = Path(path)
        if not (folder / catalogue.CATALOGUE).is_file():
            found = "a folder" if folder.is_dir() else "a file" if folder.exists() else "nothing there"
            raise InputError(
                f"{folder}: found {found}; expected a video file, or a library. Make one: topa index VIDEOS --out DIR"
            )
        return cls(folder, contents_of(folder), catalogue.read_finished(folder).settings.encoder)

    def add(
        self,
        *videos: str | Path,
        workers: int | None = None,
        wait: bool = False,
        root: str | Path | None = None,
        forget_missing: bool = False,
        show: bool = False,
    ) -> IndexResult:
        """Index more videos, files, folders, patterns or lists; without any, look again at all that it was made of.

        workers: processes that decode. wait: until another process that is at work in it has ended. root: the folder
        that its videos are in now. forget_missing: take out also what isn't there as a whole folder, or all. show:
        progress. Raises what `topa.library.index.index` raises.
        """
        where = None if root is None else str(root)
        paths = tuple(str(path) for path in videos)
        config = IndexConfig(
            videos=paths, out=self.path, workers=workers, wait=wait, root=where, forget_missing=forget_missing
        )
        result = index(config, show=show)
        self.contents = contents_of(self.path)
        self._loaded.clear()
        return result

    def search(
        self,
        query: str,
        top: int = 10,
        *,
        path: str | None = None,
        after: float | None = None,
        before: float | None = None,
    ) -> list[Moment]:
        """The best moments for words, best first; see `topa.library.search.Search.moments`, which takes more.

        path: a glob that a video's path must match; after, before: seconds of a video.
        """
        from .search import Filter

        check_query(query)
        where, search = Filter(path, after, before), self._search()
        search.videos(path)
        return search.moments(self.towers().encode_texts([query]), top, where)[0]

    def when(self, video: str | Path, query: str, top: int = 3) -> list[Moment]:
        """When a video of the library shows what words say, best first. video: its path, see `requests.find`."""
        from .requests import find

        check_query(query)
        return self._search().when(find(self.contents, video), self.towers().encode_texts([query])[0], top)

    def ask(
        self,
        question: str,
        choices: Sequence[str] = (),
        *,
        model: str | Path | Topa | None = None,
        video: str | Path | None = None,
        **how: Any,
    ) -> Answer:
        """Answer a question over all videos, or about one of them; no video is decoded.

        model: a saved model, or one that is loaded; the micro model by default. video: its path. how: as for
        `topa.library.requests.LibraryRequests.over_all`, or `about`. Raises what these raise.
        """
        check_question(question, choices)
        if "frames_by" in how:
            warnings.warn(
                "frames_by is frame_selection now; the old name leaves with the next release", FutureWarning, 2
            )
            how["frame_selection"] = how.pop("frames_by")
        own = None if video is None else self._find(video)
        requests = self.requests(model)
        if own is None:
            request = requests.over_all(question, choices, **how)
        else:
            request = requests.about(own, question, choices, **how)
        return requests.engine.answer([request])[0]

    def explain(
        self,
        video: str | Path,
        question: str | None = None,
        choices: Sequence[str] = (),
        *,
        model: str | Path | Topa | None = None,
        protocol: Protocol | None = None,
    ) -> Explanation:
        """Answer about a video, and say what each frame did for the answer; see `topa.library.evidence`."""
        from .evidence import explain_indexed

        check_explained(question, choices)
        own = self._find(video)
        engine = self.requests(model).engine
        found, _ = explain_indexed(self.contents, own, engine, question, choices, protocol=protocol)
        return found

    def requests(self, model: str | Path | Topa | None = None) -> LibraryRequests:
        """Return what builds requests about the library's features: hold it to ask often. model: as for `ask`.

        Raises ArtifactMismatch for a model of another encoder, before its weights are read."""
        from ..inference.engine import Topa
        from ..training.pretrained import load
        from .requests import LibraryRequests
        from .search import Search

        key = ("requests", str(id(model)) if isinstance(model, Topa) else str(model))
        if key not in self._loaded:
            if not isinstance(model, Topa):
                expect_encoder(self.contents, model)
            engine = model if isinstance(model, Topa) else load(model)
            search = Search(self.contents, memory=engine.memory, temperature=engine.config.temperature)
            self._loaded[key] = LibraryRequests(
                engine, self.contents, lambda query, top: search.moments(query[None], top)[0]
            )
        requests: LibraryRequests = self._loaded[key]
        return requests

    def towers(self) -> Encoder:
        """Its encoder. Raises InputError where it can't be loaded, ArtifactMismatch where it isn't the same now."""
        from ..features.encode import towers

        if ("towers",) not in self._loaded:
            self._loaded["towers",] = towers(self.encoder, self.contents.encoder)
        both: Encoder = self._loaded["towers",]
        return both

    def _find(self, video: str | Path) -> Video:
        from .requests import find

        return find(self.contents, video)

    def _search(self) -> Search:
        from .search import Search

        if ("search",) not in self._loaded:
            self._loaded["search",] = Search(self.contents)
        search: Search = self._loaded["search",]
        return search

    def __len__(self) -> int:
        return len(self.contents)

    def __iter__(self) -> Iterator[Video]:
        return iter(self.contents.videos)

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r}, videos={len(self)})"


def contents_of(folder: Path) -> Contents:
    """What is in a library. Raises as `Library.open` does."""
    from ..features.store import FeatureStore
    from .contents import Contents, Video

    known = catalogue.read_finished(folder)
    videos = [
        Video(file.id, name, known.contents[file.id].duration, known.contents[file.id].frames)
        for name, file in known.files.items()
        if file.id is not None and file.id in known.contents and not file.gone
    ]
    parts = sorted({content.part for content in known.contents.values()})
    stores = [FeatureStore.open(folder / catalogue.FEATURES / part) for part in parts]
    return Contents(stores, videos, Path(catalogue.root(folder, known)))


def expect_encoder(contents: Contents, model: str | Path | None) -> None:
    """Refuse a model that can't read a library's features, before it is loaded. model: as for `Library.ask`.

    Raises ArtifactMismatch, and ArtifactError where this isn't a saved model.
    """
    from ..training.pretrained import encoder_of

    if (aligned := encoder_of(model)) != contents.encoder:
        raise ArtifactMismatch(
            f"{contents.root}: its library is of the encoder {contents.encoder}; found "
            f"{'the micro model' if model is None else model}, which reads features of {aligned}. Name a model of the "
            "library's encoder with --model, or index for this one: topa index VIDEOS --encoder ENCODER --out ANOTHER"
        )
