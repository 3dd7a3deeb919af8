"""The engine: an aligned model that answers questions about real video files.

Reads a saved model (`models.saved`) and videos, gives `Answer`s.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..core.artifacts import output_folder
from ..core.command import command_line
from ..core.devices import default_device
from ..core.errors import ArtifactMismatch, InputError
from ..features.encode_video import encode_video
from ..features.encoder import Encoder
from ..features.frames import FrameFeatures
from ..features.keyframes import select_keyframes
from ..features.video import sample_frames
from ..memory.bank import FILES as MEMORY
from ..memory.bank import READINGS, MemoryBank, Projected
from ..memory.projection import project
from ..memory.shift import MeanShift, measure_shift
from ..models import saved
from ..models.base import load_llm, load_tokenizer, window
from ..models.saved import SavedConfig
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompter
from ..prompts.released import ReleasedPrompter
from ..prompts.templates import subtitled
from ..tideos.tideo import Question
from .answer import Answer, EvidenceFrame
from .asked import Asked
from .requests import check_among, check_explained, check_question, check_shiftable
from .scoring import Protocol, Scores, check_protocol, generate, score_options, score_rows
from .seen import Seen as Seen

if TYPE_CHECKING:
    from .explaining import Explanation

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
        """Deprecated name of `adapt`."""
        warnings.warn("Topa.accustom is now Topa.adapt; the old name goes with the next release", FutureWarning, 2)
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

    def look(self, video: str | Path, *, among: int | None = None) -> Seen:
        """Sample, encode and project a video, and say what each frame was read as.

        among: encode so many evenly spread frames and keep those that stand for the scenes of the video (see
        `features.keyframes`), as many as the model reads; by default just as many are sampled, the paper's way.
        Raises InputError or VideoError where no frame can be had, UsageError where `among` is less than that.
        """
        check_among(video, among, self.config.frames)
        sampled = sample_frames(video, among or self.config.frames)
        values = self.encoder.encode_images(sampled.frames)
        if among is not None:
            kept = select_keyframes(values, self.config.frames)
            values = values[kept]
            sampled = replace(sampled, frames=[sampled.frames[i] for i in kept], times=[sampled.times[i] for i in kept])
        times = torch.tensor(sampled.times, dtype=torch.float64)
        image = FrameFeatures.image(values, self.encoder.identity, times)
        way = "uniform" if among is None else "scenes"
        (projected,) = self.project_and_read([image])
        return Seen(projected.features, evidence(projected), tuple(sampled.frames), sampled.truncated, way)

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

    def inputs(self, features: FrameFeatures) -> tuple[torch.Tensor, torch.Tensor]:
        """What the LLM gets of a video: values float32 [T, D] and valid bool [T]. Of more frames than it was aligned
        with, those that stand for the scenes; a released adapter gets the ones that its authors' code takes.

        features: as `project` gives them. Raises InputError where there is no frame.
        """
        if not bool(features.valid.any()):
            raise InputError("video: found no frame in its features; expected one or more. Encode it again.")
        if len(features) > self.config.frames:
            features = features.take(self.chosen(features))
        if self.config.legacy is not None and self.config.legacy.unmasked_padding:
            return fill(features.values, self.config, self.memory)
        return features.values, features.valid

    def chosen(self, features: FrameFeatures) -> torch.Tensor:
        """The numbers, int64, of the frames that the LLM is given: all, or as many as it was aligned with.

        features: as `project` gives them.
        """
        most = self.config.frames
        if len(features) <= most:
            return torch.arange(len(features))
        have = features.valid.nonzero().flatten()
        if len(have) <= most:
            return have
        if self.config.legacy is not None:
            return have[torch.arange(most) * len(have) // most]
        return have[torch.tensor(select_keyframes(features.values[have], most))]

    def padding(self) -> torch.Tensor | None:
        """What the LLM reads in place of a missing frame, float32 [D]; None where it reads nothing there, as all but
        released adapters do."""
        if self.config.legacy is None or not self.config.legacy.unmasked_padding:
            return None
        width = self.model.projector.linear.in_features
        return fill(torch.zeros(0, width), self.config, self.memory)[0][0]

    def ask(
        self,
        video: str | Path | Seen,
        question: str,
        choices: Sequence[str] = (),
        *,
        protocol: Protocol | None = None,
        max_tokens: int = 40,
        said: str = "",
    ) -> Answer:
        """Answer a question about a video: one of `choices` where there are any, free text otherwise.

        protocol: how choices are compared; by default as the model was aligned to. said: what is said in the video
        (see `features.subtitles`), read before the question.

        Raises InputError for an empty question, a single choice, or choices that repeat.
        """
        check_question(question, choices)
        seen = video if isinstance(video, Seen) else self.look(video)
        asked = self.asked(seen, question, choices, protocol=protocol, said=said)
        return asked.answer(self._score(asked) if choices else self._say(asked, max_tokens))

    def asked(
        self,
        seen: Seen,
        question: str | None,
        choices: Sequence[str] = (),
        *,
        protocol: Protocol | None = None,
        said: str = "",
    ) -> Asked:
        """A question as the LLM reads it, whoever lets it read: for those who put many of them into one batch.

        question: None asks for a caption. The rest, and what it raises, as for `ask`.
        """
        values, valid = self.inputs(seen.features)
        shown = int(valid.sum())
        if question is None:
            return Asked(seen, values, valid, (self.prompter.describe(shown),), warnings=self.warnings(seen, ""))
        check_question(question, choices)
        told, options = subtitled(question, said), tuple(choice.strip() for choice in choices)
        by_letter = check_protocol(protocol or self.config.protocol) == "selection"
        prompts = self.prompter.candidates(told, options, shown, by_letter) if options else ()
        return Asked(
            seen,
            values,
            valid,
            tuple(prompts) or (self.prompter.answer(told, shown),),
            options,
            by_letter,
            self.warnings(seen, " ".join((question, *choices))),
        )

    def choose(
        self, video: str | Path | Seen, questions: Sequence[Question], *, protocol: Protocol | None = None
    ) -> list[Scores]:
        """Many questions with options about one video, which is decoded, encoded, projected and read once.

        Raises InputError for a question without options.
        """
        seen = video if isinstance(video, Seen) else self.look(video)
        values, valid = self._read(seen)
        about = [0] * len(questions)
        return score_options(
            self.model, self.prompter, questions, values, valid, about, protocol=protocol or self.config.protocol
        )

    def caption(self, video: str | Path | Seen, *, max_tokens: int = 80) -> Answer:
        """Describe a video in words."""
        seen = video if isinstance(video, Seen) else self.look(video)
        asked = self.asked(seen, None)
        return asked.answer(self._say(asked, max_tokens))

    def explain(
        self,
        video: str | Path | Seen,
        question: str | None = None,
        choices: Sequence[str] = (),
        *,
        protocol: Protocol | None = None,
    ) -> Explanation:
        """Answer, and say what each frame did for the answer; without a question, for the caption. See `explaining`,
        whose `explain` this is."""
        from .explaining import explain

        check_explained(question, choices)
        seen = video if isinstance(video, Seen) else self.look(video)
        return explain(self, seen, question, choices, protocol=protocol)

    def _say(self, asked: Asked, max_tokens: int) -> str:
        one = asked.values[None], asked.valid[None]
        return generate(self.model, self.prompter, asked.prompts, *one, max_tokens)[0]

    def _score(self, asked: Asked) -> Scores:
        one = asked.values[None], asked.valid[None]
        return score_rows(self.model, [asked.prompts], *one, [0], by_letter=asked.by_letter)[0]

    def _read(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        values, valid = self.inputs(seen.features)
        return values[None], valid[None]

    def warnings(self, seen: Seen, words: str) -> tuple[str, ...]:
        """What a user should know about an answer. words: what was asked."""
        found = []
        if seen.truncated:
            found.append("the video file is damaged or cut short; the answer rests on the part that could be read")
        if len(seen.features) > self.config.frames:
            found.append(f"{len(seen.features)} frames were given and {self.config.frames} of them read")
        if unknown := self.prompter.unknown_words(words):
            found.append(f"the language model has no word for: {', '.join(dict.fromkeys(unknown))}")
        return tuple(found)


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
