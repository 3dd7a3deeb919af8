"""The flow through a batch API, against a provider that fails in the ways that providers fail."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topa.core.artifacts import read_manifest
from topa.tideos import batch as batch_module
from topa.tideos.batch_endpoint import BatchEndpoint
from topa.tideos.batch_jobs import BatchJobs
from topa.tideos.collect import generate_set
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits, GenerationOutcome
from topa.tideos.ledger import Ledger
from topa.tideos.seeds import Seed
from topa.tideos.tideo import Tideo
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.writers import Permanent, TokenUsage, Transient

from .batches import Line, Made, Provider, llama, providing, well
from .servers import completion, is_probe, llama_server, prompt_of, write_gguf

ASKING = WriterPrompt("About {seed}.")


def limits(**options: Any) -> GenerationLimits:
    return GenerationLimits(**{"backoff": 0.01, "poll": 0.01, **options})


def write(
    url: str, out: Path, count: int = 4, writer: type[Endpoint] = BatchEndpoint, **options: Any
) -> GenerationOutcome:
    seeds = [Seed(id=f"s{n}", kind="own", text=f"<{n}>") for n in range(count)]
    own = {name: options.pop(name) for name in ("schema", "max_tokens", "temperature", "key_env") if name in options}
    endpoint = writer(url, "m", **{"schema": reply_schema(), **own})
    return generate_set(seeds, out, endpoint, prompt=ASKING, limits=limits(**options), show=False)


def tideos(out: Path) -> list[Tideo]:
    return [Tideo.model_validate_json(line) for line in (out / "tideos.jsonl").read_text().split("\n") if line]


def stored_replies(out: Path) -> Counter[str]:
    """Numbers of the replies in the ledger, read without our own code."""
    with sqlite3.connect(out / "ledger.sqlite") as database:
        counts = Counter(json.loads(raw).get("id") for (raw,) in database.execute("SELECT raw FROM replies"))
    database.close()
    return counts


def paid(provider: Provider) -> Counter[str]:
    return Counter(number for batch in provider.batches for number in batch.answered.values())


def first(*bad: Line, then: Line = well) -> Line:
    """Answer the first requests by these, the others well."""
    remaining = list(bad)
    return lambda body: (remaining.pop(0) if remaining else then)(body)


def status(code: int, words: bytes = b"no") -> Line:
    return lambda _: (code, words)


def sorry(_: dict[str, Any]) -> tuple[int, bytes]:
    return 200, completion("Sorry")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_every_seed_becomes_a_tideo_at_half_the_price(tmp_path: Path) -> None:
    provider = Provider()
    with providing(provider) as url:
        options: dict[str, Any] = {"batch_requests": 3, "price_in": 1.0, "price_out": 2.0, "temperature": 0.5}
        outcome = write(url, tmp_path, 7, **options)
        assert (outcome.accepted, outcome.left, outcome.submitted, outcome.stopped) == (7, 0, 0, None)
        assert outcome.spent == TokenUsage(700, 350, pytest.approx(700e-6))  # type: ignore[arg-type]
        assert [len(batch.requests) for batch in provider.batches] == [3, 3, 1]
        assert [tideo.id for tideo in tideos(tmp_path)] == [f"s{n}" for n in range(7)]
        assert tideos(tmp_path)[0].source == {"writer": "m", "prompt": ASKING.identity, "seed_kind": "own"}
        assert read_manifest(tmp_path, "tideos", verify=True).counts["tideos"] == 7
        request = provider.batches[0].requests[0]
        schema = {"name": "reply", "strict": True, "schema": reply_schema()}
        assert request == {
            "custom_id": request["custom_id"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "m",
                "messages": [{"role": "user", "content": "About <0>."}],
                "max_tokens": 8192,
                "temperature": 0.5,
                "response_format": {"type": "json_schema", "json_schema": schema},
            },
        }
        assert stored_replies(tmp_path) == paid(provider)
        chats = len(provider.chats)
        assert all(map(is_probe, provider.chats))
        assert write(url, tmp_path, 8, **options).accepted == 8
        assert len(provider.chats) == chats  # the way to ask was noted: no second probe
        assert [len(batch.requests) for batch in provider.batches] == [3, 3, 1, 1]


def test_files_keep_to_the_limit_of_bytes(tmp_path: Path) -> None:
    provider = Provider()
    with providing(provider) as url:
        assert write(url, tmp_path, 7, batch_bytes=3000).accepted == 7
    sizes = [len(provider.files[batch.file]) for batch in provider.batches]
    assert len(sizes) > 2
    assert max(sizes) <= 3000


def test_a_batch_that_expires_is_paid_for_as_far_as_it_came(tmp_path: Path) -> None:
    provider = Provider()
    provider.fates = ["expired", "cancelled"]
    with providing(provider) as url:
        outcome = write(url, tmp_path, 8)
    assert (outcome.accepted, outcome.failures) == (8, {"transient": 4 + 2})
    assert [len(batch.requests) for batch in provider.batches] == [8, 4, 2]
    assert stored_replies(tmp_path) == paid(provider)
    assert paid(provider).total() == 8


def test_what_never_gets_done_fails_and_is_asked_again_by_the_next_run(tmp_path: Path) -> None:
    provider = Provider()
    provider.fates = ["expired"] * 3
    with providing(provider) as url:
        outcome = write(url, tmp_path, 1, tries=3)
        assert (outcome.failed, outcome.failures, len(provider.batches)) == (1, {"transient": 3}, 3)
        assert write(url, tmp_path, 1, tries=3).accepted == 1


@pytest.mark.parametrize("code", [429, 500])
def test_lines_with_a_passing_error_are_asked_again(tmp_path: Path, code: int) -> None:
    provider = Provider(first(status(code)))
    with providing(provider) as url:
        outcome = write(url, tmp_path, 3)
    assert (outcome.accepted, outcome.failures) == (3, {"transient": 1})
    assert [len(batch.requests) for batch in provider.batches] == [3, 1]


def test_a_line_that_is_refused_fails_alone_and_many_end_the_run(tmp_path: Path) -> None:
    provider = Provider(first(status(400)))
    with providing(provider) as url:
        outcome = write(url, tmp_path / "one", 3)
    assert (outcome.accepted, outcome.failed, outcome.failures) == (2, 1, {"permanent": 1})
    assert len(provider.batches) == 1
    provider = Provider(status(400, b"context length exceeded"))
    with providing(provider) as url, pytest.raises(Permanent, match=r"HTTP 400.*context length"):
        write(url, tmp_path / "many", 6)
    assert len(provider.batches) == 1


@pytest.mark.parametrize("refusal", [status(404, b"no such model"), status(429, b"insufficient_quota")])
def test_a_line_that_no_request_gets_past_ends_the_run_and_nothing_is_lost(tmp_path: Path, refusal: Line) -> None:
    provider = Provider(first(refusal))
    with providing(provider) as url:
        with pytest.raises(Permanent, match=r"no such model|insufficient_quota"):
            write(url, tmp_path, 3)
        assert len(tideos(tmp_path)) == 2
        assert write(url, tmp_path, 3).accepted == 3
    assert [len(batch.requests) for batch in provider.batches] == [3, 1]


def test_a_repair_says_what_was_wrong_in_a_batch_of_its_own(tmp_path: Path) -> None:
    provider = Provider(first(lambda _: (200, completion('{"frames": []}'))))
    with providing(provider) as url:
        outcome = write(url, tmp_path, 2, price_in=1.0)
    assert (outcome.accepted, outcome.repaired) == (2, 1)
    assert outcome.failures == {"content: frames: too short": 1}
    assert outcome.spent == TokenUsage(300, 150, pytest.approx(150e-6))  # type: ignore[arg-type]
    (bad, _), (repair,) = [[request["body"]["messages"] for request in batch.requests] for batch in provider.batches]
    assert repair[:2] == [*bad, {"role": "assistant", "content": '{"frames": []}'}]
    assert "frames" in repair[2]["content"]


def test_what_stays_bad_is_rejected_and_not_paid_for_again(tmp_path: Path) -> None:
    provider = Provider(sorry)
    with providing(provider) as url:
        outcome = write(url, tmp_path, 1)
        assert (outcome.rejected, outcome.left) == (1, 0)
        write(url, tmp_path, 1)
    assert len(provider.requests()) == 2


def test_the_budget_is_never_exceeded_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    """A request may take 2 * 3 tokens read and 200 written, and takes 100 and 50."""
    provider = Provider()
    with providing(provider) as url:
        outcome = write(url, tmp_path, 20, budget=1000, max_tokens=200)
        assert [len(batch.requests) for batch in provider.batches] == [4, 1, 1]
        assert (outcome.stopped, outcome.accepted, outcome.spent.tokens) == ("budget", 6, 900)
        assert outcome.needed == 206
        assert not (tmp_path / "manifest.json").exists()
        assert write(url, tmp_path, 20, budget=10_000, max_tokens=200).accepted == 20


def test_the_budget_counts_half_of_the_price(tmp_path: Path) -> None:
    provider = Provider()
    with providing(provider) as url:
        outcome = write(url, tmp_path, 20, budget=0.0041, price_out=10.0, max_tokens=200)
        assert len(provider.batches[0].requests) == 4  # 200 tokens at 5 for a million are 0.001
        assert outcome.spent.cost <= 0.0041


def test_a_budget_without_room_submits_nothing(tmp_path: Path) -> None:
    provider = Provider()
    with providing(provider) as url:
        outcome = write(url, tmp_path, 3, budget=100)
    assert (outcome.stopped, outcome.needed) == ("budget", 8198)
    assert provider.batches == []


def test_a_wrong_key_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider()
    monkeypatch.setenv("MY_KEY", "right")
    with providing(provider) as url:
        provider.on_retrieve = interrupt
        assert write(url, tmp_path, 3, key_env="MY_KEY").submitted == 3
        provider.key, provider.on_retrieve = "right", lambda: None
        monkeypatch.setenv("MY_KEY", "secret-but-wrong")
        with pytest.raises(Permanent, match=r"HTTP 401: wrong key.*Check the key") as raised:
            write(url, tmp_path, 3, key_env="MY_KEY")
        assert "secret-but-wrong" not in str(raised.value)
        monkeypatch.setenv("MY_KEY", "right")
        assert write(url, tmp_path, 3, key_env="MY_KEY").accepted == 3
    assert len(provider.batches) == 1


def test_a_batch_that_is_refused_leaves_its_calls_free(tmp_path: Path) -> None:
    provider = Provider()
    provider.closed = True
    with providing(provider) as url:
        with pytest.raises(Permanent, match="HTTP 403: not for this project"):
            write(url, tmp_path, 3)
        assert write(url, tmp_path, 3, Endpoint).accepted == 3
    assert provider.batches == []


def test_a_file_that_is_refused_is_one_clear_error_and_its_calls_are_free_again(tmp_path: Path) -> None:
    provider = Provider()
    provider.fates = ["invalid"]
    with providing(provider) as url:
        with pytest.raises(Permanent, match=r"failed: it is invalid.*run the same command again"):
            write(url, tmp_path, 3)
        assert write(url, tmp_path, 3).accepted == 3
    assert [len(batch.requests) for batch in provider.batches] == [3, 3]


def test_a_provider_that_is_crowded_gets_less_at_a_time(tmp_path: Path) -> None:
    provider = Provider()
    provider.fates = ["completed", "crowded", "crowded"]
    with providing(provider) as url:
        assert write(url, tmp_path / "beside", 12, batch_requests=4).accepted == 12
    assert [len(batch.requests) for batch in provider.batches] == [4] * 5  # it is enough to wait for the other one
    provider = Provider()
    provider.fates = ["crowded"]
    with providing(provider) as url:
        assert write(url, tmp_path / "alone", 4).accepted == 4
    assert [len(batch.requests) for batch in provider.batches] == [4, 2, 2]
    provider = Provider()
    provider.fates = ["crowded"] * 9
    with providing(provider) as url, pytest.raises(Permanent, match="it is crowded"):
        write(url, tmp_path / "never", 4)
    assert [len(batch.requests) for batch in provider.batches] == [4, 2, 2, 1, 1]


def test_a_creation_whose_reply_is_lost_is_found_again(tmp_path: Path) -> None:
    provider = Provider()
    provider.lost = 1
    with providing(provider) as url:
        outcome = write(url, tmp_path, 7, batch_requests=1)
    assert (outcome.accepted, outcome.failures) == (7, {"transient": 1})
    assert len(provider.batches) == 7


def test_a_file_that_is_not_known_at_once_is_waited_for(tmp_path: Path) -> None:
    provider = Provider()
    provider.file_refusals = 1
    with providing(provider) as url:
        assert write(url, tmp_path, 2).accepted == 2
    assert len(provider.batches) == 1
    uploads = [name for name, body in provider.files.items() if b'"method"' in body]
    assert len(uploads) == 1


def test_a_download_that_breaks_off_is_begun_again(tmp_path: Path) -> None:
    provider = Provider()
    provider.broken = 2
    with providing(provider) as url:
        outcome = write(url, tmp_path, 3)
    assert (outcome.accepted, outcome.failures) == (3, {"transient": 2})
    assert paid(provider) == stored_replies(tmp_path)


def test_a_provider_that_is_gone_for_good_ends_the_run_and_the_next_one_collects(tmp_path: Path) -> None:
    provider = Provider()
    provider.broken = 2
    with providing(provider) as url:
        with pytest.raises(Transient, match="broke off"):
            write(url, tmp_path, 3, tries=2)
        assert write(url, tmp_path, 3, tries=2).accepted == 3
    assert len(provider.batches) == 1


def test_ctrl_c_leaves_the_batches_and_only_the_batch_flow_takes_them_up(tmp_path: Path) -> None:
    provider = Provider()
    provider.is_held, provider.on_retrieve = True, interrupt
    with providing(provider) as url:
        outcome = write(url, tmp_path, 4)
        assert (outcome.stopped, outcome.submitted, outcome.left, outcome.accepted) == ("interrupted", 4, 4, 0)
        provider.on_retrieve = lambda: None
        online = write(url, tmp_path, 6, Endpoint)
        assert (online.accepted, online.submitted, online.left) == (2, 4, 4)
        assert not (tmp_path / "manifest.json").exists()
        prompts = {prompt_of(request) for request in provider.chats if not is_probe(request)}
        assert prompts == {"About <4>.", "About <5>."}
        provider.is_held = False
        assert write(url, tmp_path, 6).accepted == 6
    assert len(provider.batches) == 1
    assert len(provider.batches[0].requests) == 4


def test_the_online_flow_leaves_room_for_what_is_submitted(tmp_path: Path) -> None:
    provider = Provider()
    provider.is_held, provider.on_retrieve = True, interrupt
    with providing(provider) as url:
        write(url, tmp_path, 4, budget=1000, max_tokens=200)
        online = write(url, tmp_path, 6, Endpoint, budget=1000, max_tokens=200)
    assert (online.stopped, online.accepted, online.spent.tokens) == ("budget", 0, 0)


def test_the_same_results_twice_are_kept_and_counted_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite", {}) as ledger:
        ledger.plan([("a", 0, Seed(id="s", kind="own", text="t"))])
        batches = BatchJobs(ledger)
        batch = batches.submit(["a"], 10, 20)
        assert ledger.open_batch_tokens() == (10, 20)
        assert ledger.claim(9) == []
        assert batches.record(batch.name, "a", "one", TokenUsage(1, 2, 0.5))
        assert not batches.record(batch.name, "a", "one", TokenUsage(1, 2, 0.5))
        batches.refuse(batch.name, "a", 1)  # the line of an error beside the reply changes nothing
        assert ledger.counts() == {"replied": 1}
        assert batches.end(batch.name, "completed", 3) == 0
        assert ledger.open_batch_tokens() == (0, 0)
        assert [reply.raw for reply in ledger.replies("a")] == ["one"]
        again = batches.submit(["a"], 0, 0)
        batches.record(batch.name, "a", "one", TokenUsage(1, 2, 0.5))  # nor the earlier batch's results a later one's
        assert ledger.counts() == {"submitted": 1}
        assert batches.record(again.name, "a", "two", TokenUsage(1, 2, 0.5))
        assert ledger.total_usage() == TokenUsage(2, 4, 1.0)


def test_a_stop_within_a_file_of_results_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "_CHUNK", 2)
    provider = Provider()
    record, recorded = BatchJobs.record, []

    def stopping(self: BatchJobs, *words: Any) -> bool:
        recorded.append(words)
        if len(recorded) == 3:
            interrupt()
        return record(self, *words)

    monkeypatch.setattr(BatchJobs, "record", stopping)
    with providing(provider) as url:
        outcome = write(url, tmp_path, 20)
        assert outcome.stopped == "interrupted"
        assert 0 < outcome.submitted < 20
        assert write(url, tmp_path, 20).accepted == 20
    assert len(recorded) > 20
    assert len(provider.batches) == 1
    assert stored_replies(tmp_path) == paid(provider)


def test_llama_cpp_behind_a_batch_api(tmp_path: Path, real_schema: Callable[[], dict[str, Any]]) -> None:
    with (
        llama_server(write_gguf(tmp_path / "tiny.gguf")) as address,
        providing(Provider(first(sorry, then=llama(address)))) as url,
    ):
        outcome = write(url, tmp_path / "out", 4, schema=real_schema(), temperature=1.0, repairs=3)
    assert outcome.accepted == 4
    assert all(5 <= len(tideo.frames) <= 15 for tideo in tideos(tmp_path / "out"))


# Processes that are stopped and killed.

RUN = """
import sys
from pathlib import Path
from topa.tideos import batch
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.batch_endpoint import BatchEndpoint
from topa.tideos.flow import GenerationLimits
from topa.tideos.collect import generate_set
from topa.tideos.seeds import Seed
batch._CHUNK = 2
url, out, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
seeds = [Seed(id=f"s{n}", kind="own", text=f"<{n}>") for n in range(count)]
writer = BatchEndpoint(url, "m", schema=reply_schema())
limits = GenerationLimits(backoff=0.01, poll=0.01, batch_requests=6)
outcome = generate_set(seeds, out, writer, prompt=WriterPrompt("About {seed}."), limits=limits, show=False)
print(outcome.accepted, outcome.left, outcome.elsewhere, outcome.stopped)
"""


def start(url: str, out: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN, url, str(out), str(count)], stdout=subprocess.PIPE, text=True)


class Moments:
    """Tells when a given one of the things that happen at the provider does, which waits there until it may go on."""

    def __init__(self) -> None:
        self.due, self.go = threading.Event(), threading.Event()
        self._which, self._remaining, self._waits = "", -1, False
        self._lock = threading.Lock()

    def wake_at(self, which: str, remaining: int, waits: bool) -> None:
        with self._lock:
            self.due.clear()
            self.go.clear()
            self._which, self._remaining, self._waits = which, remaining, waits

    def __call__(self, what: str) -> None:
        with self._lock:
            if not what.startswith(self._which):
                return
            self._remaining -= 1
            now = self._remaining == 0
        if now:
            self.due.set()
            if self._waits:
                self.go.wait(60)


def trying(body: dict[str, Any]) -> tuple[int, bytes]:
    """Of the seeds some get a bad reply first, and some requests fail."""
    if len(body["messages"]) == 1 and zlib.crc32(prompt_of(body).encode()) % 5 == 0:
        return sorry(body)
    return well(body) if random.random() < 0.95 else (500, b"")


def is_good(body: dict[str, Any]) -> bool:
    return len(body["messages"]) == 3 or zlib.crc32(prompt_of(body).encode()) % 5 != 0


def check_paid_once(batches: list[Made], count: int) -> None:
    """No request is in two batches unless the earlier one did not answer it; a bad reply is answered by a repair."""
    good, bad = Counter[str](), Counter[str]()
    for batch in batches:
        for request in batch.requests:
            key = request["custom_id"]
            assert not good[key]
            assert bad[key] == (len(request["body"]["messages"]) == 3)
            if key in batch.answered:
                (good if is_good(request["body"]) else bad)[key] += 1
    assert set(good.values()) == {1}
    assert good.total() == count


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_or_paid_for_twice(tmp_path: Path) -> None:
    """SIGKILL at random moments; then what the provider was paid for is compared with what the ledger holds."""
    draws, moments = random.Random(), Moments()
    kills = ["created", "POST /v1/batches", "POST /v1/files", "GET /v1/batches/", "GET /v1/files/"] * 3
    provider = Provider(trying)
    provider.fates = draws.choices(["completed", "expired"], [3, 1], k=30)
    provider.moment = moments
    stored: Counter[str] = Counter()
    with providing(provider) as url:
        for number, which in enumerate(draws.sample(kills, len(kills))):
            moments.wake_at(which, draws.randint(1, 3), waits=number % 3 > 0)
            process = start(url, tmp_path, count := 18 * (number + 1))  # each has three batches more to do
            assert moments.due.wait(60)
            threading.Event().wait(draws.uniform(0, 0.02))  # anywhere between two requests
            process.kill()
            moments.go.set()
            assert process.wait() == -signal.SIGKILL
            replies = stored_replies(tmp_path)
            assert stored <= replies
            stored = replies
        process = start(url, tmp_path, count)
        output, _ = process.communicate(timeout=60)
    assert output.split() == [str(count), "0", "0", "None"]
    assert stored_replies(tmp_path) == paid(provider)
    assert set(Counter(batch.name for batch in provider.batches).values()) == {1}
    check_paid_once(provider.batches, count)
    print(f"{len(kills)} kills, {len(provider.batches)} batches, {paid(provider).total()} replies paid and kept")
    assert [tideo.id for tideo in tideos(tmp_path)] == [f"s{n}" for n in range(count)]


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    provider = Provider(trying)
    with providing(provider) as url:
        processes = [start(url, tmp_path, 60) for _ in range(2)]
        for process in processes:
            process.communicate(timeout=60)
        assert write(url, tmp_path, 60).accepted == 60
    check_paid_once(provider.batches, 60)
    assert stored_replies(tmp_path) == paid(provider)


# The command line.


@pytest.fixture
def words(tmp_path: Path) -> Callable[[str], list[str]]:
    path = tmp_path / "seeds.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"s{n}", "kind": "webvid", "text": f"clip {n}"}) + "\n" for n in range(5))
    )
    common = [
        "generate",
        "-y",
        "--writer",
        "batch",
        "--seeds",
        str(path),
        "--model",
        "m",
        "--out",
        str(tmp_path / "out"),
    ]
    return lambda url: [*common, "--base-url", url, "--poll", "0.05", "--price-in", "1", "--price-out", "2"]


def test_the_verb(topa: Callable[..., Any], words: Callable[[str], list[str]]) -> None:
    provider = Provider()
    with providing(provider) as url:
        output = json.loads(topa(*words(url), "--dry-run", "--json").out)
        assert provider.chats == provider.batches == []
        estimate = output["estimate"]
        assert estimate["cost"] == pytest.approx((estimate["tokens_in"] + 2 * estimate["tokens_out"]) / 2e6)
        result = topa(*words(url))
    assert result.code == 0, result.err
    assert "written: 5 of 5 (rejected 0, failed 0, left 0" in result.out
    assert "spent 0.0005, 750 tokens" in result.out
    assert len(provider.batches) == 1


def test_ctrl_c_ends_with_130_and_the_same_command_collects(words: Callable[[str], list[str]]) -> None:
    provider, polled = Provider(), threading.Event()
    provider.is_held, provider.on_retrieve = True, polled.set
    with providing(provider) as url:
        command = [sys.executable, "-m", "topa.cli", *words(url)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        assert polled.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "0 of 5 (" in out
        assert "5 of those left are in batches, on which the provider goes on working" in err
        assert "run the same command again" in err
        provider.is_held = False
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "written: 5 of 5" in result.stdout
    assert len(provider.batches) == 1
