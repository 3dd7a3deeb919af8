"""What a writer is asked, and what becomes of its reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from topa.core.errors import InputError, UsageError
from topa.tideos.seeds import Seed, read_seeds
from topa.tideos.tideo import Tideo
from topa.tideos.writer_prompt import ReplyError, WriterPrompt, find_object, read_reply, reply_schema, tideo_line

from .replies import good_reply

KINDS = ("howto100m", "webvid", "ego4d", "wordnet", "own")


def seed(kind: str = "own", text: str = "a red kite {in} the wind") -> Seed:
    return Seed(id="s1", kind=kind, text=text)


def test_each_kind_has_words_of_its_own_around_the_seed() -> None:
    prompts = {WriterPrompt().render(seed(kind)) for kind in KINDS}
    assert len(prompts) == len(KINDS)
    for prompt in prompts:
        assert prompt.count("a red kite {in} the wind") == 1
        assert '{"frames": [' in prompt
        assert prompt.isascii()
        assert all(word in prompt for word in ("descriptive", "temporal", "causal", "counting", "intention"))


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'webvid'"):
        WriterPrompt().render(seed("webvit"))


def test_an_own_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text('Film {seed}! {"a": 1}')
    asking = WriterPrompt.from_file(path)
    assert asking.render(seed("anything")) == 'Film a red kite {in} the wind! {"a": 1}'
    assert asking.identity != WriterPrompt().identity
    path.write_text("other {seed}")
    assert WriterPrompt.from_file(path).identity != asking.identity


@pytest.mark.parametrize("body", [b"no slot", b"\xff{seed}"])
def test_a_prompt_that_is_none(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "p").write_bytes(body)
    with pytest.raises(InputError, match=r"seed|UTF-8"):
        WriterPrompt.from_file(tmp_path / "p")


def objects(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        mine = [node] if node.get("type") == "object" else []
        return mine + [item for value in node.values() for item in objects(value)]
    return [item for value in node for item in objects(value)] if isinstance(node, list) else []


def test_the_schema_is_strict() -> None:
    schema = reply_schema()
    assert len(objects(schema)) == 3
    for node in objects(schema):
        assert node["additionalProperties"] is False
        assert set(node["required"]) == set(node["properties"])
    assert "description" in schema["properties"]
    text = json.dumps(schema)
    assert "$ref" not in text
    assert "$defs" not in text
    assert schema["properties"]["frames"]["minItems"] == 5
    assert schema["properties"]["frames"]["maxItems"] == 15


def test_a_reply_becomes_a_tideo() -> None:
    reply = good_reply()
    tideo = Tideo.model_validate_json(tideo_line(read_reply(json.dumps(reply)), seed("webvid"), {"writer": "m"}))
    assert tideo.id == "s1"
    assert [frame.caption for frame in tideo.frames] == [frame["caption"] for frame in reply["frames"]]
    assert [question.kind for question in tideo.questions] == ["descriptive", "temporal", "causal"]
    assert tideo.questions[1].right == reply["questions"][1]["options"][reply["questions"][1]["answer"]]
    assert tideo.questions[1].answer_text == "so it is 1"
    assert tideo.source == {"writer": "m", "seed_kind": "webvid"}
    assert Tideo.model_validate_json(tideo.model_dump_json()) == tideo


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", '<think>{{1}} a {{"b": 2}}</think>Here:\n{}\nDone.'])
def test_a_reply_is_found_among_other_words(around: str) -> None:
    text = around.format(json.dumps(good_reply()))
    assert find_object(text) == good_reply()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: r["frames"].pop(), "frames: .*5"),
        (lambda r: r["questions"][0]["options"].pop(), "questions.0.options"),
        (lambda r: r["questions"][0].update(answer=5), "questions.0.answer"),
        (lambda r: r["questions"][0].update(options=["a"] * 5), "repeat"),
        (
            lambda r: r["questions"][0].update(kind="smell"),
            "questions.kind: found 'smell'; expected descriptive, temporal",
        ),
        (lambda r: r["frames"][2].update(caption=" "), "frames.2.caption"),
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r.update({"\x1b[2J" + "x" * 99: 1}), r"^'\\x1b\[2Jx{36}': Extra"),
        (lambda r: r.pop("description"), "description"),
    ],
)
def test_a_wrong_shape_is_named(change: Any, problem: str) -> None:
    reply = good_reply()
    change(reply)
    with pytest.raises(ReplyError, match=problem):
        read_reply(json.dumps(reply))


@pytest.mark.parametrize("text", ["", "I can't.", '{"frames": [', "[1]", "{" * 5000])
def test_a_text_without_an_object(text: str) -> None:
    with pytest.raises(ReplyError, match="no whole JSON object"):
        read_reply(text)


def test_seeds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"id": "1", "kind": "own", "text": "a"}\n\n{"id": "2", "kind": "own", "text": "b"}\n')
    assert [item.text for item in read_seeds(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "no seed"),
        ('{"id": "1", "kind": "own"}', ":1: text"),
        ("{", ":1: "),
    ],
)
def test_seeds_that_are_none(tmp_path: Path, body: str, problem: str) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text(body)
    with pytest.raises(InputError, match=problem):
        list(read_seeds(path))
