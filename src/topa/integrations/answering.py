"""An engine answers what a harness asks: losses of options, and texts.

Reads `Document`s and `OpenQuestion`s of `requests`, gives numbers and words to `lmms_model`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ..core.errors import InputError
from ..core.progress import Bar, bar
from ..features.encode_video import encode_video
from ..inference.engine import Topa
from ..inference.protocols import Asker, Choosing
from ..inference.scoring import nll_of_targets, read, tidy
from ..models.inputs import ModelInputs
from ..prompts.prompt import Prompt
from .requests import Document, OpenQuestion, cut

_KEPT = 1024  # videos whose features are kept: about 30 MB of ten frames of width 768
_WORST = (float("inf"), False)
_BEST_OF_WRONG = (0.0, False)

Asked = TypeVar("Asked", Document, OpenQuestion)
Loss = tuple[float, bool]
"""What the harness wants of an option: its mean loss, and whether it is the answer that greedy decoding gives."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Videos as the LLM gets them, values [V, T, D] and valid [V, T], and which of them each question is about."""

    frames: Tensor
    valid: Tensor
    videos: list[int]

    def shown(self, question: int) -> int:
        """How many frames of its video."""
        return int(self.valid[self.videos[question]].sum())

    def of(self, questions: Sequence[int]) -> _Batch:
        """The same videos for some of the questions."""
        return _Batch(self.frames, self.valid, [self.videos[number] for number in questions])


class Answering:
    """Answers by one engine. together: questions at a time. tell: takes a line for the log.

    A question about a video that can't be read is told of and answered wrongly, as everywhere in topa: options get
    losses by which no right one is chosen, an open question gets no words.
    Raises UsageError for an unknown protocol.
    """

    def __init__(
        self, engine: Topa, protocol: Choosing | None, together: int, tell: Callable[[str], None], *, show: bool = True
    ) -> None:
        self.engine = engine
        self.asker = Asker(engine.model, engine.prompter, engine.encoder, protocol or engine.config.protocol)
        self.together = together
        self.tell = tell
        self.show = show
        self._seen: OrderedDict[str, tuple[Tensor, Tensor] | InputError] = OrderedDict()

    def losses(self, documents: Sequence[Document]) -> list[list[Loss]]:
        """For each document, a loss of each of its options; the lowest is chosen, as the protocol has it.

        An option that is a document's only one is scored as a free answer.
        """
        losses: list[list[Loss]] = [[] for _ in documents]
        faults: dict[int, str] = {}
        with bar("lmms-eval: options", len(documents), show=self.show) as line:
            for numbers, batch in self._batches(documents, faults, line):
                asked = [documents[number] for number in numbers]
                for number, found in zip(numbers, self._scored(asked, batch), strict=True):
                    if isinstance(found, InputError):
                        faults[number] = str(found)
                    else:
                        losses[number] = found
                line.advance(len(numbers))
        for number in faults:
            losses[number] = self._wrong(documents[number])
        self._tell_of(faults, documents)
        return losses

    def texts(self, questions: Sequence[OpenQuestion]) -> list[str]:
        """The greedy answer to each question; a description of the video where the question is empty."""
        texts = [""] * len(questions)
        faults: dict[int, str] = {}
        if any(question.sampled for question in questions):
            self.tell("the task asks for sampled answers; topa's are greedy")
        with bar("lmms-eval: answers", len(questions), show=self.show) as line:
            for numbers, batch in self._batches(questions, faults, line):
                asked: dict[int, Prompt] = {}
                for at, number in enumerate(numbers):
                    try:
                        asked[at] = self._open(questions[number].question, batch.shown(at))
                    except InputError as error:
                        faults[number] = str(error)
                own = [questions[numbers[at]] for at in asked]
                said = self._said(own, list(asked.values()), batch.of(list(asked))) if asked else []
                for at, text in zip(asked, said, strict=True):
                    texts[numbers[at]] = text
                line.advance(len(numbers))
        self._tell_of(faults, questions)
        return texts

    def _batches(self, asked: Sequence[Asked], faults: dict[int, str], line: Bar) -> Iterator[tuple[list[int], _Batch]]:
        """Questions that have a video, `together` at a time, those about a video beside each other; why others have
        none goes to `faults`."""
        rank: dict[str, int] = {}
        for question in asked:
            rank.setdefault(question.about.video, len(rank))
        order = sorted(range(len(asked)), key=lambda number: rank[asked[number].about.video])
        for start in range(0, len(order), self.together):
            numbers: list[int] = []
            inputs: dict[str, tuple[Tensor, Tensor]] = {}
            for number in order[start : start + self.together]:
                about = asked[number].about
                found = InputError(about.fault) if about.fault else self._look(about.video)
                if isinstance(found, InputError):
                    faults[number] = str(found)
                    line.advance(note=f"{len(faults)} without an answer")
                else:
                    inputs[about.video] = found
                    numbers.append(number)
            if numbers:
                places = {video: place for place, video in enumerate(inputs)}
                frames, valid = (torch.stack(part) for part in zip(*inputs.values(), strict=True))
                yield numbers, _Batch(frames, valid, [places[asked[number].about.video] for number in numbers])

    def _look(self, video: str) -> tuple[Tensor, Tensor] | InputError:
        """What the LLM gets of a video, or why it gets nothing; either is found out once."""
        if video not in self._seen:
            try:
                encoded = encode_video(video, self.engine.encoder, self.engine.config.frames)
            except InputError as error:
                self._seen[video] = error
            else:
                if encoded.sampled.truncated:
                    self.tell(f"{video}: damaged or cut short; answers rest on the part that could be read")
                self._seen[video] = self.engine.inputs(self.engine.project([encoded.features])[0])
            if len(self._seen) > _KEPT:
                self._seen.popitem(last=False)
        self._seen.move_to_end(video)
        return self._seen[video]

    def _scored(self, documents: Sequence[Document], batch: _Batch) -> list[list[Loss] | InputError]:
        """Losses of the options of each document, or why there are none."""
        found: dict[int, list[float] | InputError] = {}
        several = [at for at, document in enumerate(documents) if len(document.options) > 1]
        asked = [documents[at] for at in several]
        chosen = self.asker.choose(asked, batch.frames, batch.valid, batch.of(several).videos)
        for at, choice in zip(several, chosen, strict=True):
            found[at] = choice if isinstance(choice, InputError) else list(choice.scores)
        for at, document in enumerate(documents):
            if at not in found:
                found[at] = self._alone(document, batch.of([at]))
        scores = {at: own for at, own in found.items() if not isinstance(own, InputError)}
        losses = dict(zip(scores, self._greedy(documents, list(scores), batch), strict=True))
        return [
            own if isinstance(own, InputError) else list(zip(own, losses[at], strict=True))
            for at, own in sorted(found.items())
        ]

    def _alone(self, document: Document, batch: _Batch) -> list[float] | InputError:
        """The loss of a document's only option."""
        try:
            prompt = self.engine.prompter.answer(document.question, batch.shown(0), document.options[0])
        except InputError as error:
            return error
        (nll,) = nll_of_targets(self.engine.model, [[prompt]], batch.frames, batch.valid, batch.videos)
        return [float(nll[0].mean())]

    def _greedy(self, documents: Sequence[Document], numbers: Sequence[int], batch: _Batch) -> list[list[bool]]:
        """For some of the documents, which option greedy decoding gives as a free answer. Decoding goes on only as
        long as what was said begins an option."""
        if not numbers:
            return []
        model, prompter = self.engine.model, self.engine.prompter
        rows = [
            [prompter.answer(documents[n].question, batch.shown(n), option) for option in documents[n].options]
            for n in numbers
        ]
        said = [row[0].ids[: row[0].target[0]] for row in rows]
        asked = [Prompt(ids, row[0].slots, (len(ids), len(ids))) for ids, row in zip(said, rows, strict=True)]
        about = batch.of(numbers).videos
        context = read(model, asked, batch.frames[about], batch.valid[about])
        going = list(range(len(rows)))
        while going:
            best = context.next_logits.argmax(dim=-1).tolist()
            for row, token in zip(going, best, strict=True):
                said[row] = (*said[row], token)
            on = [
                place
                for place, row in enumerate(going)
                if any(len(p) > len(said[row]) and p.ids[: len(said[row])] == said[row] for p in rows[row])
            ]
            if not on:
                break
            tokens = torch.tensor([[best[place]] for place in on], device=model.device)
            context = model.prefill(ModelInputs(tokens), context.take(on))
            going = [going[place] for place in on]
        return [[prompt.ids == ids for prompt in row] for ids, row in zip(said, rows, strict=True)]

    def _open(self, question: str, shown: int) -> Prompt:
        return self.engine.prompter.answer(question, shown) if question else self.engine.prompter.describe(shown)

    def _said(self, questions: Sequence[OpenQuestion], prompts: Sequence[Prompt], batch: _Batch) -> list[str]:
        prompter = self.engine.prompter
        most = max(question.max_tokens for question in questions)
        if prompter.window is not None:
            most = max(1, min(most, prompter.window - max(map(len, prompts))))
        context = read(self.engine.model, prompts, batch.frames[batch.videos], batch.valid[batch.videos])
        eos = prompter.tokenizer.eos_token_id
        rows = self.engine.model.greedy(context, most, eos=() if eos is None else eos)
        return [
            tidy(cut(prompter.tokenizer.decode(row[: q.max_tokens], skip_special_tokens=True), q.until))
            for q, row in zip(questions, rows, strict=True)
        ]

    def _wrong(self, document: Document) -> list[Loss]:
        """Losses by which the harness's argmin finds no right option. It finds the first where all are equal, and that
        one would be right now and then."""
        right = document.right()
        if not right:
            self.tell(f"{document.about.name}: its right option can't be told; lmms-eval will take the first one")
            return [_WORST] * len(document.options)
        return [_WORST if at in right else _BEST_OF_WRONG for at in range(len(document.options))]

    def _tell_of(self, faults: dict[int, str], asked: Sequence[Asked]) -> None:
        """A line for each reason, with all questions that have no answer for it."""
        names: dict[str, list[str]] = {}
        for number, fault in sorted(faults.items()):
            names.setdefault(fault, []).append(asked[number].about.name)
        for fault, found in names.items():
            self.tell(f"no answer, counted wrong: {'; '.join(found)}. {fault}")
        if faults:
            self.tell(f"{len(faults)} of {len(asked)} have no answer and are counted wrong; they are named above")
