"""The flow of calls to a writer: bounded, paced, within a budget, and each brought to its end.

Between two awaits nothing is in memory only: what was asked, what came and what it cost are in the ledger.
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
from .ledger import Ledger, State, TokenUsage, Verdict, WriterCall, WriterReply
from .prompt_file import ReplyForm
from .quality import Checks, CleaningReport, find_fault, texts
from .rejections import LEAST, WINDOW, Rejections, count_rejections
from .tideo import Tideo
from .writer_prompt import ReplyContent, ReplyError, WriterPrompt, read_reply, tideo_line
from .writers import BadContent, Message, Mode, Permanent, Transient, Writer, count_body, read_body, read_mode

_LETTERS_PER_TOKEN = 4  # English; an estimate, used until replies say how many there were
_TYPICAL_REPLY = 2000  # tokens, likewise
_FIRST_CONTACT = 3  # tries to connect to an endpoint that never answered: there may be none
SAME = 5  # calls that fail in a row: then it isn't the seeds
BATCH_PRICE = 0.5  # of what the same request costs alone
T = TypeVar("T")


@dataclass(frozen=True)
class GenerationLimits:
    """What a run may do. `price_in`, `price_out`: money for a million tokens, zero or more.

    `budget`: money where prices are given, else tokens; counted over all runs of one ledger, above zero. A request
    is sent only where its longest reply fits in. `rpm`, `tpm`: requests and tokens in a minute, above zero. `tries`:
    requests for one reply when errors are transient; `repairs`: further requests when a reply can't be used;
    `backoff`: seconds before the second try, doubled each time. `accept_rejections`: whether to go on when nearly all
    replies can't be used. `poll`: seconds between looks at a batch;
    `batch_requests`, `batch_bytes`: the most that one may hold.
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
        """The limits of each of so many shards that run at the same time, so that these hold for all together."""

        def share(amount: float | None) -> float | None:
            return None if amount is None else amount / number

        return replace(self, budget=share(self.budget), rpm=share(self.rpm), tpm=share(self.tpm))

    @property
    def money(self) -> bool:
        """Whether the budget is money."""
        return self.price_in > 0 or self.price_out > 0

    def usage(self, tokens_in: int, tokens_out: int, *, batched: bool = False) -> TokenUsage:
        """Tokens with what they cost; half of the prices where they were `batched`."""
        cost = (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
        return TokenUsage(tokens_in, tokens_out, cost * BATCH_PRICE if batched else cost)

    def size(self, usage: TokenUsage) -> float:
        """A usage in the unit of the budget."""
        return usage.cost if self.money else usage.tokens


@dataclass
class GenerationOutcome:
    """How a run ended. Counts are over the given seeds, `spent` over the whole ledger.

    `stopped`: None when it went through all seeds, else "budget", "interrupted" or "rejections", of which `rejections`
    then tells. `needed`: what the budget had no room for, the longest reply to one request. `refused`: how many of the
    rejected and failed there are, by class, of all runs. `elsewhere`: calls that another process has. `submitted`:
    calls in batches at the provider. `report`: of the set at `path` that was made of what was accepted. `failures`: by
    class, of this run; transient ones may have succeeded at a later try.
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
        """The outcomes of shards as `as_json` has them, added up; without a report and a path."""
        all_of_them = cls()
        for part in parts:
            for name in ("seeds", "accepted", "rejected", "failed", "left", "elsewhere", "repaired"):
                setattr(all_of_them, name, getattr(all_of_them, name) + part[name])
            for name in ("failures", "refused"):
                counts = getattr(all_of_them, name)
                for kind, number in part[name].items():
                    counts[kind] = counts.get(kind, 0) + number
            if part["rejections"] is not None and all_of_them.rejections is None:
                all_of_them.rejections = Rejections(**part["rejections"])
            all_of_them.spent += TokenUsage(**part["spent"])
            all_of_them.stopped = all_of_them.stopped or part["stopped"]
            all_of_them.needed = max(all_of_them.needed, part["needed"])
        return all_of_them

    def as_json(self) -> dict[str, Any]:
        """The same as JSON has it."""
        report = None if self.report is None else self.report.model_dump()
        return {**asdict(self), "report": report, "path": None if self.path is None else str(self.path)}


class RateLimiter:
    """Spreads amounts evenly so that no minute takes more than its share."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._free = clock()

    def wait(self, amount: float) -> float:
        """Take an amount: seconds to wait before using it."""
        now = self._clock()
        start = max(now, self._free)
        self._free = start + amount * self._each
        return start - now

    def correct(self, amount: float) -> None:
        """Take more (or, below zero, less) for what has already been used."""
        self._free += amount * self._each


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return len(text) // _LETTERS_PER_TOKEN + 1


@dataclass(frozen=True)
class Came:
    """A reply, and what it took."""

    reply: WriterReply
    usage: TokenUsage


def try_read_reply(reply: WriterReply, form: ReplyForm) -> tuple[ReplyContent | None, str, str]:
    """What a reply holds, or None with the problem and its class."""
    try:
        return read_reply(read_body(reply.raw), form), "", ""
    except BadContent as error:
        return None, str(error), f"content: {error}"
    except ReplyError as error:
        return None, str(error), f"content: {error.reason}"


class GenerationRun:
    """What every way to bring the calls of a ledger to their end has in common. Made and run inside an event loop,
    once."""

    def __init__(
        self, writer: Writer, ledger: Ledger, asking: WriterPrompt, limits: GenerationLimits, checks: Checks
    ) -> None:
        self._writer = writer
        self._ledger = ledger
        self._asking = asking
        self._limits = limits
        self._checks = checks
        self._source = {"writer": writer.model, "prompt": asking.identity}
        self._stop = asyncio.Event()
        self._outcome = GenerationOutcome()
        self._failures: Counter[str] = Counter()
        self._accepted = 0
        self._verdicts = len(ledger.verdicts(WINDOW))
        self._mode = Mode(output="text")
        self._commit: Commits

    async def run(self, *, show: bool) -> GenerationOutcome:
        """Bring all planned calls to their end, or stop. Raises what ends the whole run: OutputError where the disk is
        full, Permanent where no request can succeed, Transient where the endpoint can't be reached at all."""
        counts = self._ledger.counts()
        total = sum(counts.values())
        done = counts.get("accepted", 0) + counts.get("rejected", 0)
        if done == total:
            return self._outcome
        self._watch(count_rejections(self._ledger.verdicts(WINDOW)))
        if self._outcome.stopped and not self._collects():
            return self._outcome
        with self._interruptible(), bar("writing", total, show=show) as line:
            line.advance(done)
            try:
                async with Commits(self._ledger) as self._commit:
                    await self._find_mode()
                    await self._work(total - done, line)
            except Transient as error:
                raise Transient(
                    f"{error}, also when tried again. Check the URL, and that the server runs "
                    "and isn't overloaded. Then run the same command again: it goes on from here."
                ) from error
        self._outcome.failures = dict(self._failures)
        return self._outcome

    async def _work(self, total: int, line: Bar) -> None:
        """Bring so many calls to their end."""
        raise NotImplementedError

    def _collects(self) -> bool:
        """Whether there is something paid for to be collected, also when nothing more is to be asked."""
        return False

    def _watch(self, rejections: Rejections) -> None:
        """Stop where nearly all of the latest replies can't be used."""
        self._verdicts = rejections.replies
        if rejections.excessive and not self._limits.accept_rejections:
            self._outcome.stopped = self._outcome.stopped or "rejections"
            self._ask_no_more()

    def _ask_no_more(self) -> None:
        """Finish what is in flight, and begin nothing."""
        self._halt()

    def _sample_room(self) -> int | None:
        """How many replies may still come before it is known whether they can be used; None where that is known, or
        doesn't matter."""
        known = self._verdicts >= LEAST or self._limits.accept_rejections
        return None if known else LEAST - self._verdicts

    async def _find_mode(self) -> None:
        mode = read_mode(self._ledger.noted("mode") or "")
        if mode is None:
            probe = await self._insist(self._writer.probe, connects=_FIRST_CONTACT)
            if probe is None:
                return
            usage = self._limits.usage(probe.tokens.tokens_in, probe.tokens.tokens_out)
            told = f"{usage.tokens_in} tokens in, {usage.tokens_out} out"
            await self._commit(lambda: self._ledger.note("probe", told))
            noted = await self._commit(lambda: self._ledger.note("mode", probe.mode.model_dump_json()))
            mode = read_mode(noted) or probe.mode
        self._mode = mode

    async def _insist(
        self, request: Callable[[], Awaitable[T]], least: float = 0.0, *, connects: int | None = None
    ) -> T | None:
        """What a request gives, sent again after transient errors, `least` seconds later or more; None when the run
        stops first. `connects`: tries where there is no connection, if fewer. Raises Transient after the last try, and
        Permanent."""
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

    async def _judge(self, call: WriterCall, replies: Sequence[Came]) -> list[Message] | None:
        """What to ask next for a call; None where its last reply has brought it to its end."""
        problem = "no reply"
        if replies:
            written, problem, kind = try_read_reply(replies[-1].reply, self._asking.form)
            if written is not None:
                line = tideo_line(written, call.seed, self._source)
                await self._end(call, replies[-1], self._verdict(written), "accepted", result=line)
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

    def _came(self, call: WriterCall) -> list[Came]:
        return [Came(reply, self._usage(reply)) for reply in call.replies]

    def _usage(self, reply: WriterReply) -> TokenUsage:
        tokens = count_body(reply.raw)
        return self._limits.usage(tokens.tokens_in, tokens.tokens_out)

    def _verdict(self, written: ReplyContent) -> Verdict:
        """On a reply that can be read: the set may have no use for it all the same."""
        fields: dict[str, Any] = {"frames": written.frames, "description": written.description}
        tideo = Tideo.model_construct(**fields)  # all of it has been checked
        text = " ".join(texts(tideo))
        fault = find_fault(tideo, text, self._checks)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Verdict(None, digest) if fault is None else Verdict(f"left out: {fault}")

    async def _count(self, came: Came, verdict: Verdict) -> None:
        def count() -> None:
            self._ledger.count(came.reply, came.usage)
            self._ledger.judge(came.reply, verdict)

        await self._commit(count)
        self._watch(self._commit.rejections)

    async def _end(
        self,
        call: WriterCall,
        came: Came,
        verdict: Verdict,
        state: State,
        *,
        error: str | None = None,
        result: str | None = None,
    ) -> None:
        def end() -> None:
            self._ledger.count(came.reply, came.usage)
            self._ledger.judge(came.reply, verdict)
            self._ledger.settle(call.key, state, error=error, result=result)

        await self._commit(end)
        self._watch(self._commit.rejections)

    async def _settle(
        self, call: WriterCall, state: State, *, error: str | None = None, result: str | None = None
    ) -> None:
        await self._commit(lambda: self._ledger.settle(call.key, state, error=error, result=result))

    def _messages(self, call: WriterCall, replies: Sequence[Came], problem: str) -> list[Message]:
        prompt = self._asking.prompt(call.seed)
        if not replies:
            return [{"role": "user", "content": prompt}]
        try:
            text = read_body(replies[-1].reply.raw)
        except BadContent:
            # There is nothing to go on from. The same words again would have a writer of fixed draws say the same.
            return [{"role": "user", "content": f"{prompt}\n\n{self._asking.again(problem)}"}]
        return [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": text},
            {"role": "user", "content": self._asking.repair(problem)},
        ]

    def _delay(self, number: int, error: Transient) -> float:
        return max(error.wait, min(60.0, self._limits.backoff * 2.0**number) * random.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> bool:
        """Wait: whether the run is to stop, which ends the wait."""
        if seconds > 0 and not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    def _halt(self) -> None:
        self._stop.set()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C stops after what is in flight, the second at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupted() -> None:
            if self._stop.is_set() and task is not None:
                task.cancel()
            self._outcome.stopped = "interrupted"
            self._halt()

        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():  # else whoever started it handles signals
            for number in (signal.SIGINT, signal.SIGTERM):  # add_signal_handler is Unix's alone
                before[number] = signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupted))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class OnlineRun(GenerationRun):
    """Requests one by one, as many at a time as the limits let."""

    def __init__(
        self, writer: Writer, ledger: Ledger, asking: WriterPrompt, limits: GenerationLimits, checks: Checks
    ) -> None:
        super().__init__(writer, ledger, asking, limits, checks)
        self._requests = RateLimiter(limits.rpm)
        self._tokens = RateLimiter(limits.tpm)
        self._released = asyncio.Event()
        self._refill = asyncio.Lock()
        self._claimed: deque[WriterCall] = deque()
        self._fatal: TopaError | None = None
        self._reserved: dict[str, float] = {}  # the longest reply of each call in flight
        self._resume_at = 0.0  # no request before this moment: the endpoint said so
        self._refused = 0  # in a row
        self._replies = 0
        self._reply_tokens = 0

    async def _work(self, total: int, line: Bar) -> None:
        self._started, self._spent_before = time.monotonic(), self._commit.spent
        self._pledged = self._limits.size(self._limits.usage(*self._ledger.pledged(), batched=True))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._limits.concurrency, total)):
                group.create_task(self._worker(total, line))
        if self._fatal is not None:
            raise self._fatal

    async def _next(self) -> WriterCall | None:
        """A call to work on; None where there is none left. They are claimed some at a time: each claim is a commit."""
        async with self._refill:
            if not self._claimed:
                self._claimed.extend(await self._commit(lambda: self._ledger.claim(self._limits.concurrency)))
            return self._claimed.popleft() if self._claimed else None

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
            # The others finish what is in flight: it is paid for.
            self._fatal = self._fatal or error
            self._halt()

    async def _one(self, call: WriterCall) -> None:
        """Bring one call to its end, or leave it planned when the run stops. Raises what ends the whole run."""
        replies = self._came(call)
        while True:
            messages = await self._judge(call, replies)
            self._release(call)
            if messages is None:
                return
            try:
                reply = await self._ask(call, messages)
            except Transient:
                self._refused += 1
                await self._settle(call, "failed", error="transient")
                if self._refused >= SAME:
                    raise
                return
            except Permanent as error:
                self._failures["permanent"] += 1
                self._refused += 1
                if error.every or (self._refused >= SAME and not self._accepted):
                    await self._settle(call, "replied" if replies else "planned")
                    raise
                await self._settle(call, "failed", error="permanent")
                return
            if reply is None:
                await self._settle(call, "replied" if replies else "planned")
                return
            self._refused = 0
            replies.append(reply)

    async def _ask(self, call: WriterCall, messages: Sequence[Message]) -> Came | None:
        """One recorded reply; None when the run stops first. Raises Transient after the last try, and Permanent."""
        prompt = sum(estimate_tokens(message["content"]) for message in messages)
        worst = self._limits.size(self._limits.usage(2 * prompt, self._writer.max_tokens))
        for number in range(self._limits.tries):
            expected = prompt + self._expected_reply()
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
                return Came(reply, usage)
        return None

    async def _reserve(self, call: WriterCall, worst: float) -> bool:
        """Set aside what the longest reply takes. Where the budget has no room, or the first replies have to show that
        they can be used, calls in flight are waited for, which seldom need all of theirs; False when the run stops, as
        it does where the budget has none left."""
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
        budget, spent = self._limits.budget, self._limits.size(self._commit.spent)
        return budget is None or spent + self._pledged + sum(self._reserved.values()) + worst <= budget

    def _release(self, call: WriterCall) -> None:
        self._reserved.pop(call.key, None)
        self._released.set()

    def _halt(self) -> None:
        super()._halt()
        self._released.set()

    def _expected_reply(self) -> float:
        return self._reply_tokens / self._replies if self._replies else min(_TYPICAL_REPLY, self._writer.max_tokens)

    def _note(self, total: int) -> str:
        size, before = self._limits.size(self._commit.spent), self._limits.size(self._spent_before)
        done = max(1, self._accepted)
        rate = 60 * self._accepted / max(1e-9, time.monotonic() - self._started)
        projected = before + (size - before) / done * total
        unit = "" if self._limits.money else " tokens"
        money = "{:.2f}" if self._limits.money else "{:,.0f}"
        failed = ", ".join(f"{kind} {count}" for kind, count in sorted(self._failures.items()))
        note = f"{rate:.1f}/min, {money.format(size)} of about {money.format(projected)}{unit}"
        return f"{note}, failures: {failed}" if failed else note
