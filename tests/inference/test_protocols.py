"""The three protocols against their definitions, one question at a time; permutations take a letter's advantage."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from features.towers import save_clip
from models.tiny import model as tiny_model
from topa import Topa
from topa.core.errors import InputError, UsageError
from topa.core.protocols import check_protocol
from topa.features.encoder import Encoder
from topa.inference.answer import Answer
from topa.inference.generator import generate
from topa.inference.request import GenerationSettings, Request
from topa.inference.scorer import OptionScores, score_options
from topa.prompts.prompt import Prompter
from topa.tideos.tideo import Question
from training.small import prompter, tokenizer

from .test_scorer import QUESTIONS, videos
from .tiny_engine import tiny_engine, tiny_inputs

ABOUT = [0, 1, 1, 0, 2]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder.from_pretrained(save_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture
def engine(encoder) -> Topa:
    return tiny_engine(encoder)


def choose(engine: Topa, protocol: str, questions: Sequence[Question] = QUESTIONS, about=None, **more) -> list[Answer]:
    inputs = tiny_inputs(engine, 3)
    about = ABOUT if about is None else about
    return engine.answer(
        [
            Request(inputs[video], q.question, q.options, protocol, **more)
            for q, video in zip(questions, about, strict=True)
        ]
    )


@pytest.mark.parametrize("protocol", ["selection", "logits"])
def test_likelihoods_are_those_of_option_scoring(engine, protocol):
    values, valid = videos(3)
    expected = score_options(tiny_model(), prompter(), QUESTIONS, values, valid, ABOUT, protocol=protocol)
    for own, scores, question in zip(choose(engine, protocol), expected, QUESTIONS, strict=True):
        assert (own.scores, own.probabilities, own.choice) == (scores.mean_nll, scores.probabilities, scores.choice)
        assert own.text == question.options[own.choice]


def test_protocols_of_one_call_are_those_of_each(engine):
    inputs = tiny_inputs(engine, 3)
    protocols = ("similarity", "logits", "selection", "logits", "similarity")
    mixed = engine.answer(
        [Request(inputs[v], q.question, q.options, p) for q, v, p in zip(QUESTIONS, ABOUT, protocols, strict=True)]
        + [Request(inputs[0], "which"), Request(inputs[1])]
    )
    for number, protocol in enumerate(protocols):
        alone = choose(engine, protocol)[number]
        assert mixed[number].choice == alone.choice
        assert mixed[number].scores == pytest.approx(alone.scores, abs=1e-5)
    assert [answer.choice for answer in mixed[5:]] == [None, None]


def test_similarity_is_the_option_nearest_to_what_is_generated(engine, encoder):
    values, valid = videos(3)
    found = choose(engine, "similarity", generation=GenerationSettings(5))
    for own, question, video in zip(found, QUESTIONS, ABOUT, strict=True):
        prompt = prompter().answer(question.question, int(valid[video].sum()))
        (text,) = generate(tiny_model(), tokenizer(), [prompt], values[[video]], valid[[video]], 5)
        cosines = encoder.encode_texts(question.options) @ encoder.encode_texts([text])[0]
        assert own.text == text
        assert own.choice == int(cosines.argmax())
        assert own.scores == pytest.approx((1 - cosines).tolist(), abs=1e-5)
        assert own.probabilities == pytest.approx(torch.softmax(cosines / 0.01, 0).tolist(), abs=1e-3)


def test_permutations_average_over_every_cyclic_order(engine):
    values, valid = videos(3)
    found = choose(engine, "selection", permutations=True)
    for own, question, video in zip(found, QUESTIONS, ABOUT, strict=True):
        shares = dict.fromkeys(question.options, 0.0)
        for turn in range(len(question.options)):
            options = question.options[turn:] + question.options[:turn]
            turned = Question(question=question.question, options=options)
            (scores,) = score_options(tiny_model(), prompter(), [turned], values, valid, [video])
            for option, share in zip(options, scores.probabilities, strict=True):
                shares[option] += share / len(options)
        assert own.probabilities == pytest.approx([shares[option] for option in question.options], abs=1e-5)
        assert own.scores == pytest.approx([-math.log(shares[option]) for option in question.options], abs=1e-4)
        assert own.text == max(shares, key=shares.get)


def test_a_model_that_always_says_a_is_cured_by_permutations(engine, monkeypatch):
    """Every letter gets the same share in the mean, so the order of the options decides nothing."""
    from topa.inference import execute as module

    def biased(model, rows, *_, **__):
        return [OptionScores((0.0, 3.0, 3.0), (0.9, 0.05, 0.05)) for _ in rows]

    monkeypatch.setattr(module, "score_rows", biased)
    asked = [Question(question="which", options=("red", "blue", "green"))]
    (plain,) = choose(engine, "selection", asked, [0])
    (fair,) = choose(engine, "selection", asked, [0], permutations=True)
    assert plain.choice == 0
    assert fair.probabilities == pytest.approx((1 / 3,) * 3)


@pytest.mark.parametrize("protocol", ["selection", "logits", "similarity"])
def test_options_that_repeat_are_asked_as_published(engine, protocol):
    (inputs,) = tiny_inputs(engine, 1)
    (found,) = engine.answer([Request(inputs, "which", ("red", "blue", "red"), protocol)])
    assert len(found.scores) == 3
    if protocol != "selection":
        assert found.scores[0] == pytest.approx(found.scores[2])
        assert found.choice != 2


@pytest.mark.parametrize("protocol", ["selection", "logits", "similarity"])
def test_options_that_cannot_be_asked_are_refused_when_they_are_prepared(engine, protocol):
    (inputs,) = tiny_inputs(engine, 1)
    for options, words in ((("red",), "found 1"), (("red", " "), "empty")):
        with pytest.raises(InputError, match=words):
            engine.prepare(Request(inputs, "which", options, protocol))


def test_a_prompt_longer_than_the_window_is_refused_when_it_is_prepared(encoder):
    engine = tiny_engine(encoder, Prompter(tokenizer(), window=60))
    (inputs,) = tiny_inputs(engine, 1)
    with pytest.raises(InputError, match="expected at most 60"):
        engine.prepare(Request(inputs, "which " * 70, ("red", "blue")))
    assert engine.prepare(Request(inputs, "which", ("red", "blue"))).orders


def test_answers_end_at_the_window(encoder):
    engine = tiny_engine(encoder, Prompter(tokenizer(), window=40))
    (inputs,) = tiny_inputs(engine, 1)
    for question in ("which", "which one is the ball"):
        prepared = engine.prepare(Request(inputs, question, generation=GenerationSettings(30)))
        assert prepared.task().max_tokens == min(30, 40 - len(prepared.prompt)) < 30


def test_refusals(engine):
    (inputs,) = tiny_inputs(engine, 1)
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        engine.prepare(Request(inputs, "which", ("red", "blue"), "logit"))
    with pytest.raises(UsageError, match="lists no options"):
        engine.prepare(Request(inputs, "which", ("red", "blue"), "logits", permutations=True))
    assert check_protocol("similarity") == "similarity"


def test_a_stream_is_the_answer_in_pieces(engine):
    (inputs,) = tiny_inputs(engine, 1)
    for request in (Request(inputs, "what comes"), Request(inputs), Request(inputs, generation=GenerationSettings(3))):
        pieces = list(engine.stream(request))
        assert "".join(pieces) == engine.answer([request])[0].text
    assert len(list(engine.stream(Request(inputs, "what comes")))) > 1
    with pytest.raises(UsageError, match="stream: found options"):
        next(engine.stream(Request(inputs, "which", ("red", "blue"))))
