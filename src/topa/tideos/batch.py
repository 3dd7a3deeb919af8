"""Run the calls of a ledger through a provider's batch API: at half the price, with results hours later.

A batch and its calls are in the ledger before it is submitted, and the batch carries its name to the provider. So
whenever a process ends, even killed, the next one finds its batches, waits for them and collects them; no batch is
submitted twice.
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
from .flow import MAX_FAILURES, GenerationLimits, GenerationRun, estimate_tokens, try_read_reply
from .ledger import Ledger, WriterCall
from .quality import Checks
from .rejections import Rejections
from .writer_prompt import WriterPrompt
from .writers import Permanent, Transient, count_body

_CHUNK = 500  # calls or lines in memory at a time, and in one commit
_QUOTA_ERROR = "token_limit_exceeded"  # the provider's error code for too many tokens in open batches


class BatchRun(GenerationRun):
    """A run that sends requests in batches, as large as the provider and the budget allow."""

    def __init__(
        self, writer: BatchEndpoint, ledger: Ledger, prompt: WriterPrompt, limits: GenerationLimits, checks: Checks
    ) -> None:
        super().__init__(writer, ledger, prompt, limits, checks)
        self._provider = writer
        self._batches = BatchJobs(ledger)
        self._fatal: TopaError | None = None
        self._shortfall = 0.0  # cost of the request that exceeded the budget
        self._max_requests = limits.batch_requests
        self._crowded = False  # the provider's quota was reached once: from then on submit one batch at a time,
        self._hold = False  # and none until another one has finished
        self._bar_position = 0
        self._may_submit = True  # whether more may be submitted

    def _can_collect(self) -> bool:
        return bool(self._batches.count_open())

    def _watch(self, rejections: Rejections) -> None:
        super()._watch(rejections)
        if self._outcome.stopped == "rejections" and not rejections.excessive:
            # The replies collected since then are usable.
            self._outcome.stopped, self._may_submit = None, True

    def _stop_sending(self) -> None:
        self._may_submit = False

    async def _work(self, total: int, line: Bar) -> None:
        await self._commit(self._batches.revive)
        self._bar_position = await self._count_finished()
        while not self._stop.is_set():
            await self._read_replies()
            if self._fatal is not None:
                raise self._fatal
            for batch in await self._commit(self._batches.take):
                if batch.remote is None:
                    await self._send_again(batch)
            self._shortfall = 0.0
            while self._may_submit and not self._hold and await self._send_next() and not self._crowded:
                pass
            batches = await self._commit(self._batches.take)
            if not batches and not self._stop.is_set():
                if self._shortfall:
                    self._outcome.stopped, self._outcome.needed = "budget", self._shortfall
                return
            if not await self._poll(batches, line):
                await self._pause(self._limits.poll)

    async def _count_finished(self) -> int:
        counts = await self._commit(self._ledger.counts)
        return counts.get("accepted", 0) + counts.get("rejected", 0)

    async def _read_replies(self) -> None:
        """Finish the calls that have a reply, or plan them again if it is unusable."""
        await self._commit(self._ledger.rewind)
        while calls := await self._commit(lambda: self._ledger.claim(_CHUNK, ("replied",))):
            await asyncio.gather(*map(self._read_one, calls))

    async def _read_one(self, call: WriterCall) -> None:
        if await self._judge(call, call.replies) is not None:
            await self._settle(call, "planned")

    @contextmanager
    def _scratch(self) -> Iterator[BinaryIO]:
        """Open an anonymous temporary file on the ledger's file system."""
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
        """Submit the next batch; return whether there may be another."""
        with self._scratch() as file:
            batch = await self._fill(file)
            if batch is not None:
                await self._send(batch, file)
        return batch is not None and not self._stop.is_set()

    async def _send_again(self, batch: BatchJob) -> None:
        """Submit a batch of an earlier process, unless the provider already has it."""
        exists = await self._retry(partial(self._adopt, batch))
        if exists is not False:
            return
        with self._scratch() as file:
            after = ""
            while calls := await self._commit(partial(self._batches.calls, batch.name, after, _CHUNK)):
                file.writelines(self._request(call)[0] for call in calls)
                after = calls[-1].key
            await self._send(batch, file)

    async def _fill(self, file: BinaryIO) -> BatchJob | None:
        """Write the next batch to the ledger and its requests to a file; None if no calls are left or affordable."""
        if self._ledger.full is not None:
            raise self._ledger.full
        keys: list[str] = []
        size = tokens_in = tokens_out = 0
        room = await self._commit(self._room)
        is_full = False
        max_requests = await self._commit(self._largest)
        if max_requests < 1:
            return None
        await self._commit(self._ledger.rewind)
        while not is_full and (
            calls := await self._commit(lambda: self._ledger.claim(_CHUNK, ("planned", "in flight")))
        ):
            for number, call in enumerate(calls):
                request, prompt = self._request(call)
                needed = self._size(tokens_in + prompt, tokens_out + self._writer.max_tokens)
                if not keys and needed > room:
                    self._shortfall = needed
                if (
                    needed > room
                    or len(keys) == max_requests
                    or (keys and size + len(request) > self._limits.batch_bytes)
                    or self._stop.is_set()
                ):
                    is_full = True
                    await self._plan_again([other.key for other in calls[number:]])
                    break
                file.write(request)
                keys.append(call.key)
                size, tokens_in, tokens_out = (
                    size + len(request),
                    tokens_in + prompt,
                    tokens_out + self._writer.max_tokens,
                )

        def submit() -> BatchJob | None:
            if self._size(tokens_in, tokens_out) > self._room():  # another process used up the budget meanwhile
                return None
            return self._batches.submit(keys, tokens_in, tokens_out)

        batch = await self._commit(submit) if keys and not self._stop.is_set() else None
        if batch is None:
            await self._plan_again(keys)
        return batch

    def _largest(self) -> int:
        """Maximum number of requests in the next batch; 0 or less while the first sample of replies is open."""
        sample = self._sample_room()
        if sample is None:
            return self._max_requests
        return min(self._max_requests, sample - self._ledger.counts().get("submitted", 0))

    async def _plan_again(self, keys: Sequence[str]) -> None:
        def plan() -> None:
            for key in keys:
                self._ledger.settle(key, "planned")

        await self._commit(plan)

    def _request(self, call: WriterCall) -> tuple[bytes, int]:
        """Return a call as a line of the request file, and an upper bound of its prompt's tokens."""
        problem = try_read_reply(call.replies[-1], self._prompt.form)[1] if call.replies else ""
        messages = self._messages(call, call.replies, problem)
        tokens = 2 * sum(estimate_tokens(message["content"]) for message in messages)
        return self._provider.request_line(call.key, messages, self._mode), tokens

    def _size(self, tokens_in: int, tokens_out: int) -> float:
        return self._limits.size(self._limits.usage(tokens_in, tokens_out, batched=True))

    def _room(self) -> float:
        """What the budget leaves after the usage so far and the most that open batches may use."""
        if self._limits.budget is None:
            return math.inf
        return (
            self._limits.budget
            - self._limits.size(self._ledger.total_usage())
            - self._size(*self._ledger.open_batch_tokens())
        )

    async def _send(self, batch: BatchJob, file: BinaryIO) -> None:
        """Upload and create a batch at the provider. If the run stops first, the next run does it."""
        attempted, file_id = False, ""

        async def send() -> bool:
            nonlocal attempted, file_id
            if attempted and await self._adopt(BatchJob(batch.name, file_id or None, None)):
                return True
            attempted = True
            try:
                if not file_id:
                    file_id = await self._provider.upload(file, batch.name)
                    await self._commit(lambda: self._batches.set_file(batch.name, file_id))
                remote = await self._provider.create(file_id, batch.name)
            except Permanent:
                # The provider refused the batch, so it doesn't exist there.
                await self._commit(lambda: self._batches.end(batch.name, "refused", None))
                raise
            await self._commit(lambda: self._batches.set_remote(batch.name, remote.id))
            return True

        await self._retry(send)

    async def _adopt(self, batch: BatchJob) -> bool:
        """Whether the provider already has a batch; if so, store its id."""
        remote = await self._provider.find(batch.name, batch.file)
        if remote is None:
            return False
        await self._commit(lambda: self._batches.set_remote(batch.name, remote.id))
        return True

    # Collecting.

    async def _poll(self, batches: Sequence[BatchJob], line: Bar) -> bool:
        """Check the status of batches and collect the finished ones; return whether there were any."""
        running: list[RemoteBatch] = []
        crowded: list[tuple[int, RemoteBatch]] = []
        any_final = False
        for batch in batches:
            if batch.remote is None:  # the run stopped before it was sent
                continue
            remote = await self._retry(partial(self._provider.retrieve, batch.remote), self._limits.poll)
            if remote is None:
                return False
            if not remote.is_final:
                running.append(remote)
            elif any(code == _QUOTA_ERROR for code, _ in remote.errors):
                unanswered = await self._commit(partial(self._batches.end, batch.name, remote.status, None))
                crowded.append((unanswered, remote))
            else:
                any_final = await self._collect(batch.name, remote) or any_final
        if crowded:
            self._crowded = True
            largest, remote = max(crowded, key=lambda pair: pair[0])
            if not running and not any_final:
                if largest < 2:
                    raise self._provider.failed(remote)
                self._max_requests = largest // 2
        self._hold = bool(running) and (bool(crowded) or (self._hold and not any_final))
        await self._show(running, line)
        return any_final

    async def _collect(self, name: str, remote: RemoteBatch) -> bool:
        """Record all results of a batch and close it; False if the run stops first."""
        replies = 0
        refused: list[Permanent] = []
        for file in remote.files:
            with self._scratch() as results:
                if await self._retry(partial(self._provider.download, file, results), self._limits.poll) is None:
                    return False
                results.seek(0)
                while some := list(islice(results, _CHUNK)):
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
        if every is None and not replies and len(refused) >= MAX_FAILURES:
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
        now = await self._count_finished() + completed + failed
        states = ", ".join(sorted({remote.status for remote in running})) or "none open"
        note = f"batches: {len(running)} ({states}), {completed:,} of {total:,} answered, {failed:,} failed"
        line.advance(now - self._bar_position, note)
        self._bar_position = now


def _kind(line: BatchResult | None) -> str:
    """Return the class of a result without a reply."""
    if line is None:
        return "a line that can't be read"
    return "transient" if isinstance(line.error, Transient) else "permanent"
