"""What `topa serve` carries: `python perf/serving.py --json perf/serving.json`.

The real command serves the micro model; clients in this process ask over HTTP. Expected answers come from the engine
itself, here, before anything is measured, and every answer of every phase is compared with them.

    load        64 clients for 60 s, a mixture of questions; statuses, times, the time to the first token
    batching    the same questions to a server that batches and to one that serves one by one, in turn
    alone       one client: what a request takes that waits for nobody
    memory      5,000 requests, and what is resident meanwhile
    overload    64 clients at a server that takes 8 requests at a time
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from measure import save_figures

CLIENTS = 64
VIDEOS = 16
KINDS = ("options", "answer", "caption", "streamed")
NAMES = {
    "mixture": "all four, as under load",
    "options": "a question with five options",
    "answer": "a question, answered in words",
    "caption": "a caption",
    "streamed": "a question, streamed",
}
PLACES = ["in the room", "on the beach", "in the snow", "in the garden", "in the street"]
QUESTIONS = ["what colour is the toy at the end ?", "where is the toy at the end ?", "what does the toy do ?"]


@dataclass(frozen=True)
class Request:
    """A request, and what the engine answers to it. kind: one of KINDS."""

    kind: str
    body: dict[str, Any]
    text: str
    probabilities: tuple[float, ...] = ()


@dataclass
class Tally:
    """What came back. seconds, first: of answered requests, and to their first token."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    first: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    without_retry: int = 0
    took: float = 0.0

    @property
    def answered(self) -> int:
        return self.statuses[200]

    def rate(self) -> float:
        return self.answered / self.took


@asynccontextmanager
async def server(*options: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """`topa serve` in a process of its own: its address."""
    command = [sys.executable, "-m", "topa.cli", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        address = next(line.split()[1] for line in process.stdout if line.startswith("page:"))
        yield address, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(60) != 0:
            sys.exit(f"the server ended with {process.returncode}")


def requests(videos: Sequence[Path]) -> list[tuple[Path, Request]]:
    """All that is asked, with the engine's own answers; the video of a body is filled in when it is uploaded."""
    from topa.training.pretrained import load

    engine = load(show=False)
    found = []
    for path in videos:
        seen = engine.encode_video(path)
        for question in QUESTIONS:
            answer = engine.ask(seen, question, PLACES)
            asked = {"question": question, "choices": PLACES}
            found.append((path, Request("options", asked, answer.text, answer.probabilities)))
            said = engine.ask(seen, question).text
            found.append((path, Request("answer", {"question": question}, said)))
            found.append((path, Request("streamed", {"question": question}, said)))
        found.append((path, Request("caption", {}, engine.caption(seen).text)))
    return found


async def upload(session: aiohttp.ClientSession, address: str, videos: Sequence[Path]) -> dict[Path, str]:
    """The ids of the videos at a server."""
    ids = {}
    for path in videos:
        form = aiohttp.FormData()
        form.add_field("file", path.read_bytes(), filename=path.name, content_type="video/mp4")
        async with session.post(f"{address}/v1/videos", data=form) as reply:
            reply.raise_for_status()
            ids[path] = (await reply.json())["id"]
    return ids


async def ask(session: aiohttp.ClientSession, address: str, id: str, request: Request, tally: Tally) -> None:
    """One request; what comes back is compared with what the engine says."""
    began = time.perf_counter()
    if request.kind in ("options", "answer"):
        url, body = "/v1/ask", {"video": id, **request.body}
    elif request.kind == "caption":
        url, body = "/v1/caption", {"video": id}
    else:
        parts = [{"type": "video_url", "video_url": {"url": id}}, {"type": "text", "text": request.body["question"]}]
        url = "/v1/chat/completions"
        body = {"model": "micro", "stream": True, "messages": [{"role": "user", "content": parts}]}
    async with session.post(address + url, json=body) as reply:
        tally.statuses[reply.status] += 1
        if reply.status != 200:
            tally.without_retry += reply.status == 429 and "Retry-After" not in reply.headers
            await reply.read()
            return
        if request.kind == "streamed":
            text = ""
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        delta = choice["delta"].get("content") or ""
                        if delta and not text:
                            tally.first.append(time.perf_counter() - began)
                        text += delta
            probabilities: Sequence[float] = ()
        else:
            told = await reply.json()
            text, probabilities = told["text"], told["probabilities"]
    tally.seconds.setdefault(request.kind, []).append(time.perf_counter() - began)
    near = all(abs(a - b) < 1e-4 for a, b in zip(probabilities, request.probabilities, strict=False))
    if text != request.text or len(probabilities) != len(request.probabilities) or not near:
        tally.wrong.append(f"{request.kind} {request.body}: {text!r}, the engine says {request.text!r}")


async def load(
    address: str,
    asked: Sequence[tuple[Path, Request]],
    *,
    clients: int = CLIENTS,
    seconds: float = float("inf"),
    number: float = float("inf"),
) -> Tally:
    """So many clients at once, each asking one request after the other, in an order of its own."""
    tally = Tally()
    left = number
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        ids = await upload(session, address, sorted({path for path, _ in asked}))
        began = time.perf_counter()

        async def client(number: int) -> None:
            nonlocal left
            rng = random.Random(number)
            while left > 0 and time.perf_counter() - began < seconds:
                left -= 1
                path, request = rng.choice(asked)
                await ask(session, address, ids[path], request, tally)

        await asyncio.gather(*(client(number) for number in range(clients)))
        tally.took = time.perf_counter() - began
    return tally


def check(tally: Tally, allowed: Sequence[int] = (200,)) -> None:
    """Nothing is reported of a run that went wrong."""
    if strange := set(tally.statuses) - set(allowed):
        sys.exit(f"statuses {dict(tally.statuses)}; {strange} must not be among them")
    if tally.wrong:
        sys.exit(f"{len(tally.wrong)} of {tally.answered} answers aren't the engine's: {tally.wrong[0]}")
    if tally.without_retry:
        sys.exit(f"{tally.without_retry} times 429 without Retry-After")


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(seconds)
    return {f"p{p}": round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 1) for p in (50, 95, 99)}


def describe(tally: Tally) -> dict[str, Any]:
    """A tally as figures."""
    return {
        "requests": sum(tally.statuses.values()),
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "a_second": round(tally.rate(), 1),
        "equal_to_the_engine": tally.answered - len(tally.wrong),
        "milliseconds": {kind: percentiles(seconds) for kind, seconds in sorted(tally.seconds.items())},
        "first_token_ms": percentiles(tally.first) if tally.first else {},
    }


async def measure(asked: list[tuple[Path, Request]], given: argparse.Namespace) -> dict[str, Any]:
    """All phases."""
    found: dict[str, Any] = {}
    only = {kind: [own for own in asked if own[1].kind == kind] for kind in KINDS}
    async with server() as (address, process):
        alone = await load(address, asked, clients=1, number=given.alone)
        check(alone)
        found["alone"] = describe(alone)
        show("alone", found["alone"])
        whole = await load(address, asked, seconds=given.seconds)
        check(whole, (200, 429))
        found["load"] = {"clients": CLIENTS, "seconds": given.seconds, **describe(whole)}
        show("load", found["load"])
        resident = []
        for _ in range(5):
            tally = await load(address, asked, number=given.memory / 5)
            check(tally, (200, 429))
            resident.append(round(process.memory_info().rss / 2**20, 1))
        found["memory"] = {"requests": given.memory, "megabytes_after_each_fifth": resident}
        show("memory", found["memory"])
    async with server() as (together, _), server("--batch", "1") as (singly, _):
        rows = {}
        for kind, some in (("mixture", asked), *only.items()):
            rates: dict[str, list[float]] = {"together": [], "singly": []}
            for turn in range(given.rounds + 1):
                for way, address in (("together", together), ("singly", singly)):
                    tally = await load(address, some, seconds=given.round_seconds if turn else 1)
                    check(tally)
                    if turn:  # the first one warms up
                        rates[way].append(tally.rate())
            ratio = statistics.median(a / b for a, b in zip(rates["together"], rates["singly"], strict=True))
            rows[kind] = {way: round(statistics.median(own), 1) for way, own in rates.items()} | {
                "ratio": round(ratio, 2)
            }
            show(f"batching, {kind}", rows[kind])
        found["batching"] = rows
    async with server("--max-waiting", "8") as (address, _):
        tally = await load(address, asked, seconds=given.round_seconds)
        check(tally, (200, 429))
        found["overload"] = {"clients": CLIENTS, "at_a_time": 8, **describe(tally)}
        show("overload", found["overload"])
    return found


def table(found: dict[str, Any]) -> str:
    """What docs/benchmarks.md shows of the figures."""
    load, alone, memory = found["load"], found["alone"], found["memory"]
    resident = " / ".join(f"{size:.0f}" for size in memory["megabytes_after_each_fifth"])
    statuses = ", ".join(f"{count:,} times {status}" for status, count in load["statuses"].items())
    over = ", ".join(f"{count:,} times {status}" for status, count in found["overload"]["statuses"].items())
    lines = [
        f"{load['clients']} clients for {load['seconds']:g} s: {statuses}; answers that equal the engine's: "
        f"{load['equal_to_the_engine']:,}. One client waits {alone['first_token_ms']['p50']:g} ms for the first token, "
        f"one of {load['clients']} {load['first_token_ms']['p50']:g} ms (95 %: {load['first_token_ms']['p95']:g} ms). "
        f"Resident after each fifth of {memory['requests']:,} requests: {resident} MB. "
        f"{found['overload']['clients']} clients where {found['overload']['at_a_time']} may ask at a time: {over}.",
        "",
        "| requests a second | together | one by one | ratio | one client waits (median) | one of 64 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, row in found["batching"].items():
        waits = [told["milliseconds"].get(kind, {}).get("p50") for told in (alone, load)]
        shown = " | ".join("" if ms is None else f"{ms:g} ms" for ms in waits)
        lines.append(f"| {NAMES[kind]} | {row['together']:g} | {row['singly']:g} | {row['ratio']:.1f} | {shown} |")
    return "\n".join(lines)


def show(name: str, figures: dict[str, Any]) -> None:
    print(f"{name}: {json.dumps(figures)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--seconds", type=float, default=60, help="of the load")
    parser.add_argument("--memory", type=int, default=5000, help="requests while memory is watched")
    parser.add_argument("--alone", type=int, default=200, help="requests of one client")
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of batching and one by one, in turn")
    parser.add_argument("--round-seconds", type=float, default=8)
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print the table of figures that were kept")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.table.read_text())))
        return
    with tempfile.TemporaryDirectory() as folder:
        from topa.microworld.writer import make_videos

        videos = [video.path for video in make_videos(Path(folder), VIDEOS, 2_000_029, show=False)]
        found = asyncio.run(measure(requests(videos), given))
    found["machine"] = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    if given.json:
        save_figures(given.json, found)


if __name__ == "__main__":
    main()
