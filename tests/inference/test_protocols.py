"""The three protocols against their definitions, one question at a time; permutations take a letter's advantage."""

from __future__ import annotations

import math

import pytest
import torch

from features.towers import save_clip
from inference.test_scoring import QUESTIONS, videos
from models.tiny import model as tiny_model
from topa.core.errors import InputError, UsageError
from topa.features.encoder import Encoder
from topa.inference.protocols import Asker, Chosen, choosing
from topa.inference.scoring import generate, score_options
from topa.prompts.prompt import Prompter
from topa.tideos.tideo import Question
from training.small import prompter, tokenizer

ABOUT = [0, 1, 1, 0, 2]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder.from_pretrained(save_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture
def asker(encoder):
    return lambda *a, **k: Asker(tiny_model(), prompter(), encoder, *a, **k)


class Published:
    """A question whose options may repeat."""

    def __init__(self, question: str, *options: str) -> None:
        self.question, self.options = question, options


@pytest.mark.parametrize("protocol", ["selection", "logits"])
def test_likelihoods_are_those_of_option_scoring(asker, protocol):
    values, valid = videos(3)
    expected = score_options(tiny_model(), prompter(), QUESTIONS, values, valid, ABOUT, protocol=protocol)
    found = asker(protocol).choose(QUESTIONS, values, valid, ABOUT)
    for own, scores, question in zip(found, expected, QUESTIONS, strict=True):
        assert (own.scores, own.probabilities, own.choice) == (scores.mean_nll, scores.probabilities, scores.choice)
        assert own.text == question.options[own.choice]


def test_similarity_is_the_option_nearest_to_what_is_said(asker, encoder):
    values, valid = videos(3)
    found = asker("similarity", max_tokens=5).choose(QUESTIONS, values, valid, ABOUT)
    for own, question, video in zip(found, QUESTIONS, ABOUT, strict=True):
        prompt = prompter().answer(question.question, int(valid[video].sum()))
        (said,) = generate(tiny_model(), prompter(), [prompt], values[[video]], valid[[video]], 5)
        cosines = encoder.encode_texts(question.options) @ encoder.encode_texts([said])[0]
        assert own.text == said
        assert own.choice == int(cosines.argmax())
        assert own.scores == pytest.approx((1 - cosines).tolist(), abs=1e-5)
        assert own.probabilities == pytest.approx(torch.softmax(cosines / 0.01, 0).tolist(), abs=1e-3)


def test_permutations_average_over_every_cyclic_order(asker):
    values, valid = videos(3)
    found = asker("selection", permutations=True).choose(QUESTIONS, values, valid, ABOUT)
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


def test_a_model_that_always_says_a_is_cured_by_permutations(asker, monkeypatch):
    """Every letter gets the same share in the mean, so the order of the options decides nothing."""
    from topa.inference import protocols
    from topa.inference.scoring import Scores

    def biased(model, rows, *_, **__):
        return [Scores((0.0, 3.0, 3.0), (0.9, 0.05, 0.05)) for _ in rows]

    monkeypatch.setattr(protocols, "score_rows", biased)
    values, valid = videos(1)
    asked = Published("which", "red", "blue", "green")
    (plain,) = asker("selection").choose([asked], values, valid, [0])
    (fair,) = asker("selection", permutations=True).choose([asked], values, valid, [0])
    assert plain.choice == 0
    assert fair.probabilities == pytest.approx((1 / 3,) * 3)


@pytest.mark.parametrize("protocol", ["selection", "logits", "similarity"])
def test_options_that_repeat_are_asked_as_published(asker, protocol):
    values, valid = videos(1)
    (found,) = asker(protocol).choose([Published("which", "red", "blue", "red")], values, valid, [0])
    assert isinstance(found, Chosen)
    assert len(found.scores) == 3
    if protocol != "selection":
        assert found.scores[0] == pytest.approx(found.scores[2])
        assert found.choice != 2


def test_what_cannot_be_asked_is_an_error_in_its_place(asker):
    values, valid = videos(2)
    asked = [Published("which", "red"), Published("what comes", "red", "blue"), Published("which", "red", " ")]
    bad, good, empty = asker("logits").choose(asked, values, valid, [0, 1, 1])
    assert "found 1" in str(bad)
    assert "empty" in str(empty)
    alone = asker("logits").choose([asked[1]], values, valid, [1])
    assert isinstance(good, Chosen)
    assert good.scores == pytest.approx(alone[0].scores, abs=1e-5)
    assert all(isinstance(one, InputError) for one in asker("selection").choose(asked[::2], values, valid, [0, 1]))


def test_a_prompt_longer_than_the_window_is_an_error_in_its_place(encoder):
    values, valid = videos(1)
    asker = Asker(tiny_model(), Prompter(tokenizer(), window=60), encoder, "logits")
    asked = [Published("which " * 70, "red", "blue"), Published("which", "red", "blue")]
    long, short = asker.choose(asked, values, valid, [0, 0])
    assert "expected at most 60" in str(long)
    assert isinstance(short, Chosen)


def test_answers_end_at_the_window(encoder, monkeypatch):
    asked = []
    from topa.inference import protocols

    monkeypatch.setattr(protocols, "generate", lambda *a: (asked.append(a[5]), [""] * len(a[2]))[1])
    values, valid = videos(1)
    writer = Prompter(tokenizer(), window=40)
    prompts = [writer.answer("which", 4), writer.answer("which one is the ball", 4)]
    Asker(tiny_model(), writer, encoder, max_tokens=30).say(prompts, values, valid, [0, 0])
    assert asked == [40 - len(prompts[1])]


def test_refusals(asker):
    with pytest.raises(UsageError, match="did you mean 'logits'"):
        asker("logit")
    with pytest.raises(UsageError, match="lists no options"):
        asker("logits", permutations=True)
    assert choosing("similarity") == "similarity"
