"""What `topa index` did, and what it would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class IndexResult:
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

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(slots=True)
class IndexEstimate:
    """What a run would do. look: files to be looked into, of so many bytes. unchanged, gone: other files. frames,
    seconds, space: of what is to be encoded, told from `tried` of them; space in bytes. free: bytes on the disk. bad:
    files that can't be used, as far as it is known."""

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

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "path": str(self.path)}
