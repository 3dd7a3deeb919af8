"""Client of an OpenAI-compatible batch API: files of requests in, files of results out."""

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
    """The provider's view of a batch.

    files: ids of its result files, replies first, errors last. errors: (code, message) of each error of the batch as a
    whole.
    """

    id: str
    status: str
    files: tuple[str, ...] = ()
    completed: int = 0
    failed: int = 0
    total: int = 0
    errors: tuple[tuple[str, str], ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the batch has finished, so that its files are complete."""
        return self.status in FINAL_STATUSES


@dataclass(frozen=True)
class BatchResult:
    """The result of one call. key: of the call. raw: the unmodified body of the reply, or None with an `error`."""

    key: str
    raw: str | None
    error: Transient | Permanent | None


class BatchEndpoint(Endpoint):
    """A model behind a base URL with a batch API. Parameters are those of `Endpoint`."""

    def request_line(self, key: str, messages: Sequence[Message], mode: Mode) -> bytes:
        """Format a request as a line of a request file; its body is what `ask` would send."""
        body = self._body(messages, mode.limit, self.max_tokens, self._format(mode.output, self._schema))
        line = {"custom_id": key, "method": "POST", "url": _URL, "body": body}
        return json.dumps(line).encode() + b"\n"

    async def upload(self, file: BinaryIO, name: str) -> str:
        """Upload a request file; return its id at the provider. Raises Transient or Permanent."""
        file.seek(0)
        create: Any = self._client.files.with_raw_response.create
        response = await self._object(create(file=(f"topa-{name}.jsonl", file), purpose="batch"))
        return _text(response, "id") or self._strange(response)

    async def create(self, file: str, name: str) -> RemoteBatch:
        """Create a batch of this name from an uploaded file. Raises Transient or Permanent.

        After Transient the batch may exist nevertheless; `find` checks that.
        """
        create: Any = self._client.batches.with_raw_response.create
        try:
            return self._remote(
                await self._object(
                    create(input_file_id=file, endpoint=_URL, completion_window="24h", metadata={"topa": name})
                )
            )
        except Permanent as error:
            # A file may become visible only some time after its upload.
            if file in str(error):
                raise Transient(str(error)) from error
            raise

    async def find(self, name: str, file: str | None) -> RemoteBatch | None:
        """Find the batch of this name, or made from this file; None if there is none. Raises Transient or Permanent."""
        after: dict[str, str] = {}
        list_batches: Any = self._client.batches.with_raw_response.list
        while True:
            page = await self._object(list_batches(limit=_PAGE, **after))
            rows = page.get("data")
            if not isinstance(rows, list):
                self._strange(page)
            for row in rows:
                metadata = row.get("metadata") if isinstance(row, dict) else None
                has_name = isinstance(metadata, dict) and metadata.get("topa") == name
                if has_name or (file is not None and row.get("input_file_id") == file):
                    return self._remote(row)
            if not rows or not page.get("has_more"):
                return None
            after = {"after": str(rows[-1]["id"])}

    async def retrieve(self, remote: str) -> RemoteBatch:
        """Return the state of a batch. Raises Transient or Permanent."""
        retrieve: Any = self._client.batches.with_raw_response.retrieve
        return self._remote(await self._object(retrieve(remote)))

    async def download(self, file: str, into: BinaryIO) -> int:
        """Stream a result file into a local file; return its size in bytes. Raises Transient, Permanent or OSError."""
        into.seek(0)
        into.truncate()
        with self._classified():
            async with self._client.files.with_streaming_response.content(file) as reply:
                pieces = reply.iter_bytes(_PIECE)
                while True:
                    try:
                        piece = await anext(pieces, b"")
                    except Exception as error:  # the SDK passes on the errors of its HTTP client unchanged
                        message = self._safe(str(error) or type(error).__name__)
                        raise Transient(f"{self._where}: a file broke off: {message}") from error
                    if not piece:
                        return into.tell()
                    into.write(piece)

    def read_line(self, line: bytes) -> BatchResult | None:
        """Parse a line of a result file; None if it is malformed."""
        try:
            entry = json.loads(line)
            key, response = entry["custom_id"], entry.get("response") or {}
            status, body = response.get("status_code"), response.get("body")
        except (ValueError, LookupError, TypeError, AttributeError):
            return None
        if not isinstance(key, str):
            return None
        if status == 200 and body is not None:
            return BatchResult(key, json.dumps(body), None)
        message = json.dumps(body or entry.get("error") or "")
        if isinstance(status, int) and status != 200:
            return BatchResult(key, None, self._of_status(status, {}, message))
        quota = "insufficient_quota" in message
        return BatchResult(
            key, None, self._of_status(429, {}, message) if quota else Transient(f"{self._where}: {message}")
        )

    def failed(self, remote: RemoteBatch) -> Permanent:
        """Return the error of a batch that failed as a whole."""
        reasons = "; ".join(reason for _, reason in remote.errors[:3]) or "no reason was given"
        return Permanent(
            f"{self._where}: the batch {remote.id} failed: {reasons}. Nothing of it was asked. Mend this at the "
            "provider or in the options, then run the same command again.",
            every=True,
        )

    async def _object(self, request: Awaitable[Any]) -> dict[str, Any]:
        with self._classified():
            text = str((await request).text)
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = None
        return parsed if isinstance(parsed, dict) else self._strange(text)

    def _remote(self, fields: dict[str, Any]) -> RemoteBatch:
        counts, errors = fields.get("request_counts"), fields.get("errors")
        counts = counts if isinstance(counts, dict) else {}
        errors = errors.get("data") if isinstance(errors, dict) else None
        files = (_text(fields, name) for name in ("output_file_id", "error_file_id"))
        return RemoteBatch(
            _text(fields, "id") or self._strange(fields),
            _text(fields, "status") or self._strange(fields),
            tuple(file for file in files if file),
            completed=int(counts.get("completed") or 0),
            failed=int(counts.get("failed") or 0),
            total=int(counts.get("total") or 0),
            errors=tuple((str(e.get("code")), self._safe(str(e.get("message")))) for e in errors or ()),
        )

    def _strange(self, value: object) -> NoReturn:
        raise Transient(f"{self._where}: found {self._safe(str(value))!r}; expected an object of a batch API")


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None
