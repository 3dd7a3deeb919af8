"""What is known of held-out samples: the loss of the tasks, whole answers, and captions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.tiny import model as tiny_model
from topa.core.processes import Processes
from topa.core.rouge import rouge_l
from topa.inference.scorer import score_options
from topa.training.data import Mix, epoch_batches
from topa.training.prepare import prepare
from topa.training.reading import compute_loss
from topa.training.validation import validate

from .small import config, model, prompter, samples


@pytest.mark.parametrize("protocol", ["selection", "logits"])
def test_accuracy_is_that_of_whole_options(protocol):
    """One question a sample: scored over all of its options, as everywhere."""
    made, data = tiny_model(), samples(9)
    found = validate(made, prompter(), data, config(protocol=protocol))
    questions = [own.questions[0] for own in data.labels]
    scores = score_options(made, prompter(), questions, data.values, data.valid, protocol=protocol)
    right = sum(s.choice == q.answer for s, q in zip(scores, questions, strict=True))
    assert found.questions == 9
    assert found.accuracy == pytest.approx(right / 9)
    assert 0 < right < 9


def test_the_loss_is_a_mean_over_target_tokens():
    made, data, settings = tiny_model(), samples(10), config(batch_size=4)
    mix = Mix.of(settings)
    batches = list(epoch_batches(data, prompter(), mix, batch_size=4, seed=settings.seed, epoch=-1))
    with torch.no_grad():
        total = sum(compute_loss(made, batch).item() * len(batch.targets) for batch in batches)
    expected = total / sum(len(batch.targets) for batch in batches)
    for budget in (30, 1 << 20):
        found = validate(made, prompter(), data, config(batch_size=4, pass_tokens=budget))
        assert found.loss == pytest.approx(expected, rel=1e-5)


def test_captions_are_compared_with_descriptions(monkeypatch):
    said = ["the ball is red", "the ball is small", "nothing"]
    given = iter(said)
    monkeypatch.setattr(
        "topa.training.validation.generate", lambda model, ask, prompts, *_: [next(given) for _ in prompts]
    )
    data = samples(5)
    found = validate(model(), prompter(), data, config(validation_captions=3))
    expected = [rouge_l(text, own.description) for text, own in zip(said, data.labels, strict=False)]
    assert found.captions == 3
    assert found.rouge_l == pytest.approx(sum(expected) / 3)
    assert 0 < found.rouge_l < 1


def test_many_captions_come_in_parts():
    found = validate(tiny_model(), prompter(), samples(37), config(validation_captions=35))
    assert found.captions == 35
    assert 0 <= found.rouge_l <= 1


@pytest.mark.parametrize("changes", [{"describe": 0.0}, {"validation_captions": 0}])
def test_captions_that_are_not_trained_or_not_wanted_are_not_asked_for(changes):
    found = validate(model(), prompter(), samples(4), config(**changes))
    assert (found.rouge_l, found.captions) == (None, 0)


def test_without_choices_no_accuracy_is_claimed():
    data = samples(3)
    data = replace(data, labels=tuple(replace(own, questions=()) for own in data.labels))
    found = validate(model(), prompter(), data, config())
    assert (found.accuracy, found.questions) == (None, 0)
    assert found.loss > 0


def test_validation_changes_nothing_and_is_the_same_again():
    made = tiny_model()
    before = {name: value.clone() for name, value in made.adapter_state_dict().items()}
    first = validate(made, prompter(), samples(8), config())
    torch.manual_seed(99)
    assert validate(made, prompter(), samples(8), config()) == first
    assert all(torch.equal(value, before[name]) for name, value in made.adapter_state_dict().items())
    assert all(p.grad is None for p in made.trainable_parameters())


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_checkpointed_layers_read_as_others_do(family):
    """They keep nothing in training; generation and scoring go on from what was read, and must have it."""
    plain, checkpointed = tiny_model(family), tiny_model(family)
    prepare(checkpointed, config(checkpointing=True), Processes())
    ask = prompter()
    ask.window = 128  # what these models can read: captions end there
    expected = validate(plain, ask, samples(8), config())
    found = validate(checkpointed, ask, samples(8), config())
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert replace(found, loss=expected.loss) == expected
    batch = next(epoch_batches(samples(6), prompter(), Mix(1, 0, 0), batch_size=6, seed=0, epoch=0))
    losses = [compute_loss(made, batch) for made in (plain, checkpointed)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)  # nothing is dropped out in training
    losses[1].backward()
    assert all(p.grad is not None for p in checkpointed.trainable_parameters())
