"""Many requests at once get what each would get alone; what nobody waits for ends; one failure is one failure."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import torch

from topa.core.errors import InputError, TopaError, UsageError
from topa.inference.generator import Completion, GenerationTask
from topa.inference.prepared import PreparedRequest
from topa.inference.request import GenerationSettings, Request
from topa.serving.worker import Worker

QUESTIONS = ("what colour is the toy at the end ?", "where is the toy at the end ?", "what does the toy do ?")
PLACES = ("in the room", "on the beach", "in the snow")
PROTOCOLS = ("logits", "selection")


@pytest.fixture(scope="module")
def seen(engine, micro_videos):
    return [engine.encode_video(video.path) for video in micro_videos]


def task(engine, inputs, question: str | None, limit: int = 40) -> GenerationTask:
    return engine.prepare(Request(inputs, question, generation=GenerationSettings(limit))).task()


def prepared(engine, inputs, question: str, protocol: str | None = None) -> PreparedRequest:
    return engine.prepare(Request(inputs, question, PLACES, protocol))


@pytest.mark.parametrize("batch", [1, 64])
def test_everything_at_once_is_what_the_engine_says_alone(engine, seen, batch):
    sizes = []

    async def all_at_once():
        worker = Worker(engine, batch, lambda did, many: sizes.append((did, many)))
        scored = [prepared(engine, own, q, p) for own in seen for q in QUESTIONS for p in PROTOCOLS]
        spoken = [task(engine, own, q) for own in seen for q in (*QUESTIONS, None)]
        scores, texts, call = await asyncio.gather(
            asyncio.gather(*(worker.answer(own) for own in scored)),
            asyncio.gather(*(worker.generate(own) for own in spoken)),
            worker.call(lambda: engine.caption(seen[0]).text),
        )
        await worker.close()
        return scored, scores, texts, call

    scored, scores, texts, call = asyncio.run(all_at_once())
    for one, answer in zip(scored, scores, strict=True):
        expected = engine.ask(one.inputs, one.request.question, PLACES, protocol=one.protocol)
        assert answer.choice == expected.choice
        assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        assert (answer.evidence, answer.warnings, answer.times) == (
            expected.evidence,
            expected.warnings,
            expected.times,
        )
    expected = [
        engine.ask(own, q).text if q else engine.caption(own, max_tokens=40).text
        for own in seen
        for q in (*QUESTIONS, None)
    ]
    assert [completion.text for completion in texts] == expected
    assert call == engine.caption(seen[0]).text
    assert max(many for _, many in sizes) <= batch
    assert any(many > 1 for _, many in sizes) == (batch > 1)


def test_a_stream_tells_every_token_and_ends_like_the_whole(engine, seen):
    async def both():
        worker = Worker(engine, 8)
        one = task(engine, seen[0], None, 12)
        told = [completion async for completion in worker.stream(one)]
        whole = await worker.generate(one)
        await worker.close()
        return told, whole

    told, whole = asyncio.run(both())
    assert told[-1] == whole
    assert [len(said.tokens) for said in told[:3]] == [1, 2, 3]
    assert all(said.finish is None for said in told[:-1])


def test_a_closed_stream_and_a_cancelled_request_leave_the_batch(engine, seen):
    steps = []

    async def leave():
        worker = Worker(engine, 8, lambda did, many: did == "step" and steps.append(many))
        worker._batcher._ends = frozenset()  # texts go on as long as they may
        stream = worker.stream(task(engine, seen[0], None, 1000))
        await anext(stream)
        request = asyncio.create_task(worker.generate(task(engine, seen[0], None, 1000)))
        other = asyncio.create_task(worker.generate(task(engine, seen[0], None, 200)))
        await anext(stream)
        await stream.aclose()
        request.cancel()
        said: Completion = await other
        await worker.close()
        return said

    said = asyncio.run(leave())
    assert (said.finish, len(said.tokens)) == ("length", 200)
    assert steps.count(1) > 50  # for most of its time it is alone
    assert len(steps) < 1000


def test_one_that_fails_fails_alone(engine, seen):
    async def ask():
        worker = Worker(engine, 8)
        good = prepared(engine, seen[0], QUESTIONS[1])
        nan = replace(seen[1], values=torch.full_like(seen[1].values, torch.nan))
        broken = prepared(engine, nan, QUESTIONS[1])
        spoken = task(engine, seen[0], QUESTIONS[0])
        narrow = replace(spoken, values=spoken.values[:, :3], video=None)
        found = await asyncio.gather(
            worker.answer(good), worker.answer(broken), worker.answer(good), worker.generate(spoken),
            worker.generate(narrow),
            worker.call(lambda: 1 // 0), return_exceptions=True,
        )  # fmt: skip
        after = await worker.generate(spoken)
        await worker.close()
        return found, after

    (first, second, third, said, wide, called), after = asyncio.run(ask())
    assert first == third
    assert isinstance(second, InputError)
    assert "NaN" in str(second)
    assert isinstance(wide, UsageError)
    assert isinstance(called, ZeroDivisionError)
    assert said == after


def test_closing_finishes_what_was_handed_in_and_takes_no_more(engine, seen):
    async def close():
        worker = Worker(engine, 8)
        one = task(engine, seen[0], QUESTIONS[0])
        going = asyncio.create_task(worker.generate(one))
        await asyncio.sleep(0)
        assert worker.alive
        await worker.close()
        assert not worker.alive
        with pytest.raises(TopaError, match="shutting down"):
            await worker.generate(one)
        return await going

    assert asyncio.run(close()).text == engine.ask(seen[0], QUESTIONS[0]).text
