"""What was read of a video before is what would be read of it now; what isn't used goes first."""

from __future__ import annotations

import pytest

from models.tiny import model as tiny_model
from topa.inference.generator import ContinuousBatcher, GenerationTask
from topa.inference.prefix_cache import CachedVideos, PrefixCache, UniqueObjects
from topa.inference.scorer import score_rows
from topa.models import VideoLanguageModel
from training.small import prompter

from .test_scorer import QUESTIONS, videos

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
    heads, owners = PrefixCache(), (object(), object())
    passes = reads(monkeypatch)
    for first, last in ((0, 1), (1, 5), (0, 5)):  # one video is known, then both
        found = score_rows(
            model,
            rows[first:last],
            values,
            valid,
            ABOUT[first:last],
            by_letter=by_letter,
            cached=CachedVideos(heads, owners),
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
        GenerationTask(writer.answer(q.question, int(valid[v].sum())), values[v], valid[v], 5, video=owners[v])
        for q, v in zip(QUESTIONS, ABOUT, strict=True)
    ]

    def say(heads: PrefixCache | None) -> list[str]:
        batch = ContinuousBatcher(model, writer.tokenizer, heads)
        texts = batch.add(wanted)
        while len(batch):
            batch.step()
        return [batch.completion(text).text for text in texts]

    heads = PrefixCache()
    assert say(heads) == say(heads) == say(None)
    assert len(heads) == 2


def test_the_one_that_was_used_least_recently_goes_first(monkeypatch):
    model, writer = tiny_model(), prompter()
    values, valid = videos(3)
    valid[:] = True  # all of one size
    owners = tuple(object() for _ in range(3))
    prompts = [[writer.answer("what comes first", int(own.sum()), "red")] for own in valid]
    heads = PrefixCache()

    def ask(*numbers: int) -> None:
        rows = [prompts[n] for n in numbers]
        score_rows(model, rows, values, valid, list(numbers), by_letter=False, cached=CachedVideos(heads, owners))

    ask(0)
    one = heads._bytes
    heads = PrefixCache(2 * one)
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
    heads = PrefixCache(0)  # nothing is kept, and everything answered
    ask(0, 1, 2)
    assert (len(heads), heads._bytes) == (0, 0)


def test_objects_are_told_apart_by_identity():
    first, second = [1], [1]
    found = UniqueObjects.of([first, second, first])
    assert (found.first, found.index) == ((0, 1), (0, 1, 0))
    assert found.objects[0] is first
    assert found.objects[1] is second
