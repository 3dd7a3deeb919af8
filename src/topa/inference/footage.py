"""Long videos: many frames of one are encoded, a few are read, chosen by what is asked.

    uniform         evenly spread
    question        like the question and unlike each other (`features.relevance`)
    hierarchical    segments are likened to the question, the model answers over each of the best ones, read by the
                    frames that stand for its scenes, and their answers count as much as they are like it

Reads videos, or features that are kept of them, gives `Answer`s that say what was read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from ..core.errors import UsageError
from ..core.registry import unknown
from ..features.encode_video import encode_video
from ..features.frames import FrameFeatures
from ..features.keyframes import select_keyframes
from ..features.relevance import even, maximal_marginal_relevance, query, segments, top_k
from ..features.subtitles import Cue, subtitle_excerpt
from ..features.video import probe
from ..prompts.templates import subtitled
from ..tideos.tideo import Question
from .answer import Answer, EvidenceFrame, Part
from .engine import Seen, Topa
from .requests import check_question
from .scoring import Protocol, generate, score_options, stack

FramesBy = Literal["uniform", "question", "hierarchical"]
PARTS = 4
"""Segments, or moments of a library, that are read for one question."""

_SHARPNESS = 10.0  # how fast a part counts less with its cosine
_MOST = 4096  # frames that are looked at by default
_AT_ONCE = 128  # pictures in memory at a time


def frames_by(name: str) -> FramesBy:
    """The way of a name. Raises UsageError with the nearest known one."""
    for known in get_args(FramesBy):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise unknown("way to choose frames", name, get_args(FramesBy))


class Footage:
    """Frames of one video, encoded, for as many questions as there are: each is projected and put into words once."""

    def __init__(self, engine: Topa, image: FrameFeatures, *, truncated: bool = False) -> None:
        """image: in image space, all valid; truncated: the file is damaged or cut."""
        self.engine = engine
        self.image = image
        self.truncated = truncated
        self._values = torch.zeros_like(image.values)
        self._projected = torch.zeros(len(image), dtype=torch.bool)
        self._read: dict[int, EvidenceFrame] = {}

    def __len__(self) -> int:
        return len(self.image)

    def values(self, start: int = 0, end: int | None = None) -> Tensor:
        """Frames `start` to `end` as the model reads them: float32 [n, D] unit rows. Raises as `Topa.project`."""
        self._project(list(range(len(self)))[start:end])
        return self._values[start:end]

    def seen(self, numbers: Sequence[int], frames_by: str = "uniform") -> Seen:
        """Some frames as the engine asks about them, without pictures; frames_by: how they were chosen. Raises as
        `Topa.project`."""
        self._project(numbers)
        own = self.image.take(torch.tensor(numbers))
        if new := [number for number in numbers if number not in self._read]:
            self._read |= zip(new, self.engine.read(self.image.take(torch.tensor(new))), strict=False)
        evidence = tuple(self._read[number] for number in numbers if number in self._read)
        features = FrameFeatures(self._values[numbers], own.valid, "projected", own.encoder, own.times)
        return Seen(features, evidence, (), self.truncated, frames_by)

    def _project(self, numbers: Sequence[int]) -> None:
        new = torch.tensor([n for n in dict.fromkeys(numbers) if not self._projected[n]], dtype=torch.int64)
        if len(new):
            self._values[new] = self.engine.project([self.image.take(new)])[0].values
            self._projected[new] = True

    def ask(
        self,
        question: str,
        choices: Sequence[str] = (),
        *,
        frames_by: FramesBy = "uniform",
        cues: Sequence[Cue] = (),
        protocol: Protocol | None = None,
        max_tokens: int = 40,
    ) -> Answer:
        """Answer a question. cues: subtitles, of which the model reads what is said at the frames it reads, or during
        the segment. Other arguments, and errors, as for `Topa.ask`."""
        check_question(question, choices)
        count = self.engine.config.frames
        if frames_by == "hierarchical":
            asked = query(question, choices, self.engine.encoder.encode_texts)
            parts = segments(len(self), count)
            best = top_k(self.values(), asked, parts, PARTS)
            scenes = [Scene(self, *parts[number], likeness, cues=cues) for number, likeness in best]
            answer = answer_over(scenes, question, choices, protocol=protocol, max_tokens=max_tokens)
            return replace(answer, frames_by=frames_by)
        if frames_by == "question":
            asked = query(question, choices, self.engine.encoder.encode_texts)
            numbers = maximal_marginal_relevance(self.values(), asked, count)
        else:
            numbers = even(len(self), count)
        seen = self.seen(numbers, frames_by)
        said = subtitle_excerpt(cues, seen.times) if cues else ""
        return self.engine.ask(seen, question, choices, protocol=protocol, max_tokens=max_tokens, said=said)


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of some footage: frames `start` to `end`, the last one excluded, and how much it is like the question.
    video: its name in the library; cues: subtitles of the whole video."""

    footage: Footage
    start: int
    end: int
    likeness: float
    video: str = ""
    cues: Sequence[Cue] = ()

    def seen(self) -> Seen:
        """The frames that stand for what it shows, as many as the model reads."""
        rows = self.footage.image.values[self.start : self.end]
        chosen = select_keyframes(rows, self.footage.engine.config.frames)
        return self.footage.seen([self.start + number for number in chosen])

    def span(self) -> tuple[float, float]:
        """Seconds of its first frame and of its last one; nan where they aren't known."""
        times = self.footage.image.times
        return (math.nan, math.nan) if times is None else (float(times[self.start]), float(times[self.end - 1]))


def answer_over(
    scenes: Sequence[Scene],
    question: str,
    choices: Sequence[str] = (),
    *,
    protocol: Protocol | None = None,
    max_tokens: int = 40,
) -> Answer:
    """One answer from several parts, which the model reads one by one, in one batch.

    Each part's weight is the softmax of ten times its likeness. A choice is as probable as the weighted mean of what
    the parts say (`scores`: minus its logarithm); of free answers the one with the most weight behind it wins. Raises
    as `Topa.ask` does, and UsageError without parts.
    """
    check_question(question, choices)
    if not scenes:
        raise UsageError("ask: found no part of a video to read; expected one or more.")
    engine = scenes[0].footage.engine
    looks = [scene.seen() for scene in scenes]
    values, valid = stack([engine.inputs(seen.features) for seen in looks])
    told = [subtitled(question, _said(scene)) for scene in scenes]
    weights = torch.softmax(_SHARPNESS * torch.tensor([scene.likeness for scene in scenes]), dim=0)
    warnings = tuple(dict.fromkeys(w for seen in looks for w in engine.warnings(seen, " ".join((question, *choices)))))
    if choices:
        options = tuple(choice.strip() for choice in choices)
        scores = score_options(
            engine.model,
            engine.prompter,
            [Question(question=text, options=options) for text in told],
            values,
            valid,
            protocol=protocol or engine.config.protocol,
        )
        if cut := max(score.cut for score in scores):
            warnings += (f"{cut} tokens of the options were left out: the language model can't read as many",)
        each = weights[:, None] * torch.tensor([score.probabilities for score in scores])
        mixed = each.sum(dim=0)
        choice = int(mixed.argmax())
        shares, texts = each[:, choice] / mixed[choice], [options[score.choice] for score in scores]
        answer = Answer(
            options[choice],
            choice,
            options,
            tuple(mixed.tolist()),
            tuple((-mixed.log()).tolist()),
            warnings=warnings,
        )
    else:
        prompts = [engine.prompter.answer(text, int(own.sum())) for text, own in zip(told, valid, strict=True)]
        texts = generate(engine.model, engine.prompter, prompts, values, valid, max_tokens)
        behind: dict[str, float] = {}
        for text, weight in zip(texts, weights.tolist(), strict=True):
            behind[text] = behind.get(text, 0.0) + weight
        said = max(behind, key=behind.__getitem__)
        shares = weights * torch.tensor([text == said for text in texts]) / behind[said]
        answer = Answer(said, warnings=warnings)
    order = shares.argsort(descending=True, stable=True).tolist()
    parts = tuple(
        Part(scenes[n].span()[0], scenes[n].span()[1], float(shares[n]), texts[n], scenes[n].video) for n in order
    )
    first = looks[order[0]]
    return replace(answer, evidence=first.evidence, times=first.times, parts=parts)


def watch(
    engine: Topa, video: str | Path, *, among: int | None = None, progress: Callable[[int], None] = lambda _: None
) -> Footage:
    """Decode and encode evenly spread frames of a video of any length, a few pictures in memory at a time.

    among: how many; by default one a second, four times as many as the model reads at least, and 4096 at most.
    progress: told how many more are encoded. Raises what `sample_frames` raises, UsageError for fewer than it reads.
    """
    duration = probe(video).duration_s
    count = among or min(max(math.ceil(duration), 4 * engine.config.frames), _MOST)
    if count < engine.config.frames:
        raise UsageError(
            f"{video}: found among={among}; expected {engine.config.frames} or more: the model reads so many frames. "
            "Ask for more, such as four times as many."
        )
    found, truncated = [], False
    for start in range(0, count, _AT_ONCE):
        end = min(start + _AT_ONCE, count)
        bounds = (duration * start / count, duration * end / count if end < count else None)
        part = encode_video(video, engine.encoder, end - start, start=bounds[0], end=bounds[1])
        found.append(part.features)
        truncated |= part.sampled.truncated
        progress(end - start)
    times = torch.cat([part.times for part in found if part.times is not None])
    values = torch.cat([part.values for part in found])
    return Footage(engine, FrameFeatures.image(values, engine.encoder.identity, times), truncated=truncated)


def _said(scene: Scene) -> str:
    start, end = scene.span()
    return subtitle_excerpt(scene.cues, start=start, end=end) if scene.cues else ""
