"""How many Tideos a second topa writes when the writer takes no time, and in how much memory:
`python perf/writing.py`.

Four ways: over HTTP from an endpoint in a process of its own; with a writer in this process, which leaves ledger,
validation, removal of duplicates, balancing, card and files; that without balancing and card; and with a commit for
every operation, as it would be without group commits. The time that a writer in this process takes to make its texts
up is taken out.
Each run is a fresh process, and all sets are checked to be whole before they count.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from measure import save_figures

from topa.tideos.card import CardBuilder
from topa.tideos.collect import generate_set
from topa.tideos.commits import Commits
from topa.tideos.endpoint import Endpoint
from topa.tideos.flow import GenerationLimits
from topa.tideos.ledger import Ledger
from topa.tideos.quality import Cleaner, LeakageCounter
from topa.tideos.seeds import Seed
from topa.tideos.writer_prompt import reply_schema
from topa.tideos.writers import Mode, Probe, TokenUsage

WAYS = {
    "single": "in this process, a commit for every operation",
    "http": "over HTTP",
    "inside": "in this process",
    "core": "in this process, without balancing and card",
}
KINDS = ("descriptive", "temporal", "causal", "counting", "intention")


@functools.cache
def sentences(words: int) -> list[str]:
    """Many sentences of so many words, so that two replies have next to nothing in common."""
    draws = random.Random(words)
    vocabulary = ["".join(draws.choices("aeioubdfgklmnprst", k=draws.randint(3, 9))) for _ in range(5000)]
    return [" ".join(draws.choices(vocabulary, k=words)) for _ in range(20_000)]


def completion(number: int) -> str:
    """The body of a reply of about 6 KB: 10 frames with 4 objects each, 5 questions. Depends on the number only."""
    draws = random.Random(number)

    def told(words: int) -> str:
        pool = sentences(words)
        return pool[int(draws.random() * len(pool))]

    reply = {
        "frames": [{"caption": told(14), "objects": [told(4) for _ in range(4)]} for _ in range(10)],
        "description": " ".join(told(14) for _ in range(5)),
        "questions": [
            {
                "kind": kind,
                "question": told(10),
                "options": [f"{place} {told(5)}" for place in range(5)],
                "answer": int(draws.random() * 5),
                "open_answer": told(8),
            }
            for kind in KINDS
        ],
    }
    message = {"role": "assistant", "content": json.dumps(reply)}
    usage = {"prompt_tokens": 600, "completion_tokens": 1500, "total_tokens": 2100}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": usage}
    )


class Instant:
    """A writer that takes no time but that of making its texts up."""

    model = "m"
    max_tokens = 4096
    parameters: Mapping[str, Any] = MappingProxyType({})

    def __init__(self) -> None:
        self._number = 0
        self.seconds = 0.0

    async def __aenter__(self) -> Instant:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def probe(self) -> Probe:
        return Probe(Mode(output="json_schema"), TokenUsage())

    async def ask(self, messages: Any, mode: Mode) -> str:
        self._number += 1
        began = time.perf_counter()
        body = completion(self._number)
        self.seconds += time.perf_counter() - began
        return body


class Server(asyncio.Protocol):
    """HTTP, as much of it as a client needs that keeps its connections: an instant local endpoint."""

    numbers: Iterator[int] = iter(range(1 << 60))

    def connection_made(self, transport: Any) -> None:
        self._transport, self._read = transport, b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self._read) < end + 4 + length:
                return
            asked, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            probe = json.dumps({"choices": [{"message": {"content": '{"ready": true}'}}]})
            body = (probe if b'{\\"ready\\"' in asked else completion(next(self.numbers))).encode()
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            self._transport.write(answer + body)


def serve(port: Any) -> None:
    async def run() -> None:
        sentences(4), sentences(5), sentences(8), sentences(10), sentences(14)
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def one_by_one(self: Commits, operation: Any) -> Any:
    (result,) = await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.commit_all, [operation])
    self.spent = self._ledger.total_usage()
    return result


def run(way: str, count: int, out: Path) -> dict[str, Any]:
    """One run in this process: seconds, Tideos a second, peak memory in MB, and how much of it was there before."""
    seeds = (Seed(id=f"s{n}", kind="own", text=f"subject {n}") for n in range(count))
    writer: Any = Instant()
    server = None
    for words in (4, 5, 8, 10, 14):
        sentences(words)
    if way == "http":
        receive, send = multiprocessing.Pipe(duplex=False)
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(send,), daemon=True)
        server.start()
        writer = Endpoint(f"http://127.0.0.1:{receive.recv()}/v1", "m", schema=reply_schema())
    if way == "single":
        Commits.__call__ = one_by_one  # type: ignore[method-assign]
    if way == "core":
        Cleaner._balance = lambda self, tideo: tideo  # type: ignore[method-assign]
        LeakageCounter.add = CardBuilder.add = lambda *_: None  # type: ignore[method-assign,assignment]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    outcome = generate_set(
        seeds, out, writer, limits=GenerationLimits(concurrency=32 if way == "http" else 256), show=False
    )
    own = writer.seconds if isinstance(writer, Instant) else 0.0
    seconds = time.perf_counter() - began - own
    if server is not None:
        server.terminate()
    assert outcome.report is not None
    assert outcome.accepted == outcome.report.kept == count, outcome
    assert sum(1 for _ in (out / "tideos.jsonl").open()) == count
    with Ledger(out / "ledger.sqlite", {"model": "m", "prompt": "1", **writer.parameters}) as ledger:
        assert ledger.total_usage().tokens_out == 1500 * count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "rate": count / seconds, "peak_mb": peak, "before_mb": before}


def fresh(way: str, count: int) -> dict[str, Any]:
    """One run in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--run", way, str(count), folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way} {count}: {done.stderr}")
    return {"way": way, "tideos": count, **json.loads(done.stdout)}


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown, as docs/benchmarks.md has it."""
    head = "| way | Tideos | a second | peak memory | before |\n|---|---:|---:|---:|---:|\n"
    return head + "".join(
        f"| {WAYS[row['way']]} | {row['tideos']:,} | {row['rate']:,.0f} | {row['peak_mb']:.0f} MB "
        f"| {row['before_mb']:.0f} MB |\n"
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, one after the other; the fastest counts")
    parser.add_argument("--quick", action="store_true", help="small sets: a look, no figures to report")
    parser.add_argument("--run", nargs=3, metavar=("WAY", "COUNT", "FOLDER"), help="one run in this process")
    parser.add_argument("--table", type=Path, help="print the table of kept figures")
    given = parser.parse_args()
    if given.table:
        print(as_table(json.loads(given.table.read_text())))
        return
    if given.run:
        way, count, folder = given.run
        print(json.dumps(run(way, int(count), Path(folder))))
        return
    sizes = (300, 1000) if given.quick else (1000, 10_000, 100_000)
    wanted = [("single", sizes[0]), *(("http", size) for size in sizes[:2]), *(("inside", size) for size in sizes)]
    wanted.append(("core", sizes[1]))
    found: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in wanted}
    for number in range(given.rounds):
        for key in wanted:
            found[key].append(fresh(*key))
            row = found[key][-1]
            print(f"round {number + 1}: {WAYS[key[0]]}, {key[1]:,}: {row['rate']:,.0f} a second", flush=True)
    # Other guests of a shared machine only ever slow a run down: the fastest one says most about the code.
    rows = [
        {**max(runs, key=lambda run: run["rate"]), "rates": [run["rate"] for run in runs]} for runs in found.values()
    ]
    print(f"\n{'way':46} {'Tideos':>8} {'a second':>9} {'median':>7} {'peak MB':>8} {'before':>7}")
    for row in rows:
        rates = f"{row['rate']:9,.0f} {statistics.median(row['rates']):7,.0f}"
        print(f"{WAYS[row['way']]:46} {row['tideos']:8,} {rates} {row['peak_mb']:8.0f} {row['before_mb']:7.0f}")
    if given.json:
        save_figures(given.json, rows)


if __name__ == "__main__":
    main()
