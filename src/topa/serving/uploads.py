"""Uploaded videos, on the disk until others take their place, they are removed, or the server ends.

Takes chunks from the HTTP layer and from `fetching`; gives paths to the decoder.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
import time
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import IO, Any

from .errors import RequestError
from .settings import ServerLimits

_BLOCK = 1 << 20  # bytes that are hashed and written at once, in a thread: the event loop waits for no disk
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME = 100
_PARTIAL = "arriving"


@dataclass(frozen=True, slots=True)
class Upload:
    """A video as it was sent. id: of its content, `vid_` and 24 hexadecimal digits. path: its file, named by the id.
    name: as the client calls it, for display only. bytes: of the file. created: when, in seconds since 1970."""

    id: str
    path: Path
    name: str
    bytes: int
    created: int


@dataclass(slots=True)
class _StoredUpload:
    """users: how many read its file now. If it is removed meanwhile, the last of them deletes it."""

    upload: Upload
    users: int = 0
    removed: bool = False


class Uploads:
    """Uploaded videos in a folder of their own inside `folder`; equal content is stored once, under its latest name.

    Where the limits are reached, the least recently used one is evicted, never one that is in use. For one event loop's
    thread.
    """

    def __init__(self, folder: Path, limits: ServerLimits) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="uploads-", dir=folder))
        self._limits = limits
        self._stored: dict[str, _StoredUpload] = {}  # the one used last is last
        self._bytes = 0  # on the disk, also of what is still arriving
        self._numbers = count()

    async def receive(self, chunks: AsyncIterable[bytes], name: str) -> Upload:
        """Store a video from its bytes, as they arrive; nothing of it stays where they end in an error.

        No other request can have it evicted before the caller's next await. Raises RequestError: 413 `too_large`, 507
        `no_space`; and what `chunks` raises.
        """
        folder = self._folder / str(next(self._numbers))
        digest, size, block = sha256(), 0, bytearray()
        try:
            folder.mkdir()
            with (folder / _PARTIAL).open("xb") as file:
                async for chunk in chunks:
                    if size + len(chunk) > self._limits.upload:
                        raise too_large(self._limits.upload)
                    self._make_room(len(chunk))
                    self._bytes += len(chunk)
                    size += len(chunk)
                    block += chunk
                    if len(block) >= _BLOCK:
                        await asyncio.to_thread(_write, bytes(block), file, digest)
                        block.clear()
                await asyncio.to_thread(_write, bytes(block), file, digest)
            return self._store(folder, f"vid_{digest.hexdigest()[:24]}", size, display_name(name))
        except BaseException as error:
            self._delete(folder, size)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise _no_space("the disk is full") from error
            raise
        finally:
            if isinstance(chunks, AsyncGenerator):  # a connection may hang on it
                await chunks.aclose()

    def get(self, id: str) -> Upload:
        """Return an upload. Raises RequestError, 404 `video_not_found`, where it is not, or no longer, stored."""
        return self._use(id).upload

    @contextmanager
    def using(self, id: str) -> Iterator[Upload]:
        """Return an upload whose file stays where it is meanwhile. Raises what `get` raises."""
        stored = self._use(id)
        stored.users += 1
        try:
            yield stored.upload
        finally:
            stored.users -= 1
            if stored.removed and not stored.users:
                self._delete(stored.upload.path.parent, stored.upload.bytes)

    def remove(self, id: str) -> None:
        """Forget an upload; its file is deleted when nobody reads it any more. Raises what `get` raises."""
        stored = self._use(id)
        del self._stored[id]
        stored.removed = True
        if not stored.users:
            self._delete(stored.upload.path.parent, stored.upload.bytes)

    def close(self) -> None:
        """Remove everything, whoever reads it."""
        self._stored.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _store(self, folder: Path, id: str, size: int, name: str) -> Upload:
        if known := self._stored.get(id):
            self._delete(folder, size)
            known.upload = replace(known.upload, name=name)
        else:
            self._make_room(0, videos=1)
            path = (folder / _PARTIAL).rename(folder / id)
            self._stored[id] = _StoredUpload(Upload(id, path, name, size, int(time.time())))
        return self.get(id)

    def _use(self, id: str) -> _StoredUpload:
        stored = self._stored.pop(id, None)
        if stored is None:
            raise RequestError(
                f"video: found no upload {id[:_NAME]!r}; expected the id of one that is kept. Upload the video, "
                "once more if it was there: the one that nobody used for the longest time makes room for others.",
                status=404,
                code="video_not_found",
                param="video",
            )
        self._stored[id] = stored
        return stored

    def _make_room(self, size: int, videos: int = 0) -> None:
        """Evict until so many bytes, and so many videos, more may be stored."""
        limits = self._limits
        while self._bytes + size > limits.kept_bytes or len(self._stored) + videos > limits.kept_videos:
            oldest = next((id for id, stored in self._stored.items() if not stored.users), None)
            if oldest is None:
                raise _no_space("all videos that are kept are in use")
            self.remove(oldest)

    def _delete(self, folder: Path, size: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._bytes -= size


def display_name(name: str) -> str:
    """Return a file's name for display: without folders, without invisible characters, 100 characters at most."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip()[:_NAME] or "video"


def too_large(limit: int) -> RequestError:
    """Return the error for a video of more bytes than the limit."""
    return RequestError(
        f"video: found more than {limit} bytes; expected at most so many. Cut it into parts, or make it smaller.",
        status=413,
        code="too_large",
        param="video",
    )


def _write(block: bytes, file: IO[bytes], digest: Any) -> None:
    digest.update(block)
    file.write(block)


def _no_space(reason: str) -> RequestError:
    return RequestError(
        f"video: found no space to keep it ({reason}). Try again later, or give a smaller one.",
        status=507,
        code="no_space",
        param="video",
    )
