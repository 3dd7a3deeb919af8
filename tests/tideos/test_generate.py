"""The flow from seeds to Tideos, against real servers that fail in all the ways that servers fail."""

from __future__ import annotations

import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topa.core.artifacts import read_manifest
from topa.core.errors import ArtifactMismatch, OutputError, UsageError
from topa.tideos.collect import generate_set
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits, GenerationOutcome, RateLimiter
from topa.tideos.ledger import Ledger
from topa.tideos.seeds import Seed
from topa.tideos.tideo import Tideo
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.writers import Permanent, TokenUsage, Transient

from .replies import good_reply
from .servers import (
    Answer,
    completion,
    faults,
    forward,
    good,
    is_probe,
    llama_server,
    prompt_of,
    reset,
    send,
    serving,
    write_gguf,
)

ASKING = WriterPrompt("About {seed}.")
QUICK = GenerationLimits(concurrency=2, backoff=0.01)


def seeds(count: int) -> list[Seed]:
    return [Seed(id=f"s{n}", kind="own", text=f"<{n}>") for n in range(count)]


def write(url: str, out: Path, count: int = 4, limits: GenerationLimits = QUICK, **options: Any) -> GenerationOutcome:
    options = {"schema": reply_schema(), **options}
    return generate_set(seeds(count), out, Endpoint(url, "m", **options), prompt=ASKING, limits=limits, show=False)


def tideos(out: Path) -> list[Tideo]:
    return [Tideo.model_validate_json(line) for line in (out / "tideos.jsonl").read_text().splitlines()]


def count_prompts(requests: list[dict[str, Any]]) -> Counter[str]:
    """How often each seed was asked for: its prompt is the first line, a repair may add to it."""
    return Counter(prompt_of(request).partition("\n")[0] for request in requests if not is_probe(request))


def test_every_seed_becomes_a_tideo_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    with serving(good) as (url, log):
        outcome = write(url, tmp_path, 7, GenerationLimits(3, price_in=1.0, price_out=2.0))
        assert (outcome.accepted, outcome.left, outcome.stopped) == (7, 0, None)
        assert outcome.spent == TokenUsage(700, 350, pytest.approx(700e-6 + 700e-6))  # type: ignore[arg-type]
        assert [tideo.id for tideo in tideos(tmp_path)] == [f"s{n}" for n in range(7)]
        assert tideos(tmp_path)[0].source == {"writer": "m", "prompt": ASKING.identity, "seed_kind": "own"}
        assert read_manifest(tmp_path, "tideos", verify=True).counts["tideos"] == 7
        requests = len(log.requests)
        assert write(url, tmp_path, 7).accepted == 7
        assert len(log.requests) == requests
        assert write(url, tmp_path, 8).accepted == 8
        assert len(log.requests) == requests + 1  # the way to ask was noted: no second probe


def status(code: int, **headers: str) -> Answer:
    return lambda handler, _: send(handler, code, b"no", **headers)


def replying(text: str | None, **options: Any) -> Answer:
    return lambda handler, _: send(handler, 200, completion(text, **options))


def cut(handler: Any, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


@pytest.mark.parametrize(
    ("harm", "kind", "replies"),
    [
        (status(429, retry_after="0.05"), "transient", 1),
        (status(500), "transient", 1),
        (lambda handler, _: reset(handler), "transient", 1),
        (cut, "transient", 1),
        (replying('{"frames": []}'), "content: frames: too short", 2),
        (replying("Sorry"), "content: no whole JSON object", 2),
        (replying(None, refusal="no"), "content: refused", 2),
        (replying('{"frames": [', finish="length"), "content: cut off at the limit of its length", 2),
    ],
)
def test_one_fault_is_overcome_and_counted(tmp_path: Path, harm: Answer, kind: str, replies: int) -> None:
    with serving(faults([harm])) as (url, log):
        outcome = write(url, tmp_path, 3)
    assert (outcome.accepted, outcome.rejected, outcome.failed) == (3, 0, 0)
    assert outcome.failures == {kind: 1}
    assert outcome.repaired == replies - 1
    assert sorted(count_prompts(log.requests).values()) == [1, 1, 2]
    assert outcome.spent.tokens_in == 100 * (2 + replies)  # a bad reply is paid for, an error is not


def test_a_server_that_hangs_is_asked_again(tmp_path: Path) -> None:
    end = threading.Event()
    with serving(faults([lambda *_: end.wait(30) and None])) as (url, _):
        outcome = write(url, tmp_path, 2, timeout=0.5)
        end.set()
    assert outcome.accepted == 2
    assert outcome.failures == {"transient": 1}


def test_a_repair_says_what_was_wrong(tmp_path: Path) -> None:
    with serving(faults([replying('{"frames": []}')])) as (url, log):
        write(url, tmp_path, 1)
    first, repair = [request["messages"] for request in log.requests if not is_probe(request)]
    assert repair[:2] == [*first, {"role": "assistant", "content": '{"frames": []}'}]
    assert "frames" in repair[2]["content"]


def test_what_stays_bad_is_rejected_and_not_paid_for_again(tmp_path: Path) -> None:
    bad = replying("Sorry")
    with serving(faults([bad, bad])) as (url, log):
        outcome = write(url, tmp_path, 1)
        assert (outcome.rejected, outcome.left) == (1, 0)
        write(url, tmp_path, 1)
    assert count_prompts(log.requests).total() == 2
    assert tideos(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_wrong_key_or_model_stops_the_run_and_nothing_is_lost(tmp_path: Path, code: int) -> None:
    with serving(faults([good, status(code)])) as (url, _), pytest.raises(Permanent, match=f"HTTP {code}"):
        write(url, tmp_path, 4, GenerationLimits(concurrency=1))
    assert len(tideos(tmp_path)) == 1
    with serving(good) as (url, log):
        assert write(url, tmp_path, 4).accepted == 4
    assert count_prompts(log.requests).total() == 3


def test_one_refused_request_fails_alone_and_many_stop_the_run(tmp_path: Path) -> None:
    with serving(faults([status(400)])) as (url, _):
        outcome = write(url, tmp_path / "one", 3)
    assert (outcome.accepted, outcome.failed) == (2, 1)
    with serving(faults([status(400)] * 20)) as (url, log), pytest.raises(Permanent):
        write(url, tmp_path / "many", 20, GenerationLimits(concurrency=1))
    assert count_prompts(log.requests).total() == 5


def test_an_endpoint_that_stays_down_stops_the_run(tmp_path: Path) -> None:
    limits = GenerationLimits(concurrency=1, tries=2, backoff=0.01)
    with serving(faults([status(500)] * 40)) as (url, log), pytest.raises(Transient, match="Check the URL"):
        write(url, tmp_path, 20, limits)
    assert count_prompts(log.requests).total() == 10


def test_an_endpoint_that_never_answers_is_given_up_soon(tmp_path: Path) -> None:
    limits = GenerationLimits(backoff=0.01)
    with serving(lambda handler, _: reset(handler)) as (url, log), pytest.raises(Transient, match="Check the URL"):
        write(url, tmp_path, 4, limits)
    assert len(log.requests) == 3
    with serving(status(503)) as (url, log), pytest.raises(Transient):  # it is there, and may be starting
        write(url, tmp_path, 4, limits)
    assert len(log.requests) == 6


def test_the_budget_is_never_exceeded_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with serving(good) as (url, _):
        outcome = write(url, tmp_path, 20, GenerationLimits(4, budget=1000), max_tokens=200)
        assert outcome.stopped == "budget"
        assert 0 < outcome.spent.tokens <= 1000
        assert outcome.accepted == outcome.spent.tokens // 150
        assert outcome.needed > 200
        assert not (tmp_path / "manifest.json").exists()
        assert write(url, tmp_path, 20, GenerationLimits(4, budget=10_000), max_tokens=200).accepted == 20


def test_another_model_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with serving(good) as (url, _):
        write(url, tmp_path, 1)
        with pytest.raises(ArtifactMismatch, match="max_tokens was 8192 and is 99"):
            write(url, tmp_path, 1, max_tokens=99)
        assert len(tideos(tmp_path)) == 1


@pytest.mark.parametrize("wrong", [{"rpm": 0}, {"tpm": -1}, {"budget": float("nan")}, {"concurrency": 0}])
def test_limits_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}"):
        GenerationLimits(**wrong)


def test_shards_share_the_limits() -> None:
    part = GenerationLimits(8, rpm=60, tpm=None, budget=10, price_in=1.0).part(4)
    assert part == GenerationLimits(8, rpm=15, tpm=None, budget=2.5, price_in=1.0)


def test_a_pace_spreads_amounts_evenly() -> None:
    now = [100.0]
    pace = RateLimiter(60, clock=lambda: now[0])
    assert [pace.wait(1), pace.wait(1), pace.wait(5), pace.wait(1)] == [0, 1, 2, 7]
    pace.correct(-3)
    assert pace.wait(1) == 5
    now[0] = 200.0
    assert pace.wait(1) == 0
    assert [RateLimiter(None).wait(1000) for _ in range(3)] == [0, 0, 0]


def test_llama_cpp_behind_faults(tmp_path: Path, real_schema: Callable[[], dict[str, Any]]) -> None:
    """Every way to fail, one after the other, by a proxy in front of a real server that is held to a strict schema."""
    end = threading.Event()
    harm: list[Answer] = [
        status(429, retry_after="0.05"),
        status(500),
        lambda *_: end.wait(60) and None,
        lambda handler, _: reset(handler),
        cut,
        replying('{"frames": []}'),
        replying("Sorry"),
        replying(None, refusal="no"),
        replying('{"frames": [', finish="length"),
    ]
    with (
        llama_server(write_gguf(tmp_path / "tiny.gguf")) as address,
        serving(faults(harm, forward(address))) as (url, _),
    ):
        limits = GenerationLimits(2, repairs=4, backoff=0.01)
        outcome = write(url, tmp_path / "out", 6, limits, schema=real_schema(), temperature=1.0, timeout=10)
        end.set()
    assert outcome.accepted == 6
    assert outcome.failures == {
        "transient": 5,
        "content: frames: too short": 1,
        "content: no whole JSON object": 1,
        "content: refused": 1,
        "content: cut off at the limit of its length": 1,
    }
    assert outcome.report is not None
    assert outcome.report.read == 6
    assert all(5 <= len(tideo.frames) <= 15 for tideo in tideos(tmp_path / "out"))


# Processes that are stopped and killed.

RUN = """
import sys
from pathlib import Path
from topa.tideos.writer_prompt import WriterPrompt, reply_schema
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits
from topa.tideos.collect import generate_set
from topa.tideos.seeds import Seed
url, out, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
seeds = [Seed(id=f"s{n}", kind="own", text=f"<{n}>") for n in range(count)]
writer = Endpoint(url, "m", schema=reply_schema())
limits = GenerationLimits(concurrency=4, backoff=0.01)
outcome = generate_set(seeds, out, writer, prompt=WriterPrompt("About {seed}."), limits=limits,
                   show=False)
print(outcome.accepted, outcome.left, outcome.elsewhere, outcome.stopped)
"""


def start(url: str, out: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN, url, str(out), str(count)], stdout=subprocess.PIPE, text=True)


class Numbered:
    """A good writer whose every reply has a number of its own, and who tells when a given one is due."""

    def __init__(self) -> None:
        self.served: dict[str, str] = {}  # number -> prompt
        self.due = threading.Event()
        self._remaining = -1
        self._lock = threading.Lock()

    def wake_after(self, replies: int) -> None:
        with self._lock:
            self.due.clear()
            self._remaining = replies

    def __call__(self, handler: Any, request: dict[str, Any]) -> None:
        if is_probe(request):
            good(handler, request)
            return
        number = uuid.uuid4().hex
        body = json.loads(completion(json.dumps(good_reply(prompt_of(request)))))
        send(handler, 200, json.dumps(body | {"id": number}).encode())
        with self._lock:
            self.served[number] = prompt_of(request)
            self._remaining -= 1
            if self._remaining == 0:
                self.due.set()


def read_ledger(out: Path) -> tuple[dict[str, str], set[str]]:
    """Reply numbers in the ledger with their keys, and the keys that are in flight, read without our own code."""
    with sqlite3.connect(out / "ledger.sqlite") as database:
        replies = {json.loads(raw)["id"]: key for raw, key in database.execute("SELECT raw, key FROM replies")}
        flying = {key for (key,) in database.execute("SELECT key FROM calls WHERE state = 'in flight'")}
    database.close()
    return replies, flying


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_or_asked_again(tmp_path: Path) -> None:
    """SIGKILL at random moments; then what was served is compared with what the ledger holds."""
    kills, count, draws = 50, 1000, random.Random()
    writer, lost_before, stored = Numbered(), set[str](), dict[str, str]()
    with serving(writer) as (url, log):
        for _ in range(kills):
            writer.wake_after(draws.randint(1, count // kills - 8))
            process = start(url, tmp_path, count)
            assert writer.due.wait(60)
            threading.Event().wait(draws.uniform(0, 0.02))  # anywhere between two replies
            process.kill()
            assert process.wait() == -signal.SIGKILL
            replies, flying = read_ledger(tmp_path)
            assert stored.items() <= replies.items()
            stored = replies
            lost = set(writer.served) - set(replies) - lost_before
            assert len(lost) <= len(flying) <= 4  # what was on its way at that moment, no more
            lost_before |= lost
        process = start(url, tmp_path, count)
        output, _ = process.communicate(timeout=60)
        assert output.split() == [str(count), "0", "0", "None"]
        requests = count_prompts(log.requests)
    replies, _ = read_ledger(tmp_path)
    assert len(replies) == count  # one for each seed: none was paid for twice of those that were kept
    assert set(writer.served) - set(replies) == lost_before
    again = requests.total() - count
    print(f"{kills} kills, {len(writer.served)} served, {len(replies)} kept, {again} asked again")
    assert len(lost_before) <= again <= 4 * kills
    assert [tideo.id for tideo in tideos(tmp_path)] == [f"s{n}" for n in range(count)]


def test_a_full_disk_ends_the_run_and_what_is_in_flight_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the 20th commit on there is only the room that was kept aside. A disk can't be filled in a test."""
    commits = itertools.count()
    real = Ledger._run_all

    def commit(ledger: Ledger, operations: Any) -> list[Any]:
        if next(commits) >= 20 and (tmp_path / "ledger.sqlite.reserve").exists():
            raise OutputError("no room left")
        return real(ledger, operations)

    monkeypatch.setattr(Ledger, "_run_all", commit)
    writer = Numbered()
    with serving(writer) as (url, log):
        with pytest.raises(OutputError, match="no room left"):
            write(url, tmp_path, 200, GenerationLimits(4))
        served = dict(writer.served)
        assert 0 < len(served) < 60
        replies, _ = read_ledger(tmp_path)
        assert replies.keys() == served.keys()
        monkeypatch.undo()
        assert write(url, tmp_path, 200, GenerationLimits(4)).accepted == 200
    assert max(count_prompts(log.requests).values()) == 1


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    writer = Numbered()
    with serving(writer) as (url, log):
        processes = [start(url, tmp_path, 150) for _ in range(2)]
        ends = [process.communicate(timeout=60)[0].split() for process in processes]
        assert max(count_prompts(log.requests).values()) == 1
    assert count_prompts(log.requests).total() == 150
    assert max(int(end[0]) for end in ends) == 150
    assert len(tideos(tmp_path)) == 150


def test_ctrl_c_finishes_what_is_in_flight(tmp_path: Path) -> None:
    release, inside = threading.Event(), threading.Semaphore(0)

    def slow(handler: Any, request: dict[str, Any]) -> None:
        if not is_probe(request):
            inside.release()
            release.wait(60)
        good(handler, request)

    with serving(slow) as (url, log):
        process = start(url, tmp_path, 50)
        for _ in range(4):
            assert inside.acquire(timeout=60)
        process.send_signal(signal.SIGINT)
        release.set()
        output, _ = process.communicate(timeout=60)
    accepted = int(output.split()[0])
    assert output.split()[1:] == [str(50 - accepted), "0", "interrupted"]
    assert 4 <= accepted < 50
    assert accepted == count_prompts(log.requests).total() == len(tideos(tmp_path))
