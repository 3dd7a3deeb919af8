"""Why it answered so: what each frame does for an answer, measured by taking it away.

Reads an engine and a video that it has seen, gives an `Explanation`. Two measures, of unlike strength:

leave-one-out   the answer's score with all frames minus its score without one: positive where the frame supports the
                answer. It is what the answer does when the frame is gone, so it is evidence. Frames that show the same
                stand in for each other, and then neither counts; `Explanation.blind` is the score without any.
attention       how much the tokens of the answer attend to the frame. It is where the model looks, not why it
                answers so (arXiv 1902.10186), and shown beside the other for comparison.

A frame is taken away by masking it: it has no token, takes no position, and the others keep their place in time. So a
model learns in training what a missing frame is, from Tideos that have fewer. A vector of zeros, or a mean of frames,
is no missing frame but one more, of a kind that it has never seen. Released adapters weren't trained so: to them a
missing frame is padding, which reads as what zeros project to, and this is what they are given in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..core.errors import InputError
from ..core.protocols import Protocol
from ..models.inputs import ModelInputs
from ..models.topa_model import VideoLanguageModel
from ..prompts.prompt import Prompt
from .answer import Answer
from .request import GenerationSettings, Request, check_explained
from .scorer import nll_of_targets
from .video_inputs import VideoInputs

if TYPE_CHECKING:
    from .engine import Topa

Target = Literal["choice", "answer", "caption"]
MEASURES: dict[Target, str] = {
    "choice": "log-probability of the chosen option among the options, in nats",
    "answer": "mean log-probability of the answer's tokens, in nats",
    "caption": "mean log-probability of the caption's tokens, in nats",
}
"""What the score of each kind of answer is."""


@dataclass(frozen=True, slots=True)
class ExplainedFrame:
    """One frame that the LLM read. time: seconds, None where it isn't known. captions, weights: the memory captions it
    was read as. support: by how much the answer's score falls without it, negative where it rises. attention: the share
    of the answer's attention that goes to it, a mean over heads, layers and the answer's tokens. probability: of the
    chosen option without it; choice: the option that would be chosen then; both None where there are no options."""

    time: float | None
    captions: tuple[str, ...]
    weights: tuple[float, ...]
    support: float
    attention: float
    probability: float | None = None
    choice: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """target: what is explained: a choice, a free answer, or a caption. question: empty for a caption. text: the
    answer. choice, options, probabilities: as in `Answer`. score: what `measure` says, with all frames; blind: without
    any. masking: how a frame is taken away: it is masked, or padding stands in its place. frames: in order of time.
    warnings: as in `Answer`."""

    target: Target
    question: str
    text: str
    choice: int | None
    options: tuple[str, ...]
    probabilities: tuple[float, ...]
    measure: str
    score: float
    blind: float
    masking: Literal["masked", "padding"]
    frames: tuple[ExplainedFrame, ...]
    warnings: tuple[str, ...] = ()

    @property
    def strongest(self) -> int | None:
        """The number of the frame that supports the answer most, the first of equals; None where none supports it."""
        best = max(range(len(self.frames)), key=lambda number: self.frames[number].support)
        return best if self.frames[best].support > 0 else None

    def as_json(self) -> dict[str, Any]:
        """A dictionary of plain values, for `--json`."""
        return asdict(self)


def explain(
    engine: Topa,
    inputs: VideoInputs,
    question: str | None = None,
    choices: Sequence[str] = (),
    *,
    protocol: Protocol | None = None,
    max_tokens: int | None = None,
) -> Explanation:
    """Answer, and say what each frame did for the answer. The video is read once, and then once more without each
    frame: all of that in few passes, with all options of the question beside each other.

    question: None explains the caption. choices, protocol: as for `Topa.ask`; without choices, what the model says is
    explained. max_tokens: of what it says. Raises what `Topa.ask` raises, and InputError for choices without a
    question, or where the model says nothing.
    """
    check_explained(question, choices)
    options = tuple(choice.strip() for choice in choices)
    request = Request(inputs, question, options, protocol, generation=GenerationSettings(max_tokens))
    (answer,) = engine.answer([request])
    if not answer.text.strip():
        raise InputError("explain: the model said nothing about this video, so there is nothing to explain. Ask more.")
    prompts, by_letter = _prompts(engine, question, answer, int(inputs.valid.sum()), protocol)
    choice, number = answer.choice or 0, inputs.frames
    videos = without_each(inputs.values, inputs.valid, number, engine.padding())
    costs = leave_one_out(engine.model, prompts, *videos)
    logs = [log_probabilities(cost, by_letter) if options else -cost[0].mean()[None] for cost in costs]
    attention = attention_to_frames(engine.model, prompts[choice], inputs.values, inputs.valid)
    target: Target = "caption" if question is None else "choice" if options else "answer"
    return Explanation(
        target,
        question or "",
        answer.text,
        answer.choice,
        answer.options,
        answer.probabilities,
        MEASURES[target],
        float(logs[0][choice]),
        float(logs[-1][choice]),
        "masked" if engine.padding() is None else "padding",
        tuple(_frame(inputs, n, logs, choice, float(attention[n]), bool(options)) for n in range(number)),
        answer.warnings,
    )


def _frame(
    inputs: VideoInputs, number: int, logs: Sequence[Tensor], choice: int, attention: float, has_options: bool
) -> ExplainedFrame:
    """One frame. logs: log-probabilities with all frames, without each, and without any."""
    without = logs[number + 1]
    return ExplainedFrame(
        inputs.times[number] if inputs.times else None,
        inputs.readings[number].captions if inputs.readings else (),
        inputs.readings[number].weights if inputs.readings else (),
        float(logs[0][choice]) - float(without[choice]),
        attention,
        float(without[choice].exp()) if has_options else None,
        int(without.argmax()) if has_options else None,
    )


def without_each(values: Tensor, valid: Tensor, real: int, padding: Tensor | None) -> tuple[Tensor, Tensor]:
    """A video, then without each of its `real` frames, then without all of them: float32 [real + 2, T, D], and bool.

    values: float32 [T, D]; valid: bool [T], as `Topa.inputs` gives them. padding: float32 [D], what stands in a frame's
    place; None masks the frame.
    """
    number = torch.arange(real)
    taken = torch.zeros(real + 2, len(values), dtype=torch.bool)
    taken[number + 1, number] = True
    taken[-1, :real] = True
    if padding is None:
        return values.expand(real + 2, -1, -1), valid & ~taken
    return torch.where(taken[..., None], padding, values), valid.expand(real + 2, -1)


def leave_one_out(
    model: VideoLanguageModel,
    prompts: Sequence[Prompt],
    values: Tensor,
    valid: Tensor,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[list[Tensor]]:
    """Negative log-likelihoods of the targets of the same prompts about V versions of a video: `[V][prompts]` of
    float32 [target's length]. values, valid: as `without_each` gives them; the prompts have slots for all frames."""
    return nll_of_targets(model, [prompts] * len(values), values, valid, progress=progress)


def log_probabilities(costs: Sequence[Tensor], by_letter: bool) -> Tensor:
    """Of each option, float64 [options]; costs: as `leave_one_out` gives them for one video. Computed from how far the
    others are behind, so that an answer that is certain still has differences."""
    total = -torch.stack([(cost.double().sum() if by_letter else cost.double().mean()) for cost in costs])
    others = total.expand(len(total), -1).masked_fill(torch.eye(len(total), dtype=torch.bool), -torch.inf)
    return -softplus(others.logsumexp(dim=1) - total)


def attention_to_frames(model: VideoLanguageModel, prompt: Prompt, values: Tensor, valid: Tensor) -> Tensor:
    """The share of attention that goes to each frame, float32 [T], from the positions that predict the target's tokens:
    a mean over them, over heads and over all layers. values, valid: as `Topa.inputs` gives them."""
    device = model.device
    column = torch.arange(len(prompt))
    is_slot = (column >= prompt.slots[0]) & (column < prompt.slots[1])
    ids = torch.tensor([prompt.ids], device=device)
    inputs = ModelInputs(ids, values[None].to(device), valid[None].to(device), is_slot[None].to(device))
    columns = torch.arange(prompt.target[0] - 1, prompt.target[1] - 1, device=device)
    weights = model.attention_to_frames(inputs, columns)
    return weights.mean(dim=(0, 1, 2)).cpu()


def _prompts(
    engine: Topa, question: str | None, answer: Answer, shown: int, protocol: Protocol | None
) -> tuple[list[Prompt], bool]:
    """What is scored: a prompt per option, or the one with what was said; and whether options are told by letters."""
    if question is None:
        return [engine.prompter.describe(shown, answer.text)], False
    if not answer.options:
        return [engine.prompter.answer(question, shown, answer.text)], False
    by_letter = (protocol or engine.config.protocol) == "selection"
    return engine.prompter.candidates(question, answer.options, shown, by_letter), by_letter
