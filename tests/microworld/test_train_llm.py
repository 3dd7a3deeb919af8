"""The micro LLM's recipe: branches of a tree can't see each other, and its training ends in a folder that loads."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from topa.microworld import train_llm
from topa.microworld.questions import Balance
from topa.microworld.train_llm import (
    BRANCHES,
    SPELLINGS,
    STAGES,
    TASKS,
    CachedTokenizer,
    StoryTree,
    TrainingStage,
    choices,
    collate,
    examine,
    facts,
    logits,
    make_choices,
    make_item,
)
from topa.microworld.world import Scene, Story, write_story


@pytest.fixture(scope="module")
def encode(words: PreTrainedTokenizerFast) -> CachedTokenizer:
    return CachedTokenizer(words)


@pytest.fixture(scope="module")
def tiny(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = train_llm.build(32, 2, 2, words).eval()
    for parameter in model.parameters():  # large weights, so that attention to the wrong place would show
        if parameter.ndim == 2:
            parameter.data.mul_(4 if parameter.shape[0] < 120 else 1)
    return model


def items(encode: CachedTokenizer, spelling: str, task: str, number: int = 3) -> list[StoryTree]:
    rng = random.Random(f"{spelling} {task}")
    return [make_item(rng, encode, spelling, task, min(4, BRANCHES[task])) for _ in range(number)]


def read(model: LlamaForCausalLM, trees: list[StoryTree]) -> list[Tensor]:
    """Logits of each branch of the batch, in order."""
    batch = collate(trees, int(model.config.pad_token_id))
    with torch.no_grad():
        scores = logits(model, batch, 0.0, 0.0)
    return [scores[batch.branch == i] for i in range(len(batch.kinds))]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("task", TASKS)
def test_a_branch_reads_as_if_it_were_alone(
    tiny: LlamaForCausalLM, encode: CachedTokenizer, spelling: str, task: str
) -> None:
    """Against the plain model on story + branch, without tree, mask, positions or padding."""
    trees = items(encode, spelling, task)
    scores = iter(read(tiny, trees))
    embed = tiny.get_input_embeddings().weight.detach()
    for item in trees:
        rows = [embed[torch.tensor(item.prefix)]]
        for bag in item.bags or ():
            words, number = embed[torch.tensor(bag[:-1])], embed[bag[-1]]
            rows.append((words.sum(0) * (5 / len(words)) ** 0.5 + number)[None])
        for prompt, target, _ in item.branches:
            alone = torch.cat([*rows, embed[torch.tensor([*prompt, *target[:-1]])]])
            with torch.no_grad():
                alone = tiny(inputs_embeds=alone[None]).logits[0, -len(target) :]
            torch.testing.assert_close(next(scores), alone, atol=1e-3, rtol=1e-3)
    assert next(scores, None) is None


@pytest.mark.parametrize("spelling", ["sentences", "bags"])
def test_a_branch_does_not_see_another(tiny: LlamaForCausalLM, encode: CachedTokenizer, spelling: str) -> None:
    (item,) = items(encode, spelling, "answer", 1)
    assert len(item.branches) > 2
    before = read(tiny, [item])
    prompt, target, kind = item.branches[1]
    item.branches[1] = ([7 if t != 7 else 8 for t in prompt], target, kind)
    after = read(tiny, [item])
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        same = torch.allclose(a, b, atol=1e-5)
        assert same == (i != 1)


def test_targets_are_the_right_answers_with_their_end(encode: CachedTokenizer) -> None:
    trees = items(encode, "sentences", "answer")
    batch = collate(trees, 0)
    branches = [(row, branch) for row, item in enumerate(trees) for branch in item.branches]
    assert batch.kinds == [kind for _, (_, _, kind) in branches]
    for i, (row, (prompt, target, _)) in enumerate(branches):
        here = batch.branch == i
        assert batch.targets[here].tolist() == target
        assert target[-1] == encode.eos
        assert batch.rows[here].tolist() == [row] * len(target)
        # What the model has read last where it is to say each token of the target.
        assert batch.ids[batch.rows[here], batch.columns[here]].tolist() == [prompt[-1], *target[:-1]]


def test_facts_are_true() -> None:
    story = Story(
        (
            Scene("ball", "red", "small", "left", "beach"),
            Scene("ball", "blue", "small", "left", "beach"),
            Scene("car", "red", "small", "left", "beach"),
            Scene("car", "red", "large", "left", "beach"),
            Scene("car", "red", "large", "left", "snow"),
        ),
        ("colour", "toy", "size", "place"),
    )
    pairs = dict(facts(story, random.Random(0), 800))
    expected = {
        "1 toy": "ball", "2 colour": "blue", "5 place": "snow", "3 size": "small", "4 position": "left",
        "start red": "1", "end red": "5", "start car": "3", "end small": "3", "end ball": "2",
        "changes 1": "colour", "changes 2": "toy", "changes 4": "place",
        "many red": "four", "many left": "five", "many snow": "one",
        "after ball": "car", "before ball": "start", "after car": "end", "before blue": "red", "before snow": "beach",
    }  # fmt: skip
    assert {k: pairs[k] for k in expected} == expected
    assert "after red" not in pairs  # red comes twice


def test_choices_lay_out_every_option(encode: CachedTokenizer, words: PreTrainedTokenizerFast) -> None:
    trees = make_choices(random.Random(1), encode, "sentences", Balance(random.Random(1)))
    assert len(trees) > 3
    for item, answer in trees:
        assert len(item.branches) == 5
        assert len({tuple(prompt) for prompt, _, _ in item.branches}) == 1  # one question
        assert len({tuple(option) for _, option, _ in item.branches}) == 5
        assert 0 <= answer < 5


def test_an_untrained_model_is_at_chance(tiny: LlamaForCausalLM, encode: CachedTokenizer) -> None:
    accuracy = choices(tiny, encode, "sentences", 20, 1)
    assert sum(accuracy.values()) / len(accuracy) < 0.45
    assert max(examine(tiny, encode, "key words", "answer", 50).values()) < 0.6


SHORT = (
    TrainingStage(1, {"bags": 1.0}, {"facts": 1.0}, 0.02, 3e-3),
    TrainingStage(1, {"sentences": 1.0}, {"answer": 1.0}, 0.006, 0.012),
)


def test_training_ends_in_a_folder_that_loads_and_equal_seeds_give_equal_weights(
    tmp_path: Path, words: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_llm, "make_tokenizer", lambda: words)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_llm.train(tmp_path / name, stages=SHORT, seed=seed, width=32, layers=1, heads=2, batch=2)
    models = {n: AutoModelForCausalLM.from_pretrained(tmp_path / n).state_dict() for n in "abc"}
    assert all(torch.equal(value, models["b"][key]) for key, value in models["a"].items())
    assert not all(torch.equal(value, models["c"][key]) for key, value in models["a"].items())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert tokenizer("a red ball")["input_ids"] == words("a red ball")["input_ids"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (words.bos_token_id, words.eos_token_id)


def test_every_parameter_learns(
    tmp_path: Path, words: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_llm, "make_tokenizer", lambda: words)
    before: dict[str, Tensor] = {}
    build = train_llm.build

    def remember(*args: object) -> LlamaForCausalLM:
        model = build(*args)  # type: ignore[arg-type]
        before.update({n: p.detach().clone() for n, p in model.named_parameters()})
        return model

    monkeypatch.setattr(train_llm, "build", remember)
    train_llm.train(tmp_path, stages=SHORT, width=32, layers=1, heads=2, batch=2)
    trained = dict(AutoModelForCausalLM.from_pretrained(tmp_path).named_parameters())
    assert set(before) == set(trained)
    for name, weights in before.items():
        assert not torch.equal(weights, trained[name]), name


def test_the_recipe_practises_every_spelling_and_starts_with_facts() -> None:
    assert {s for stage in STAGES for s in stage.spellings} == set(SPELLINGS)
    assert set(STAGES[0].tasks) == {"facts"}
    assert {"facts", "answer", "describe"} <= {t for stage in STAGES for t in stage.tasks} <= set(TASKS)


def test_noise_and_spread_change_what_a_bag_reads_as(tiny: LlamaForCausalLM, encode: CachedTokenizer) -> None:
    trees = items(encode, "bags", "facts")
    batch = collate(trees, 0)
    assert batch.bags is not None
    with torch.no_grad():
        torch.manual_seed(0)
        noisy, plain = logits(tiny, batch, 0.5, 0.0), logits(tiny, batch, 0.0, 0.0)
        spread = logits(tiny, batch, 0.0, 0.3)
    assert not torch.allclose(noisy, plain)
    assert not torch.allclose(spread, plain)
    assert nn.functional.cross_entropy(plain, batch.targets).isfinite()


def test_stories_are_drawn_by_the_seed_alone(encode: CachedTokenizer) -> None:
    for spelling in SPELLINGS:
        drawings = [make_item(random.Random(3), encode, spelling, "answer", 4) for _ in range(2)]
        assert drawings[0] == drawings[1]
    assert write_story(random.Random(3)) == write_story(random.Random(3))
