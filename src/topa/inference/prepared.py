"""A request with its prompts written: what a scheduler puts into batches."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.protocols import Protocol
from ..prompts.prompt import Prompt
from .generator import GenerationTask
from .request import ANSWER_TOKENS, CAPTION_TOKENS, Request
from .video_inputs import VideoInputs


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRequest:
    """Made by `Topa.prepare`. orders: the prompts that are compared, one per option for each order of the options; of
    a free answer, the one prompt. window: tokens that the language model can read, None for no limit. parts: where the
    inputs are segments, a request for each, and then no prompts of its own."""

    request: Request
    protocol: Protocol
    orders: tuple[tuple[Prompt, ...], ...]
    window: int | None = None
    warnings: tuple[str, ...] = ()
    parts: tuple[PreparedRequest, ...] = ()

    @property
    def inputs(self) -> VideoInputs:
        """The video of a request without parts."""
        assert isinstance(self.request.inputs, VideoInputs)
        return self.request.inputs

    @property
    def prompt(self) -> Prompt:
        """The first prompt, of a free answer the only one."""
        return self.orders[0][0]

    @property
    def is_generated(self) -> bool:
        """Whether text is generated for it: a free answer, or options by similarity."""
        return not self.request.options or self.protocol == "similarity"

    @property
    def units(self) -> tuple[PreparedRequest, ...]:
        """What the model runs: the parts, or the request itself."""
        return self.parts or (self,)

    def task(self) -> GenerationTask:
        """The generation of a free answer, within what the window leaves for it."""
        settings = self.request.generation
        usual = CAPTION_TOKENS if self.request.question is None else ANSWER_TOKENS
        limit = usual if settings.max_tokens is None else settings.max_tokens
        if self.window is not None:
            limit = max(1, min(limit, self.window - len(self.prompt)))
        inputs = self.inputs
        return GenerationTask(
            self.prompt,
            inputs.values,
            inputs.valid,
            limit,
            settings.sampling,
            settings.top_logprobs,
            settings.stop,
            inputs,
        )
