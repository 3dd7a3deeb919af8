"""The batch API behind an endpoint that speaks OpenAI's protocol: files of requests, and files of their results."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from .endpoint import Endpoint
from .writers import Message, Mode, Permanent, Transient

FINAL_STATUSES = ("completed", "failed", "expired", "cancelled")
_URL = "/v1/chat/completions"
_PAGE = 100  # batches in one part of the provider's list
_PIECE = 2**16  # bytes


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as the provider sees it. `files`: of what has ended, replies first, errors last. `errors`: code and
    words for each thing that is wrong with the whole of it."""

    id: str
    status: str
    files: tuple[str, ...] = ()
    completed: int = 0
    failed: int = 0
    total: int = 0
    errors: tuple[tuple[str, str], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing will be added to its files."""
        return self.status in FINAL_STATUSES


@dataclass(frozen=True)
class BatchResult:
    """One result: to which call, and the body of the reply as it came, or else an error."""

    key: str
    raw: str | None
    error: Transient | Permanent | None


class BatchEndpoint(Endpoint):
    """A model behind a base URL with a batch API. Options as for `Endpoint`."""

    def request_line(self, key: str, messages: Sequence[Message], mode: Mode) -> bytes:
        """A request as a line of a file; its body is what `ask` would send."""
        body = self._body(messages, mode.limit, self.max_tokens, self._format(mode.output, self._schema))
        line = {"custom_id": key, "method": "POST", "url": _URL, "body": body}
        return json.dumps(line).encode() + b"\n"

    async def upload(self, file: BinaryIO, name: str) -> str:
        """Send a file of requests, a piece at a time: the provider's name of it. Raises Transient or Permanent."""
        file.seek(0)
        create: Any = self._client.files.with_raw_response.create
        found = await self._object(create(file=(f"topa-{name}.jsonl", file), purpose="batch"))
        return _text(found, "id") or self._strange(found)

    async def create(self, file: str, name: str) -> RemoteBatch:
        """Have a file worked on, as the batch of this name. Raises Transient or Permanent.

        After Transient it may be there nevertheless: `find` tells.
        """
        create: Any = self._client.batches.with_raw_response.create
        try:
            return self._remote(
                await self._object(
                    create(input_file_id=file, endpoint=_URL, completion_window="24h", metadata={"topa": name})
                )
            )
        except Permanent as error:
            # A provider may take a moment to know of a file that it has just taken.
            if file in str(error):
                raise Transient(str(error)) from error
            raise

    async def find(self, name: str, file: str | None) -> RemoteBatch | None:
        """The batch of this name, or made of this file; None where the provider has none. Raises Transient or
        Permanent."""
        after: dict[str, str] = {}
        listed: Any = self._client.batches.with_raw_response.list
        while True:
            page = await self._object(listed(limit=_PAGE, **after))
            rows = page.get("data")
            if not isinstance(rows, list):
                self._strange(page)
            for row in rows:
                told = row.get("metadata") if isinstance(row, dict) else None
                named = isinstance(told, dict) and told.get("topa") == name
                if named or (file is not None and row.get("input_file_id") == file):
                    return self._remote(row)
            if not rows or not page.get("has_more"):
                return None
            after = {"after": str(rows[-1]["id"])}

    async def look(self, remote: str) -> RemoteBatch:
        """How a batch stands. Raises Transient or Permanent."""
        retrieve: Any = self._client.batches.with_raw_response.retrieve
        return self._remote(await self._object(retrieve(remote)))

    async def download(self, file: str, into: BinaryIO) -> int:
        """Write the whole of a file of results, a piece at a time: how many bytes it has.

        Raises Transient, Permanent, or OSError.
        """
        into.seek(0)
        into.truncate()
        with self._classified():
            async with self._client.files.with_streaming_response.content(file) as reply:
                pieces = reply.iter_bytes(_PIECE)
                while True:
                    try:
                        piece = await anext(pieces, b"")
                    except Exception as error:  # whichever client is below: the SDK passes its errors on as they are
                        said = self._safe(str(error) or type(error).__name__)
                        raise Transient(f"{self._where}: a file broke off: {said}") from error
                    if not piece:
                        return into.tell()
                    into.write(piece)

    def read_line(self, line: bytes) -> BatchResult | None:
        """A line of a file of results; None where it isn't one."""
        try:
            found = json.loads(line)
            key, response = found["custom_id"], found.get("response") or {}
            status, body = response.get("status_code"), response.get("body")
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        if not isinstance(key, str):
            return None
        if status == 200 and body is not None:
            return BatchResult(key, json.dumps(body), None)
        said = json.dumps(body or found.get("error") or "")
        if isinstance(status, int) and status != 200:
            return BatchResult(key, None, self._of_status(status, {}, said))
        quota = "insufficient_quota" in said
        return BatchResult(key, None, self._of_status(429, {}, said) if quota else Transient(f"{self._where}: {said}"))

    def failed(self, remote: RemoteBatch) -> Permanent:
        """The error of a batch that was refused as a whole."""
        said = "; ".join(words for _, words in remote.errors[:3]) or "no reason was given"
        return Permanent(
            f"{self._where}: the batch {remote.id} failed: {said}. Nothing of it was asked. Mend this at the provider "
            "or in the options, then run the same command again.",
            every=True,
        )

    async def _object(self, request: Awaitable[Any]) -> dict[str, Any]:
        with self._classified():
            text = str((await request).text)
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else self._strange(text)

    def _remote(self, found: dict[str, Any]) -> RemoteBatch:
        counts, errors = found.get("request_counts"), found.get("errors")
        counts = counts if isinstance(counts, dict) else {}
        errors = errors.get("data") if isinstance(errors, dict) else None
        files = (_text(found, name) for name in ("output_file_id", "error_file_id"))
        return RemoteBatch(
            _text(found, "id") or self._strange(found),
            _text(found, "status") or self._strange(found),
            tuple(file for file in files if file),
            completed=int(counts.get("completed") or 0),
            failed=int(counts.get("failed") or 0),
            total=int(counts.get("total") or 0),
            errors=tuple((str(e.get("code")), self._safe(str(e.get("message")))) for e in errors or ()),
        )

    def _strange(self, found: object) -> NoReturn:
        raise Transient(f"{self._where}: found {self._safe(str(found))!r}; expected an object of a batch API")


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) else None
