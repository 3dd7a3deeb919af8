"""What `topa index` did, and what it would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..core.command import typed
from ..core.formatting import rough_duration
from ..core.printable import Hint, Note, Printable

_SHOWN = 10


@dataclass
class IndexResult(Printable):
    """What a library holds now, and what a run did. videos, frames, seconds, bytes: in all of it, bytes of features.
    new, changed, moved, returned, gone: paths. copies: paths of the same content as another one. unchanged: how many
    files weren't looked into. bad: why files are not in it, by path. truncated: paths of damaged videos that are.
    absent: folders that aren't there, such as those of a disk that isn't mounted, and how many videos of them are kept.
    took: seconds of this run."""

    path: Path
    encoder: str
    videos: int = 0
    frames: int = 0
    seconds: float = 0.0
    bytes: int = 0
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    unchanged: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    truncated: list[str] = field(default_factory=list)
    absent: dict[str, int] = field(default_factory=dict)
    took: float = 0.0

    def lines(self) -> Iterator[str | Note | Hint]:
        """Yield what people read."""
        yield from map(Note, self._notes())
        counts = {name: len(getattr(self, name)) for name in ("new", "changed", "moved", "returned", "copies", "gone")}
        changes = [f"{number:,} {name}" for name, number in counts.items() if number]
        yield f"indexed: {', '.join([*changes, f'{self.unchanged:,} unchanged'])}; {self.took:,.1f} s"
        yield (
            f"library: {self.path} ({self.videos:,} videos, {self.seconds / 3600:,.2f} hours, {self.frames:,} "
            f"frames, {self.bytes / 1e6:,.1f} MB, {self.encoder})"
        )
        if self.videos:
            yield Hint(f"next:    {typed('search', self.path, 'what you look for')}")

    def _notes(self) -> Iterator[str]:
        for path, reason in list(self.bad.items())[:_SHOWN]:
            yield f"left out: {path}: {reason}"
        if self.bad:
            more = f" {len(self.bad) - _SHOWN:,} more: --json has all." if len(self.bad) > _SHOWN else ""
            yield f"note: {len(self.bad):,} files are left out until they change.{more}"
        if self.truncated:
            shown = ", ".join(self.truncated[:_SHOWN])
            yield f"note: {len(self.truncated):,} videos are damaged or cut, and used as far as they go: {shown}"
        for folder, number in self.absent.items():
            yield (
                f"note: {folder} isn't there, or is empty: its {number:,} videos are kept in the library. If its disk "
                "isn't mounted, mount it; if they were moved, say where they are now with --root DIR; to take them "
                "out of the library: --forget-missing"
            )


@dataclass
class IndexEstimate(Printable):
    """What a run would do. look: files to be looked into, of so many bytes. unchanged, gone: other files. frames,
    seconds, space: of what is to be encoded, told from `tried` of them; space in bytes. free: bytes on the disk. bad:
    files that can't be used, as far as it is known. command: that does it."""

    path: Path
    look: int
    bytes: int
    unchanged: int
    gone: int
    tried: int
    frames: int
    seconds: float
    space: int
    free: int
    bad: dict[str, str]
    command: str

    def lines(self) -> Iterator[str | Hint]:
        """Yield what people read."""
        yield (
            f"to do:     {self.look:,} files to look into ({self.bytes / 1e9:,.2f} GB), {self.unchanged:,} "
            f"unchanged, {self.gone:,} gone, {len(self.bad):,} that can't be read"
        )
        if self.tried:
            yield (
                f"estimate:  {rough_duration(self.seconds)}, {self.frames:,} frames, {self.space / 1e6:,.1f} MB "
                f"({self.free / 1e9:,.1f} GB are free); told from {self.tried:,} of them"
            )
        yield f"next:      {self.command}"
