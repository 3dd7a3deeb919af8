"""An engine answers what a harness asks: losses of options, and texts.

Reads `Document`s and `OpenQuestion`s of `requests`, gives numbers and words to `lmms_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from ..core.cache import LruCache
from ..core.errors import InputError
from ..core.progress import Bar, bar
from ..core.protocols import Protocol, check_protocol
from ..features.encode_video import encode_video
from ..inference.answer import Answer
from ..inference.engine import Topa
from ..inference.generator import complete
from ..inference.prepared import PreparedRequest
from ..inference.request import GenerationSettings, Request
from ..inference.scorer import nll_of_targets
from ..inference.video_inputs import VideoInputs
from .requests import Document, OpenQuestion

_MAX_VIDEOS = 1024  # whose features are kept: about 30 MB of ten frames of width 768
_WORST = (float("inf"), False)
_BEST_OF_WRONG = (0.0, False)

Item = TypeVar("Item", Document, OpenQuestion)
Loss = tuple[float, bool]
"""What the harness wants of an option: its mean loss, and whether it is the answer that greedy decoding gives."""


class HarnessAnswerer:
    """Answers by one engine. batch_size: questions at a time. log: takes a line.

    A question about a video that can't be read is logged and answered wrongly, as everywhere in topa: options get
    losses by which no right one is chosen, an open question gets no words.
    Raises UsageError for an unknown protocol.
    """

    def __init__(
        self, engine: Topa, protocol: str | None, batch_size: int, log: Callable[[str], None], *, show: bool = True
    ) -> None:
        self.engine = engine
        self.protocol: Protocol = check_protocol(protocol or engine.config.protocol)
        self.batch_size = batch_size
        self.log = log
        self.show = show
        self._inputs: LruCache[str, VideoInputs | InputError] = LruCache(_MAX_VIDEOS)

    def losses(self, documents: Sequence[Document]) -> list[list[Loss]]:
        """For each document, a loss of each of its options; the lowest is chosen, as the protocol has it.

        An option that is a document's only one is scored as a free answer.
        """
        losses: dict[int, list[Loss]] = {}
        faults: dict[int, str] = {}
        with bar("lmms-eval: options", len(documents), show=self.show) as line:
            for batch in self._batches(documents, faults, line):
                losses |= self._scored({n: documents[n] for n in batch}, batch, faults)
                line.advance(len(batch))
        for number in faults:
            losses[number] = self._wrong(documents[number])
        self._log_faults(faults, documents)
        return [losses[number] for number in range(len(documents))]

    def texts(self, questions: Sequence[OpenQuestion]) -> list[str]:
        """The greedy answer to each question; a description of the video where the question is empty."""
        texts = [""] * len(questions)
        faults: dict[int, str] = {}
        if any(question.sampled for question in questions):
            self.log("the task asks for sampled answers; topa's are greedy")
        with bar("lmms-eval: answers", len(questions), show=self.show) as line:
            for batch in self._batches(questions, faults, line):
                requests = {n: _open_request(questions[n], inputs) for n, inputs in batch.items()}
                prepared = self._prepared(requests, faults)
                for number, answer in zip(prepared, self.engine.answer(list(prepared.values())), strict=True):
                    texts[number] = answer.text
                line.advance(len(batch))
        self._log_faults(faults, questions)
        return texts

    def _batches(self, items: Sequence[Item], faults: dict[int, str], line: Bar) -> Iterator[dict[int, VideoInputs]]:
        """The inputs of items that have a video, by number, `batch_size` at a time, those about a video beside each
        other; why others have none goes to `faults`."""
        rank: dict[str, int] = {}
        for item in items:
            rank.setdefault(item.about.video, len(rank))
        order = sorted(range(len(items)), key=lambda number: rank[items[number].about.video])
        for start in range(0, len(order), self.batch_size):
            batch: dict[int, VideoInputs] = {}
            for number in order[start : start + self.batch_size]:
                about = items[number].about
                inputs: VideoInputs | InputError
                if about.fault:
                    inputs = InputError(about.fault)
                else:
                    inputs = self._inputs.get_or_make(about.video, partial(self._encode, about.video))
                if isinstance(inputs, InputError):
                    faults[number] = str(inputs)
                    line.advance(note=f"{len(faults)} without an answer")
                else:
                    batch[number] = inputs
            if batch:
                yield batch

    def _encode(self, video: str) -> VideoInputs | InputError:
        """Return the inputs of a video, or why there are none."""
        try:
            encoded = encode_video(video, self.engine.encoder, self.engine.config.frames)
        except InputError as error:
            return error
        if encoded.sampled.truncated:
            self.log(f"{video}: damaged or cut short; answers rest on the part that could be read")
        return self.engine.inputs_of_projected(self.engine.project([encoded.features])[0])

    def _prepared(self, requests: Mapping[int, Request], faults: dict[int, str]) -> dict[int, PreparedRequest]:
        prepared = {}
        for number, request in requests.items():
            try:
                prepared[number] = self.engine.prepare(request)
            except InputError as error:
                faults[number] = str(error)
        return prepared

    def _scored(
        self, documents: Mapping[int, Document], inputs: Mapping[int, VideoInputs], faults: dict[int, str]
    ) -> dict[int, list[Loss]]:
        """Losses of the options of each document; why there are none goes to `faults`."""
        several = {
            n: Request(inputs[n], document.question, document.options, self.protocol)
            for n, document in documents.items()
            if len(document.options) > 1
        }
        prepared = self._prepared(several, faults)
        scores = dict(zip(prepared, map(_scores, self.engine.answer(list(prepared.values()))), strict=True))
        for number, document in documents.items():
            if number not in several:
                try:
                    scores[number] = [self._alone(document, inputs[number])]
                except InputError as error:
                    faults[number] = str(error)
        said = self._greedy({n: documents[n] for n in scores}, inputs)
        return {n: list(zip(scores[n], said[n], strict=True)) for n in scores}

    def _alone(self, document: Document, inputs: VideoInputs) -> float:
        """The loss of a document's only option."""
        prompt = self.engine.prompter.answer(document.question, int(inputs.valid.sum()), document.options[0])
        (nll,) = nll_of_targets(self.engine.model, [[prompt]], inputs.values[None], inputs.valid[None])
        return float(nll[0].mean())

    def _greedy(self, documents: Mapping[int, Document], inputs: Mapping[int, VideoInputs]) -> dict[int, list[bool]]:
        """For each document, which of its options greedy decoding gives as a free answer."""
        prompter, tasks, targets = self.engine.prompter, [], []
        eos = prompter.tokenizer.eos_token_id
        for number, document in documents.items():
            own = [prompter.target_ids(f" {option}") for option in document.options]
            longest = max(map(len, own))
            request = Request(inputs[number], document.question, generation=GenerationSettings(longest))
            tasks.append(self.engine.prepare(request).task())
            targets.append(own)
        marks = []
        for completion, own in zip(complete(self.engine.model, prompter.tokenizer, tasks), targets, strict=True):
            said = tuple(sampled.token for sampled in completion.tokens)
            ended = (*said, eos) if completion.finish == "stop" else said
            marks.append([ended == ids for ids in own])
        return dict(zip(documents, marks, strict=True))

    def _wrong(self, document: Document) -> list[Loss]:
        """Losses by which the harness's argmin finds no right option. It finds the first where all are equal, and that
        one would be right now and then."""
        right = document.right()
        if not right:
            self.log(f"{document.about.name}: its right option can't be told; lmms-eval will take the first one")
            return [_WORST] * len(document.options)
        return [_WORST if at in right else _BEST_OF_WRONG for at in range(len(document.options))]

    def _log_faults(self, faults: dict[int, str], items: Sequence[Item]) -> None:
        """A line for each reason, with all questions that have no answer for it."""
        names: dict[str, list[str]] = {}
        for number, fault in sorted(faults.items()):
            names.setdefault(fault, []).append(items[number].about.name)
        for fault, found in names.items():
            self.log(f"no answer, counted wrong: {'; '.join(found)}. {fault}")
        if faults:
            self.log(f"{len(faults)} of {len(items)} have no answer and are counted wrong; they are named above")


def _open_request(question: OpenQuestion, inputs: VideoInputs) -> Request:
    settings = GenerationSettings(question.max_tokens, stop=question.until)
    return Request(inputs, question.question or None, generation=settings)


def _scores(answer: Answer) -> list[float]:
    return list(answer.scores)
