"""OpenAI's own client, as people have it, against a real server."""

from __future__ import annotations

import asyncio
import base64
import math
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from topa.inference.engine import Topa
from topa.serving.settings import ServerLimits, ServerSettings

from .running import Running, running

QUESTION = "what is the color ?"
COLORS = ["red", "blue", "green"]


def client(server: Running, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, **more)


def data_uri(video: Path) -> str:
    return "data:video/mp4;base64," + base64.b64encode(video.read_bytes()).decode()


def about(video: str, question: str = "") -> list[Any]:
    text = [{"type": "text", "text": question}] if question else []
    return [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": video}}, *text]}]


@pytest.fixture(scope="module")
def video(micro_videos: Any) -> Path:
    return micro_videos[0].path


@pytest.fixture(scope="module")
def uploaded(server: Running, video: Path) -> str:
    with video.open("rb") as file:
        return httpx2.post(f"{server.url}/v1/videos", files={"file": file}, timeout=60).json()["id"]


def test_an_answer_is_the_engines(server: Running, engine: Topa, video: Path, uploaded: str) -> None:
    expected = engine.ask(video, QUESTION)
    for reference in (uploaded, data_uri(video)):
        reply = client(server).chat.completions.create(model="topa", messages=about(reference, QUESTION))
        assert reply.choices[0].message.content == expected.text
        assert reply.choices[0].message.role == "assistant"
        assert reply.choices[0].finish_reason in ("stop", "length")
        assert reply.usage is not None
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        told = reply.model_extra["topa"]
        assert told["video"] == uploaded
        assert [frame["captions"] for frame in told["evidence"]] == [list(f.captions) for f in expected.evidence]
        assert told["warnings"] == list(expected.warnings)


def test_without_a_question_it_is_the_caption(server: Running, engine: Topa, video: Path, uploaded: str) -> None:
    reply = client(server).chat.completions.create(model="topa", messages=about(uploaded))
    assert reply.choices[0].message.content == engine.caption(video).text


def test_options(server: Running, engine: Topa, video: Path, uploaded: str) -> None:
    expected = engine.ask(video, QUESTION, COLORS)
    reply = client(server).chat.completions.create(
        model="topa",
        messages=about(uploaded, QUESTION),
        logprobs=True,
        extra_body={"structured_outputs": {"choice": COLORS}},
    )
    assert reply.choices[0].message.content == expected.text
    (token,) = reply.choices[0].logprobs.content
    assert token.token == expected.text
    assert bytes(token.bytes).decode() == expected.text
    found = {top.token: math.exp(top.logprob) for top in token.top_logprobs}
    assert found == pytest.approx(dict(zip(expected.options, expected.probabilities, strict=True)), abs=1e-5)
    logs = [top.logprob for top in token.top_logprobs]
    assert logs == sorted(logs, reverse=True)
    assert token.logprob == logs[0]


def test_logprobs_of_words(server: Running, uploaded: str) -> None:
    reply = client(server).chat.completions.create(
        model="topa", messages=about(uploaded, QUESTION), logprobs=True, top_logprobs=3, max_tokens=4
    )
    tokens = reply.choices[0].logprobs.content
    assert "".join(token.token for token in tokens).strip() == reply.choices[0].message.content.strip()
    assert 1 <= len(tokens) <= 4
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == token.logprob  # the likeliest was taken


def test_a_stream_is_the_same_answer(server: Running, uploaded: str) -> None:
    asked = client(server).chat.completions
    whole = asked.create(model="topa", messages=about(uploaded, QUESTION))
    chunks = list(
        asked.create(
            model="topa", messages=about(uploaded, QUESTION), stream=True, stream_options={"include_usage": True}
        )
    )
    *parts, last = chunks
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(part.usage is None for part in parts)
    assert parts[0].choices[0].delta.role == "assistant"
    assert all(part.choices[0].delta.role is None for part in parts[1:])
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content
    assert [part.choices[0].finish_reason for part in parts] == [None] * (len(parts) - 1) + [
        whole.choices[0].finish_reason
    ]
    assert len({chunk.id for chunk in chunks}) == 1
    assert parts[0].model_extra["topa"] == whole.model_extra["topa"]


def test_a_stream_of_options(server: Running, engine: Topa, video: Path, uploaded: str) -> None:
    chunks = client(server).chat.completions.create(
        model="topa",
        messages=about(uploaded, QUESTION),
        stream=True,
        logprobs=True,
        extra_body={"structured_outputs": {"choice": COLORS}},
    )
    found = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.delta.content or "" for choice in found) == engine.ask(video, QUESTION, COLORS).text
    assert [len(c.logprobs.content[0].top_logprobs) for c in found if c.logprobs] == [len(COLORS)]
    assert found[-1].finish_reason == "stop"


def test_many_at_once(server: Running, engine: Topa, video: Path, uploaded: str) -> None:
    expected = [engine.ask(video, QUESTION).text, engine.ask(video, QUESTION, COLORS).text]

    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as asked:

            async def one(number: int) -> str | None:
                options = {"structured_outputs": {"choice": COLORS}} if number % 2 else {}
                reply = await asked.chat.completions.create(
                    model="topa", messages=about(uploaded, QUESTION), extra_body=options
                )
                return reply.choices[0].message.content

            async def streamed() -> str:
                chunks = await asked.chat.completions.create(
                    model="topa", messages=about(uploaded, QUESTION), stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

            return await asyncio.gather(*[one(number) for number in range(20)], streamed())

    assert asyncio.run(ask()) == [*expected * 10, expected[0]]


def test_models(server: Running) -> None:
    asked = client(server).models
    assert [model.id for model in asked.list()] == ["topa"]
    assert asked.retrieve("topa").owned_by == "topa"
    with pytest.raises(openai.NotFoundError) as error:
        asked.retrieve("org/other")
    assert error.value.code == "model_not_found"


def test_a_talk_is_told_to_be_unread(server: Running, uploaded: str) -> None:
    """The video may be in an earlier message."""
    talk = [
        {"role": "system", "content": "Answer in French."},
        *about(uploaded, "what happens ?"),
        {"role": "assistant", "content": "Nothing."},
        {"role": "user", "content": QUESTION},
    ]
    asked = client(server).chat.completions
    reply = asked.create(model="topa", messages=talk)
    alone = asked.create(model="topa", messages=about(uploaded, QUESTION))
    assert reply.choices[0].message.content == alone.choices[0].message.content
    more = [w for w in reply.model_extra["topa"]["warnings"] if w not in alone.model_extra["topa"]["warnings"]]
    assert len(more) == 2
    assert "system" in more[0]
    assert "last one" in more[1]


def test_the_last_video_of_a_talk_is_meant(server: Running, uploaded: str) -> None:
    first = httpx2.get(f"{server.url}/v1/videos").json()["data"][0]["id"]
    for videos in ((first, uploaded), (uploaded, first)):
        talk = [*about(videos[0], QUESTION), *about(videos[1], QUESTION)]
        reply = client(server).chat.completions.create(model="topa", messages=talk)
        assert reply.model_extra["topa"]["video"] == videos[1]


def test_stop_and_length(server: Running, uploaded: str) -> None:
    asked = client(server).chat.completions
    whole = asked.create(model="topa", messages=about(uploaded)).choices[0].message.content
    short = asked.create(model="topa", messages=about(uploaded), max_tokens=2)
    assert short.choices[0].finish_reason == "length"
    assert short.usage.completion_tokens == 2
    assert whole.startswith(short.choices[0].message.content)
    word = whole.split()[2]
    ended = asked.create(model="topa", messages=about(uploaded), stop=word)
    assert ended.choices[0].message.content == whole[: whole.index(word)]
    assert ended.choices[0].finish_reason == "stop"


def test_a_seed_draws_the_same(server: Running, uploaded: str) -> None:
    def draw(seed: int) -> str:
        reply = client(server).chat.completions.create(
            model="topa", messages=about(uploaded), temperature=2, seed=seed, max_tokens=20
        )
        return reply.choices[0].message.content

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("change", "kind", "code", "param"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model_not_found", "model"),
        ({"messages": [{"role": "user", "content": "hello"}]}, openai.BadRequestError, "no_video", "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, openai.BadRequestError, "invalid_value", "messages"),
        ({"messages": []}, openai.BadRequestError, "invalid_value", "messages"),
        ({"n": 2}, openai.BadRequestError, "unsupported_parameter", "n"),
        ({"presence_penalty": 0.5}, openai.BadRequestError, "unsupported_parameter", "presence_penalty"),
        ({"logit_bias": {"5": 1}}, openai.BadRequestError, "unsupported_parameter", "logit_bias"),
        ({"tools": [{"type": "function"}]}, openai.BadRequestError, "unsupported_parameter", "tools"),
        (
            {"response_format": {"type": "json_object"}},
            openai.BadRequestError,
            "unsupported_parameter",
            "response_format.type",
        ),
        ({"temperature": 3}, openai.BadRequestError, "invalid_value", "temperature"),
        ({"top_logprobs": 2}, openai.BadRequestError, "invalid_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, openai.BadRequestError, "invalid_value", "top_logprobs"),
        (
            {"extra_body": {"structured_outputs": {"choice": ["red"]}}},
            openai.BadRequestError,
            "invalid_value",
            "structured_outputs.choice",
        ),
        (
            {"extra_body": {"structured_outputs": {"regex": "a"}}},
            openai.BadRequestError,
            "unknown_parameter",
            "structured_outputs.regex",
        ),
        (
            {"extra_body": {"guided_choice": ["a", "b"]}},
            openai.BadRequestError,
            "unsupported_parameter",
            "guided_choice",
        ),
    ],
    ids=range(15),
)
def test_errors_are_the_clients_own(
    server: Running, uploaded: str, change: dict[str, Any], kind: type[openai.APIStatusError], code: str, param: str
) -> None:
    with pytest.raises(kind) as error:
        client(server).chat.completions.create(
            **{"model": "topa", "messages": about(uploaded, QUESTION), "stream": True} | change
        )
    assert error.value.code == code
    assert error.value.request_id.startswith("req_")
    assert error.value.param == param


def test_other_kinds_of_parts_are_refused(server: Running) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError) as error:
        client(server).chat.completions.create(model="topa", messages=[{"role": "user", "content": parts}])
    assert error.value.code == "unsupported_content"
    assert error.value.param == "messages.0.content.0"


def test_two_videos_are_refused(server: Running, uploaded: str) -> None:
    messages = about(uploaded, QUESTION)
    messages[0]["content"] *= 2
    with pytest.raises(openai.BadRequestError, match="2 videos"):
        client(server).chat.completions.create(model="topa", messages=messages)


@pytest.mark.parametrize(
    ("reference", "status", "code"),
    [
        ("vid_" + "0" * 24, 404, "video_not_found"),
        ("lib_" + "0" * 24, 404, "video_not_found"),
        ("file:///etc/passwd", 400, "bad_video_url"),
        ("/etc/passwd", 400, "bad_video_url"),
        ("http://127.0.0.1/a.mp4", 403, "urls_not_allowed"),
        ("data:video/mp4;base64,AAAA", 400, "unreadable_video"),
        ("data:video/mp4;base64,*", 400, "bad_video_url"),
    ],
)
def test_videos_that_are_not_to_be_had(server: Running, reference: str, status: int, code: str) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        client(server).chat.completions.create(model="topa", messages=about(reference, QUESTION), stream=True)
    assert (error.value.status_code, error.value.code) == (status, code)
    assert "/tmp" not in error.value.message
    assert "Traceback" not in error.value.message


def test_tokens(engine: Topa) -> None:
    with running(engine, ServerSettings(tokens=("sesame", "other"))) as closed:
        for key in ("wrong", "sesam", "sesame2"):
            with pytest.raises(openai.AuthenticationError) as error:
                openai.OpenAI(base_url=f"{closed.url}/v1", api_key=key, max_retries=0).models.list()
            assert error.value.code == "invalid_api_key"
        for key in ("sesame", "other"):
            assert openai.OpenAI(base_url=f"{closed.url}/v1", api_key=key).models.list().data
        assert httpx2.get(f"{closed.url}/healthz").status_code == 200
        assert httpx2.get(f"{closed.url}/metrics").status_code == 401
        assert httpx2.get(f"{closed.url}/").status_code == 200


def test_a_full_server_says_when_to_come_back(engine: Topa, uploaded: str) -> None:
    with running(engine, ServerSettings(limits=ServerLimits(waiting=0))) as full:
        with pytest.raises(openai.RateLimitError) as error:
            client(full).chat.completions.create(model="topa", messages=about(uploaded, QUESTION))
        assert error.value.code == "busy"
        assert error.value.response.headers["retry-after"] == "1"
        assert client(full).models.list().data  # costs nothing
