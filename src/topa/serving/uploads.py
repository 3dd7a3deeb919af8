"""Videos that clients gave, on the disk until others take their place, they are removed, or the server ends.

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
from .settings import Limits

_BLOCK = 1 << 20  # bytes that are hashed and written at once, in a thread: the event loop waits for no disk
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME = 100
_ARRIVING = "arriving"


@dataclass(frozen=True, slots=True)
class Upload:
    """A video as it was given. id: of its content, `vid_` and 24 hexadecimal digits. path: its file, named by the id.
    name: as the client calls it, to be shown only. bytes: of the file. created: when, in seconds since 1970."""

    id: str
    path: Path
    name: str
    bytes: int
    created: int


@dataclass(slots=True)
class _Kept:
    """users: that read its file now. Removed meanwhile, it is deleted by the last of them."""

    upload: Upload
    users: int = 0
    removed: bool = False


class Uploads:
    """Uploaded videos in a folder of their own inside `folder`; equal content is kept once, under the name given last.

    Where the limits are reached, the one that was used least recently goes, never one that is in use. For one event
    loop's thread.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="uploads-", dir=folder))
        self._limits = limits
        self._kept: dict[str, _Kept] = {}  # the one used last is last
        self._bytes = 0  # on the disk, also of what is still arriving
        self._numbers = count()

    async def receive(self, chunks: AsyncIterable[bytes], name: str) -> Upload:
        """A video from its bytes, as they come; nothing of it stays where they end in an error.

        No other request can have it evicted before the caller's next await. Raises RequestError: 413 `too_large`, 507
        `no_space`; and what `chunks` raises.
        """
        own = self._folder / str(next(self._numbers))
        digest, size, block = sha256(), 0, bytearray()
        try:
            own.mkdir()
            with (own / _ARRIVING).open("xb") as file:
                async for chunk in chunks:
                    if size + len(chunk) > self._limits.upload:
                        raise _too_large(self._limits.upload)
                    self._make_room(len(chunk))
                    self._bytes += len(chunk)
                    size += len(chunk)
                    block += chunk
                    if len(block) >= _BLOCK:
                        await asyncio.to_thread(_take, bytes(block), file, digest)
                        block.clear()
                await asyncio.to_thread(_take, bytes(block), file, digest)
            return self._keep(own, f"vid_{digest.hexdigest()[:24]}", size, shown(name))
        except BaseException as error:
            self._delete(own, size)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise _no_space("the disk is full") from error
            raise
        finally:
            if isinstance(chunks, AsyncGenerator):  # a connection may hang on it
                await chunks.aclose()

    def get(self, name: str) -> Upload:
        """The video of an id. Raises RequestError, 404 `video_not_found`, where it is not, or no longer, kept."""
        return self._find(name).upload

    @contextmanager
    def using(self, name: str) -> Iterator[Upload]:
        """The video of an id, whose file stays where it is meanwhile. Raises what `get` raises."""
        kept = self._find(name)
        kept.users += 1
        try:
            yield kept.upload
        finally:
            kept.users -= 1
            if kept.removed and not kept.users:
                self._delete(kept.upload.path.parent, kept.upload.bytes)

    def remove(self, name: str) -> None:
        """Forget a video; its file goes when nobody reads it any more. Raises what `get` raises."""
        kept = self._find(name)
        del self._kept[name]
        kept.removed = True
        if not kept.users:
            self._delete(kept.upload.path.parent, kept.upload.bytes)

    def close(self) -> None:
        """Remove everything, whoever reads it."""
        self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self, own: Path, identity: str, size: int, name: str) -> Upload:
        if known := self._kept.get(identity):
            self._delete(own, size)
            known.upload = replace(known.upload, name=name)
        else:
            self._make_room(0, videos=1)
            path = (own / _ARRIVING).rename(own / identity)
            self._kept[identity] = _Kept(Upload(identity, path, name, size, int(time.time())))
        return self._find(identity).upload

    def _find(self, name: str) -> _Kept:
        kept = self._kept.pop(name, None)
        if kept is None:
            raise RequestError(
                f"video: found no upload {name[:_NAME]!r}; expected the id of one that is kept. Upload the video, "
                "once more if it was there: the one that nobody used for the longest time makes room for others.",
                status=404,
                code="video_not_found",
                param="video",
            )
        self._kept[name] = kept
        return kept

    def _make_room(self, size: int, videos: int = 0) -> None:
        """Evict until so many bytes, and so many videos, more may be kept."""
        limits = self._limits
        while self._bytes + size > limits.kept_bytes or len(self._kept) + videos > limits.kept_videos:
            oldest = next((name for name, kept in self._kept.items() if not kept.users), None)
            if oldest is None:
                raise _no_space("all videos that are kept are in use")
            self.remove(oldest)

    def _delete(self, own: Path, size: int) -> None:
        shutil.rmtree(own, ignore_errors=True)
        self._bytes -= size


def shown(name: str) -> str:
    """A file's name as it may be shown: without folders, without what can't be seen, 100 characters at most."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(sign for sign in last if unicodedata.category(sign)[0] != "C").strip()[:_NAME] or "video"


def _take(block: bytes, file: IO[bytes], digest: Any) -> None:
    digest.update(block)
    file.write(block)


def _too_large(most: int) -> RequestError:
    return RequestError(
        f"video: found more than {most} bytes; expected at most so many. Cut it into parts, or make it smaller.",
        status=413,
        code="too_large",
        param="video",
    )


def _no_space(found: str) -> RequestError:
    return RequestError(
        f"video: found no space to keep it ({found}). Try again later, or give a smaller one.",
        status=507,
        code="no_space",
        param="video",
    )
