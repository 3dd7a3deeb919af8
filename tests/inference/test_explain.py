"""Explanations against one full run per missing frame, on real saved models and real files."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models.tiny import FEATURES, FRAMES
from models.tiny import model as tiny_model
from topa import Topa
from topa.core.embedded import resolve
from topa.core.errors import InputError
from topa.features.encode_video import encode_video
from topa.inference.explain import (
    MEASURES,
    ExplainedFrame,
    Explanation,
    explain,
    leave_one_out,
    log_probabilities,
    without_each,
)
from topa.inference.generator import Completion
from topa.inference.video_inputs import VideoInputs
from topa.models.base import Legacy
from topa.models.inputs import ModelInputs
from topa.models.topa_model import VideoLanguageModel
from training.small import COLOURS, prompter

QUESTION = "what colour is the toy at the end ?"
OPTIONS = ("red", "blue", "green")


@pytest.fixture(scope="module")
def engine(micro_model) -> Topa:
    return Topa.from_pretrained(micro_model, resolve=resolve)


@pytest.fixture(scope="module")
def seen(engine, micro_video) -> VideoInputs:
    return engine.encode_video(micro_video)


def nll(model: VideoLanguageModel, prompt, values, valid) -> torch.Tensor:
    """Of the target's tokens, in one full pass over one prompt."""
    column = torch.arange(len(prompt))
    is_slot = (column >= prompt.slots[0]) & (column < prompt.slots[1])
    with torch.no_grad():
        logits = model(
            ModelInputs(torch.tensor([prompt.ids]), frames=values[None], frame_valid=valid[None], is_slot=is_slot[None])
        )
    first, last = prompt.target
    return functional.cross_entropy(
        logits[0, first - 1 : last - 1], torch.tensor(prompt.ids[first:last]), reduction="none"
    )


def without(valid: torch.Tensor, *frames: int) -> torch.Tensor:
    left = valid.clone()
    left[list(frames)] = False
    return left


@pytest.mark.parametrize("tokens_per_frame", [1, 2])
@pytest.mark.parametrize("by_letter", [True, False])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_it_is_what_a_loop_over_frames_and_options_gives(family, by_letter, tokens_per_frame):
    model, writer = tiny_model(family, tokens_per_frame=tokens_per_frame), prompter(tokens_per_frame)
    values = functional.normalize(torch.randn(FRAMES, FEATURES, generator=torch.Generator().manual_seed(2)), dim=-1)
    valid = torch.arange(FRAMES) < FRAMES - 1
    prompts = writer.candidates("what colour is the ball", COLOURS[:4], FRAMES - 1, by_letter)
    found = leave_one_out(model, prompts, *without_each(values, valid, FRAMES - 1, None))
    masks = [valid, *(without(valid, frame) for frame in range(FRAMES - 1)), torch.zeros_like(valid)]
    assert len(found) == len(masks) == FRAMES + 1
    for costs, mask in zip(found, masks, strict=True):
        for cost, prompt in zip(costs, prompts, strict=True):
            torch.testing.assert_close(cost, nll(model, prompt, values, mask), atol=3e-5, rtol=1e-5)
    means = torch.stack([torch.stack([cost.mean() for cost in costs]) for costs in found])
    assert (means[1:] - means[0]).abs().amax(dim=1).min() > 1e-3


def test_all_maskings_of_all_options_are_one_pass(monkeypatch):
    model, writer = tiny_model(), prompter()
    values = functional.normalize(torch.randn(FRAMES, FEATURES), dim=-1)
    valid, passes, embed = torch.ones(FRAMES, dtype=torch.bool), [], VideoLanguageModel.embed
    monkeypatch.setattr(
        VideoLanguageModel, "embed", lambda self, inputs: (passes.append(len(inputs.input_ids)), embed(self, inputs))[1]
    )
    prompts = writer.candidates("what", COLOURS[:5], FRAMES, True)
    leave_one_out(model, prompts, *without_each(values, valid, FRAMES, None))
    assert passes == [FRAMES + 2]


@pytest.mark.parametrize("protocol", ["selection", "logits"])
def test_a_choice_is_explained(engine, seen, protocol):
    found = explain(engine, seen, QUESTION, OPTIONS, protocol=protocol)
    answer = engine.ask(seen, QUESTION, OPTIONS, protocol=protocol)
    assert (found.target, found.text, found.choice) == ("choice", answer.text, answer.choice)
    assert found.probabilities == answer.probabilities
    assert found.measure == MEASURES["choice"]
    values, valid = seen.values, seen.valid
    prompts = engine.prompter.candidates(QUESTION, OPTIONS, len(values), protocol == "selection")

    def logs(*frames: int) -> torch.Tensor:
        costs = [nll(engine.model, prompt, values, without(valid, *frames)) for prompt in prompts]
        return torch.stack([-(c.sum() if protocol == "selection" else c.mean()) for c in costs]).log_softmax(0)

    every = logs()[answer.choice].item()
    assert found.score == pytest.approx(every, abs=1e-4)
    assert found.blind == pytest.approx(logs(*range(len(values)))[answer.choice].item(), abs=1e-4)
    assert len(found.frames) == len(values) == 5
    for number, frame in enumerate(found.frames):
        left = logs(number)
        assert frame.support == pytest.approx(every - left[answer.choice].item(), abs=1e-4)
        assert frame.probability == pytest.approx(left[answer.choice].exp().item(), abs=1e-4)
        assert frame.choice == int(left.argmax())
        assert (frame.captions, frame.weights) == (seen.readings[number].captions, seen.readings[number].weights)
        assert frame.time == seen.readings[number].time
    assert len({round(frame.support, 4) for frame in found.frames}) == 5
    # What predicts a token is what stands before it.
    said = prompts[answer.choice]
    slot = torch.arange(len(said))
    told = engine.model.attention_to_frames(
        ModelInputs(
            torch.tensor([said.ids]),
            frames=values[None],
            frame_valid=valid[None],
            is_slot=((slot >= said.slots[0]) & (slot < said.slots[1]))[None],
        ),
        slot[said.target[0] - 1 : len(said) - 1],
    )
    looked = torch.stack([told[:, :, :, frame].mean() for frame in range(5)])
    assert [frame.attention for frame in found.frames] == pytest.approx(looked.tolist())
    assert 0 < sum(frame.attention for frame in found.frames) < 1


@pytest.mark.parametrize("question", [None, QUESTION])
def test_what_it_says_is_explained(engine, seen, question):
    found = engine.explain(seen, question)
    said = engine.caption(seen) if question is None else engine.ask(seen, question)
    assert (found.text, found.choice, found.options) == (said.text, None, ())
    assert found.target == ("caption" if question is None else "answer")
    values, valid = seen.values, seen.valid
    write = engine.prompter.describe if question is None else lambda n, t: engine.prompter.answer(question, n, t)
    prompt = write(5, said.text)
    every = -nll(engine.model, prompt, values, valid).mean().item()
    assert found.score == pytest.approx(every, abs=1e-4)
    for number, frame in enumerate(found.frames):
        less = -nll(engine.model, prompt, values, without(valid, number)).mean().item()
        assert frame.support == pytest.approx(every - less, abs=1e-4)
        assert frame.probability is frame.choice is None


def test_a_released_adapter_reads_padding_in_the_place_of_a_frame(engine, seen):
    legacy = Legacy(prompts="released-llama2")
    like = Topa(
        engine.model, engine.prompter, engine.encoder, engine.memory,
        engine.config.model_copy(update={"legacy": legacy}),
    )  # fmt: skip
    short = like.inputs_of_projected(seen.features.take(torch.arange(4)), seen.readings[:4])
    found = explain(like, short, QUESTION, OPTIONS, protocol="logits")
    assert (found.masking, len(found.frames)) == ("padding", 4)
    values, valid = short.values, short.valid
    assert valid.all()
    mean = engine.memory.values.float().mean(dim=0)
    torch.testing.assert_close(like.padding(), functional.normalize(mean, dim=0), atol=1e-3, rtol=0)
    prompts = engine.prompter.candidates(QUESTION, OPTIONS, 5, False)
    values = values.clone()
    values[2] = like.padding()
    left = torch.stack([-nll(engine.model, prompt, values, valid).mean() for prompt in prompts]).log_softmax(0)
    assert found.score - found.frames[2].support == pytest.approx(left[found.choice].item(), abs=1e-4)
    assert engine.padding() is None


def test_features_of_many_frames_are_read_as_a_question_would_read_them(engine, micro_video):
    images = encode_video(micro_video, engine.encoder, 17).features
    whole = engine.inputs_of(images)
    assert (len(whole.features), len(whole.readings), whole.images) == (5, 5, ())
    few = engine.inputs_of(images.take(torch.tensor([images.times.tolist().index(time) for time in whole.times])))
    assert torch.equal(few.values, whole.values)
    a, b = explain(engine, whole, QUESTION, OPTIONS), explain(engine, few, QUESTION, OPTIONS)
    assert [frame.time for frame in a.frames] == [frame.time for frame in b.frames] == few.features.times.tolist()
    assert [frame.captions for frame in a.frames] == [reading.captions for reading in few.readings]
    assert [f.support for f in a.frames] == pytest.approx([f.support for f in b.frames], abs=1e-5)
    assert a.warnings == ("17 frames were given and 5 of them read",)


def test_what_cannot_be_explained(engine, seen, monkeypatch):
    with pytest.raises(InputError, match="choices: found some without a question"):
        explain(engine, seen, None, OPTIONS)
    with pytest.raises(InputError, match="found 1; expected at least two"):
        explain(engine, seen, QUESTION, OPTIONS[:1])
    with pytest.raises(InputError, match="question: found nothing"):
        explain(engine, seen, " ")
    monkeypatch.setattr(
        "topa.inference.execute.complete",
        lambda model, tokenizer, tasks, *_: [Completion("", (), "stop") for _ in tasks],
    )
    with pytest.raises(InputError, match="said nothing"):
        explain(engine, seen)


def test_the_strongest_frame_supports_or_there_is_none():
    def made(*support: float) -> Explanation:
        frames = tuple(ExplainedFrame(None, (), (), one, 0.1) for one in support)
        return Explanation("caption", "", "a toy", None, (), (), MEASURES["caption"], -1.0, -2.0, "masked", frames)

    assert made(0.1, 0.3, 0.3).strongest == 1
    assert made(-0.1, 0.0).strongest is None


def test_a_certain_answer_still_has_differences():
    sure = log_probabilities([torch.tensor([1e-6]), torch.tensor([40.0])], True)
    surer = log_probabilities([torch.tensor([1e-6]), torch.tensor([50.0])], True)
    assert sure[0] < surer[0] < 0
    for by_letter in (True, False):
        costs = [torch.tensor([0.5, 1.0]), torch.tensor([2.0, 0.1, 0.3]), torch.tensor([0.2])]
        total = torch.stack([c.sum() if by_letter else c.mean() for c in costs])
        torch.testing.assert_close(log_probabilities(costs, by_letter).float(), (-total).log_softmax(0))
