"""The feature stores of a library: one of each run that added videos, written file by file.

A file is whole or not there, and says what its videos are: after a kill, the files are made a store, and nothing that
is in one is decoded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.artifacts import output_folder, read_manifest, remove_folder
from ..core.errors import ArtifactError, OutputError
from ..features.shard import NAME, Item, read_shard, write_shard
from ..features.store import KIND, finish_store
from .catalogue import Content, IndexSettings
from .layout import new_part, part_folders


class PartWriter:
    """Writes a store in `folder`, the next free part of a library. contents: what is in it so far."""

    def __init__(self, library: Path, settings: IndexSettings, width: int) -> None:
        self.folder = output_folder(new_part(library))
        self.contents: dict[str, Content] = {}
        self._settings, self._width = settings, width
        self._waiting: list[Item] = []
        self._files: list[str] = []

    def add(self, name: str, values: Tensor, times: Tensor, duration: float, truncated: bool) -> None:
        """Keep a video for the next file. name: of its content. values: [T, D] unit rows. times: float64 [T]."""
        self._waiting.append(Item(name, values.half(), times, len(self.contents)))
        self.contents[name] = Content(duration, len(values), self.folder.name, truncated)

    def flush(self) -> None:
        """Write what waits. Raises OutputError where there is no room for it."""
        if self._waiting:
            told = {item.name: asdict(self.contents[item.name]) for item in self._waiting}
            name = NAME.format(len(self._files))
            try:
                write_shard(self.folder / name, self._waiting, self._width, _about(self._settings, told))
            except OutputError as error:
                raise OutputError(
                    f"{error} What was indexed before is kept: free some space, then run the same command again."
                ) from error
            self._files.append(name)
            self._waiting = []

    def finish(self) -> None:
        """Make it a store; without a video, it is gone."""
        self.flush()
        _finish(self.folder, self._files, self._settings, self._width)


def adopt(library: Path, settings: IndexSettings, known: set[str]) -> dict[str, Content]:
    """What parts hold that the catalogue doesn't know, as a run was killed before it could say so. known: names of
    parts. Those that aren't whole are finished with what is, or gone where that is nothing."""
    found: dict[str, Content] = {}
    for folder in part_folders(library):
        if folder.name in known:
            continue
        files, width = [], 0
        for path in sorted(folder.glob("features-*")):
            try:
                shard = read_shard(path, verify=True)
            except ArtifactError:
                continue
            if shard.about.get("settings") == _decisive(settings):
                files.append(path.name)
                width = shard.values.shape[1]
                found |= {name: Content(**told) for name, told in shard.about["videos"].items()}
        try:
            read_manifest(folder, KIND)
        except ArtifactError:
            _finish(folder, files, settings, width)
    return found


def _about(settings: IndexSettings, videos: Mapping[str, Any]) -> dict[str, Any]:
    return {"settings": _decisive(settings), "videos": dict(videos)}


def _decisive(settings: IndexSettings) -> dict[str, Any]:
    """What decides the features: the encoder may have another name since."""
    return {name: told for name, told in asdict(settings).items() if name != "encoder"}


def _finish(folder: Path, files: list[str], settings: IndexSettings, width: int) -> None:
    if files:
        finish_store(folder, files, settings.identity, width, "image", config={"rate": settings.rate})
    else:
        remove_folder(folder)
