"""What training draws: pure, complete, and labelled exactly where an answer is to be said."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch

from models.tiny import FEATURES, FRAMES
from topa.core.errors import InputError
from topa.features.frames import FrameFeatures
from topa.tideos.options import shuffle_options
from topa.tideos.tideo import Question
from topa.training.data import (
    AlignmentSet,
    Labels,
    Mix,
    PromptBatch,
    add_noise,
    batches_per_epoch,
    collate,
    epoch_batches,
    write_prompt,
)

from .small import COLOURS, prompter, question, samples, words_of

ALL = Mix(0.4, 0.3, 0.3)


def same(a: PromptBatch, b: PromptBatch) -> bool:
    fields = ("ids", "visible", "is_slot", "frames", "frame_valid", "rows", "columns", "targets")
    return a.members == b.members and all(torch.equal(getattr(a, f), getattr(b, f)) for f in fields)


def epoch(
    data: AlignmentSet, number: int = 0, *, mix: Mix = ALL, seed: int = 3, noise: float = 0.0
) -> list[PromptBatch]:
    return list(epoch_batches(data, prompter(), mix, batch_size=4, seed=seed, epoch=number, noise=noise))


def test_shuffling_moves_the_index_along_and_changes_nothing_else():
    asked = question(2)
    before = asked.model_dump()
    for seed in range(30):
        shuffled = shuffle_options(asked, random.Random(seed))
        assert shuffled.right == asked.right
        assert sorted(shuffled.options) == sorted(asked.options)
        assert (shuffled.question, shuffled.answer_text) == (asked.question, asked.answer_text)
        assert shuffled == shuffle_options(asked, random.Random(seed))
    assert asked.model_dump() == before


def test_every_letter_is_as_frequent():
    letters = Counter(shuffle_options(question(0), random.Random(seed)).answer for seed in range(4000))
    assert set(letters) == {0, 1, 2, 3}
    assert all(abs(count - 1000) < 120 for count in letters.values())  # four deviations


@pytest.mark.parametrize(
    "option", ["both of them", "none", "All of the above", "neither one", "either", "the one above"]
)
def test_options_that_speak_of_others_stay(option):
    asked = Question(question="which", options=("red", "blue", option), answer=2)
    assert all(shuffle_options(asked, random.Random(seed)) == asked for seed in range(20))


@pytest.mark.parametrize("option", ["the hand", "the ball", "bothersome", "nonesuch", "it falls", "over all"])
def test_parts_of_words_hold_nothing_in_place(option):
    asked = Question(question="which", options=("red", "blue", option), answer=2)
    assert {shuffle_options(asked, random.Random(seed)).answer for seed in range(20)} == {0, 1, 2}


def test_a_question_without_an_answer_is_left_alone():
    asked = Question(question="which", options=("red", "blue", "green"))
    assert all(shuffle_options(asked, random.Random(seed)) == asked for seed in range(10))


def task(labels: Labels, mix: Mix, seed: int) -> str:
    writer = prompter_once()
    head = words_of(writer, write_prompt(labels, 5, writer, mix, random.Random(seed)).ids)[1]
    return {"Choose": "choose", "Answer": "answer", "Describe": "describe"}[head]


def prompter_once(kept: list = []) -> object:  # noqa: B006
    if not kept:
        kept.append(prompter())
    return kept[0]


def test_tasks_come_by_their_shares():
    labels = Labels("the ball is red", (question(),))
    tasks = Counter(task(labels, Mix(0.5, 0.25, 0.25), seed) for seed in range(2000))
    assert abs(tasks["choose"] - 1000) < 100
    assert abs(tasks["answer"] - 500) < 90
    assert abs(tasks["describe"] - 500) < 90


@pytest.mark.parametrize(
    ("questions", "mix", "expected"),
    [
        ((), Mix(1, 1, 0), {"describe"}),
        ((), ALL, {"describe"}),
        ((Question(question="what", answer_text="red"),), Mix(1, 0, 0), {"describe"}),
        ((Question(question="what", answer_text="red"),), Mix(1, 1, 0), {"answer"}),
        ((Question(question="what", options=("red", "blue")),), Mix(1, 1, 0), {"describe"}),
        ((question(),), Mix(1, 0, 0), {"choose"}),
    ],
)
def test_a_task_needs_its_labels(questions, mix, expected):
    labels = Labels("the ball is red", questions)
    assert {task(labels, mix, seed) for seed in range(20)} == expected


@pytest.mark.parametrize("number", [1, 4, 11, 130])
def test_an_epoch_is_every_sample_once(number):
    batches = epoch(samples(number))
    assert sorted(i for b in batches for i in b.members) == list(range(number))
    assert len(batches) == batches_per_epoch(number, 4)
    assert sorted(len(b.members) for b in batches)[1:] == [4] * (len(batches) - 1)


def test_an_epoch_depends_on_seed_and_number_only():
    data = samples(24)
    first = epoch(data, 1, noise=0.3)
    random.seed(99)
    torch.manual_seed(99)
    assert all(same(a, b) for a, b in zip(first, epoch(data, 1, noise=0.3), strict=True))
    for other in (epoch(data, 2, noise=0.3), epoch(data, 1, seed=4, noise=0.3)):
        assert not all(same(a, b) for a, b in zip(first, other, strict=True))


def test_a_sample_is_asked_otherwise_in_other_epochs():
    def asked(number: int) -> set[tuple[int, ...]]:
        return {
            tuple(ids[seen].tolist())
            for b in epoch(samples(1), number)
            for ids, seen in zip(b.ids, b.visible, strict=True)
        }

    assert len(set.union(*map(asked, range(12)))) > 6


def test_batches_leave_the_data_as_it_was():
    data = samples()
    before = data.values.clone()
    epoch(data, noise=0.5)
    assert torch.equal(data.values, before)


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        (Mix(1, 0, 0), lambda own: {("(", letter, ")", "</s>") for letter in "ABCD"}),
        (Mix(0, 1, 0), lambda own: {(own.questions[0].right, "</s>")}),
        (Mix(0, 0, 1), lambda own: {(*own.description.split(), "</s>")}),
    ],
)
def test_labels_are_the_target_and_nothing_else(mix, expected):
    data, writer = samples(), prompter()
    for batch in epoch(data, mix=mix):
        for row, member in enumerate(batch.members):
            mine = batch.rows == row
            said = tuple(words_of(writer, batch.targets[mine]))
            assert said in expected(data.labels[member])
            ends = int(batch.visible[row].sum())
            assert batch.columns[mine].tolist() == list(range(ends - len(said) - 1, ends - 1))
            assert tuple(words_of(writer, batch.ids[row, ends - len(said) : ends])) == said
            assert not batch.visible[row, ends:].any()


def test_the_letter_that_is_learned_names_the_right_option():
    data, writer = samples(), prompter()
    for batch in epoch(data, mix=Mix(1, 0, 0)):
        for row, member in enumerate(batch.members):
            words = words_of(writer, batch.ids[row, batch.visible[row]])
            letter = words_of(writer, batch.targets[batch.rows == row])[1]
            listed = words.index("Options")
            assert words[words.index(letter, listed) + 2] == data.labels[member].questions[0].right


def test_slots_are_the_valid_frames_and_features_belong_to_their_sample():
    data = samples()
    for batch in epoch(data):
        assert torch.equal(batch.frames, data.values[list(batch.members)])
        assert torch.equal(batch.frame_valid, data.valid[list(batch.members)])
        assert torch.equal(batch.is_slot.sum(1), batch.frame_valid.sum(1))
        assert not (batch.is_slot & ~batch.visible).any()


def test_batches_hold_prompts_of_like_length():
    lengths = [int(b.visible.sum(1).max() - b.visible.sum(1).min()) for b in epoch(samples(64), mix=Mix(1, 1, 1))]
    unsorted = epoch_batches(samples(64), prompter(), Mix(1, 1, 1), batch_size=64, seed=3, epoch=0)
    (whole,) = [int(b.visible.sum(1).max() - b.visible.sum(1).min()) for b in unsorted]
    assert sum(lengths) / len(lengths) < whole / 3


def test_collate_without_targets_has_no_labels():
    batch = collate([prompter().describe(5), prompter().answer("what", 5)], torch.zeros(2, 5, 3), torch.ones(2, 5))
    assert len(batch.targets) == len(batch.rows) == 0


def test_noise_has_the_deviation_that_it_says():
    torch.manual_seed(0)
    units = torch.nn.functional.normalize(torch.randn(400, 256), dim=-1)
    for noise in (0.1, 0.5, 1.0):
        noisy = add_noise(units, noise, "key")
        assert torch.allclose(noisy.norm(dim=-1), torch.ones(400), atol=1e-6)
        # A unit row plus an orthogonal vector of length `noise`: that is what random noise is in many dimensions.
        cosine = (noisy * units).sum(-1).mean().item()
        assert cosine == pytest.approx((1 + noise**2) ** -0.5, abs=0.01)


def test_noise_is_a_function_of_its_key():
    units = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    assert torch.equal(add_noise(units, 0.5, "a"), add_noise(units, 0.5, "a"))
    assert not torch.equal(add_noise(units, 0.5, "a"), add_noise(units, 0.5, "b"))


def test_noise_leaves_padding_alone_and_no_number_of_a_feature():
    values = torch.zeros(3, 16)
    values[0, 0] = 1  # a feature may have zeros in it
    noisy = add_noise(values, 0.5, "a")
    assert not noisy[1:].any()
    assert noisy[0].all()


def test_noise_differs_between_samples_frames_and_epochs():
    data = samples(4, padded=False)
    drawn = {(e, m): b.frames[r] for e in (0, 1) for b in epoch(data, e, noise=0.5) for r, m in enumerate(b.members)}
    rows = torch.cat([values - data.values[m] for (_, m), values in drawn.items()])
    assert len(rows) == 2 * 4 * FRAMES
    assert torch.cdist(rows, rows).add(torch.eye(len(rows))).min() > 0.1


def features(frames: int = 3) -> FrameFeatures:
    values = torch.nn.functional.normalize(torch.randn(frames, FEATURES), dim=-1)
    return FrameFeatures.text(values, "clip")


def test_a_set_is_made_of_pairs():
    labels = Labels("the ball is red", ())
    made = AlignmentSet.make([features(3), features(9)], [labels, labels], FRAMES)
    assert made.values.shape == (2, FRAMES, FEATURES)
    assert made.valid.sum(1).tolist() == [3, FRAMES]
    for found, told in (([], []), ([features()], []), ([features()], [labels, labels])):
        with pytest.raises(InputError, match=f"found {len(found)} features for {len(told)} labels; expected pairs"):
            AlignmentSet.make(found, told, FRAMES)


def test_blind_data_has_the_same_questions():
    data = samples()
    blind = data.blind()
    assert not blind.values.any()
    assert data.values.any()
    assert (blind.labels, len(blind)) == (data.labels, len(data))


def test_only_samples_with_choices_are_kept():
    open_only = Labels("the ball", (Question(question="what", answer_text="red"),))
    data = samples(4)
    mixed = AlignmentSet(data.values, data.valid, (data.labels[0], open_only, Labels("a ball", ()), data.labels[3]))
    kept = mixed.with_choices()
    assert kept.labels == (data.labels[0], data.labels[3])
    assert torch.equal(kept.values, data.values[[0, 3]])


def test_colours_are_known_words():
    assert not prompter().unknown_words(" ".join(COLOURS))
