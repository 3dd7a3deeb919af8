"""The flow of calls through a provider's batch API: at half the price, and hours later.

A batch and its calls are in the ledger before the provider hears of them, and the batch carries its name to the
provider. So a process that ends at any moment, killed or told to, leaves nothing but batches that the next one finds,
waits for and collects; none is made twice.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import BinaryIO

from ..core.errors import OutputError, TopaError
from ..core.progress import Bar
from .batch_endpoint import BatchEndpoint, BatchResult, RemoteBatch
from .batch_jobs import BatchJob, BatchJobs
from .flow import SAME, GenerationLimits, GenerationRun, estimate_tokens, try_read_reply
from .ledger import Ledger, WriterCall
from .quality import Checks
from .rejections import Rejections
from .writer_prompt import WriterPrompt
from .writers import Permanent, Transient, count_body

_SOME = 500  # calls or lines in memory at a time, and in one commit
_CROWDED = "token_limit_exceeded"  # the provider's word for: not so much at a time


class BatchRun(GenerationRun):
    """Requests many at a time, in batches as large as the provider and the budget take them."""

    def __init__(
        self, writer: BatchEndpoint, ledger: Ledger, asking: WriterPrompt, limits: GenerationLimits, checks: Checks
    ) -> None:
        super().__init__(writer, ledger, asking, limits, checks)
        self._provider = writer
        self._batches = BatchJobs(ledger)
        self._fatal: TopaError | None = None
        self._short = 0.0  # what the budget had no room for
        self._most = limits.batch_requests
        self._crowded = False  # the provider took no more at some time: from then on one batch at a time is added,
        self._hold = False  # and none until another has ended
        self._shown = 0
        self._asks = True  # whether more may be submitted

    def _collects(self) -> bool:
        return bool(self._batches.unfinished())

    def _watch(self, rejections: Rejections) -> None:
        super()._watch(rejections)
        if self._outcome.stopped == "rejections" and not rejections.excessive:
            # What was collected since then is good.
            self._outcome.stopped, self._asks = None, True

    def _ask_no_more(self) -> None:
        self._asks = False

    async def _work(self, total: int, line: Bar) -> None:
        await self._commit(self._batches.revive)
        self._shown = await self._ended()
        while not self._stop.is_set():
            await self._read_replies()
            if self._fatal is not None:
                raise self._fatal
            for batch in await self._commit(self._batches.take):
                if batch.remote is None:
                    await self._send_again(batch)
            self._short = 0.0
            while self._asks and not self._hold and await self._send_next() and not self._crowded:
                pass
            batches = await self._commit(self._batches.take)
            if not batches and not self._stop.is_set():
                if self._short:
                    self._outcome.stopped, self._outcome.needed = "budget", self._short
                return
            if not await self._look(batches, line):
                await self._pause(self._limits.poll)

    async def _ended(self) -> int:
        counts = await self._commit(self._ledger.counts)
        return counts.get("accepted", 0) + counts.get("rejected", 0)

    async def _read_replies(self) -> None:
        """Bring calls with a reply to their end, or plan them again where the reply can't be used."""
        await self._commit(self._ledger.rewind)
        while calls := await self._commit(lambda: self._ledger.claim(_SOME, ("replied",))):
            await asyncio.gather(*map(self._read_one, calls))

    async def _read_one(self, call: WriterCall) -> None:
        if await self._judge(call, self._came(call)) is not None:
            await self._settle(call, "planned")

    @contextmanager
    def _scratch(self) -> Iterator[BinaryIO]:
        """A file beside the ledger that ends with this process, however it ends."""
        folder = self._ledger.path.parent
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                yield file
        except OSError as error:
            raise OutputError(
                f"{folder}: can't be written ({error.strerror}). Nothing is lost: free some space, then run the same "
                "command again."
            ) from error

    # Submitting.

    async def _send_next(self) -> bool:
        """Submit what fits into one batch; whether there may be more."""
        with self._scratch() as file:
            batch = await self._fill(file)
            if batch is not None:
                await self._send(batch, file)
        return batch is not None and not self._stop.is_set()

    async def _send_again(self, batch: BatchJob) -> None:
        """Submit a batch of a process that ended before it knew whether the provider has it."""
        known = await self._insist(partial(self._adopt, batch))
        if known is not False:
            return
        with self._scratch() as file:
            after = ""
            while calls := await self._commit(partial(self._batches.calls, batch.name, after, _SOME)):
                file.writelines(self._request(call)[0] for call in calls)
                after = calls[-1].key
            await self._send(batch, file)

    async def _fill(self, file: BinaryIO) -> BatchJob | None:
        """Write the next batch to the ledger and its requests to a file; None where no calls are left for which the
        budget has room."""
        if self._ledger.full is not None:
            raise self._ledger.full
        keys: list[str] = []
        size = tokens_in = tokens_out = 0
        room = await self._commit(self._room)
        full = False
        most = await self._commit(self._largest)
        if most < 1:
            return None
        await self._commit(self._ledger.rewind)
        while not full and (calls := await self._commit(lambda: self._ledger.claim(_SOME, ("planned", "in flight")))):
            for number, call in enumerate(calls):
                request, prompt = self._request(call)
                needed = self._size(tokens_in + prompt, tokens_out + self._writer.max_tokens)
                if not keys and needed > room:
                    self._short = needed
                if (
                    needed > room
                    or len(keys) == most
                    or (keys and size + len(request) > self._limits.batch_bytes)
                    or self._stop.is_set()
                ):
                    full = True
                    await self._give_back([left.key for left in calls[number:]])
                    break
                file.write(request)
                keys.append(call.key)
                size, tokens_in, tokens_out = (
                    size + len(request),
                    tokens_in + prompt,
                    tokens_out + self._writer.max_tokens,
                )

        def submit() -> BatchJob | None:
            if self._size(tokens_in, tokens_out) > self._room():  # another process has used it meanwhile
                return None
            return self._batches.submit(keys, tokens_in, tokens_out)

        batch = await self._commit(submit) if keys and not self._stop.is_set() else None
        if batch is None:
            await self._give_back(keys)
        return batch

    def _largest(self) -> int:
        """How many requests the next batch may hold; 0 or less while it isn't known whether replies can be used."""
        sample = self._sample_room()
        if sample is None:
            return self._most
        return min(self._most, sample - self._ledger.counts().get("submitted", 0))

    async def _give_back(self, keys: Sequence[str]) -> None:
        def plan() -> None:
            for key in keys:
                self._ledger.settle(key, "planned")

        await self._commit(plan)

    def _request(self, call: WriterCall) -> tuple[bytes, int]:
        """A call as a line of a file, and how many tokens its prompt may have."""
        replies = self._came(call)
        problem = try_read_reply(replies[-1].reply, self._asking.form)[1] if replies else ""
        messages = self._messages(call, replies, problem)
        tokens = 2 * sum(estimate_tokens(message["content"]) for message in messages)
        return self._provider.request_line(call.key, messages, self._mode), tokens

    def _size(self, tokens_in: int, tokens_out: int) -> float:
        return self._limits.size(self._limits.usage(tokens_in, tokens_out, batched=True))

    def _room(self) -> float:
        """What the budget leaves besides what was spent and what open batches may take."""
        if self._limits.budget is None:
            return math.inf
        return self._limits.budget - self._limits.size(self._ledger.spent()) - self._size(*self._ledger.pledged())

    async def _send(self, batch: BatchJob, file: BinaryIO) -> None:
        """Have the provider take a batch that it doesn't have. Where the run stops first, the next one does it."""
        asked, sent = False, ""

        async def send() -> bool:
            nonlocal asked, sent
            if asked and await self._adopt(BatchJob(batch.name, sent or None, None)):
                return True
            asked = True
            try:
                if not sent:
                    sent = await self._provider.upload(file, batch.name)
                    await self._commit(lambda: self._batches.uploaded(batch.name, sent))
                remote = await self._provider.create(sent, batch.name)
            except Permanent:
                # It was refused, so the provider doesn't have it.
                await self._commit(lambda: self._batches.end(batch.name, "refused", None))
                raise
            await self._commit(lambda: self._batches.created(batch.name, remote.id))
            return True

        await self._insist(send)

    async def _adopt(self, batch: BatchJob) -> bool:
        """Whether the provider has a batch; then what it calls it is written down."""
        remote = await self._provider.find(batch.name, batch.file)
        if remote is None:
            return False
        await self._commit(lambda: self._batches.created(batch.name, remote.id))
        return True

    # Collecting.

    async def _look(self, batches: Sequence[BatchJob], line: Bar) -> bool:
        """Ask how batches stand, and collect those that have ended; whether any has, so that there is more to do."""
        running: list[RemoteBatch] = []
        crowded: list[tuple[int, RemoteBatch]] = []
        ended = False
        for batch in batches:
            if batch.remote is None:  # the run stopped before it was sent
                continue
            remote = await self._insist(partial(self._provider.look, batch.remote), self._limits.poll)
            if remote is None:
                return False
            if not remote.ended:
                running.append(remote)
            elif any(code == _CROWDED for code, _ in remote.errors):
                left = await self._commit(partial(self._batches.end, batch.name, remote.status, None))
                crowded.append((left, remote))
            else:
                ended = await self._collect(batch.name, remote) or ended
        if crowded:
            self._crowded = True
            largest, remote = max(crowded, key=lambda pair: pair[0])
            if not running and not ended:
                if largest < 2:
                    raise self._provider.failed(remote)
                self._most = largest // 2
        self._hold = bool(running) and (bool(crowded) or (self._hold and not ended))
        await self._show(running, line)
        return ended

    async def _collect(self, name: str, remote: RemoteBatch) -> bool:
        """Record all results of a batch and close it; False when the run stops first."""
        replies = 0
        refused: list[Permanent] = []
        for file in remote.files:
            with self._scratch() as results:
                if await self._insist(partial(self._provider.download, file, results), self._limits.poll) is None:
                    return False
                results.seek(0)
                while some := list(islice(results, _SOME)):
                    if self._stop.is_set():
                        return False
                    lines = [self._provider.read_line(line) for line in some]
                    await self._commit(partial(self._record, name, [line for line in lines if line is not None]))
                    replies += sum(line is not None and line.raw is not None for line in lines)
                    refused += [line.error for line in lines if line and isinstance(line.error, Permanent)]
                    self._failures.update(_kind(line) for line in lines if line is None or line.error is not None)
        failed = remote.status == "failed"
        await self._commit(lambda: self._batches.end(name, remote.status, None if failed else self._limits.tries))
        if failed:
            self._fatal = self._fatal or self._provider.failed(remote)
        every = next((error for error in refused if error.every), None)
        if every is None and not replies and len(refused) >= SAME:
            every = refused[-1]
        self._fatal = self._fatal or every
        return True

    def _record(self, name: str, lines: Sequence[BatchResult]) -> None:
        for line in lines:
            if line.raw is not None:
                tokens = count_body(line.raw)
                usage = self._limits.usage(tokens.tokens_in, tokens.tokens_out, batched=True)
                self._batches.record(name, line.key, line.raw, usage)
            elif isinstance(line.error, Transient):
                self._batches.refuse(name, line.key, self._limits.tries)
            elif line.error is not None and line.error.every:
                self._batches.settle(name, line.key, "planned")
            else:
                self._batches.settle(name, line.key, "failed", "permanent")

    async def _show(self, running: Sequence[RemoteBatch], line: Bar) -> None:
        completed, failed, total = (sum(getattr(r, n) for r in running) for n in ("completed", "failed", "total"))
        now = await self._ended() + completed + failed
        states = ", ".join(sorted({remote.status for remote in running})) or "none open"
        note = f"batches: {len(running)} ({states}), {completed:,} of {total:,} answered, {failed:,} failed"
        line.advance(now - self._shown, note)
        self._shown = now


def _kind(line: BatchResult | None) -> str:
    """The class of a result that is no reply."""
    if line is None:
        return "a line that can't be read"
    return "transient" if isinstance(line.error, Transient) else "permanent"
