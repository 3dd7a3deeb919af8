"""Texts generated together are those generated one by one, whenever each of them came."""

from __future__ import annotations

import pytest
import torch

from models.tiny import model as tiny_model
from topa.inference.generator import ContinuousBatcher, GenerationTask, decode, generate
from topa.inference.request import Sampling
from topa.models.inputs import ModelInputs
from training.small import prompter

from .test_scorer import videos

QUESTIONS = ["what colour is the ball", "which one", "what comes first", "the hand", "which ball is the first one"]
LENGTHS = [6, 1, 9, 4, 7]


def wanted(writer, *, sampling: Sampling | None = None, top: int | None = None) -> list[GenerationTask]:
    values, valid = videos()
    prompts = [writer.answer(question, int(own.sum())) for question, own in zip(QUESTIONS, valid, strict=True)]
    return [
        GenerationTask(prompt, values[n], valid[n], LENGTHS[n], sampling or Sampling(), top)
        for n, prompt in enumerate(prompts)
    ]


def alone(model, writer) -> list[str]:
    values, valid = videos()
    return [
        generate(model, writer.tokenizer, [own.prompt], values[n : n + 1], valid[n : n + 1], own.max_tokens)[0]
        for n, own in enumerate(wanted(writer))
    ]


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_each_text_is_what_it_would_be_alone(family):
    model, writer = tiny_model(family), prompter()
    expected = alone(model, writer)
    batch, waiting, ended = ContinuousBatcher(model, writer.tokenizer), wanted(writer), []
    texts = batch.add(waiting[:2])
    while len(batch) or waiting[2:]:  # one joins at every step
        ended += batch.step()
        if waiting[2:]:
            texts += batch.add([waiting.pop(2)])
    assert [batch.completion(text).text for text in texts] == expected
    assert sorted(map(id, ended)) == sorted(map(id, texts))
    assert all(len(text.tokens) == own or text.finish == "stop" for text, own in zip(texts, LENGTHS, strict=True))
    assert {text.finish for text in texts} <= {"stop", "length"}


def test_one_that_is_dropped_leaves_the_others_alone():
    model, writer = tiny_model(), prompter()
    expected = alone(model, writer)
    batch = ContinuousBatcher(model, writer.tokenizer)
    texts = batch.add(wanted(writer))
    batch.step()
    batch.drop([texts[2], texts[0]])
    assert len(batch) == 2  # one had a single token to say
    while len(batch):
        batch.step()
    assert [batch.completion(text).text for text in texts[3:]] == expected[3:]
    assert len(texts[2].tokens) == 1
    assert texts[2].finish is None
    batch.drop(texts)
    assert batch.step() == []


def test_the_end_of_sequence_ends_a_text_and_is_no_part_of_it():
    model, writer = tiny_model(), prompter()
    texts = ContinuousBatcher(model, writer.tokenizer)
    (first,) = texts.add(wanted(writer)[:1])
    texts.step()
    writer.tokenizer.eos_token_id = first.tokens[0].token  # what it says first ends it
    batch = ContinuousBatcher(model, writer.tokenizer)
    (same,) = batch.add(wanted(writer)[:1])
    assert batch.step() == [same]
    assert (same.finish, same.tokens, batch.completion(same).text) == ("stop", [], "")


def test_log_probabilities_are_the_models_own():
    model, writer = tiny_model(), prompter()
    values, valid = videos()
    batch = ContinuousBatcher(model, writer.tokenizer)
    text = batch.add(wanted(writer, top=3))[0]
    while len(batch):
        batch.step()
    prompt = text.task.prompt
    ids = [*prompt.ids, *(sampled.token for sampled in text.tokens)]
    column = torch.arange(len(ids))
    is_slot = (column >= prompt.slots[0]) & (column < prompt.slots[1])
    with torch.no_grad():
        logits = model(
            ModelInputs(torch.tensor([ids]), frames=values[:1], frame_valid=valid[:1], is_slot=is_slot[None])
        )[0]
    for at, spoken in enumerate(text.tokens, start=len(prompt) - 1):
        logs = logits[at].log_softmax(-1)
        assert spoken.logprob == pytest.approx(float(logs[spoken.token]), abs=1e-4)
        assert [token for token, _ in spoken.top] == logs.topk(3).indices.tolist()
        assert spoken.top[0] == (spoken.token, pytest.approx(spoken.logprob))


def test_a_seed_draws_the_same_in_any_company():
    model, writer = tiny_model(), prompter()

    def draw(sampling: Sampling, rows: slice) -> list[list[int]]:
        batch = ContinuousBatcher(model, writer.tokenizer)
        texts = batch.add(wanted(writer, sampling=sampling)[rows])
        while len(batch):
            batch.step()
        return [[sampled.token for sampled in text.tokens] for text in texts]

    warm = Sampling(temperature=1.5, seed=4)
    together = draw(warm, slice(None))
    assert [draw(warm, slice(n, n + 1))[0] for n in range(5)] == together
    assert draw(Sampling(temperature=1.5, seed=5), slice(None)) != together
    assert draw(Sampling(temperature=1.5), slice(None)) != draw(Sampling(temperature=1.5), slice(None))
    greedy = draw(Sampling(), slice(None))
    assert together != greedy
    for top_p in (1e-6, 0.0):  # the likeliest alone is left
        assert draw(Sampling(temperature=1.5, top_p=top_p), slice(None)) == greedy


def test_a_stop_text_ends_what_is_said_and_is_looked_for_before_blanks_are_cleaned():
    class Lines:
        def decode(self, ids, *, skip_special_tokens: bool) -> str:
            return "red. blue\nred"

    assert decode(Lines(), [1], ["\n", ". "]) == "red"
    assert decode(Lines(), [1], ["\n"]) == "red. blue"
    assert decode(Lines(), [1]) == "red. blue red"
