"""Option scores against one full forward per option; neither order nor batches matter."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional

from models.tiny import FEATURES, FRAMES
from models.tiny import model as tiny_model
from topa.core.errors import InputError, UsageError
from topa.inference import scorer as scoring
from topa.inference.generator import clean_completion, generate
from topa.inference.scorer import nll_of_targets, score_options
from topa.models import VideoLanguageModel
from topa.models.inputs import ModelInputs
from topa.tideos.tideo import Question
from training.small import COLOURS, prompter

QUESTIONS = [
    Question(question="what colour is the ball", options=COLOURS[:4]),
    Question(question="which one is first", options=("the ball", "red")),
    Question(question="what comes", options=("a small ball", "the small red ball is first", "hand", "red", "blue")),
    Question(question="which", options=("the hand comes first", "the ball comes first", "white")),
    Question(question="what colour is the small ball", options=("red", "the small white hand is the one")),
]
PROTOCOLS = ("selection", "logits")


def videos(count: int = len(QUESTIONS)) -> tuple[torch.Tensor, torch.Tensor]:
    """Every second one with a padded frame."""
    generator = torch.Generator().manual_seed(4)
    values = functional.normalize(torch.randn(count, FRAMES, FEATURES, generator=generator), dim=-1)
    valid = torch.ones(count, FRAMES, dtype=torch.bool)
    values[::2, -1], valid[::2, -1] = 0, False
    return values, valid


def naive(model, writer, question: Question, values: torch.Tensor, valid: torch.Tensor, protocol: str) -> list[float]:
    """The mean negative log-likelihood of each option's target in a prompt written for training."""
    shown, found = int(valid.sum()), []
    for i, option in enumerate(question.options):
        if protocol == "selection":
            prompt = writer.choose(question.question, question.options, shown, i)
        else:
            prompt = writer.answer(question.question, shown, option)
        column = torch.arange(len(prompt))
        is_slot = (column >= prompt.slots[0]) & (column < prompt.slots[1])
        with torch.no_grad():
            logits = model(
                ModelInputs(
                    torch.tensor([prompt.ids]), frames=values[None], frame_valid=valid[None], is_slot=is_slot[None]
                )
            )[0]
        first, last = prompt.target
        assert last == len(prompt)
        assert last - first == {"selection": 4}.get(protocol, len(option.split()) + 1)
        targets = torch.tensor(prompt.ids[first:last])
        found.append(functional.cross_entropy(logits[first - 1 : last - 1], targets).item())
    return found


@pytest.mark.parametrize("tokens_per_frame", [1, 2])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_are_those_of_a_full_forward_per_option(protocol, tokens_per_frame):
    model, writer = tiny_model(tokens_per_frame=tokens_per_frame), prompter(tokens_per_frame)
    values, valid = videos()
    scores = score_options(model, writer, QUESTIONS, values, valid, protocol=protocol)
    for i, question in enumerate(QUESTIONS):
        expected = naive(model, writer, question, values[i], valid[i], protocol)
        assert scores[i].mean_nll == pytest.approx(expected, abs=1e-5, rel=1e-5)
        assert scores[i].choice == expected.index(min(expected))
        assert max(expected) - min(expected) > 0.01


@pytest.mark.parametrize("tokens", [1, 100, 1 << 15])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_order_and_batches_change_nothing(monkeypatch, protocol, tokens):
    model, writer = tiny_model(), prompter()
    values, valid = videos()
    expected = score_options(model, writer, QUESTIONS, values, valid, protocol=protocol)
    monkeypatch.setattr(scoring, "_TOKENS", tokens)
    order = random.Random(tokens).sample(range(len(QUESTIONS)), len(QUESTIONS))
    asked, told = [QUESTIONS[i] for i in order], []
    scores = score_options(model, writer, asked, values[order], valid[order], protocol=protocol, progress=told.append)
    assert sum(told) == len(QUESTIONS)
    assert len(told) == 5 if tokens == 1 else len(told) < 5
    for row, i in enumerate(order):
        assert scores[row].mean_nll == pytest.approx(expected[i].mean_nll, abs=1e-5)
        assert scores[row].probabilities == pytest.approx(expected[i].probabilities, abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_questions_about_one_video_read_it_once(monkeypatch, protocol, family):
    model, writer = tiny_model(family), prompter()
    values, valid = videos(2)
    about = [1, 0, 1, 1, 0]
    shown, embed = [], VideoLanguageModel.embed

    def counted(self, inputs):
        shown.append((len(inputs.input_ids), inputs.frames is not None))
        return embed(self, inputs)

    monkeypatch.setattr(VideoLanguageModel, "embed", counted)
    scores = score_options(model, writer, QUESTIONS, values, valid, about, protocol=protocol)
    assert shown == [(2, True), (5, False)]  # two videos, then five questions
    monkeypatch.undo()
    for i, question in enumerate(QUESTIONS):
        expected = naive(model, writer, question, values[about[i]], valid[about[i]], protocol)
        assert scores[i].mean_nll == pytest.approx(expected, abs=2e-5, rel=1e-5)


def test_labels_that_all_options_share_are_scored_once(monkeypatch):
    """Three of the four tokens of " (A)" and its end are behind the first that differs; the bracket isn't."""
    model, writer = tiny_model(), prompter()
    values, valid = videos(1)
    read_to, score = [], VideoLanguageModel.score_continuations

    def counted(self, inputs, continuations, mask, **rest):
        read_to.append((tuple(continuations.shape), int(rest["labelled"].sum())))
        return score(self, inputs, continuations, mask, **rest)

    monkeypatch.setattr(VideoLanguageModel, "score_continuations", counted)
    scores = score_options(model, writer, QUESTIONS[:1], values, valid)
    assert read_to == [((1, 4, 3), 1)]
    assert scores[0].mean_nll == pytest.approx(
        naive(model, writer, QUESTIONS[0], values[0], valid[0], "selection"), abs=1e-5
    )


def test_one_answer_that_begins_like_another():
    model, writer = tiny_model(), prompter()
    values, valid = videos(1)
    question = Question(question="what comes", options=("the small ball", "the small ball is first", "the"))
    groups = [writer.candidates(question.question, question.options, FRAMES - 1, by_letter=False)]
    found = [nll.mean().item() for nll in nll_of_targets(model, groups, values, valid)[0]]
    assert found == pytest.approx(naive(model, writer, question, values[0], valid[0], "logits"), abs=1e-5)
    with pytest.raises(UsageError, match="without a target"):
        nll_of_targets(model, [[writer.answer("what", FRAMES - 1)]], values, valid)


def test_probabilities_are_a_softmax_of_what_the_protocol_says():
    model, (values, valid) = tiny_model(), videos()
    for protocol in PROTOCOLS:
        scores = score_options(model, prompter(), QUESTIONS, values, valid, protocol=protocol)
        for found in scores:
            # A letter, its two brackets and the end: four tokens whose likelihoods add up.
            times = 4 if protocol == "selection" else 1
            weights = torch.softmax(-torch.tensor(found.mean_nll) * times, 0)
            assert found.probabilities == pytest.approx(weights.tolist(), abs=1e-5)
            assert sum(found.probabilities) == pytest.approx(1, abs=1e-5)
            assert found.probabilities[found.choice] == max(found.probabilities)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_blind_run_has_scores_that_the_video_changes(protocol):
    model, (values, valid) = tiny_model(), videos()
    blind = score_options(model, prompter(), QUESTIONS, torch.zeros_like(values), valid, protocol=protocol)
    seen = score_options(model, prompter(), QUESTIONS, values, valid, protocol=protocol)
    for without, given in zip(blind, seen, strict=True):
        assert all(torch.tensor(without.mean_nll).isfinite())
        assert without.mean_nll != pytest.approx(given.mean_nll, abs=1e-3)


def test_the_same_option_elsewhere_has_the_same_score_as_a_free_answer():
    model, (values, valid) = tiny_model(), videos(2)
    values[1], valid[1] = values[0], valid[0]
    turned = [Question(question="what", options=options) for options in (COLOURS[:4], COLOURS[3::-1])]
    a, b = score_options(model, prompter(), turned, values, valid, protocol="logits")
    assert a.mean_nll == pytest.approx(b.mean_nll[::-1], abs=1e-6)
    assert COLOURS[a.choice] == COLOURS[3 - b.choice]


def test_a_question_without_options_is_refused_and_none_is_dropped():
    model, (values, valid) = tiny_model(), videos()
    bare = [*QUESTIONS[:-1], Question(question="what is red", answer_text="ball")]
    for protocol in PROTOCOLS:
        with pytest.raises(InputError, match="question 'what is red': found no options; expected two or more"):
            score_options(model, prompter(), bare, values, valid, protocol=protocol)
    assert score_options(model, prompter(), [], values[:0], valid[:0]) == []


def test_a_protocol_nobody_knows_is_answered():
    values, valid = videos()
    with pytest.raises(UsageError, match="unknown protocol 'logit'; did you mean 'logits'"):
        score_options(tiny_model(), prompter(), QUESTIONS, values, valid, protocol="logit")  # type: ignore[arg-type]


def test_scoring_trains_nothing():
    model, (values, valid) = tiny_model(), videos()
    score_options(model, prompter(), QUESTIONS, values, valid)
    assert all(p.grad is None for p in model.parameters())


def test_generation_goes_on_from_the_prompt_as_full_forwards_do():
    model, writer = tiny_model(), prompter()
    values, valid = videos(3)
    prompts = [writer.answer("what colour is the ball", 4), writer.describe(5), writer.answer("which", 4)]
    texts = generate(model, writer.tokenizer, prompts, values, valid, 6)
    for i, prompt in enumerate(prompts):
        ids, said = list(prompt.ids), []
        for _ in range(6):
            is_slot = torch.tensor([prompt.slots[0] <= c < prompt.slots[1] for c in range(len(ids))])
            with torch.no_grad():
                logits = model(
                    ModelInputs(
                        torch.tensor([ids]),
                        frames=values[i : i + 1],
                        frame_valid=valid[i : i + 1],
                        is_slot=is_slot[None],
                    )
                )
            token = int(logits[0, -1].argmax())
            if token == writer.tokenizer.eos_token_id:
                break
            ids.append(token)
            said.append(token)
        assert texts[i] == clean_completion(writer.tokenizer.decode(said, skip_special_tokens=True))


def test_generation_reads_a_video_once_for_all_its_prompts(monkeypatch):
    model, writer = tiny_model(), prompter()
    values, valid = videos(2)
    shown = valid.sum(1).tolist()
    about = [0, 1, 0, 0]
    asked = [
        writer.answer(text, shown[v]) for text, v in zip(("which", "what comes", "what", "which"), about, strict=True)
    ]
    alone = [
        generate(model, writer.tokenizer, [p], values[[v]], valid[[v]], 5)[0] for p, v in zip(asked, about, strict=True)
    ]
    read_videos = []
    inner = scoring._inputs
    monkeypatch.setattr(scoring, "_inputs", lambda *a: (read_videos.append(len(a[2])), inner(*a))[1])
    assert generate(model, writer.tokenizer, asked, values, valid, 5, about) == alone
    assert read_videos == [2]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [("the ball , red .", "the ball, red."), (" a  b\n", "a b"), ("what ? yes !", "what? yes!"), ("", "")],
)
def test_clean_completion(raw, clean):
    assert clean_completion(raw) == clean
