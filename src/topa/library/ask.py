"""The verbs `ask`, `caption`, `explain` and `adapt`: a model, and a video file or a library.

What is wrong with a request is told before torch is loaded, what is wrong with a file before a model is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.artifacts import output_folder
from ..core.command import command, typed
from ..core.errors import UsageError
from ..core.hub import locate_saved
from ..core.printable import Hint, Note, Printable, Printout
from ..core.verbosity import note
from ..features.video import probe
from ..inference.request import check_candidates, check_explained, check_question, check_shiftable
from .library import Library, expect_encoder

if TYPE_CHECKING:
    from ..inference.answer import Answer
    from ..inference.engine import Topa
    from ..inference.explain import Explanation
    from ..inference.frame_selection import FrameSelection
    from ..inference.projected_video import ProjectedVideo
    from ..inference.verbs import AdaptConfig, AskConfig, CaptionConfig, ExplainConfig
    from ..models.saved import SavedConfig


@dataclass(frozen=True)
class AnswerResult(Printable):
    """An answer that can be printed."""

    answer: Answer

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return self.answer.as_json()

    def lines(self) -> Iterator[str | Note]:
        """Yield what people read."""
        answer = self.answer
        yield from _choice_lines(answer)
        for part in answer.parts:
            where = f"{part.video} " if part.video else ""
            yield f"  {part.share:6.1%}  {where}{part.start:.2f} to {part.end:.2f} s: {part.text}"
        for frame in answer.evidence:
            yield f"  {frame.time:6.2f} s  read as: {frame.captions[0]}"


@dataclass(frozen=True)
class ExplainResult(Printable):
    """An explanation, and the page of it where one was written."""

    explanation: Explanation
    page: Path | None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return self.explanation.as_json()

    def lines(self) -> Iterator[str | Note]:
        """Yield what people read."""
        explanation = self.explanation
        yield from _choice_lines(explanation)
        yield f"score: {explanation.score:.3f}, without any frame {explanation.blind:.3f}: {explanation.measure}"
        yield "     frame   support  attention  read as"
        for number, frame in enumerate(explanation.frames):
            mark = "*" if number == explanation.strongest else " "
            name = f"{number + 1}" if frame.time is None else f"{frame.time:.2f} s"
            read = frame.captions[0] if frame.captions else ""
            other = ""
            if frame.choice is not None and frame.choice != explanation.choice:
                other = f"  [without it: {explanation.options[frame.choice]}]"
            yield f"{mark} {name:>8}  {frame.support:+8.3f}  {frame.attention:9.1%}  {read}{other}"
        if explanation.strongest is None:
            yield "no single frame supports the answer: without any of them it is as likely, or more"
        else:
            yield "* supports the answer most: the score falls most without it"
        if self.page is not None:
            yield f"page: {self.page}"


def _choice_lines(result: Answer | Explanation) -> Iterator[str | Note]:
    """What an answer and its explanation have in common: warnings, the text, and a line for each option."""
    for warning in result.warnings:
        yield Note(f"note: {warning}")
    yield result.text
    for option, probability in zip(result.options, result.probabilities, strict=True):
        yield f"  {probability:6.1%}  {option}"


def ask(config: AskConfig) -> AnswerResult:
    """Answer a question about a video file, over a library, or about one of its videos.

    Raises InputError for questions and files that can't be used, UsageError for options that mean nothing there, and
    what loading the model raises.
    """
    check_question(config.question, config.choice)
    return AnswerResult(_ask_library(config) if config.source.is_dir() else _ask_file(config))


def _ask_library(config: AskConfig) -> Answer:
    how: dict[str, Any] = {"protocol": config.protocol, "subtitles": config.subtitles}
    _refuse("in a library", ("--among", config.among))
    if config.video is None:
        _refuse("in a library without --video", ("--frames-by", config.frames_by))
    else:
        _refuse("with --video", ("--top", config.top))
    if config.video is not None:
        how |= {"video": config.video, "frame_selection": config.frames_by or "uniform"}
    elif config.top is not None:
        how["top"] = config.top
    opened = Library.open(config.source)
    _warn(config.model)
    return opened.ask(config.question, config.choice, model=config.model, **how)


def _ask_file(config: AskConfig) -> Answer:
    video, question, choice = config.source, config.question, config.choice
    _refuse("of a video file", ("--video", config.video), ("--top", config.top))
    if config.frames_by == "uniform":
        _refuse("with --frames-by uniform", ("--among", config.among))
    from ..features.subtitles import find_subtitles, read_subtitles

    probe(video)
    beside = find_subtitles(video) if config.subtitles else None
    cues = () if beside is None else read_subtitles(beside)
    engine = _engine(video, config.model, config.among)
    frames: Path | ProjectedVideo = video
    if config.frames_by in ("question", "hierarchical"):
        from ..core.progress import bar
        from ..inference.projected_video import encode_whole_video

        with bar("watching", None) as line:
            frames = encode_whole_video(engine, video, candidate_frames=config.among, progress=line.advance)
    answer = engine.ask(
        frames,
        question,
        choice,
        protocol=config.protocol,
        frame_selection=config.frames_by,
        candidate_frames=config.among,
        subtitles=cues,
    )
    if config.subtitles and beside is None:
        note(f"note: found no subtitles beside {video}")
    return answer


def caption(config: CaptionConfig) -> AnswerResult:
    """Describe a video file. Raises InputError where it can't be read, and what loading the model raises."""
    engine = _engine(config.video, config.model, config.among)
    return AnswerResult(engine.caption(config.video, candidate_frames=config.among))


def explain(config: ExplainConfig) -> ExplainResult:
    """Say what each frame of a video did for an answer, or for a caption; write it down where `out` names a folder.

    Raises as `ask` does.
    """
    source = config.source
    if source.is_dir() != (config.video is not None) or (source.is_dir() and config.among is not None):
        raise UsageError(
            f"explain {source}: found {'a folder' if source.is_dir() else 'a file'}; expected a video file, or a "
            "library with --video PATH and without --among."
        )
    from .evidence import FILES, write_evidence

    check_explained(config.question, config.choice)
    if source.is_file():
        probe(source)
    if config.out is not None:
        output_folder(config.out, *FILES)
    found, images, name = _explain_file(config) if config.video is None else _explain_indexed(config, config.video)
    if config.out is None:
        return ExplainResult(found, None)
    page, missing = write_evidence(found, images, config.out, video=name, command=command())
    if missing:
        note(f"note: no timeline.png: {missing}")
    return ExplainResult(found, page)


def _explain_file(config: ExplainConfig) -> tuple[Explanation, Any, str]:
    engine = _engine(config.source, config.model, config.among)
    selection: FrameSelection = "uniform" if config.among is None else "scenes"
    inputs = engine.encode_video(config.source, frame_selection=selection, candidate_frames=config.among)
    found = engine.explain(inputs, config.question, config.choice, protocol=config.protocol)
    return found, inputs.images, config.source.name


def _explain_indexed(config: ExplainConfig, video: Path) -> tuple[Explanation, Any, str]:
    from .evidence import explain_indexed
    from .requests import find

    contents = Library.open(config.source).contents
    own = find(contents, video)
    expect_encoder(contents, config.model)
    engine = _load(config.model)
    found, images = explain_indexed(contents, own, engine, config.question, config.choice, protocol=config.protocol)
    return found, images, own.path


def adapt(config: AdaptConfig) -> Printout[Path]:
    """Save a model that is adapted to a camera. Raises UsageError for too few videos or a model without a memory."""
    from ..inference.engine import FILES
    from ..memory.shift import MIN_VIDEOS, too_few_videos

    for video in config.videos:
        probe(video)
    if len(config.videos) < MIN_VIDEOS:
        raise too_few_videos(len(config.videos))
    if config.model is not None:
        check_shiftable(_config(config.model).bridge)
    output_folder(config.out, *FILES)
    engine = _load(config.model)
    engine.adapt(config.videos)
    engine.save_pretrained(config.out)
    command = typed("ask", config.videos[0], "QUESTION", "--model", config.out)
    return Printout(config.out, [Hint(f"next:   {command}")], {"out": config.out})


def _engine(video: Path, model: str | None, among: int | None) -> Topa:
    if model is not None:
        locate_saved(model)  # a wrong name and an unreadable file are answered before anything is loaded or made
    probe(video)
    if model is not None and among is not None:
        check_candidates(video, among, _config(model).frames)
    return _load(model)


def _config(model: str) -> SavedConfig:
    from ..models.saved import fetch, read_config

    return read_config(fetch(model))


def _load(model: str | None) -> Topa:
    from ..training.pretrained import load

    _warn(model)
    return load(model)


def _warn(model: str | None) -> None:
    if model is None:
        note("the micro model knows only the micro world; give --model DIR for your own videos")


def _refuse(where: str, *given: tuple[str, Any]) -> None:
    for name, value in given:
        if value is not None:
            raise UsageError(f"{name}: means nothing {where}. Leave it out, and see: topa ask --help")
