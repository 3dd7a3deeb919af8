"""Seeds to Tideos through an endpoint: paced, within a budget, and resumable at any moment.

All that was paid for is in the ledger. Stopping, by Ctrl-C, by the budget or by `kill -9`, costs nothing but the calls
that were in flight; the same command goes on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.artifacts import MANIFEST, Manifest, finish, output_folder
from ..core.errors import OutputError, TopaError, UsageError
from ..core.progress import Bar, bar
from .asking import Asking, ReplyError, Written, read_reply, reply_schema, to_tideo
from .endpoint import BadContent, Endpoint, Message, Mode, Permanent, Transient, count_body, read_body, read_mode
from .ledger import Ledger, Reply, Usage, call_key
from .seeds import Seed

LEDGER = "ledger.sqlite"
TIDEOS = "tideos.jsonl"
_LETTERS_PER_TOKEN = 4  # English; an estimate, used until replies say how many there were
_TYPICAL_REPLY = 2000  # tokens, likewise
_SAME = 5  # calls that fail in a row: then it isn't the seeds


@dataclass(frozen=True)
class Limits:
    """What a run may do. `price_in`, `price_out`: money for a million tokens, zero or more.

    `budget`: money where prices are given, else tokens; counted over all runs of one ledger, above zero. A request
    is sent only where its longest reply fits in. `rpm`, `tpm`: requests and tokens in a minute, above zero. `tries`:
    requests for one reply when errors are transient; `repairs`: further requests when a reply can't be used;
    `backoff`: seconds before the second try, doubled each time.
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

    def __post_init__(self) -> None:
        for name in ("rpm", "tpm", "budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name}: found {value}; expected a number above zero, or leave it out.")
        if self.concurrency < 1:
            raise UsageError(f"--concurrency: found {self.concurrency}; expected at least 1.")

    @property
    def money(self) -> bool:
        """Whether the budget is money."""
        return self.price_in > 0 or self.price_out > 0

    def usage(self, tokens_in: int, tokens_out: int) -> Usage:
        """Tokens with what they cost."""
        return Usage(tokens_in, tokens_out, (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6)

    def size(self, usage: Usage) -> float:
        """A usage in the unit of the budget."""
        return usage.cost if self.money else usage.tokens


@dataclass
class Outcome:
    """How a run ended. Counts are over the given seeds, `spent` over the whole ledger.

    `stopped`: None when it went through all seeds, else "budget" or "interrupted". `needed`: what the budget had no
    room for, the longest reply to one request. `elsewhere`: calls that another process has. `failures`: by class, of
    this run; transient ones may have succeeded at a later try.
    """

    seeds: int = 0
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    left: int = 0
    elsewhere: int = 0
    repaired: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    spent: Usage = field(default_factory=Usage)
    stopped: str | None = None
    needed: float = 0.0
    path: Path | None = None


class Pace:
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


def estimate(seeds: Sequence[Seed], asking: Asking, limits: Limits) -> Usage:
    """About what all these seeds will take, when every reply is of typical length and none needs a repair."""
    tokens = sum(estimate_tokens(asking.prompt(seed)) for seed in seeds)
    return limits.usage(tokens, len(seeds) * _TYPICAL_REPLY)


def generate(
    seeds: Sequence[Seed],
    out: Path,
    *,
    endpoint: str,
    model: str,
    asking: Asking | None = None,
    limits: Limits | None = None,
    key_env: str | None = None,
    max_tokens: int = 8192,
    temperature: float | None = None,
    timeout: float = 300.0,
    schema: Mapping[str, Any] | None = None,
    show: bool = True,
) -> Outcome:
    """Write a Tideo for every seed; the same call again goes on where this one stopped.

    `out` gets `ledger.sqlite`, `tideos.jsonl` (accepted ones, in the order of the seeds) and, when no seed is left, a
    manifest. Raises UsageError for a wrong request, ArtifactMismatch for a ledger of another configuration,
    OutputError where the disk is full, Permanent where no request can succeed, Transient where the endpoint can't be
    reached at all.
    """
    asking, limits = asking or Asking(), limits or Limits()
    parameters = {"max_tokens": max_tokens, "temperature": temperature}
    calls = []
    for seed in seeds:
        # Its prompt is made again when it is asked: those of all seeds together take gigabytes.
        calls.append(_Call(call_key(asking.prompt(seed), model, parameters, seed.id), seed))
    output_folder(out)
    configuration = {"model": model, "prompt": asking.identity, **parameters}
    with Ledger(out / LEDGER, configuration) as ledger:
        (out / MANIFEST).unlink(missing_ok=True)
        ledger.plan((call.key, call.seed.id) for call in calls)

        async def run() -> Outcome:
            async with Endpoint(
                endpoint,
                model,
                key_env=key_env,
                schema=reply_schema() if schema is None else schema,
                max_tokens=max_tokens,
                temperature=temperature,
                timeout=timeout,
            ) as server:
                flow = _Flow(server, ledger, asking, limits, {"writer": model, "prompt": asking.identity}, max_tokens)
                return await flow.run(calls, show=show)

        try:
            outcome = asyncio.run(run())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            accepted = _export(out, ledger, calls)
        _count(outcome, ledger, calls)
        outcome.path = out / TIDEOS
        if not outcome.left and not outcome.elsewhere:
            counts = {"tideos": accepted, "rejected": outcome.rejected, "failed": outcome.failed}
            finish(out, Manifest(kind="tideos", counts=counts, config=configuration), [TIDEOS])
        return outcome


@dataclass(frozen=True)
class _Call:
    key: str
    seed: Seed


class _Flow:
    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        asking: Asking,
        limits: Limits,
        source: Mapping[str, Any],
        max_tokens: int,
    ) -> None:
        self._endpoint = endpoint
        self._ledger = ledger
        self._asking = asking
        self._limits = limits
        self._source = source
        self._max_tokens = max_tokens
        self._requests = Pace(limits.rpm)
        self._tokens = Pace(limits.tpm)
        self._stop = asyncio.Event()
        self._outcome = Outcome()
        self._failures: Counter[str] = Counter()
        self._fatal: TopaError | None = None
        self._reserved = 0.0
        self._resume_at = 0.0  # no request before this moment: the endpoint said so
        self._refused = 0  # in a row
        self._accepted = 0
        self._replies = 0
        self._reply_tokens = 0
        self._mode = Mode(output="text")

    async def run(self, calls: Sequence[_Call], *, show: bool) -> Outcome:
        states = self._ledger.states()
        pending = [call for call in calls if states[call.key] not in ("accepted", "rejected")]
        if not pending:
            return self._outcome
        with self._interruptible(), bar("writing", len(calls), show=show) as line:
            line.advance(len(calls) - len(pending))
            await self._find_mode()
            self._started, self._spent_before = time.monotonic(), self._ledger.spent()
            todo = iter(pending)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._limits.concurrency, len(pending))):
                    group.create_task(self._worker(todo, len(pending), line))
        self._outcome.failures = dict(self._failures)
        if self._fatal is not None:
            raise self._fatal
        return self._outcome

    async def _find_mode(self) -> None:
        noted = read_mode(self._ledger.noted("mode") or "")
        if noted is not None:
            self._mode = noted
            return
        for number in range(self._limits.tries):
            try:
                probe = await self._endpoint.probe()
                break
            except Transient as error:
                self._failures["transient"] += 1
                if number + 1 == self._limits.tries or await self._pause(self._delay(number, error)):
                    raise
        usage = self._limits.usage(probe.tokens.tokens_in, probe.tokens.tokens_out)
        self._ledger.note("probe", f"{usage.tokens_in} tokens in, {usage.tokens_out} out")
        self._mode = read_mode(self._ledger.note("mode", probe.mode.model_dump_json())) or probe.mode

    async def _worker(self, todo: Iterator[_Call], total: int, line: Bar) -> None:
        for call in todo:
            if self._stop.is_set():
                return
            try:
                await self._one(call)
            except TopaError as error:
                # The others finish what is in flight: it is paid for.
                self._fatal = self._fatal or error
                self._stop.set()
                return
            if not self._stop.is_set():
                line.advance(note=self._note(total))

    async def _one(self, call: _Call) -> None:
        """Bring one call to its end, or leave it planned when the run stops. Raises what ends the whole run."""
        found = self._ledger.claim(call.key)
        if found is None:
            return
        replies = list(found)
        while True:
            problem = "no reply"
            if replies:
                self._count(replies[-1])
                written, problem, kind = self._read(replies[-1])
                if written is not None:
                    tideo = to_tideo(written, call.seed, self._source)
                    self._ledger.settle(call.key, "accepted", result=tideo.model_dump_json())
                    self._accepted += 1
                    self._outcome.repaired += len(replies) > 1
                    return
                self._failures[kind] += 1
                if len(replies) > self._limits.repairs:
                    self._ledger.settle(call.key, "rejected", error=kind)
                    return
            try:
                body = await self._ask(call, self._messages(call, replies, problem))
            except Transient:
                self._refused += 1
                self._ledger.settle(call.key, "failed", error="transient")
                if self._refused >= _SAME:
                    raise
                return
            except Permanent as error:
                self._failures["permanent"] += 1
                self._refused += 1
                if error.every or (self._refused >= _SAME and not self._accepted):
                    self._ledger.settle(call.key, "replied" if replies else "planned")
                    raise
                self._ledger.settle(call.key, "failed", error="permanent")
                return
            if body is None:
                self._ledger.settle(call.key, "replied" if replies else "planned")
                return
            self._refused = 0
            replies.append(body)

    def _messages(self, call: _Call, replies: Sequence[Reply], problem: str) -> list[Message]:
        messages: list[Message] = [{"role": "user", "content": self._asking.prompt(call.seed)}]
        if replies:
            with suppress(BadContent):  # what was cut off or refused isn't repeated to the writer, only asked again
                text = read_body(replies[-1].raw)
                messages.append({"role": "assistant", "content": text})
                messages.append({"role": "user", "content": self._asking.repair(problem)})
        return messages

    def _read(self, reply: Reply) -> tuple[Written | None, str, str]:
        """What a reply holds, or None with the problem and its class."""
        try:
            return read_reply(read_body(reply.raw)), "", ""
        except BadContent as error:
            return None, str(error), f"content: {error}"
        except ReplyError as error:
            return None, str(error), "content: not the asked form"

    async def _ask(self, call: _Call, messages: Sequence[Message]) -> Reply | None:
        """One recorded reply; None when the run stops first. Raises Transient after the last try, and Permanent."""
        prompt = sum(estimate_tokens(message["content"]) for message in messages)
        worst = self._limits.size(self._limits.usage(2 * prompt, self._max_tokens))
        for number in range(self._limits.tries):
            expected = prompt + self._expected_reply()
            wait = max(self._requests.wait(1), self._tokens.wait(expected), self._resume_at - time.monotonic())
            if await self._pause(wait) or not self._affordable(worst):
                return None
            self._ledger.attempt(call.key)
            self._reserved += worst
            try:
                body = await self._endpoint.ask(messages, self._mode)
                reply = self._ledger.record(call.key, body)
                usage = self._count(reply)
            except Transient as error:
                self._failures["transient"] += 1
                if error.wait:
                    self._resume_at = max(self._resume_at, time.monotonic() + error.wait)
                if number + 1 == self._limits.tries:
                    raise
                if await self._pause(self._delay(number, error)):
                    return None
            else:
                self._replies += 1
                self._reply_tokens += usage.tokens_out
                self._tokens.correct(usage.tokens - expected)
                return reply
            finally:
                self._reserved -= worst
        return None

    def _count(self, reply: Reply) -> Usage:
        tokens = count_body(reply.raw)
        usage = self._limits.usage(tokens.tokens_in, tokens.tokens_out)
        if not reply.counted:
            self._ledger.count(reply, usage)
        return usage

    def _affordable(self, worst: float) -> bool:
        if self._limits.budget is None:
            return True
        if self._limits.size(self._ledger.spent()) + self._reserved + worst <= self._limits.budget:
            return True
        if self._outcome.stopped is None:
            self._outcome.stopped, self._outcome.needed = "budget", worst
        self._stop.set()
        return False

    def _expected_reply(self) -> float:
        return self._reply_tokens / self._replies if self._replies else min(_TYPICAL_REPLY, self._max_tokens)

    def _delay(self, number: int, error: Transient) -> float:
        return max(error.wait, min(60.0, self._limits.backoff * 2.0**number) * random.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> bool:
        """Wait: whether the run is to stop, which ends the wait."""
        if seconds > 0 and not self._stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C stops after what is in flight, the second at once."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupted() -> None:
            if self._stop.is_set() and task is not None:
                task.cancel()
            self._outcome.stopped = "interrupted"
            self._stop.set()

        signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
        try:
            for number in signals:
                loop.add_signal_handler(number, interrupted)
        except (RuntimeError, ValueError):  # not in the main thread: whoever started it handles signals
            signals = ()
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _note(self, total: int) -> str:
        spent = self._ledger.spent()
        size, before = self._limits.size(spent), self._limits.size(self._spent_before)
        done = max(1, self._accepted)
        rate = 60 * self._accepted / max(1e-9, time.monotonic() - self._started)
        projected = before + (size - before) / done * total
        unit = "" if self._limits.money else " tokens"
        money = "{:.2f}" if self._limits.money else "{:,.0f}"
        failed = ", ".join(f"{kind} {count}" for kind, count in sorted(self._failures.items()))
        note = f"{rate:.1f}/min, {money.format(size)} of about {money.format(projected)}{unit}"
        return f"{note}, failures: {failed}" if failed else note


def _count(outcome: Outcome, ledger: Ledger, calls: Sequence[_Call]) -> None:
    states = ledger.states()
    found = Counter(states[call.key] for call in calls)
    held = ledger.held_elsewhere()
    outcome.seeds = len(calls)
    outcome.accepted, outcome.rejected, outcome.failed = found["accepted"], found["rejected"], found["failed"]
    outcome.elsewhere = sum(call.key in held for call in calls)
    outcome.left = found["planned"] + found["in flight"] + found["replied"] - outcome.elsewhere
    outcome.spent = ledger.spent()


def _export(out: Path, ledger: Ledger, calls: Sequence[_Call]) -> int:
    """Write the accepted Tideos: a whole file or none. How many there are."""
    count = 0
    try:
        # Of two processes the later one sees all that the earlier one saw, so its file replaces nothing newer.
        with (out / f"{LEDGER}.export").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            handle, beside = tempfile.mkstemp(dir=out, prefix=f".{TIDEOS}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    for call in calls:
                        line = ledger.result(call.key)
                        if line is not None:
                            file.write(line + "\n")
                            count += 1
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(beside, 0o644)
                os.replace(beside, out / TIDEOS)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OutputError(
            f"{out / TIDEOS}: can't be written ({error.strerror}). All replies are kept in {LEDGER}: free some space, "
            "then run the same command again."
        ) from error
    return count
