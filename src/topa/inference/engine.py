"""The engine: an aligned model that answers questions about videos.

Reads a saved model (`models.saved`). All answers are made here, from `Request`s: those of the command line, of
libraries, of evaluations and of servers.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..core.artifacts import output_folder
from ..core.command import command_line
from ..core.devices import default_device
from ..core.errors import ArtifactMismatch, InputError, UsageError
from ..core.protocols import Protocol, check_protocol
from ..features.encode_video import encode_video
from ..features.encoder import Encoder
from ..features.frames import FrameFeatures
from ..features.keyframes import select_keyframes
from ..features.relevance import query as query_of
from ..features.subtitles import Cue, find_subtitles, read_subtitles, subtitle_excerpt
from ..memory.bank import FILES as MEMORY
from ..memory.bank import READINGS, MemoryBank, Projected
from ..memory.projection import project
from ..memory.shift import MeanShift, measure_shift
from ..models import saved
from ..models.base import load_llm, load_tokenizer, window
from ..models.saved import SavedConfig
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt, Prompter, check_number
from ..prompts.released import ReleasedPrompter
from ..prompts.templates import subtitled
from .answer import Answer, EvidenceFrame
from .combine import answer_of
from .detokenizer import IncrementalDetokenizer
from .execute import execute
from .explain import Explanation, explain
from .frame_selection import BY_QUESTION, FrameSelection, check_frame_selection, select_frames
from .generator import ContinuousBatcher
from .prefix_cache import PrefixCache
from .prepared import PreparedRequest
from .projected_video import ProjectedVideo, encode_whole_video
from .request import (
    GenerationSettings,
    Request,
    check_candidates,
    check_explained,
    check_permutations,
    check_question,
    check_shiftable,
)
from .video_inputs import SegmentedInputs, VideoInputs

if TYPE_CHECKING:
    Video = str | Path | VideoInputs | ProjectedVideo
    Subtitles = bool | str | Sequence[Cue]

log = logging.getLogger(__name__)
Resolve = Callable[[str], str]
SHIFT = "shift.safetensors"
FILES = (*MEMORY, SHIFT, *saved.FILES)
"""What `Topa.save_pretrained` writes."""


def prompter_for(tokenizer: Any, config: SavedConfig, window: int | None) -> Prompter:
    """The prompts that a saved model was aligned with. window: tokens that its language model can read."""
    if config.legacy is not None:
        return ReleasedPrompter(tokenizer, config.legacy.prompts, window)
    return Prompter(tokenizer, config.tokens_per_frame, window=window)


class Topa:
    """A frozen LLM with an adapter, an encoder and a memory. Make one with `Topa.from_pretrained(folder)`.

    Without a memory (`bridge` "raw"), pictures are read as they are: for an adapter that was trained on videos. With a
    shift (`bridge` "shifted"), it is applied before the memory.
    """

    def __init__(
        self,
        model: VideoLanguageModel,
        prompter: Prompter,
        encoder: Encoder,
        memory: MemoryBank | None,
        config: SavedConfig,
        shift: MeanShift | None = None,
    ) -> None:
        _expect_parts(config, encoder, memory)
        self.model = model.eval()
        self.prompter = prompter
        self.encoder = encoder
        self.memory = memory
        self.config = config
        self.shift = shift

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        llm: str | None = None,
        bits: int | None = None,
        device: str | torch.device | None = None,
        resolve: Resolve = str,
    ) -> Topa:
        """Load a saved model, its LLM and its encoder.

        name: a folder, or a model on the hub: `org/name` or `org/name@revision`. revision: the same, beside the name.
        llm: where the LLM is, if not where the model says; it must be the same. bits: 8 or 4 to quantise the LLM, on
        devices that can. device: a GPU where there is one. resolve: turns a name in the config into a folder or hub id.
        Raises ArtifactError where this isn't a saved model, InputError where it, the LLM or the encoder can't be found
        or loaded, ArtifactMismatch where these aren't those it was aligned with.
        """
        folder = saved.fetch(name, revision)
        config = saved.read_config(folder)
        log.info("model: %s", folder)
        source = resolve(llm or config.llm)
        place = default_device() if device is None else torch.device(device)
        # The language model is by far the largest part: what is wrong with the others is told before it is read.
        state = saved.read_adapter(folder)
        memory = None if config.bridge == "raw" else MemoryBank.load(folder)
        shift = MeanShift.load(folder / SHIFT) if config.bridge == "shifted" else None
        encoder = Encoder.from_pretrained(resolve(config.encoder), place)
        _expect_parts(config, encoder, memory)
        tokenizer = load_tokenizer(config.llm, source)
        began = time.perf_counter()
        model = saved.build(load_llm(config.llm, source, legacy=config.legacy, bits=bits, device=place), config)
        model.load_adapter_state_dict(state)
        log.info("language model: %s on %s, %.1f s", source, model.device, time.perf_counter() - began)
        prompter = prompter_for(tokenizer, config, window(model.llm))
        return cls(model, prompter, encoder, memory, config, shift)

    def save_pretrained(self, folder: str | Path, card: str | None = None) -> None:
        """Write adapter, memory, config and model card, and nothing of the LLM or the encoder.

        card: the model card's text; by default what the config tells. Raises OutputError where it can't be written.
        """
        path = output_folder(Path(folder), *FILES)
        if self.memory is not None:
            self.memory.save(path)
        if self.shift is not None:
            self.shift.save(path / SHIFT)
        text = saved.card(self.config, str(self.model.parameter_report())) if card is None else card
        saved.save(path, self.config, self.model.adapter_state_dict(), text)

    def push_to_hub(self, repository: str, *, private: bool = False, card: str | None = None) -> str:
        """Upload what `save_pretrained` writes to a model repository on the hub, made where there is none; returns its
        address. The token is huggingface_hub's: `hf auth login` or HF_TOKEN. Raises OutputError where that fails."""
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, card)
            return saved.push(Path(folder), repository, private=private)

    def accustom(self, videos: Sequence[str | Path]) -> None:
        """`adapt` under the name that it had before 0.2; leaves with the next release."""
        _warn_renamed("Topa.accustom", "Topa.adapt")
        self.adapt(videos)

    def adapt(self, videos: Sequence[str | Path]) -> None:
        """Adapt to a camera: measure the mean shift on unlabelled videos of it, and apply it from now on.

        It helps where pictures differ from those that the encoder knows, as dark or noisy ones do, and does nothing for
        good ones. Raises UsageError for a model without a memory, and what `measure_shift` and `encode_video` raise.
        """
        check_shiftable(self.config.bridge)
        assert self.memory is not None, "every bridge but raw has one"
        images = [encode_video(video, self.encoder, self.config.frames).features for video in videos]
        self.shift = measure_shift(images, self.memory)
        self.config = self.config.model_copy(update={"bridge": "shifted"})

    def encode_video(
        self, video: str | Path, *, frame_selection: FrameSelection = "uniform", candidate_frames: int | None = None
    ) -> VideoInputs:
        """Sample, encode and project the frames of a video file that the model reads.

        frame_selection: "uniform" samples just as many as the model reads, evenly spread, the paper's way; "scenes"
        encodes `candidate_frames` and takes those that stand for the scenes of the video. Those that need the question
        start from `encode_whole_video`. Raises InputError or VideoError where no frame can be had, UsageError for fewer
        candidates than the model reads.
        """
        if check_frame_selection(frame_selection) in BY_QUESTION:
            raise UsageError(
                f"{video}: found frame_selection={frame_selection!r}, which needs the question; expected uniform or "
                "scenes. Ask with it: Topa.ask(video, question, frame_selection=...)"
            )
        count = self.config.frames
        if frame_selection == "uniform":
            encoded = encode_video(video, self.encoder, count)
            features, pictures = encoded.features, encoded.sampled.frames
        else:
            check_candidates(video, candidate_frames, count)
            encoded = encode_video(video, self.encoder, candidate_frames or 4 * count)
            keyframes = select_keyframes(encoded.features.values, count)
            features = encoded.features.take(torch.tensor(keyframes))
            pictures = [encoded.sampled.frames[number] for number in keyframes]
        return self.inputs_of(
            features, images=pictures, truncated=encoded.sampled.truncated, frame_selection=frame_selection
        )

    def look(self, video: str | Path, *, among: int | None = None) -> VideoInputs:
        """`encode_video` under the name that it had before 0.2; leaves with the next release."""
        _warn_renamed("Topa.look", "Topa.encode_video")
        selection: FrameSelection = "uniform" if among is None else "scenes"
        return self.encode_video(video, frame_selection=selection, candidate_frames=among)

    def project(self, images: Sequence[FrameFeatures]) -> list[FrameFeatures]:
        """The features of `project_and_read`, without the readings."""
        return [projected.features for projected in self.project_and_read(images, top_k=0)]

    def project_and_read(self, images: Sequence[FrameFeatures], *, top_k: int = READINGS) -> list[Projected]:
        """Features of pictures as the LLM is to read them: moved by the shift, projected through the memory, whichever
        there is; with each the `top_k` captions that it is read as, where the memory has captions. Raises
        ArtifactMismatch for features of another encoder, or that are none of pictures."""
        for image in images:
            if image.encoder != self.encoder.identity or image.space != "image":
                raise ArtifactMismatch(
                    f"features: found {image.space} features of {image.encoder}; expected image features of "
                    f"{self.encoder.identity}. Encode the videos again: "
                    f"{command_line('encode', 'VIDEO', '--encoder', self.config.encoder, '--out', 'DIR')}"
                )
        if self.shift is not None:
            images = [self.shift.move(image) for image in images]
        if self.memory is None:
            return [Projected(image) for image in images]
        return self.memory.project_all(images, self.config.temperature, top_k=top_k)

    def read(self, image: FrameFeatures) -> tuple[EvidenceFrame, ...]:
        """The memory captions that each picture is read as; nothing where there is no memory with captions."""
        return evidence(self.project_and_read([image])[0])

    def inputs_of(
        self,
        image: FrameFeatures,
        *,
        images: Sequence[Any] = (),
        truncated: bool = False,
        frame_selection: str = "uniform",
    ) -> VideoInputs:
        """Return features of pictures as inputs. images: the pictures themselves. truncated: the file is damaged or
        cut. Raises as `project` and `inputs_of_projected` do."""
        (projected,) = self.project_and_read([image])
        return self.inputs_of_projected(
            projected.features,
            evidence(projected),
            images=images,
            truncated=truncated,
            frame_selection=frame_selection,
        )

    def inputs_of_projected(
        self,
        features: FrameFeatures,
        readings: Sequence[EvidenceFrame] = (),
        *,
        images: Sequence[Any] = (),
        truncated: bool = False,
        frame_selection: str = "uniform",
    ) -> VideoInputs:
        """Return features as inputs. Of more frames than the model was aligned with, those that stand for the scenes
        are read; a released adapter gets the ones that its authors' code takes.

        features: as `project` gives them. readings, images: of the same frames. Raises InputError where there is no
        frame.
        """
        if not bool(features.valid.any()):
            raise InputError("video: found no frame in its features; expected one or more. Encode it again.")
        remarks = []
        if truncated:
            remarks.append("the video file is damaged or cut short; the answer rests on the part that could be read")
        if len(features) > self.config.frames:
            remarks.append(f"{len(features)} frames were given and {self.config.frames} of them read")
            numbers = self._frames_to_read(features)
            features = features.take(numbers)
            readings = [readings[n] for n in numbers.tolist()] if readings else ()
            images = [images[n] for n in numbers.tolist()] if images else ()
        values, valid = features.values, features.valid
        if self.config.legacy is not None and self.config.legacy.unmasked_padding:
            values, valid = fill(values, self.config, self.memory)
        return VideoInputs(features, values, valid, tuple(readings), tuple(images), frame_selection, tuple(remarks))

    def _frames_to_read(self, features: FrameFeatures) -> torch.Tensor:
        """The numbers, int64, of as many frames as the model was aligned with."""
        count = self.config.frames
        valid = features.valid.nonzero().flatten()
        if len(valid) <= count:
            return valid
        if self.config.legacy is not None:
            return valid[torch.arange(count) * len(valid) // count]
        return valid[torch.tensor(select_keyframes(features.values[valid], count))]

    def padding(self) -> torch.Tensor | None:
        """What the LLM reads in place of a missing frame, float32 [D]; None where it reads nothing there, as all but
        released adapters do."""
        if self.config.legacy is None or not self.config.legacy.unmasked_padding:
            return None
        width = self.model.projector.linear.in_features
        return fill(torch.zeros(0, width), self.config, self.memory)[0][0]

    def ask(
        self,
        video: Video,
        question: str,
        choices: Sequence[str] = (),
        *,
        frame_selection: FrameSelection | None = None,
        candidate_frames: int | None = None,
        subtitles: Subtitles = False,
        protocol: Protocol | None = None,
        max_tokens: int | None = None,
    ) -> Answer:
        """Answer a question about a video: one of `choices` where there are any, free text otherwise.

        video: a file, its inputs, or all of its encoded frames (`encode_whole_video`). frame_selection: which frames
        are read (see `frame_selection`); by default evenly spread ones, or "scenes" where `candidate_frames` are given,
        the number of frames that are encoded to choose from. subtitles: what is said in the video, read before the
        question: True reads the file beside the video; a text, or cues of `features.subtitles`. protocol: how choices
        are compared; by default as the model was aligned to. max_tokens: of free text, by default 40.

        Raises InputError for an empty question, a single choice, or choices that repeat, and what reading the video
        raises.
        """
        check_question(question, choices)
        options = tuple(choice.strip() for choice in choices)
        cues = _cues(video, subtitles)
        inputs = self._inputs(video, question, options, frame_selection, candidate_frames, cues)
        speech = subtitles if isinstance(subtitles, str) else ""
        if cues and isinstance(inputs, VideoInputs):
            speech = subtitle_excerpt(cues, inputs.times)
        settings = GenerationSettings(max_tokens)
        return self.answer([Request(inputs, question, options, protocol, subtitles=speech, generation=settings)])[0]

    def caption(self, video: Video, *, candidate_frames: int | None = None, max_tokens: int | None = None) -> Answer:
        """Describe a video in words. video, candidate_frames: as for `ask`. max_tokens: by default 80."""
        inputs = self._inputs(video, "", (), None, candidate_frames, ())
        return self.answer([Request(inputs, generation=GenerationSettings(max_tokens))])[0]

    def explain(
        self,
        video: str | Path | VideoInputs,
        question: str | None = None,
        choices: Sequence[str] = (),
        *,
        candidate_frames: int | None = None,
        protocol: Protocol | None = None,
    ) -> Explanation:
        """Answer, and say what each frame did for the answer; without a question, for the caption. See `explain`,
        whose function this is."""
        check_explained(question, choices)
        inputs = self._inputs(video, "", (), None, candidate_frames, ())
        assert isinstance(inputs, VideoInputs)
        return explain(self, inputs, question, choices, protocol=protocol)

    def answer(
        self, requests: Sequence[Request | PreparedRequest], *, prefix_cache: PrefixCache | None = None
    ) -> list[Answer]:
        """Answer many requests, in few passes: those about the same inputs share one reading of them.

        Order and company change nothing but the last bits of scores. prefix_cache: what was read before, for servers.
        Raises as `prepare` does, and InputError for features that aren't finite.
        """
        prepared = [self.prepare(one) if isinstance(one, Request) else one for one in requests]
        units = [unit for one in prepared for unit in one.units]
        results = iter(execute(self.model, self.prompter.tokenizer, self.encoder, units, prefix_cache))
        return [answer_of(one, list(islice(results, len(one.units)))) for one in prepared]

    def stream(self, request: Request) -> Iterator[str]:
        """Generate a free answer or a caption, and yield its text as it grows. Raises as `prepare` does, and UsageError
        for a request with options or segments, whose answers come whole."""
        if request.options or isinstance(request.inputs, SegmentedInputs):
            raise UsageError("stream: found options or segments; expected a free question about one video. Use answer.")
        prepared = self.prepare(request)
        tokenizer = self.prompter.tokenizer
        text = IncrementalDetokenizer(tokenizer, request.generation.stop)
        batch = ContinuousBatcher(self.model, tokenizer)
        (sequence,) = batch.add([prepared.task()])
        while len(batch):
            batch.step()
            piece = text.append(sequence.tokens, sequence.finish)
            if piece is not None:
                yield piece.text
                if piece.finish is not None:
                    return

    def prepare(self, request: Request) -> PreparedRequest:
        """Write the prompts of a request, for whoever schedules many of them.

        Raises InputError for options that are fewer than two or empty, or for a question that the language model has no
        room for; UsageError for an unknown protocol, permutations without listed options, or inputs without segments.
        """
        protocol = check_protocol(request.protocol or self.config.protocol)
        if request.permutations:
            check_permutations(protocol)
        if isinstance(request.inputs, SegmentedInputs):
            if not request.inputs.segments:
                raise UsageError("ask: found no part of a video to read; expected one or more.")
            parts = tuple(
                self.prepare(replace(request, inputs=one.inputs, subtitles=one.subtitles))
                for one in request.inputs.segments
            )
            return PreparedRequest(request, protocol, (), parts=parts)
        remarks = self.warnings(request.inputs, " ".join((request.question or "", *request.options)))
        orders = tuple(map(tuple, self._prompts(request, protocol, int(request.inputs.valid.sum()))))
        return PreparedRequest(request, protocol, orders, self.prompter.window, remarks)

    def warnings(self, inputs: VideoInputs, words: str) -> tuple[str, ...]:
        """Return what a user should know about an answer. words: of the question and its options."""
        if unknown := self.prompter.unknown_words(words):
            return (*inputs.warnings, f"the language model has no word for: {', '.join(dict.fromkeys(unknown))}")
        return inputs.warnings

    def _prompts(self, request: Request, protocol: Protocol, frames: int) -> list[list[Prompt]]:
        """For each order of the options, a prompt per option; of generated text, the one that it continues."""
        if request.question is None:
            return [[self.prompter.describe(frames)]]
        question, options = subtitled(request.question, request.subtitles), request.options
        if options:
            check_number(options)
        if not options or protocol == "similarity":
            return [[self.prompter.answer(question, frames)]]
        turns = range(len(options)) if request.permutations else range(1)
        return [
            self.prompter.candidates(question, options[turn:] + options[:turn], frames, protocol == "selection")
            for turn in turns
        ]

    def _inputs(
        self,
        video: Video,
        question: str,
        options: Sequence[str],
        frame_selection: FrameSelection | None,
        candidate_frames: int | None,
        cues: Sequence[Cue],
    ) -> VideoInputs | SegmentedInputs:
        """The frames of a video that are read for a question."""
        if isinstance(video, VideoInputs):
            return video
        selection = check_frame_selection(frame_selection or ("uniform" if candidate_frames is None else "scenes"))
        if not isinstance(video, ProjectedVideo):
            if selection not in BY_QUESTION:
                return self.encode_video(video, frame_selection=selection, candidate_frames=candidate_frames)
            video = encode_whole_video(self, video, candidate_frames=candidate_frames)
        query = query_of(question, options, self.encoder.encode_texts) if selection in BY_QUESTION else None
        return select_frames(video, selection, query, cues)


def _warn_renamed(before: str, now: str) -> None:
    warnings.warn(f"{before} is {now} now; the old name leaves with the next release", FutureWarning, stacklevel=3)


def _cues(video: Video, subtitles: Subtitles) -> Sequence[Cue]:
    """Subtitles by cues; none where they are given as a text, or no file lies beside.

    Raises UsageError for True without a file, InputError for subtitles that can't be read.
    """
    if isinstance(subtitles, str) or subtitles is False:
        return ()
    if subtitles is not True:
        return subtitles
    if not isinstance(video, str | Path):
        raise UsageError("subtitles: found True for a video without a file; expected its cues, or their text.")
    path = find_subtitles(Path(video))
    return () if path is None else read_subtitles(path)


def evidence(projected: Projected) -> tuple[EvidenceFrame, ...]:
    """What each frame was read as, with its time; nothing where there are no readings."""
    times = projected.features.times
    seconds: Sequence[float | None] = [None] * len(projected.readings) if times is None else times.tolist()
    return tuple(EvidenceFrame(t, r.captions, r.weights) for t, r in zip(seconds, projected.readings, strict=False))


def _expect_parts(config: SavedConfig, encoder: Encoder, memory: MemoryBank | None) -> None:
    """Refuse an encoder, or a memory, that the adapter wasn't aligned with."""
    remembered = config.encoder_identity if memory is None else memory.encoder
    if encoder.identity != config.encoder_identity or remembered != config.encoder_identity:
        raise ArtifactMismatch(
            f"the adapter was aligned with {config.encoder_identity}; found the encoder {encoder.identity} and a "
            f"memory of {remembered}. Load the same encoder, or align again with this one: topa align --recipe "
            "RECIPE --out DIR"
        )


def fill(values: torch.Tensor, config: SavedConfig, memory: MemoryBank | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Padding as released adapters know it: T frames, the missing ones read as what zeros project to, the memory's
    mean. values: float32 [n, D], n at most T. Returns [T, D] and bool [T], all True."""
    missing = values.new_zeros(config.frames - len(values), values.shape[1])
    if memory is not None and len(missing):
        missing = project(missing.to(memory.values.device), memory.values, config.temperature).to(missing.device)
    return torch.cat([values, missing]), torch.ones(config.frames, dtype=torch.bool)
