"""The warm start against a loop that says the same thing slowly."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from models.tiny import FEATURES
from topa.core.errors import InputError
from topa.training.warm_start import warm_start

from .small import COLOURS, model, prompter

# More captions than numbers in a feature, so that the ridge hardly matters; "the" and "is" are in all of them.
CAPTIONS = [
    f"the {size} {thing} is {colour}" for size in ("a", "small") for thing in ("ball", "hand") for colour in COLOURS
]


def features(count: int = len(CAPTIONS)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return functional.normalize(torch.randn(count, FEATURES, generator=generator), dim=-1)


def naive_targets(made, writer, captions: list[str], strength: float) -> torch.Tensor:
    table = made.llm.get_input_embeddings().weight
    rows = []
    for caption in captions:
        total, square = torch.zeros(table.shape[1]), 0.0
        for token in writer.encode(caption):
            seen = sum(token in writer.encode(other) for other in captions)
            rarity = math.log(len(captions) / seen)
            total, square = total + rarity * table[token], square + rarity**2
        rows.append(strength * total / math.sqrt(square))
    return torch.stack(rows)


def test_it_is_what_least_squares_gives():
    made, writer, values = model(), prompter(), features()
    explained = warm_start(made, writer, CAPTIONS, values, 1.7)
    targets = naive_targets(made, writer, CAPTIONS, 1.7)
    expected = torch.linalg.lstsq(values.double(), targets.double()).solution.float()
    assert torch.allclose(made.projector.linear.weight, expected.T, atol=2e-3 * expected.abs().max().item())
    left = (values @ expected - targets).square().sum() / (targets - targets.mean(0)).square().sum()
    assert explained == pytest.approx(1 - left.item(), abs=1e-3)


def test_features_that_carry_the_words_are_explained():
    made, writer = model(), prompter()
    colours = torch.eye(FEATURES)[torch.arange(len(CAPTIONS)) % len(COLOURS)]
    told = [f"the ball is {COLOURS[i % len(COLOURS)]}" for i in range(len(CAPTIONS))]
    assert warm_start(made, writer, told, colours, 2.0) > 0.999
    table = made.llm.get_input_embeddings().weight
    for i, colour in enumerate(COLOURS):
        # Only the colour differs from caption to caption: its embedding, `strength` long, is the whole target.
        read = made.projector.linear(torch.eye(FEATURES)[i])
        assert torch.allclose(read, 2.0 * table[writer.encode(colour)[0]], rtol=1e-2, atol=1e-2)


def test_words_of_all_captions_drop_out():
    values, plain, wordy = features(), model(), model()
    warm_start(plain, prompter(), [c.removeprefix("the ").replace("is ", "") for c in CAPTIONS], values, 1.0)
    warm_start(wordy, prompter(), CAPTIONS, values, 1.0)
    assert torch.allclose(plain.projector.linear.weight, wordy.projector.linear.weight, atol=1e-5)


def test_strength_is_a_factor():
    weak, strong = model(), model()
    warm_start(weak, prompter(), CAPTIONS, features(), 1.0)
    warm_start(strong, prompter(), CAPTIONS, features(), 3.0)
    assert torch.allclose(3 * weak.projector.linear.weight, strong.projector.linear.weight, rtol=1e-4, atol=1e-4)


def test_every_token_of_a_frame_gets_the_same_map():
    one, three = model(), model(tokens_per_frame=3)
    warm_start(one, prompter(), CAPTIONS, features(), 1.0)
    warm_start(three, prompter(3), CAPTIONS, features(), 1.0)
    read = three.projector.linear(features()).view(len(CAPTIONS), 3, -1)
    for token in range(3):
        assert torch.allclose(read[:, token], one.projector.linear(features()), atol=1e-5)


def test_slots_start_as_their_numbers():
    made, writer = model(), prompter()
    warm_start(made, writer, CAPTIONS, features(), 1.0)
    table = made.llm.get_input_embeddings().weight
    for slot in range(5):
        assert torch.equal(made.projector.temporal[slot], table[writer.encode(str(slot + 1))[0]])


def test_prompts_gates_and_the_llm_stay():
    made = model()
    before = {n: p.clone() for n, p in made.named_parameters() if not n.startswith("projector")}
    frozen = [p.clone() for p in made.llm.parameters()]
    warm_start(made, prompter(), CAPTIONS, features(), 1.0)
    assert all(torch.equal(p, before[n]) for n, p in made.named_parameters() if n in before)
    assert all(torch.equal(a, b) for a, b in zip(frozen, made.llm.parameters(), strict=True))
    assert all(p.requires_grad for p in made.projector.parameters())


@pytest.mark.parametrize(("captions", "rows"), [(CAPTIONS, 3), (CAPTIONS[:3], len(CAPTIONS)), ([], 0)])
def test_captions_and_features_are_pairs(captions, rows):
    with pytest.raises(InputError, match=f"{len(captions)} captions and {rows} features; expected pairs"):
        warm_start(model(), prompter(), captions, features(rows), 1.0)


def test_captions_that_are_all_alike_teach_nothing():
    with pytest.raises(InputError, match=r"3 captions, all of the same words.*--set warm_start=0"):
        warm_start(model(), prompter(), ["the ball is red"] * 3, features(3), 1.0)
