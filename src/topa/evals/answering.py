"""A block of records and the features of their videos become predictions.

Every record gets one: what can't be asked, seen or answered has an error in it, and is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..core.errors import InputError
from ..features.frames import FrameFeatures
from ..inference.engine import Topa
from ..inference.protocols import Asker, Chosen
from ..prompts.prompt import Prompt
from ..prompts.templates import subtitled
from .ablations import show
from .answers import exact_match
from .example import Example, Task
from .predictions import Prediction
from .watching import Watched


@dataclass(frozen=True, slots=True)
class Answering:
    """How records are answered: by whom, and under which views (see `evals.ablations`).

    said: what is spoken in the video, given before the question; "" for nothing.
    """

    engine: Topa
    asker: Asker
    task: Task
    said: Callable[[Example, FrameFeatures], str] = lambda example, features: ""

    def answer(
        self, examples: Sequence[Example], clips: Sequence[str], watched: Watched, views: Sequence[str]
    ) -> dict[str, list[Prediction]]:
        """One prediction per record and view. clips: the clip of each record; watched: their features."""
        faults: list[str] = []
        known: list[Asked] = []
        features: dict[str, FrameFeatures] = {}
        for example, clip in zip(examples, clips, strict=True):
            found = watched[clip]
            fault = example.fault or (found if isinstance(found, str) else "")
            if not fault and isinstance(found, FrameFeatures):
                try:
                    known.append(self._with_speech(example, found))
                    features[clip] = found
                except InputError as error:  # of its subtitles
                    fault = str(error)
            faults.append(fault)
        asked = [number for number, fault in enumerate(faults) if not fault]
        place = {name: row for row, name in enumerate(features)}
        about = [place[clips[number]] for number in asked]
        captions = {clip: example.captions for example, clip in zip(examples, clips, strict=True)}
        shown = show(self.engine, features, views, captions) if features else {}
        made: dict[str, list[Prediction]] = {}
        for view in views:
            answers: dict[int, Prediction] = {n: _failed(examples[n], fault) for n, fault in enumerate(faults) if fault}
            if asked:
                answers |= zip(asked, self._answers(known, *shown[view], about), strict=True)
            made[view] = [answers[number] for number in range(len(examples))]
        return made

    def _with_speech(self, example: Example, features: FrameFeatures) -> Asked:
        question = subtitled(example.question, self.said(example, features))
        return Asked(example, question, tuple(option.strip() for option in example.options))

    def _answers(self, asked: Sequence[Asked], values: Tensor, valid: Tensor, about: Sequence[int]) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        choices = [n for n, own in enumerate(asked) if own.options]
        chosen = self.asker.choose([asked[n] for n in choices], values, valid, [about[n] for n in choices])
        found |= {n: _chosen(asked[n].example, answer) for n, answer in zip(choices, chosen, strict=True)}
        shown = valid.sum(dim=1).tolist()
        prompts: dict[int, Prompt] = {}
        for number, (own, video) in enumerate(zip(asked, about, strict=True)):
            if not own.options:
                try:
                    prompts[number] = self._prompt(own, shown[video])
                except InputError as error:
                    found[number] = _failed(own.example, str(error))
        said = self.asker.say(list(prompts.values()), values, valid, [about[number] for number in prompts])
        for number, text in zip(prompts, said, strict=True):
            found[number] = _said(asked[number].example, text, self.task)
        return [found[number] for number in range(len(asked))]

    def _prompt(self, asked: Asked, shown: int) -> Prompt:
        prompter = self.asker.prompter
        return prompter.describe(shown) if self.task == "caption" else prompter.answer(asked.question, shown)


@dataclass(frozen=True, slots=True)
class Asked:
    """A record as it is put to the model."""

    example: Example
    question: str
    options: tuple[str, ...]


def _failed(example: Example, error: str) -> Prediction:
    wrong = None if example.hidden else 0.0
    return Prediction(
        id=example.id, video=example.video, kind=example.kind, answer=example.answer, correct=wrong, error=error
    )


def _chosen(example: Example, chosen: Chosen | InputError) -> Prediction:
    if isinstance(chosen, InputError):
        return _failed(example, str(chosen))
    return Prediction(
        id=example.id,
        video=example.video,
        kind=example.kind,
        choice=chosen.choice,
        text=chosen.text,
        scores=chosen.scores,
        probabilities=chosen.probabilities,
        answer=example.answer,
        correct=None if example.answer is None else float(chosen.choice == example.answer),
    )


def _said(example: Example, text: str, task: Task) -> Prediction:
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
