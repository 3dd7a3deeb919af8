"""What was read of a video before is what would be read of it now; what isn't used goes first."""

from __future__ import annotations

import pytest

from models.tiny import model as tiny_model
from topa.inference.continuous import Continuous, Wanted
from topa.inference.heads import Heads, Known, distinct
from topa.inference.scoring import score_rows
from topa.models import VideoLanguageModel
from training.small import prompter

from .test_scoring import QUESTIONS, videos

ABOUT = [1, 0, 1, 1, 0]


def reads(monkeypatch) -> list[tuple[int, bool]]:
    """Rows of each pass, and whether it read frames."""
    seen, embed = [], VideoLanguageModel.embed

    def counted(self, inputs):
        seen.append((len(inputs.input_ids), inputs.frames is not None))
        return embed(self, inputs)

    monkeypatch.setattr(VideoLanguageModel, "embed", counted)
    return seen


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("by_letter", [True, False])
def test_questions_about_a_video_that_was_read_are_scored_the_same(monkeypatch, family, by_letter):
    model, writer = tiny_model(family), prompter()
    values, valid = videos(2)
    shown = valid.sum(dim=1).tolist()
    rows = [
        writer.candidates(q.question, q.options, shown[v], by_letter) for q, v in zip(QUESTIONS, ABOUT, strict=True)
    ]
    expected = score_rows(model, rows, values, valid, ABOUT, by_letter=by_letter)
    heads, owners = Heads(), (object(), object())
    passes = reads(monkeypatch)
    for first, last in ((0, 1), (1, 5), (0, 5)):  # one video is known, then both
        found = score_rows(
            model, rows[first:last], values, valid, ABOUT[first:last], by_letter=by_letter, known=Known(heads, owners)
        )
        for one, other in zip(found, expected[first:last], strict=True):
            assert one.mean_nll == pytest.approx(other.mean_nll, abs=2e-5, rel=1e-5)
    assert passes == [(1, True), (1, False), (1, True), (4, False), (5, False)]
    assert len(heads) == 2


def test_texts_about_a_video_that_was_read_are_the_same():
    model, writer = tiny_model(), prompter()
    values, valid = videos(2)
    owners = (object(), object())
    wanted = [
        Wanted(writer.answer(q.question, int(valid[v].sum())), values[v], valid[v], 5, video=owners[v])
        for q, v in zip(QUESTIONS, ABOUT, strict=True)
    ]

    def say(heads: Heads | None) -> list[str]:
        batch = Continuous(model, writer.tokenizer, heads)
        texts = batch.add(wanted)
        while len(batch):
            batch.step()
        return [batch.words(text) for text in texts]

    heads = Heads()
    assert say(heads) == say(heads) == say(None)
    assert len(heads) == 2


def test_the_one_that_was_used_least_recently_goes_first(monkeypatch):
    model, writer = tiny_model(), prompter()
    values, valid = videos(3)
    valid[:] = True  # all of one size
    owners = tuple(object() for _ in range(3))
    prompts = [[writer.answer("what comes first", int(own.sum()), "red")] for own in valid]
    heads = Heads()

    def ask(*numbers: int) -> None:
        rows = [prompts[n] for n in numbers]
        score_rows(model, rows, values, valid, list(numbers), by_letter=False, known=Known(heads, owners))

    ask(0)
    one = heads._bytes
    heads = Heads(2 * one)
    ask(0)
    ask(1)
    ask(0)
    ask(2)  # no room: 1 goes
    assert len(heads) == 2
    passes = reads(monkeypatch)
    ask(0, 2)
    assert [frames for _, frames in passes] == [False]
    ask(1)
    assert [frames for _, frames in passes] == [False, True, False]
    assert heads._bytes <= 2 * one
    heads = Heads(0)  # nothing is kept, and everything answered
    ask(0, 1, 2)
    assert (len(heads), heads._bytes) == (0, 0)


def test_objects_are_told_apart_by_identity():
    first, second = [1], [1]
    found = distinct([first, second, first])
    assert (found.firsts, found.of) == ((0, 1), (0, 1, 0))
    assert found.objects[0] is first
    assert found.objects[1] is second
