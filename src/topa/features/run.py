"""A run of `topa encode`: a store that is written file by file, and goes on where it was cut off.

Every chunk of the input becomes one file, written whole or not at all, with a hash of what is in it. What is whole is
kept, however a process ends; the rest is encoded, and the bytes are those of a run that was never cut off.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..core.artifacts import (
    MANIFEST,
    output_folder,
    read_manifest,
    remove,
    remove_unfinished,
    sha256,
    write_atomically,
)
from ..core.config_diff import config_diff
from ..core.errors import ArtifactError, ArtifactMismatch, InputError, OutputError, UsageError
from ..core.failures import all_failed, nameless
from ..core.formatting import rough_duration
from ..core.locks import exclusive
from ..core.printable import Hint, Note, Printable
from ..core.progress import bar, console, track
from ..core.shards import ShardSpec
from ..tideos.shards import parts
from .captions import SCRATCH, remove_scratch
from .encoder import Encoder
from .frames import Space
from .shard import NAME, read_shard, write_shard
from .sources import Encoded, Failure, Source
from .store import FILES as STORE
from .store import INDEX, KIND, FeatureStore, finish_store

RUN, FAILED = "run.json", "failed.json"
FILES = (RUN, FAILED, f"{SCRATCH}*", *STORE)
"""What a run writes into its folder."""
_FORMAT = 1
_SHOWN = 5  # names that a message has
_LONG = 60.0  # seconds from which it is worth while to say how long a run will take
_AGAIN = "What is encoded is kept: free some space, then run the same command again."


@dataclass
class EncodeResult(Printable):
    """The result of a run. path: of the store. whole: False where `path` is a part, and others are not finished. items,
    rows: in it. done: items that were there before. failed: why others are not in it, by id. truncated: ids of damaged
    videos that are. cut: captions longer than the encoder reads. bytes: on the disk. hints: what can be done next."""

    path: Path
    noun: str
    whole: bool = True
    items: int = 0
    rows: int = 0
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    truncated: list[str] = field(default_factory=list)
    cut: int = 0
    bytes: int = 0
    seconds: float = 0.0
    hints: tuple[str, ...] = ()

    def lines(self) -> Iterator[str | Note | Hint]:
        """Yield what people read."""
        for reason in list(self.failed.values())[:_SHOWN]:
            yield Note(f"left out: {reason}")
        if self.failed:
            yield Note(
                f"note: {len(self.failed):,} videos are left out; {self.path / FAILED} has all reasons. "
                "When they are mended, the same command encodes them"
            )
        if self.truncated:
            examples = ", ".join(self.truncated[:_SHOWN])
            yield Note(
                f"note: {len(self.truncated):,} videos are damaged or cut, and used as far as they go: {examples}"
            )
        if self.cut:
            yield Note(f"note: {self.cut:,} captions are longer than the encoder reads, and were cut")
        before = f", {self.done:,} of them before" if self.done else ""
        size = f"{self.rows:,} rows, {self.bytes / 1e6:,.1f} MB{before}"
        yield f"encoded: {self.items:,} {self.noun} ({size}), {self.seconds:,.0f} s"
        yield f"store:   {self.path}"
        yield from map(Hint, self.hints)


def encode(
    source: Source,
    out: Path,
    identity: str,
    load: Callable[[], Encoder],
    *,
    part: ShardSpec | None = None,
    batch_size: int | None = None,
    show: bool = True,
) -> EncodeResult:
    """Encode all items of a source, or a part of them, into a store; what is there already is kept.

    identity: of the encoder. load: gives it, and is called where there is something left to encode. The part that is
    finished last joins all of them.
    Raises ArtifactMismatch where the folder holds something else, with the difference, OutputError where it can't be
    written, or another process is at it, AllFailed where not one video can be read.
    """
    began = time.monotonic()
    folder = output_folder(out if part is None else part.folder(out), *FILES)
    if part is not None:
        output_folder(out, *FILES)
    numbers = range(len(source))[slice(None) if part is None else slice(part.index, None, part.of)]
    chunks = [numbers[start : start + source.chunk] for start in range(0, len(numbers), source.chunk)]
    if not chunks:
        raise UsageError(f"--shard {part}: found {len(source)} {source.noun}; expected one for each part. Use fewer.")
    config = {"encoder": identity, **source.config, "chunk": source.chunk, "shard": None if part is None else str(part)}
    if part is not None:
        _check(out, {**config, "shard": _all(part.of)})
    with exclusive(folder):
        _record_config(folder, config, source.paths)
        left = _left(folder, chunks, source, show)
        done = len(numbers) - sum(len(chunks[number]) for number in left)
        if left or not _finished(folder):
            for place in (folder, out):  # what the parts make together is unfinished too
                remove(place / MANIFEST)
            if left:
                _write(folder, chunks, left, source, load(), batch_size, show)
            names = [NAME.format(number) for number in range(len(chunks))]
            _finish(folder, names, config, source.space, source.parents)
        remove_scratch(folder / SCRATCH)
    result = _result(folder, source.noun)
    result.done = done
    if part is not None:
        try:
            join(out)
        except (ArtifactError, InputError):  # others are not finished
            result.whole = False
        else:
            result.path = out
    result.seconds = time.monotonic() - began
    return result


def join(out: Path) -> EncodeResult:
    """Make one store of the finished parts in a folder; their features stay where they are.

    Raises InputError where there are no parts or not all, ArtifactError for one that isn't finished, ArtifactMismatch
    for parts that were not made alike, or where the folder holds something else.
    """
    shards = parts(out, "encode")
    folders = [shard.folder(out) for shard in shards]
    manifests = [read_manifest(folder, KIND) for folder in folders]
    runs = [_read(folder) for folder in folders]
    for shard, run in zip(shards, runs, strict=True):
        if other := config_diff({**run["config"], "shard": "0"}, {**runs[0]["config"], "shard": "0"}):
            raise ArtifactMismatch(f"shard {shard}: {other} in 0/{shard.of}. Encode all shards with the same options.")
    config = {**runs[0]["config"], "shard": _all(len(shards))}
    output_folder(out, *FILES)
    with exclusive(out, wait=True):
        _record_config(out, config, runs[0]["paths"])
        remove(out / MANIFEST)
        known = {
            f"{folder.name}/{name}": digest
            for folder, manifest in zip(folders, manifests, strict=True)
            for name, digest in manifest.files.items()
            if name.startswith("features-")
        }
        first = manifests[0]
        _finish(out, list(known), config, first.config["space"], first.parents, known)
    return _result(out, "Tideos" if first.config["space"] == "text" else "videos")


def paths_of(store: FeatureStore) -> list[Path]:
    """Return the files that a store was made of, as far as they were recorded."""
    try:
        return [Path(path) for path in _read(store.path)["paths"]]
    except ArtifactError:
        return []


def _left(folder: Path, chunks: Sequence[Sequence[int]], source: Source, show: bool) -> list[int]:
    """Return the numbers of chunks without a whole file, or with failed videos that have changed since."""
    left = []
    there = any((folder / NAME.format(number)).exists() for number in range(len(chunks)))
    for number in track(range(len(chunks)), "check", len(chunks), show=show and there):
        path = folder / NAME.format(number)
        if not path.exists():
            left.append(number)
            continue
        try:
            about = read_shard(path, verify=True).about
            whole = about.get("items") == [chunks[number][0], chunks[number][-1]] and source.same(_failed(about))
        except ArtifactError:
            whole = False
            if show:
                _tell(f"{path}: is damaged, and is encoded again")
        if not whole:
            left.append(number)
    return left


def _write(
    folder: Path,
    chunks: Sequence[Sequence[int]],
    left: Sequence[int],
    source: Source,
    encoder: Encoder,
    batch_size: int | None,
    show: bool,
) -> None:
    """Encode the remaining chunks, a file each."""
    total = sum(map(len, chunks))
    done = total - sum(len(chunks[number]) for number in left)
    if show:
        before = f", {done:,} of them before" if done else ""
        _tell(f"encode: {total:,} {source.noun}{before}; {encoder.identity} on {encoder.device}")
    began = time.monotonic()
    encoded_items = failed = 0
    with bar("encode", total, show=show) as line:
        line.advance(done)

        def step(items: int) -> None:
            nonlocal encoded_items
            encoded_items += items
            note = f"{encoded_items / max(time.monotonic() - began, 1e-9):,.1f} {source.noun}/s"
            line.advance(items, f"{note}, {failed:,} failed" if failed else note)

        encoded = source.encode([chunks[number] for number in left], encoder, folder, batch_size, step)
        for place, (number, chunk) in enumerate(zip(left, encoded, strict=True)):
            about = {
                "items": [chunks[number][0], chunks[number][-1]],
                "failed": {name: asdict(failure) for name, failure in chunk.failed.items()},
                "truncated": chunk.truncated,
                "cut": chunk.cut,
            }
            try:
                write_shard(folder / NAME.format(number), chunk.items, encoder.width, about)
            except OutputError as error:
                raise OutputError(f"{error} {_AGAIN}") from error
            failed += len(chunk.failed)
            if show and not place and len(left) > 1:
                _estimate(folder, chunk, encoder.width, total - done, time.monotonic() - began, source.noun)


def _estimate(folder: Path, first: Encoded, width: int, total: int, seconds: float, noun: str) -> None:
    """Print an estimate of a long run, from its first chunk."""
    share = (len(first.items) + len(first.failed)) / total
    size = sum(len(item.values) for item in first.items) * (2 * width + 8) / share
    free = shutil.disk_usage(folder).free
    if seconds / share > _LONG:
        _tell(
            f"encode: {total:,} {noun} take {rough_duration(seconds / share)} and {size / 1e9:,.2f} GB in {folder} "
            f"({free / 1e9:,.1f} GB are free)"
        )
    if size > free:
        _tell("encode: the disk will be full before that. What is encoded is kept then")


def _finish(
    folder: Path,
    names: Sequence[str],
    config: Mapping[str, Any],
    space: Space,
    parents: Mapping[str, str],
    known: Mapping[str, str] | None = None,
) -> None:
    """Make a store of the finished files, and write what failed beside it."""
    shards = [read_shard(folder / name) for name in names]
    failed = {name: failure.reason for shard in shards for name, failure in _failed(shard.about).items()}
    if failed:
        write_atomically(folder / FAILED, json.dumps(failed, ensure_ascii=False, indent=1) + "\n")
    else:
        remove(folder / FAILED)
    if not any(len(shard.ends) for shard in shards):
        failures = [(name, nameless(text, [name])) for name, text in failed.items()]
        raise all_failed("encode", "videos", failures, f"{folder / FAILED} has all reasons.")
    about: dict[str, Any] = {k: v for k, v in config.items() if k not in ("encoder", *parents)}
    if space == "text":
        about["cut_captions"] = sum(shard.about["cut"] for shard in shards)
    else:
        about["failed"] = failed
        about["truncated"] = [name for shard in shards for name in shard.about["truncated"]]
    width = shards[0].values.shape[1]
    finish_store(folder, names, config["encoder"], width, space, parents, about, known)


def _result(folder: Path, noun: str) -> EncodeResult:
    store = FeatureStore.open(folder)
    config = store.manifest.config
    return EncodeResult(
        folder,
        noun,
        items=len(store),
        rows=store.manifest.counts["rows"],
        failed=config.get("failed", {}),
        truncated=config.get("truncated", []),
        cut=config.get("cut_captions", 0),
        bytes=sum((folder / name).stat().st_size for name in store.manifest.files),
    )


def _failed(about: Mapping[str, Any]) -> dict[str, Failure]:
    return {
        name: Failure(failure["reason"], None if failure["file"] is None else tuple(failure["file"]))
        for name, failure in about["failed"].items()
    }


def _record_config(folder: Path, config: Mapping[str, Any], paths: Sequence[str]) -> None:
    """Record what a folder is to hold, or refuse it where it holds something else."""
    _check(folder, config)
    remove_unfinished(folder)
    record = {"format": _FORMAT, "config": config, "paths": paths}
    write_atomically(folder / RUN, json.dumps(record, ensure_ascii=False, indent=1) + "\n")


def _check(folder: Path, config: Mapping[str, Any]) -> None:
    if (folder / RUN).exists():
        if other := config_diff(config, _read(folder)["config"]):
            raise ArtifactMismatch(
                f"{folder}: holds another run of topa encode: {other}. Give the same inputs and options as before, or "
                "another folder with --out."
            )
    elif (folder / MANIFEST).exists() or any(folder.glob("features-*")):
        raise ArtifactMismatch(
            f"{folder}: found an artifact that topa encode didn't write; expected an empty folder, or one of its own. "
            "Name another one with --out."
        )


def _all(parts: int) -> str:
    return f"all of {parts}"


def _finished(folder: Path) -> bool:
    """Whether there is a manifest, and an index as it says."""
    try:
        return FeatureStore.open(folder).manifest.files[INDEX] == sha256(folder / INDEX)
    except ArtifactError:
        return False


def _read(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RUN).read_bytes())
        if record["format"] != _FORMAT:
            raise ValueError(f"format version {record['format']}; this topa reads {_FORMAT}")
        return {"config": dict(record["config"]), "paths": list(record["paths"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder / RUN}: can't be read ({error}); expected the notes of topa encode. Encode into another folder."
        ) from error


def _tell(text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
