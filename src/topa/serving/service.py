"""What a server does, apart from HTTP: videos in, replies out.

Puts together uploads, the processes that decode, what was watched, the worker that runs the model, and the library.
"""

from __future__ import annotations

import asyncio
import math
import mimetypes
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from ..core.errors import InputError
from ..core.protocols import Protocol
from ..features.decoding import Decoders, Guard
from ..inference.combine import answer_of
from ..inference.detokenizer import IncrementalDetokenizer, TokenText
from ..inference.engine import Topa
from ..inference.explain import Explanation
from ..inference.generator import Completion
from ..inference.prepared import PreparedRequest
from ..inference.request import ANSWER_TOKENS, CAPTION_TOKENS, GenerationSettings, Request, check_question
from ..library.contents import Contents
from ..library.search import Filter
from .errors import RequestError
from .fetching import fetch, name_of
from .settings import ServerSettings
from .shelf import Shelf
from .types import AnswerDelta, RequestUsage, Sampling, ServedAnswer, ServedVideo, VideoEntry, VideoMoment
from .uploads import Uploads
from .watching import Watcher
from .worker import Worker


class Service:
    """One model, served. Made in the loop that uses it; `close` when it ends.

    contents: a library whose encoder is the model's. folder: for uploads, empty; it is removed at the end.
    Raises ArtifactMismatch for a library of another encoder.
    """

    def __init__(
        self,
        engine: Topa,
        settings: ServerSettings,
        folder: Path,
        contents: Contents | None = None,
    ) -> None:
        limits = settings.limits
        self.settings = settings
        self.name = settings.name
        self.created = int(time.time())
        self.library = None if contents is None else Shelf(engine, contents)
        self._engine = engine
        self._tokenizer = engine.prompter.tokenizer
        guard = Guard(limits.decode_seconds, limits.decode_memory, limits.seconds, limits.pixels)
        self._decoders = Decoders(settings.decoders, guard)
        self._own = Decoders(1)  # of the library, whose owner has indexed what is in it
        self._uploads = Uploads(folder, limits)
        self.observe: Callable[[str, int], None] = lambda *_: None
        """Told of each pass of the model what it did, and for how many requests; in the model's thread."""
        self._worker = Worker(engine, settings.batch, lambda did, many: self.observe(did, many))
        self._watcher = Watcher(engine, self._worker, self._decoders, limits.features, 2 * settings.decoders)

    async def upload(self, chunks: AsyncIterable[bytes], name: str) -> ServedVideo:
        """Receive a video and watch it. Raises RequestError where it is too large, VideoError where it can't be
        decoded; nothing is kept of it then."""
        upload = await self._uploads.receive(chunks, name)
        with self._uploads.using(upload.id):
            try:
                return await self._watcher.watch(upload)
            except InputError:
                with suppress(RequestError):  # another request of the same content has removed it
                    self._uploads.remove(upload.id)
                raise

    async def watch(self, reference: str) -> ServedVideo:
        """The video of an id, a data URI or an address. Raises RequestError where there is none, or it may not be
        had."""
        if reference.startswith("lib_"):
            shelf = self._shelf()
            shelf.video(reference)
            return await self._watcher.of_library(reference, lambda: self._off_shelf(reference))
        if reference.startswith("vid_"):
            with self._uploads.using(reference) as upload:
                return await self._watcher.watch(upload)
        return await self.upload(fetch(reference, self.settings), name_of(reference))

    async def choose(
        self, watched: ServedVideo, question: str, choices: Sequence[str], *, protocol: Protocol | None = None
    ) -> ServedAnswer:
        """One of several options. Its only token is the option, with those of the others beside it."""
        check_question(question, choices)
        options = tuple(choice.strip() for choice in choices)
        prepared = self._engine.prepare(Request(watched.inputs, question, options, protocol))
        answer = await self._worker.answer(prepared)
        chosen = prepared.orders[0][answer.choice or 0]
        logs = [math.log(max(p, 1e-300)) for p in answer.probabilities]
        order = sorted(range(len(logs)), key=lambda n: -logs[n])
        token = TokenText(
            answer.text,
            logs[answer.choice or 0],
            answer.text.encode(),
            tuple((answer.options[n], logs[n]) for n in order),
        )
        usage = RequestUsage(chosen.target[0], chosen.target[1] - chosen.target[0])
        return ServedAnswer(answer, usage, tokens=(token,))

    async def say(
        self,
        watched: ServedVideo,
        question: str | None,
        *,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        top_logprobs: int | None = None,
        stop: Sequence[str] = (),
    ) -> ServedAnswer:
        """A free answer, or a caption where there is no question. top_logprobs: how many alternatives of each token are
        told; None tells no tokens. stop: texts that end the answer."""
        prepared = self._prepared(watched, question, max_tokens, sampling, top_logprobs)
        text = IncrementalDetokenizer(self._tokenizer, stop, logprobs=top_logprobs is not None)
        if stop:  # it may end before the model does
            last = None
            async for piece in self._pieces(prepared, text):
                last = piece
        else:
            completion = await self._worker.generate(prepared.task())
            last = _piece(text, prepared, completion)
        assert last is not None
        assert last.usage is not None
        answer = answer_of(prepared, [Completion(text.text, (), last.finish)])
        return ServedAnswer(answer, last.usage, last.finish or "stop", tuple(text.tokens))

    async def stream(
        self,
        watched: ServedVideo,
        question: str | None,
        *,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        top_logprobs: int | None = None,
        stop: Sequence[str] = (),
    ) -> AsyncGenerator[AnswerDelta]:
        """What `say` says, in pieces as they are made; closing the iterator ends the work."""
        prepared = self._prepared(watched, question, max_tokens, sampling, top_logprobs)
        text = IncrementalDetokenizer(self._tokenizer, stop, logprobs=top_logprobs is not None)
        async with aclosing(self._pieces(prepared, text)) as pieces:
            async for piece in pieces:
                yield piece

    def warnings(self, watched: ServedVideo, words: str) -> tuple[str, ...]:
        """What a user should know about answers. words: what was asked."""
        return self._engine.warnings(watched.inputs, words)

    async def ask_library(
        self,
        question: str,
        choices: Sequence[str] = (),
        *,
        top: int = 4,
        protocol: Protocol | None = None,
        max_tokens: int | None = None,
    ) -> ServedAnswer:
        """An answer over the moments of the library that are most like the question."""
        shelf, most = self._shelf(), self._tokens(max_tokens, ANSWER_TOKENS)
        answer, videos = await self._worker.call(lambda: shelf.ask(question, choices, top, protocol, most))
        return ServedAnswer(answer, None, videos=videos)

    async def explain(
        self,
        watched: ServedVideo,
        question: str | None,
        choices: Sequence[str] = (),
        *,
        protocol: Protocol | None = None,
    ) -> Explanation:
        """An answer, and what each frame did for it."""
        return await self._worker.call(
            lambda: self._engine.explain(watched.inputs, question, choices, protocol=protocol)
        )

    async def search(
        self,
        query: str,
        top: int,
        *,
        path: str | None = None,
        after: float | None = None,
        before: float | None = None,
        video: str | None = None,
    ) -> list[VideoMoment]:
        """The best moments of the library for words; video: of this one alone."""
        shelf = self._shelf()
        own = None if video is None else shelf.video(video)
        where = Filter(path, after, before)
        moments = await self._worker.call(lambda: shelf.search(query, top, where, own))
        return [VideoMoment(shelf.entry(m.video), m.start, m.end, m.score, m.frames) for m in moments]

    async def picture(self, id: str, at: float) -> bytes:
        """The picture at a second of a video, as JPEG."""
        if id.startswith("lib_"):
            shelf = self._shelf()
            video = shelf.video(id)
            return await self._watcher.picture(
                self._own, id, shelf.file(video), min(at, max(0.0, video.duration - 1e-3))
            )
        with self._uploads.using(id) as upload:
            watched = await self._watcher.watch(upload)
            return await self._watcher.picture(
                self._decoders, id, upload.path, min(at, max(0.0, watched.duration - 1e-3))
            )

    def listing(self, after: str | None, limit: int) -> tuple[list[VideoEntry], bool]:
        """Videos of the library behind one of them, none without a library; and whether there are more."""
        return ([], False) if self.library is None else self.library.entries(after, limit)

    def content(self, id: str) -> tuple[Path, str, str]:
        """The file of a video, its media type and its name."""
        if id.startswith("lib_"):
            shelf = self._shelf()
            video = shelf.video(id)
            path, name = shelf.file(video), Path(video.path).name
        else:
            upload = self._uploads.get(id)
            path, name = upload.path, upload.name
        if not path.is_file():
            raise RequestError(
                "video: found no file of it any more; expected the one that was indexed. It can still be asked about.",
                status=404,
                code="video_not_found",
                param="video",
            )
        kind = mimetypes.guess_type(name)[0] or ""
        return path, kind if kind.startswith("video/") else "application/octet-stream", name

    def remove(self, id: str) -> None:
        """Forget an upload. Raises RequestError for an unknown one, or one of the library."""
        if id.startswith("lib_"):
            self._shelf().video(id)
            raise RequestError(
                "video: is one of the library, which the server only reads; expected an upload's id.",
                status=403,
                code="read_only",
                param="video",
            )
        self._uploads.remove(id)
        self._watcher.forget(id)

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._worker.alive

    def numbers(self) -> dict[str, float]:
        """What is counted, by name."""
        counts = self._watcher.counts
        return {
            "waiting": self._worker.waiting,
            "feature_hits": counts.hits,
            "feature_misses": counts.misses,
            "decode_failures": counts.failures,
        }

    async def close(self) -> None:
        """Finish what was asked, and remove what was uploaded."""
        await self._worker.close()
        await asyncio.to_thread(self._decoders.close)
        await asyncio.to_thread(self._own.close)
        self._uploads.close()

    async def _off_shelf(self, id: str) -> ServedVideo:
        shelf = self._shelf()
        video = shelf.video(id)
        inputs = await self._worker.call(lambda: shelf.inputs(video))
        entry = shelf.entry(video)
        return ServedVideo(
            id,
            "library",
            entry.name,
            entry.bytes,
            entry.created,
            entry.duration,
            None,
            None,
            False,
            inputs.readings,
            inputs,
        )

    async def _pieces(self, prepared: PreparedRequest, text: IncrementalDetokenizer) -> AsyncGenerator[AnswerDelta]:
        async with aclosing(self._worker.stream(prepared.task())) as stream:
            async for completion in stream:
                piece = _piece(text, prepared, completion)
                if piece is not None:
                    yield piece
                    if piece.finish is not None:
                        return

    def _prepared(
        self,
        watched: ServedVideo,
        question: str | None,
        max_tokens: int | None,
        sampling: Sampling | None,
        top_logprobs: int | None,
    ) -> PreparedRequest:
        if question is not None:
            check_question(question, ())
        limit = self._tokens(max_tokens, CAPTION_TOKENS if question is None else ANSWER_TOKENS)
        settings = GenerationSettings(limit, sampling or Sampling(), top_logprobs)
        return self._engine.prepare(Request(watched.inputs, question, generation=settings))

    def _tokens(self, wanted: int | None, usual: int) -> int:
        return min(usual if wanted is None else wanted, self.settings.limits.tokens)

    def _shelf(self) -> Shelf:
        if self.library is None:
            raise RequestError(
                "library: found none on this server; expected one to search. Start it with --library LIB, made by topa "
                "index.",
                status=404,
                code="no_library",
            )
        return self.library


def _piece(text: IncrementalDetokenizer, prepared: PreparedRequest, completion: Completion) -> AnswerDelta | None:
    """What a completion adds to a text, with what the request took where that is all."""
    piece = text.append(completion.tokens, completion.finish)
    if piece is None:
        return None
    usage = None if piece.finish is None else RequestUsage(len(prepared.prompt), len(completion.tokens))
    return AnswerDelta(piece.text, piece.tokens, piece.finish, usage)
