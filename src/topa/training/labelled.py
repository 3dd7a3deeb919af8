"""Labelled videos: which of their questions a run learns from, and which it is validated on.

Reads questions by `evals.questions`, and what is known of their videos' features; used by `topa.training.finetune`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import AllFailed, InputError, TopaError
from ..evals.questions import FORMATS, Asked, UnfitQuestion, VideoQuestion, asked
from ..features.clips import Clip, clip_below, name_below
from ..features.feature_cache import FeatureCache
from ..prompts.templates import LETTERS
from ..tideos.drop_counts import DropCounts
from .finetune_config import FinetuneConfig


@dataclass(frozen=True, slots=True)
class LabelledVideos:
    """Labelled videos. data: the file of questions, in one of `FORMATS`. videos: the folder that their paths start
    from; the file's own by default. features: a folder of features that are there, or go there."""

    data: Path
    format: str = "jsonl"
    videos: Path | None = None
    features: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the videos are."""
        return self.data.parent if self.videos is None else self.videos

    def name(self, question: VideoQuestion) -> str:
        """Return the name of a question's video: its path in the folder."""
        return name_below(self.folder, question.video)

    def clip(self, question: VideoQuestion) -> Clip:
        """Return the clip of a question: the id is the video's name, with `#1.5-8` for a part."""
        return clip_below(self.folder, question.video, question.start, question.end, question.fps)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which questions a run learns from, and which it is validated on; no video has some of both.

    left_out: the others that can't be used, with the reasons. unseen: questions beyond the fraction of the videos.
    """

    training: tuple[VideoQuestion, ...]
    held_out: tuple[VideoQuestion, ...]
    left_out: tuple[UnfitQuestion, ...]
    unseen: int

    @property
    def tally(self) -> DropCounts:
        """Counts of what was left out, by reason."""
        tally = DropCounts()
        for unfit in self.left_out:
            tally.add(unfit.reason, f"{unfit.id}, {unfit.video}: {unfit.detail}" if unfit.detail else unfit.id)
        return tally


def select(source: LabelledVideos, config: FinetuneConfig, known: FeatureCache) -> Selection:
    """Split questions into those for training and those held out, decided by video and by the seed alone.

    A part of the videos is drawn, not of the questions: those of one video stand together, and a tenth of them all
    would show most videos. known: features that are there; a video may be missing then.
    Raises InputError where nothing can be used, or where the held-out share is no whole video.
    """
    usable: list[tuple[str, VideoQuestion]] = []
    left_out: list[UnfitQuestion] = []
    for labelled in _labelled_questions(source):
        unfit = labelled if isinstance(labelled, UnfitQuestion) else _unfit(labelled, source, config, known)
        if unfit is not None:
            left_out.append(unfit)
        elif isinstance(labelled, VideoQuestion):
            usable.append((source.name(labelled), labelled))
    videos = sorted({name for name, _ in usable})
    if not videos:
        raise nothing(source.data, left_out)
    held = set(_sample(videos, round(config.held_out * len(videos)), f"{config.seed} held out"))
    if config.held_out and (not held or len(held) == len(videos)):
        raise InputError(
            f"{source.data}: found questions about {len(videos)} videos, of which a share of {config.held_out:g} is "
            f"{len(held)}; expected at least one for training and one for validation. Give more videos, another "
            "--set held_out=, or go without validation: --set held_out=0"
        )
    training = [name for name in videos if name not in held]
    number = math.ceil(config.fraction * len(training) - 1e-9)
    sample = set(_sample(training, number, f"{config.seed} fraction"))
    return Selection(
        tuple(q for name, q in usable if name in sample),
        tuple(q for name, q in usable if name in held),
        tuple(left_out),
        sum(name not in sample and name not in held for name, _ in usable),
    )


def _labelled_questions(source: LabelledVideos) -> Iterable[Asked]:
    read = FORMATS.load(source.format)
    if not source.folder.is_dir():
        raise InputError(f"{source.folder}: found no such folder; expected the videos. Name another one with --videos.")
    return map(asked, read(source.data, source.folder))


def _unfit(
    question: VideoQuestion, source: LabelledVideos, config: FinetuneConfig, known: FeatureCache
) -> UnfitQuestion | None:
    """Return why nothing can be learned from a question, as far as is known without opening its video."""
    multiple_choice = question.question
    reason, detail = "", ""
    shares = {
        "choose": config.choose * (multiple_choice.answer is not None),
        "answer": config.answer * (multiple_choice.right is not None),
        "describe": config.describe * bool(question.description),
    }
    if len(multiple_choice.options) > len(LETTERS):
        reason, detail = f"more than {len(LETTERS)} options", str(len(multiple_choice.options))
    elif multiple_choice.right is None and not question.description:
        reason = "no answer is given"
    elif not any(shares.values()):
        reason, detail = "its task has no share", "--set choose=, answer= or describe="
    elif not _there(question) and source.clip(question).id not in known:
        reason, detail = "the video is missing", str(question.video)
    return UnfitQuestion(question.id, source.name(question), reason, detail) if reason else None


def _there(question: VideoQuestion) -> bool:
    return question.video.is_file() if question.fps is None else question.video.is_dir()


def _sample(names: Sequence[str], number: int, key: str) -> list[str]:
    """Sample `number` names. Samples are nested: 10 are a subset of 20."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{key}\0{name}".encode()).digest())[:number]


def nothing(data: Path, left_out: Sequence[UnfitQuestion]) -> TopaError:
    """Return the error where no question can be used: the file's, where there is none in it."""
    selection = Selection((), (), tuple(left_out), 0).tally
    reasons = "; ".join(selection.lines()) or "there are no questions"
    kind = AllFailed if left_out else InputError
    return kind(
        f"{data}: found no question that can be used: {reasons}. Expected questions with answers, and their videos. "
        "Name the folder that their paths start from with --videos."
    )
