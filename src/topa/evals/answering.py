"""A block of records and the features of their videos become predictions.

Every record gets one: what can't be asked, read or answered has an error in it, and is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import InputError
from ..core.protocols import Protocol
from ..features.frames import FrameFeatures
from ..inference.answer import Answer
from ..inference.engine import Topa
from ..inference.prepared import PreparedRequest
from ..inference.request import GenerationSettings, Request
from ..inference.video_inputs import VideoInputs
from .ablations import ablate
from .answers import exact_match
from .example import Example, Task
from .predictions import Prediction
from .watching import Watched


@dataclass(frozen=True, slots=True)
class RecordAnswerer:
    """How records are answered: by which engine, and how. protocol, permutations, max_tokens: as in `Request`.
    subtitles: what is spoken in a video, read before the question; "" for nothing."""

    engine: Topa
    task: Task
    protocol: Protocol
    permutations: bool = False
    max_tokens: int = 40
    subtitles: Callable[[Example, FrameFeatures], str] = lambda example, features: ""

    def answer(
        self, examples: Sequence[Example], clips: Sequence[str], watched: Watched, views: Sequence[str]
    ) -> dict[str, list[Prediction]]:
        """Return one prediction per record and view (see `evals.ablations`). clips: the clip of each record; watched:
        their features."""
        features = {clip: found for clip in dict.fromkeys(clips) if isinstance(found := watched[clip], FrameFeatures)}
        faults, speech = self._faults(examples, clips, watched)
        used = {clips[n]: features[clips[n]] for n, fault in enumerate(faults) if not fault}
        captions = {clip: example.captions for example, clip in zip(examples, clips, strict=True)}
        inputs = ablate(self.engine, used, views, captions) if used else {}
        predictions: dict[str, list[Prediction]] = {}
        for view in views:
            prepared: dict[int, PreparedRequest] = {}
            errors = {n: fault for n, fault in enumerate(faults) if fault}
            for number, example in enumerate(examples):
                if number not in errors:
                    try:
                        request = self._request(example, inputs[view][clips[number]], speech[number])
                        prepared[number] = self.engine.prepare(request)
                    except InputError as error:
                        errors[number] = str(error)
            answers = dict(zip(prepared, self.engine.answer(list(prepared.values())), strict=True))
            predictions[view] = [
                _failed(example, errors[n]) if n in errors else self._prediction(example, answers[n])
                for n, example in enumerate(examples)
            ]
        return predictions

    def _faults(
        self, examples: Sequence[Example], clips: Sequence[str], watched: Watched
    ) -> tuple[list[str], list[str]]:
        """Why each record can't be asked, or ""; and what is spoken in its video."""
        faults, speech = [], []
        for example, clip in zip(examples, clips, strict=True):
            features = watched[clip]
            fault, text = example.fault or (features if isinstance(features, str) else ""), ""
            if not fault and isinstance(features, FrameFeatures):
                try:
                    text = self.subtitles(example, features)
                except InputError as error:
                    fault = str(error)
            faults.append(fault)
            speech.append(text)
        return faults, speech

    def _request(self, example: Example, inputs: VideoInputs, subtitles: str) -> Request:
        options = tuple(option.strip() for option in example.options)
        return Request(
            inputs,
            None if self.task == "caption" and not options else example.question,
            options,
            self.protocol,
            self.permutations,
            subtitles,
            GenerationSettings(self.max_tokens),
        )

    def _prediction(self, example: Example, answer: Answer) -> Prediction:
        if answer.choice is None:
            return _generated(example, answer.text, self.task)
        return _chosen(example, answer)


def _failed(example: Example, error: str) -> Prediction:
    wrong = None if example.hidden else 0.0
    return Prediction(
        id=example.id, video=example.video, kind=example.kind, answer=example.answer, correct=wrong, error=error
    )


def _chosen(example: Example, answer: Answer) -> Prediction:
    return Prediction(
        id=example.id,
        video=example.video,
        kind=example.kind,
        choice=answer.choice,
        text=answer.text,
        scores=answer.scores,
        probabilities=answer.probabilities,
        answer=example.answer,
        correct=None if example.answer is None else float(answer.choice == example.answer),
    )


def _generated(example: Example, text: str, task: Task) -> Prediction:
    graded = task != "caption" and not example.hidden
    return Prediction(
        id=example.id,
        video=example.video,
        kind=example.kind,
        text=text,
        correct=exact_match(text, example.references) if graded else None,
    )


def spans(clips: Mapping[str, Sequence[int]], records: int, videos: int) -> list[list[int]]:
    """Blocks of records: those of a clip stay together, so that it is encoded and read once.

    clips: the records of each clip, in the order of the first of them. records, videos: of a block at most, though a
    block holds one clip at least.
    """
    blocks: list[list[int]] = []
    held = 0
    for numbers in clips.values():
        if not blocks or held == videos or len(blocks[-1]) + len(numbers) > records:
            blocks.append([])
            held = 0
        blocks[-1] += numbers
        held += 1
    return blocks
