"""Run the calls of a ledger through a writer: rate-limited, within a budget, resumable.

Requests, replies and their cost are in the ledger before the next await, so that nothing is lost with the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import TopaError, UsageError
from ..core.progress import Bar, bar
from .commits import Commits
from .ledger import Ledger, State, Verdict, WriterCall, WriterReply
from .prompt_file import ReplyForm
from .quality import Checks, CleaningReport, find_fault, texts
from .rejections import LEAST, WINDOW, Rejections, count_rejections
from .tideo import Tideo
from .writer_prompt import ReplyContent, ReplyError, WriterPrompt, read_reply, tideo_line
from .writers import (
    BadContent,
    Message,
    Mode,
    Permanent,
    TokenUsage,
    Transient,
    Writer,
    count_body,
    read_body,
    read_mode,
)

_CHARACTERS_PER_TOKEN = 4  # of English; an estimate, until replies report their usage
_TYPICAL_REPLY = 2000  # tokens, likewise
_CONNECTION_TRIES = 3  # for an endpoint that has never answered: it may not exist
MAX_FAILURES = 5  # calls that fail in a row before the run stops: then it isn't the seeds
BATCH_PRICE = 0.5  # relative to the same request outside a batch
T = TypeVar("T")


@dataclass(frozen=True)
class GenerationLimits:
    """Limits on a run's rate, cost and retries.

    concurrency: requests at a time. rpm, tpm: requests and tokens per minute, above 0. budget: money if prices are
    given, else tokens; above 0, over all runs of the ledger. A request is sent only if its longest reply fits in.
    price_in, price_out: per million tokens, 0 or more. tries: requests per reply on transient errors. repairs: further
    requests for an unusable reply. backoff: seconds before the second try, doubled each time. accept_rejections: go on
    even if nearly all replies are unusable. poll: seconds between checks of a batch. batch_requests, batch_bytes:
    maximum size of a batch.
    """

    concurrency: int = 8
    rpm: float | None = None
    tpm: float | None = None
    budget: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    tries: int = 6
    repairs: int = 1
    backoff: float = 1.0
    accept_rejections: bool = False
    poll: float = 60.0
    batch_requests: int = 50_000
    batch_bytes: int = 200_000_000

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name}: found {value}; expected a number above zero, or leave it out.")
        if self.concurrency < 1:
            raise UsageError(f"--concurrency: found {self.concurrency}; expected at least 1.")

    def part(self, number: int) -> GenerationLimits:
        """Return the limits of one of `number` concurrent shards, so that these hold for all shards together."""

        def share(amount: float | None) -> float | None:
            return None if amount is None else amount / number

        return replace(self, budget=share(self.budget), rpm=share(self.rpm), tpm=share(self.tpm))

    @property
    def money(self) -> bool:
        """Whether the budget is money."""
        return self.price_in > 0 or self.price_out > 0

    def usage(self, tokens_in: int, tokens_out: int, *, batched: bool = False) -> TokenUsage:
        """Return tokens with their cost; at half the price if `batched`."""
        cost = (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
        return TokenUsage(tokens_in, tokens_out, cost * BATCH_PRICE if batched else cost)

    def size(self, usage: TokenUsage) -> float:
        """Return a usage in the unit of the budget: money or tokens."""
        return usage.cost if self.money else usage.tokens


@dataclass
class GenerationOutcome:
    """The result of a run. Counts are of this run's seeds; `spent` is of the whole ledger.

    stopped: None if the run finished, else "budget", "interrupted" or "rejections", detailed in `rejections`. needed:
    the cost of the request that exceeded the budget. refused: rejected and failed calls by class of error, of all runs.
    elsewhere: calls held by other processes. submitted: calls in open batches. report: of the set at `path`, assembled
    from the accepted replies. failures: by class of error, of this run; transient ones may have succeeded on a retry.
    """

    seeds: int = 0
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    left: int = 0
    elsewhere: int = 0
    submitted: int = 0
    repaired: int = 0
    report: CleaningReport | None = None
    path: Path | None = None
    failures: dict[str, int] = field(default_factory=dict)
    spent: TokenUsage = field(default_factory=TokenUsage)
    refused: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None
    needed: float = 0.0
    rejections: Rejections | None = None

    @classmethod
    def total(cls, parts: Iterable[Mapping[str, Any]]) -> GenerationOutcome:
        """Add up the outcomes of shards, given as by `as_json`; without a report and a path."""
        outcome = cls()
        for part in parts:
            for name in ("seeds", "accepted", "rejected", "failed", "left", "elsewhere", "repaired"):
                setattr(outcome, name, getattr(outcome, name) + part[name])
            for name in ("failures", "refused"):
                counts = getattr(outcome, name)
                for kind, number in part[name].items():
                    counts[kind] = counts.get(kind, 0) + number
            if part["rejections"] is not None and outcome.rejections is None:
                outcome.rejections = Rejections(**part["rejections"])
            outcome.spent += TokenUsage(**part["spent"])
            outcome.stopped = outcome.stopped or part["stopped"]
            outcome.needed = max(outcome.needed, part["needed"])
        return outcome

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as plain JSON."""
        report = None if self.report is None else self.report.model_dump()
        return {**asdict(self), "report": report, "path": None if self.path is None else str(self.path)}


class RateLimiter:
    """Spread amounts evenly over time, at most `per_minute` in a minute; None for no limit."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._free = clock()

    def wait(self, amount: float) -> float:
        """Reserve an amount; return the seconds to wait before using it."""
        now = self._clock()
        start = max(now, self._free)
        self._free = start + amount * self._each
        return start - now

    def correct(self, amount: float) -> None:
        """Correct the amount of an earlier reservation; negative if it was too large."""
        self._free += amount * self._each


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text has."""
    return len(text) // _CHARACTERS_PER_TOKEN + 1


def try_read_reply(reply: WriterReply, form: ReplyForm) -> tuple[ReplyContent | None, str, str]:
    """Return the content of a reply, or None with the problem and its class."""
    try:
        return read_reply(read_body(reply.raw), form), "", ""
    except BadContent as error:
        return None, str(error), f"content: {error}"
    except ReplyError as error:
        return None, str(error), f"content: {error.reason}"


class GenerationRun:
    """Base class of the runs, which send a ledger's calls in different ways. Created and run once, in an event loop."""

    def __init__(
        self, writer: Writer, ledger: Ledger, prompt: WriterPrompt, limits: GenerationLimits, checks: Checks
    ) -> None:
        self._writer = writer
        self._ledger = ledger
        self._prompt = prompt
        self._limits = limits
        self._checks = checks
        self._source = {"writer": writer.model, "prompt": prompt.identity}
        self._stop = asyncio.Event()
        self._outcome = GenerationOutcome()
        self._failures: Counter[str] = Counter()
        self._accepted = 0
        self._verdict_count = len(ledger.verdicts(WINDOW))
        self._mode = Mode(output="text")
        self._commit: Commits

    async def run(self, *, show: bool) -> GenerationOutcome:
        """Finish all planned calls, or stop early.

        Raises the errors that end the whole run: OutputError if the disk is full, Permanent if no request can succeed,
        Transient if the endpoint can't be reached.
        """
        counts = self._ledger.counts()
        total = sum(counts.values())
        finished = counts.get("accepted", 0) + counts.get("rejected", 0)
        if finished == total:
            return self._outcome
        self._watch(count_rejections(self._ledger.verdicts(WINDOW)))
        if self._outcome.stopped and not self._can_collect():
            return self._outcome
        with self._interruptible(), bar("writing", total, show=show) as line:
            line.advance(finished)
            try:
                async with Commits(self._ledger) as self._commit:
                    await self._find_mode()
                    await self._work(total - finished, line)
            except Transient as error:
                raise Transient(
                    f"{error}, also when tried again. Check the URL, and that the server runs "
                    "and isn't overloaded. Then run the same command again: it goes on from here."
                ) from error
        self._outcome.failures = dict(self._failures)
        return self._outcome

    async def _work(self, total: int, line: Bar) -> None:
        """Finish `total` calls."""
        raise NotImplementedError

    def _can_collect(self) -> bool:
        """Whether there are paid results left to collect, even if no request may be sent."""
        return False

    def _watch(self, rejections: Rejections) -> None:
        """Stop if nearly all of the latest replies are unusable."""
        self._verdict_count = rejections.replies
        if rejections.excessive and not self._limits.accept_rejections:
            self._outcome.stopped = self._outcome.stopped or "rejections"
            self._stop_sending()

    def _stop_sending(self) -> None:
        """Finish the calls in flight, and send no more requests."""
        self._halt()

    def _sample_room(self) -> int | None:
        """How many replies are still missing from the first sample, by which a run of unusable ones is stopped.

        None if the sample is complete or doesn't matter.
        """
        if self._verdict_count >= LEAST or self._limits.accept_rejections:
            return None
        return LEAST - self._verdict_count

    async def _find_mode(self) -> None:
        mode = read_mode(self._ledger.read_note("mode") or "")
        if mode is None:
            probe = await self._retry(self._writer.probe, connects=_CONNECTION_TRIES)
            if probe is None:
                return
            usage = self._limits.usage(probe.tokens.tokens_in, probe.tokens.tokens_out)
            text = f"{usage.tokens_in} tokens in, {usage.tokens_out} out"
            await self._commit(lambda: self._ledger.write_note("probe", text))
            stored = await self._commit(lambda: self._ledger.write_note("mode", probe.mode.model_dump_json()))
            mode = read_mode(stored) or probe.mode
        self._mode = mode

    async def _retry(
        self, request: Callable[[], Awaitable[T]], least: float = 0.0, *, connects: int | None = None
    ) -> T | None:
        """Send a request, again after transient errors; return its result, or None if the run stops first.

        least: minimum seconds between tries. connects: maximum tries without a connection. Raises Transient after the
        last try, and Permanent.
        """
        for number in range(self._limits.tries):
            try:
                return await request()
            except Transient as error:
                self._failures["transient"] += 1
                tries = self._limits.tries
                if number + 1 >= (tries if error.connected else min(tries, connects or tries)):
                    raise
                if await self._pause(max(least, self._delay(number, error))):
                    break
        return None

    async def _judge(self, call: WriterCall, replies: Sequence[WriterReply]) -> list[Message] | None:
        """Return the next messages of a call, or None if its last reply finished it."""
        problem = "no reply"
        if replies:
            content, problem, kind = try_read_reply(replies[-1], self._prompt.form)
            if content is not None:
                line = tideo_line(content, call.seed, self._source)
                await self._end(call, replies[-1], self._verdict(content), "accepted", result=line)
                self._accepted += 1
                self._outcome.repaired += len(replies) > 1
                return None
            self._failures[kind] += 1
            verdict = Verdict(kind)
            if len(replies) > self._limits.repairs:
                await self._end(call, replies[-1], verdict, "rejected", error=kind)
                return None
            await self._count(replies[-1], verdict)
        return self._messages(call, replies, problem)

    def _usage(self, reply: WriterReply) -> TokenUsage:
        tokens = count_body(reply.raw)
        return self._limits.usage(tokens.tokens_in, tokens.tokens_out)

    def _verdict(self, content: ReplyContent) -> Verdict:
        """Judge a well-formed reply, which the quality checks may still leave out."""
        fields: dict[str, Any] = {"frames": content.frames, "description": content.description}
        tideo = Tideo.model_construct(**fields)  # validated already
        text = " ".join(texts(tideo))
        fault = find_fault(tideo, text, self._checks)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Verdict(None, digest) if fault is None else Verdict(f"left out: {fault}")

    async def _count(self, reply: WriterReply, verdict: Verdict) -> None:
        def count() -> None:
            self._ledger.count(reply, self._usage(reply))
            self._ledger.judge(reply, verdict)

        await self._commit(count)
        self._watch(self._commit.rejections)

    async def _end(
        self,
        call: WriterCall,
        reply: WriterReply,
        verdict: Verdict,
        state: State,
        *,
        error: str | None = None,
        result: str | None = None,
    ) -> None:
        def end() -> None:
            self._ledger.count(reply, self._usage(reply))
            self._ledger.judge(reply, verdict)
            self._ledger.settle(call.key, state, error=error, result=result)

        await self._commit(end)
        self._watch(self._commit.rejections)

    async def _settle(
        self, call: WriterCall, state: State, *, error: str | None = None, result: str | None = None
    ) -> None:
        await self._commit(lambda: self._ledger.settle(call.key, state, error=error, result=result))

    def _messages(self, call: WriterCall, replies: Sequence[WriterReply], problem: str) -> list[Message]:
        prompt = self._prompt.render(call.seed)
        if not replies:
            return [{"role": "user", "content": prompt}]
        try:
            text = read_body(replies[-1].raw)
        except BadContent:
            # There is no text to repair, and an unchanged prompt would give a deterministic writer the same reply.
            return [{"role": "user", "content": f"{prompt}\n\n{self._prompt.retry(problem)}"}]
        return [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": text},
            {"role": "user", "content": self._prompt.repair(problem)},
        ]

    def _delay(self, number: int, error: Transient) -> float:
        return max(error.wait, min(60.0, self._limits.backoff * 2.0**number) * random.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> bool:
        """Sleep until the time is over or the run stops; return whether it stops."""
        if seconds > 0 and not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    def _halt(self) -> None:
        self._stop.set()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Handle Ctrl-C: the first one stops after the calls in flight, the second one at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupted() -> None:
            if self._stop.is_set() and task is not None:
                task.cancel()
            self._outcome.stopped = "interrupted"
            self._halt()

        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():  # only the main thread may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):  # loop.add_signal_handler exists on Unix only
                before[number] = signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupted))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class OnlineRun(GenerationRun):
    """A run that sends requests one by one, `concurrency` of them at a time."""

    def __init__(
        self, writer: Writer, ledger: Ledger, prompt: WriterPrompt, limits: GenerationLimits, checks: Checks
    ) -> None:
        super().__init__(writer, ledger, prompt, limits, checks)
        self._requests = RateLimiter(limits.rpm)
        self._tokens = RateLimiter(limits.tpm)
        self._released = asyncio.Event()
        self._refill = asyncio.Lock()
        self._queue: deque[WriterCall] = deque()
        self._fatal: TopaError | None = None
        self._reserved: dict[str, float] = {}  # cost of the longest reply, for each call in flight
        self._resume_at = 0.0  # no request before this time, by the endpoint's Retry-After
        self._failures_in_a_row = 0
        self._replies = 0
        self._reply_tokens = 0

    async def _work(self, total: int, line: Bar) -> None:
        self._start_time, self._start_usage = time.monotonic(), self._commit.usage
        self._open_batches = self._limits.size(self._limits.usage(*self._ledger.open_batch_tokens(), batched=True))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._limits.concurrency, total)):
                group.create_task(self._worker(total, line))
        if self._fatal is not None:
            raise self._fatal

    async def _next(self) -> WriterCall | None:
        """Return the next call, or None if there are none left. Calls are claimed in groups: each claim is a commit."""
        async with self._refill:
            if not self._queue:
                self._queue.extend(await self._commit(lambda: self._ledger.claim(self._limits.concurrency)))
            return self._queue.popleft() if self._queue else None

    async def _worker(self, total: int, line: Bar) -> None:
        try:
            while not self._stop.is_set():
                call = await self._next()
                if call is None:
                    return
                try:
                    await self._one(call)
                finally:
                    self._release(call)
                if not self._stop.is_set():
                    line.advance(note=self._note(total))
        except TopaError as error:
            # The other workers finish their calls, which are paid for.
            self._fatal = self._fatal or error
            self._halt()

    async def _one(self, call: WriterCall) -> None:
        """Finish one call, or leave it planned if the run stops. Raises the errors that end the whole run."""
        replies = list(call.replies)
        while True:
            messages = await self._judge(call, replies)
            self._release(call)
            if messages is None:
                return
            try:
                reply = await self._ask(call, messages)
            except Transient:
                self._failures_in_a_row += 1
                await self._settle(call, "failed", error="transient")
                if self._failures_in_a_row >= MAX_FAILURES:
                    raise
                return
            except Permanent as error:
                self._failures["permanent"] += 1
                self._failures_in_a_row += 1
                if error.every or (self._failures_in_a_row >= MAX_FAILURES and not self._accepted):
                    await self._settle(call, "replied" if replies else "planned")
                    raise
                await self._settle(call, "failed", error="permanent")
                return
            if reply is None:
                await self._settle(call, "replied" if replies else "planned")
                return
            self._failures_in_a_row = 0
            replies.append(reply)

    async def _ask(self, call: WriterCall, messages: Sequence[Message]) -> WriterReply | None:
        """Request and record a reply; None if the run stops first.

        Raises Transient after the last try, and Permanent.
        """
        prompt_tokens = sum(estimate_tokens(message["content"]) for message in messages)
        worst = self._limits.size(self._limits.usage(2 * prompt_tokens, self._writer.max_tokens))
        for number in range(self._limits.tries):
            expected = prompt_tokens + self._expected_reply()
            wait = max(self._requests.wait(1), self._tokens.wait(expected), self._resume_at - time.monotonic())
            if await self._pause(wait) or not await self._reserve(call, worst):
                return None
            try:
                await self._commit(lambda: self._ledger.attempt(call.key))
                if self._ledger.full is not None:
                    raise self._ledger.full
                body = await self._writer.ask(messages, self._mode)
                reply: WriterReply = await self._commit(partial(self._ledger.record, call.key, body))
            except Transient as error:
                self._release(call)
                self._failures["transient"] += 1
                if error.wait:
                    self._resume_at = max(self._resume_at, time.monotonic() + error.wait)
                if number + 1 == self._limits.tries:
                    raise
                if await self._pause(self._delay(number, error)):
                    return None
            else:
                usage = self._usage(reply)
                self._replies += 1
                self._reply_tokens += usage.tokens_out
                self._tokens.correct(usage.tokens - expected)
                return reply
        return None

    async def _reserve(self, call: WriterCall, worst: float) -> bool:
        """Reserve the cost of the longest reply; False if the run stops first.

        If the budget has no room, or the first replies have yet to show that they are usable, wait for calls in flight,
        which seldom need all that they reserved. Without any in flight, the budget is exhausted and the run stops.
        """
        while not self._stop.is_set():
            short = not self._affordable(worst)
            sample = self._sample_room()
            if not short and (sample is None or len(self._reserved) < sample):
                self._reserved[call.key] = worst
                return True
            if short and not self._reserved:
                self._outcome.stopped, self._outcome.needed = self._outcome.stopped or "budget", worst
                self._halt()
            else:
                self._released.clear()
                await self._released.wait()
        return False

    def _affordable(self, worst: float) -> bool:
        budget, cost = self._limits.budget, self._limits.size(self._commit.usage)
        return budget is None or cost + self._open_batches + sum(self._reserved.values()) + worst <= budget

    def _release(self, call: WriterCall) -> None:
        self._reserved.pop(call.key, None)
        self._released.set()

    def _halt(self) -> None:
        super()._halt()
        self._released.set()

    def _expected_reply(self) -> float:
        return self._reply_tokens / self._replies if self._replies else min(_TYPICAL_REPLY, self._writer.max_tokens)

    def _note(self, total: int) -> str:
        size, before = self._limits.size(self._commit.usage), self._limits.size(self._start_usage)
        rate = 60 * self._accepted / max(1e-9, time.monotonic() - self._start_time)
        projected = before + (size - before) / max(1, self._accepted) * total
        unit = "" if self._limits.money else " tokens"
        money = "{:.2f}" if self._limits.money else "{:,.0f}"
        failed = ", ".join(f"{kind} {count}" for kind, count in sorted(self._failures.items()))
        note = f"{rate:.1f}/min, {money.format(size)} of about {money.format(projected)}{unit}"
        return f"{note}, failures: {failed}" if failed else note
