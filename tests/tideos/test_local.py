"""Models in this process that are held to the schema: tiny random ones, saved as ordinary folders."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

import topa
from topa.core.errors import InputError, UsageError
from topa.tideos.collect import generate_set
from topa.tideos.decoding import Decoder, PartialReply
from topa.tideos.flow import GenerationLimits, GenerationOutcome
from topa.tideos.local import Local
from topa.tideos.seeds import Seed
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.writers import BadContent, Mode, Permanent, Probe, TokenUsage, count_body, read_body

from .tiny import COMMON, ENDS, SIZES, llama, save, tokenizer

STRICT = Mode(output="json_schema")
SHORT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]{20,60}$"},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["name", "count"],
    "additionalProperties": False,
}
WORDS = Path(topa.__file__).parent / "microworld" / "weights" / "llm"  # a tokenizer with one token a word
LONG = SHORT | {"properties": SHORT["properties"] | {"name": {"type": "string", "pattern": "^[a-z]{9000,}$"}}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three families: rotary positions; grouped keys and no chat template; a table of positions, with a tight end."""
    root = tmp_path_factory.mktemp("models")
    qwen = Qwen2Config(**SIZES, **COMMON, num_key_value_heads=1, max_position_embeddings=16384)
    gpt2 = GPT2Config(**COMMON, n_layer=2, n_embd=32, n_head=2, n_positions=160)
    return {
        "llama": llama(root / "llama"),
        "qwen2": save(root / "qwen2", Qwen2ForCausalLM, qwen, tokenizer(template=False)),
        "gpt2": save(root / "gpt2", GPT2LMHeadModel, gpt2, tokenizer(template=False)),
    }


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take longer than such small sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seed(number: int) -> Seed:
    return Seed(id=str(number), kind="own", text=f"a kite, and {number} others")


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def write(model: str | Path, prompts: Sequence[Any], schema: Any = SHORT, **options: Any) -> list[Any]:
    """Bodies, or the errors in their places, of prompts that are asked at once."""

    async def run() -> list[Any]:
        async with Local(model, schema=schema, **options) as local:
            requests = [local.ask(user(prompt) if isinstance(prompt, str) else prompt, STRICT) for prompt in prompts]
            return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(run())


def probe(model: str | Path, **options: Any) -> Probe:
    async def run() -> Probe:
        async with Local(model, schema=reply_schema(), **options) as local:
            return await local.probe()

    return asyncio.run(run())


def obeys(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is what a schema asks for, as far as our schemas go."""
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "object":
        inside = schema["properties"]
        return value.keys() == inside.keys() and all(obeys(value[name], inside[name]) for name in inside)
    if schema["type"] == "array":
        fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return fits and all(obeys(item, schema["items"]) for item in value)
    if schema["type"] == "integer":
        return isinstance(value, int) and schema["minimum"] <= value <= schema["maximum"]
    return isinstance(value, str) and re.search(schema["pattern"], value) is not None


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_every_reply_obeys_the_real_schema(
    folders: dict[str, Path], family: str, real_schema: Callable[[], dict[str, Any]]
) -> None:
    prompts = [WriterPrompt().render(seed(number)) for number in range(3)]
    bodies = write(folders[family], prompts, real_schema(), temperature=1.0)
    texts = [read_body(body) for body in bodies]
    for body, text in zip(bodies, texts, strict=True):
        assert obeys(json.loads(text), real_schema())
        assert json.loads(body)["model"] == str(folders[family])
        assert count_body(body).tokens_in > 300
        assert len(text) / 10 < count_body(body).tokens_out < len(text)
    assert len(set(texts)) == len(texts)


PROMPTS = ["a kite", "the sea, and then the red kite comes down over the sea " * 4, "cut", "somebody"]


@pytest.mark.parametrize("temperature", [0, 1.5])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_batch_is_as_one_by_one(folders: dict[str, Path], family: str, temperature: float) -> None:
    alone = [write(folders[family], [prompt], temperature=temperature)[0] for prompt in PROMPTS]
    assert write(folders[family], PROMPTS, temperature=temperature) == alone
    assert all(obeys(json.loads(read_body(body)), SHORT) for body in alone)
    assert len({count_body(body).tokens_out for body in alone}) > 1  # some end before others


def test_rows_end_at_the_window_and_the_others_go_on(folders: dict[str, Path]) -> None:
    """Positions of GPT-2 come from a table: behind its end there is nothing."""
    long = "the sea, and then the red kite comes down over the sea " * 9
    whole = count_body(write(folders["gpt2"], ["cut"], temperature=0)[0]).tokens_out
    cut, going = write(folders["gpt2"], [long, "cut"], temperature=0)
    with pytest.raises(BadContent, match="cut off"):
        read_body(cut)
    assert count_body(cut).tokens_in + count_body(cut).tokens_out == 160
    assert count_body(cut).tokens_out < whole
    assert [going] == write(folders["gpt2"], ["cut"], temperature=0)


def test_the_same_seed_and_prompt_give_the_same_reply(folders: dict[str, Path]) -> None:
    before = torch.random.get_rng_state()
    first = write(folders["llama"], PROMPTS, temperature=1.0)
    torch.manual_seed(7)
    assert write(folders["llama"], [PROMPTS[2]], temperature=1.0) == [first[2]]
    assert write(folders["llama"], [PROMPTS[2]], temperature=1.0, seed=1) != [first[2]]
    torch.random.set_rng_state(before)
    write(folders["llama"], ["a kite"], temperature=1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_models_own_way_of_sampling_is_used(folders: dict[str, Path], tmp_path: Path) -> None:
    greedy = write(folders["llama"], PROMPTS, temperature=0)
    assert write(folders["llama"], PROMPTS) == greedy  # its generation_config says nothing
    folder = llama(tmp_path / "model")
    config = json.loads((folder / "generation_config.json").read_text())

    def texts(**own: Any) -> list[str]:
        (folder / "generation_config.json").write_text(json.dumps(config | {"do_sample": True} | own))
        return [read_body(body) for body in write(folder, PROMPTS)]

    plain = [read_body(body) for body in greedy]
    assert texts() != plain
    for own in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 1e-4}):
        assert texts(**own) == plain
    assert texts(top_k=1, repetition_penalty=9.0) != plain


def test_all_tokens_that_end_a_text_are_known(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    last = {}
    take = PartialReply.take

    def watched(row: PartialReply, token: int, eos: Sequence[int]) -> None:
        last[id(row.draws)] = token
        take(row, token, eos)

    monkeypatch.setattr(PartialReply, "take", watched)
    bodies = write(
        folders["llama"], [str(n) for n in range(16)], {"type": "integer", "minimum": 1}, temperature=9.0, batch=16
    )
    assert set(last.values()) == set(ENDS)
    assert all(isinstance(json.loads(read_body(body)), int) for body in bodies)
    assert [len(read_body(body)) for body in bodies] == [count_body(body).tokens_out for body in bodies]


def test_a_reply_is_cut_at_its_limit(folders: dict[str, Path]) -> None:
    (body,) = write(folders["llama"], ["a kite"], LONG, max_tokens=12)
    with pytest.raises(BadContent, match="cut off"):
        read_body(body)
    assert count_body(body).tokens_out == 12


def test_a_reply_that_is_whole_at_its_limit_is_not_cut(folders: dict[str, Path]) -> None:
    (body,) = write(folders["llama"], ["a kite"])
    whole = count_body(body).tokens_out
    assert write(folders["llama"], ["a kite"], max_tokens=whole) == [body]
    assert "length" in write(folders["llama"], ["a kite"], max_tokens=whole - 1)[0]


def test_a_prompt_longer_than_the_window_fails_alone(tmp_path: Path) -> None:
    folder = llama(tmp_path / "model", window=100)
    error, body = write(folder, ["word " * 300, "a kite"])
    with pytest.raises(Permanent, match=r"found a prompt of \d{3} tokens; .* window of 100") as raised:
        raise error
    assert not raised.value.every
    assert obeys(json.loads(read_body(body)), SHORT)


def test_the_chat_template_is_used_where_there_is_one(folders: dict[str, Path]) -> None:
    talk = [*user("a kite"), {"role": "assistant", "content": "{}"}, *user("again")]
    expected = {"llama": "<s>user: a kite\n<s>assistant: {}\n<s>user: again\n", "qwen2": "a kite\n\n{}\n\nagain"}
    for family, text in expected.items():
        words = AutoTokenizer.from_pretrained(folders[family])
        (body,) = write(folders[family], [talk])
        assert count_body(body).tokens_in == len(words.encode(text, add_special_tokens=False))
    (error,) = write(folders["llama"], [[{"role": "system", "content": "x"}, *talk]])
    assert isinstance(error, Permanent)
    assert "no system here" in str(error)
    (error,) = write(folders["qwen2"], [""])
    assert isinstance(error, Permanent)


def test_a_probe_takes_no_request(folders: dict[str, Path]) -> None:
    assert probe(folders["llama"]) == Probe(STRICT, TokenUsage())


def test_what_is_no_model(tmp_path: Path) -> None:
    for path in (tmp_path / "none", str(tmp_path / "none"), "./none"):
        with pytest.raises(InputError, match=r"none: found no such folder"):
            Local(path, schema=SHORT)
    with pytest.raises(InputError, match=r"can't be loaded"):
        probe(tmp_path)
    with pytest.raises(InputError, match=r"can't be loaded"):
        probe("nobody/none-at-all")
    with pytest.raises(UsageError, match=r"can't be held to the schema"):
        probe(WORDS)
    with pytest.raises(UsageError, match=r"no token for the single byte b'\"'"):
        probe(llama(tmp_path / "few", alphabet=False))


def test_a_model_that_cant_end_a_text(tmp_path: Path) -> None:
    folder = llama(tmp_path / "model")
    for name in ("generation_config.json", "config.json", "tokenizer_config.json"):
        body = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(body | {"eos_token_id": None, "eos_token": None}))
    with pytest.raises(UsageError, match="no token that ends a text"):
        probe(folder)


def test_scores_that_are_no_numbers(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = llama(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for temperature in (0, 1.0):
        (error,) = write(folder, ["a kite"], temperature=temperature)
        with pytest.raises(Permanent, match="no finite numbers"):
            raise error


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"dtype": "int8"}, {"device": "cuda:99"}, {"device": "bicycle"}])
def test_options_that_cant_be_meant(folders: dict[str, Path], wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}.*expected|expected.*{next(iter(wrong))}|Expected"):
        probe(folders["llama"], **wrong)


def test_without_llguidance_the_extra_is_named(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UsageError, match=r"pip install .*\[local\]'"):
        Local(folders["llama"], schema=SHORT)


# Batches, and the thread.


class Watch:
    """The rows of each batch, and a moment in the middle of writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[list[PartialReply]] = []
        self._writing: asyncio.Event | None = None
        write, choose = Decoder.write, Decoder.choose

        def watched_write(decoder: Decoder, rows: Sequence[PartialReply]) -> None:
            self.batches.append(list(rows))
            write(decoder, rows)

        def watched_choose(decoder: Decoder, rows: Sequence[PartialReply], *rest: Any) -> Any:
            scores = choose(decoder, rows, *rest)
            if self._writing is not None and len(rows[0].ids) == 3:
                self._loop.call_soon_threadsafe(self._writing.set)
            return scores

        monkeypatch.setattr(Decoder, "write", watched_write)
        monkeypatch.setattr(Decoder, "choose", watched_choose)

    async def writing(self) -> None:
        """Wait until a batch has its third token."""
        self._loop, self._writing = asyncio.get_running_loop(), asyncio.Event()
        await asyncio.wait_for(self._writing.wait(), 60)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def run(flow: Coroutine[Any, Any, None]) -> None:
    asyncio.run(flow)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("topa-local")]


def test_who_waits_at_the_same_time_shares_a_batch(folders: dict[str, Path], watch: Watch) -> None:
    async def worker(local: Local, prompts: list[str]) -> None:
        for prompt in prompts:
            read_body(await local.ask(user(prompt), STRICT))

    async def flow() -> None:
        async with Local(folders["llama"], schema=SHORT, batch=3) as local, asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(worker(local, [f"{number} a", f"{number} b"]))

    run(flow())
    sizes = [len(rows) for rows in watch.batches]
    assert sum(sizes) == 10
    assert sizes[:3] == [3, 3, 3]  # the rest of the first ones, and who came meanwhile
    assert len(sizes) == 4


def test_a_task_that_is_cancelled_leaves_the_others_alone(folders: dict[str, Path], watch: Watch) -> None:
    (expected,) = write(folders["llama"], ["a kite"], LONG, max_tokens=150)

    async def flow() -> None:
        async with Local(folders["llama"], schema=LONG, max_tokens=150) as local:
            gone = asyncio.create_task(local.ask(user("the sea"), STRICT))
            stays = asyncio.create_task(local.ask(user("a kite"), STRICT))
            await watch.writing()
            gone.cancel()
            assert await stays == expected
            assert gone.cancelled()
            assert await local.ask(user("a kite"), STRICT) == expected

    run(flow())
    _, (gone, stays), _ = watch.batches
    assert (gone.finish_reason, stays.finish_reason) == ("dropped", "length")
    assert len(gone.ids) < len(stays.ids) == 150


def test_closing_waits_for_the_thread_and_drops_what_it_writes(folders: dict[str, Path], watch: Watch) -> None:
    async def flow() -> None:
        async with Local(folders["llama"], schema=LONG, batch=1) as local:
            tasks = [asyncio.create_task(local.ask(user(prompt), STRICT)) for prompt in ("a", "b")]
            await watch.writing()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)

    run(flow())
    ((row,),) = watch.batches
    assert row.finish_reason == "dropped"
    assert len(row.ids) < 8000


def test_an_error_in_the_thread_reaches_all_who_ask(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        """What libraries in Rust raise: no Exception."""

    def fails(error: BaseException) -> Callable[..., None]:
        def write(*_: Any) -> None:
            raise error

        return write

    monkeypatch.setattr(Decoder, "write", fails(torch.OutOfMemoryError("no room")))
    errors = write(folders["llama"], ["a", "b", "c"], batch=2)
    assert [type(error) for error in errors] == [Permanent] * 3
    assert all(error.every for error in errors)
    assert "memory is too small" in str(errors[0])
    monkeypatch.setattr(Decoder, "write", fails(Panic()))
    errors = write(folders["llama"], ["a", "b", "c"], batch=2)
    assert [type(error) for error in errors] == [Panic] * 3


# As a part of the whole.


def test_a_set_is_written_and_a_second_run_needs_no_model(
    folders: dict[str, Path], real_schema: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    model = Path(shutil.copytree(folders["llama"], tmp_path / "model"))

    def run() -> GenerationOutcome:
        local = Local(model, schema=real_schema(), temperature=1.0, batch=3)
        seeds = [seed(number) for number in range(5)]
        return generate_set(
            seeds, tmp_path / "out", local, prompt=WriterPrompt("{seed}"), limits=GenerationLimits(6), show=False
        )

    first = run()
    assert (first.accepted, first.left) == (5, 0)
    assert first.spent.tokens_out > 0
    assert first.report is not None
    assert first.report.read == 5
    (model / "model.safetensors").unlink()
    again = run()
    assert (again.accepted, again.spent) == (5, first.spent)


def test_a_model_that_cant_spell_json_is_one_clear_error(topa: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(seed(0).model_dump_json() + "\n")
    words = ("--seeds", tmp_path / "seeds.jsonl", "--out", tmp_path / "out", "--model", WORDS)
    result = topa("generate", "--writer", "local", *words)
    assert result.code == 2
    assert result.err.startswith(f"topa: model '{WORDS}': replies can't be held to the schema")
