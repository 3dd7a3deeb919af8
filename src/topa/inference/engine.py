"""The engine: an aligned model that answers questions about real video files.

Reads a saved model (`models.saved`) and videos, gives `Answer`s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ..core.errors import ArtifactMismatch, InputError
from ..features.encoder import Encoder
from ..features.frames import FrameFeatures
from ..features.video import sample_frames
from ..memory.bank import MemoryBank
from ..models import saved
from ..models.saved import SavedConfig
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt, Prompter, check_options
from ..tideos.tideo import Question
from .answer import Answer, EvidenceFrame
from .scoring import Protocol, generate, score_options

Resolve = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Seen:
    """A video as the LLM reads it. features: projected; images: the T sampled pictures; truncated: the file is cut."""

    features: FrameFeatures
    evidence: tuple[EvidenceFrame, ...]
    images: tuple[Image.Image, ...]
    truncated: bool


class Topa:
    """A frozen LLM with an adapter, an encoder and a memory. Make one with `Topa.from_pretrained(folder)`."""

    def __init__(
        self, model: VideoLanguageModel, prompter: Prompter, encoder: Encoder, memory: MemoryBank, config: SavedConfig
    ) -> None:
        if encoder.identity != config.encoder_identity or memory.encoder != config.encoder_identity:
            raise ArtifactMismatch(
                f"the adapter was aligned with {config.encoder_identity}; found the encoder {encoder.identity} and a "
                f"memory of {memory.encoder}. Load the same encoder, or align again with this one: topa align"
            )
        self.model = model.eval()
        self.prompter = prompter
        self.encoder = encoder
        self.memory = memory
        self.config = config

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, resolve: Resolve = str) -> Topa:
        """Load a saved model, its LLM and its encoder. resolve: turns a name in the config into a folder or hub id.

        Raises ArtifactError where the folder isn't a saved model, InputError where LLM or encoder can't be loaded,
        ArtifactMismatch where they aren't those it was aligned with.
        """
        path = Path(folder)
        config = saved.read_config(path)
        source = resolve(config.llm)
        model = saved.build(saved.load_llm(config.llm, source), config)
        model.load_adapter_state_dict(saved.read_adapter(path))
        prompter = Prompter(saved.load_tokenizer(config.llm, source), config.tokens_per_frame)
        return cls(model, prompter, Encoder.from_pretrained(resolve(config.encoder)), MemoryBank.load(path), config)

    def look(self, video: str | Path) -> Seen:
        """Sample, encode and project a video, and say what each frame was read as.

        Raises InputError or VideoError where no frame can be had.
        """
        sampled = sample_frames(video, self.config.frames)
        values = self.encoder.encode_images(sampled.frames)
        times = torch.tensor(sampled.times, dtype=torch.float64)
        image = FrameFeatures(values, torch.ones(len(values), dtype=torch.bool), "image", self.encoder.identity, times)
        projected = self.memory.project(image, self.config.temperature)
        readings = self.memory.read(image, self.config.temperature) if self.memory.captions is not None else []
        evidence = tuple(
            EvidenceFrame(time, reading.captions, reading.weights)
            for time, reading in zip(sampled.times, readings, strict=False)
        )
        return Seen(projected, evidence, tuple(sampled.frames), sampled.truncated)

    def ask(
        self,
        video: str | Path | Seen,
        question: str,
        choices: Sequence[str] = (),
        *,
        protocol: Protocol | None = None,
        max_tokens: int = 40,
    ) -> Answer:
        """Answer a question about a video: one of `choices` where there are any, free text otherwise.

        protocol: how choices are compared; by default as the model was aligned to.

        Raises InputError for an empty question, a single choice, or choices that repeat.
        """
        if not question.strip():
            raise InputError("question: found nothing; expected a question, as in: topa ask VIDEO 'what happens ?'")
        if choices:
            check_options(choices)
        seen = video if isinstance(video, Seen) else self.look(video)
        warnings = self._warnings(seen, " ".join((question, *choices)))
        if not choices:
            prompt = self.prompter.answer(question, int(seen.features.valid.sum()))
            return Answer(self._say(prompt, seen, max_tokens), evidence=seen.evidence, warnings=warnings)
        asked = Question(question=question, options=tuple(c.strip() for c in choices))
        values, valid = seen.features.values[None], seen.features.valid[None]
        scores = score_options(
            self.model, self.prompter, [asked], values, valid, protocol=protocol or self.config.protocol
        )[0]
        return Answer(
            asked.options[scores.choice],
            scores.choice,
            asked.options,
            scores.probabilities,
            scores.mean_nll,
            seen.evidence,
            warnings,
        )

    def caption(self, video: str | Path | Seen, *, max_tokens: int = 80) -> Answer:
        """Describe a video in words."""
        seen = video if isinstance(video, Seen) else self.look(video)
        text = self._say(self.prompter.describe(int(seen.features.valid.sum())), seen, max_tokens)
        return Answer(text, evidence=seen.evidence, warnings=self._warnings(seen, ""))

    def _say(self, prompt: Prompt, seen: Seen, max_tokens: int) -> str:
        features = seen.features
        return generate(self.model, self.prompter, [prompt], features.values[None], features.valid[None], max_tokens)[0]

    def _warnings(self, seen: Seen, words: str) -> tuple[str, ...]:
        found = []
        if seen.truncated:
            found.append("the video file is damaged or cut short; the answer rests on the part that could be read")
        if unknown := self.prompter.unknown_words(words):
            found.append(f"the language model has no word for: {', '.join(dict.fromkeys(unknown))}")
        return tuple(found)
