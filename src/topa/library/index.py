"""The verb `index`: a library of videos is made, or brought up to date.

What a run does is decided by what the catalogue says and what lies on the disk: new and changed files are encoded,
moved ones are known again, those that have gone are left out and remembered, bad ones wait until they change. A run
may end at any time: the next one goes on.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..core.artifacts import MANIFEST, output_folder, read_manifest
from ..core.command import command_line
from ..core.errors import ArtifactError, ArtifactMismatch, InputError, MissingVideos, UsageError
from ..core.failures import all_failed, nameless
from ..core.locks import exclusive
from ..core.progress import Bar, bar, console
from . import catalogue as kept
from .catalogue import FEATURES, Catalogue, File, IndexSettings
from .finding import InputFiles, find
from .fingerprint import State, sample, state, whole
from .layout import part_folders, remove_leftovers
from .outcome import IndexEstimate, IndexResult
from .relocation import relocate, split_pattern

if TYPE_CHECKING:
    from ..features.encoder import Encoder
    from ..features.video import SampledVideo
    from .parts import PartWriter

WORKERS = 4  # at most, unless more are asked for: each may hold the pictures of a long video
_FLUSH_SECONDS = 60.0  # of work that a kill may lose
_FLUSH_ROWS = 1 << 16
_SHOWN = 3  # folders that a message names
_TRIED = 3  # videos that an estimate is made of


@dataclass(frozen=True)
class Wanted:
    """How to index. None: as the library was made, or the default. encoder: a folder, hub id or a name that `resolve`
    knows. The others are those of `IndexSettings`. workers: processes that decode. wait: until another process that is
    at work in the library has ended. root: the folder that the videos are in now. forget_missing: videos leave the
    library even where a whole folder of them isn't there, or all are gone at once."""

    encoder: str | None = None
    rate: float | None = None
    cap: int | None = None
    scenes: float | None = None
    workers: int | None = None
    wait: bool = False
    root: str | None = None
    forget_missing: bool = False


@dataclass(frozen=True)
class Towers:
    """Where encoders come from. resolve: what a name stands for. default: the name where none is given. load: reads
    one by what its name stands for; identify: only says which it is."""

    default: str
    resolve: Callable[[str], str]
    load: Callable[[str], Encoder]
    identify: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _ExaminedFile:
    """A file that was looked into. id: of its content. reason: why it can't be used."""

    path: str
    state: State
    sample: str = ""
    id: str | None = None
    reason: str | None = None


def index(inputs: Sequence[str], out: Path, wanted: Wanted, towers: Towers, *, show: bool = True) -> IndexResult:
    """Make a library of the inputs, or add them to one; all that it was made of before is looked at again.

    inputs: folders, files, patterns, .txt and .csv lists; none where the library is only brought up to date.
    Raises UsageError for impossible options, InputError for inputs that can't be used, MissingVideos where all videos
    of the library are gone at once, ArtifactMismatch for a library of other settings, ArtifactError for one of another
    format version, OutputError where it can't be written or another process is at work in it, AllFailed where not one
    file can be used.
    """
    began = time.monotonic()
    _check(wanted)
    if kept.read(out) is None and not inputs:  # what isn't ours is refused before anything is written
        _nothing(out)
    folder = output_folder(out, kept.CATALOGUE, MANIFEST)
    with exclusive(folder, wait=wanted.wait):
        run = _IndexRun(folder, inputs, wanted, towers)
        run.recover()
        todo = run.compare()
        try:
            run.encode(todo, show)
        finally:
            run.close()
        result = run.result()
    if not result.videos and result.bad:
        failures = [(path, nameless(reason, [path])) for path, reason in result.bad.items()]
        raise all_failed("index", "files", failures, "They are tried again when they have changed.")
    if not run.catalogue.contents:
        raise InputError(f"{out}: found none of its files any more; expected some. Put them back.")
    result.took = time.monotonic() - began
    return result


def estimate(inputs: Sequence[str], out: Path, wanted: Wanted, towers: Towers) -> IndexEstimate:
    """What `index` would do; a few of the files are decoded and encoded, and nothing is kept. Raises as it does."""
    _check(wanted)
    run = _IndexRun(out, inputs, wanted, towers)
    todo = run.compare()
    tried = frames = 0
    took = 0.0
    space = 0.0
    if todo:
        from ..features.clips import Clip

        encoder = run.load()
        some = [todo[number * len(todo) // _TRIED] for number in range(_TRIED)] if len(todo) > _TRIED else todo
        began = time.monotonic()
        for _, decoded in run.decoded((Clip(path, path) for path, _ in some), encoder):
            tried += 1
            if isinstance(decoded, str):
                continue
            frames += len(run.features(decoded, encoder)[0])
        took = time.monotonic() - began
        space = frames * _row(encoder.width)
    share = len(todo) / max(tried, 1)
    there = out.absolute()
    while not there.exists():
        there = there.parent
    return IndexEstimate(
        out,
        len(todo),
        sum(found.size for _, found in todo),
        run.unchanged,
        len(run.gone),
        tried,
        round(frames * share),
        took * share,
        round(space * share),
        shutil.disk_usage(there).free,
        {run.key(path): _said(path, reason) for path, reason in run.found.bad.items()},
    )


class _IndexRun:
    """One run over a library. folder: of the library. catalogue: as it is, and becomes."""

    def __init__(self, folder: Path, inputs: Sequence[str], wanted: Wanted, towers: Towers) -> None:
        self.folder = folder
        before = kept.read(folder)
        if before is None and not inputs:
            _nothing(folder)
        if wanted.root is not None:
            if before is None:
                raise UsageError(
                    f"--root: found no library in {folder}; expected one whose videos were moved. Leave --root out."
                )
            before = relocate(before, folder, wanted.root)
        self.top = kept.root(folder, before)
        self.found: InputFiles = find(
            [os.path.abspath(path) for path in inputs],
            [kept.path_of(path, self.top) for path in (before.sources if before else ())],
        )
        if before is None and not self.found.files and not self.found.bad:
            raise InputError(
                f"{', '.join(inputs[:3])}: found no video in it; expected at least one. Name video files or their "
                "folder."
            )
        self._towers = towers
        self.catalogue = before or Catalogue(_settings(wanted, towers))
        self._forget_missing = wanted.forget_missing
        self._absent: dict[str, str] = {}  # videos that are kept, by name, with the folder that isn't there
        if before is not None:
            if before.contents or part_folders(folder):
                self._expect(wanted)
            else:  # nothing was ever encoded: there is nothing that settings must fit
                before.settings = _settings(replace(wanted, encoder=wanted.encoder or before.settings.encoder), towers)
        sources = {self.key(os.path.abspath(path)): None for path in inputs}
        self.catalogue.sources = list(dict.fromkeys([*self.catalogue.sources, *sources]))
        self.workers = wanted.workers or min(os.cpu_count() or 1, WORKERS)
        self.unchanged = 0
        self.gone: list[str] = []
        self._told: dict[str, list[str]] = {name: [] for name in ("new", "changed", "moved", "returned", "copies")}
        self._names: dict[str, set[str]] = {}  # of files, by the id of their content
        for name, file in self.catalogue.files.items():
            if file.id:
                self._names.setdefault(file.id, set()).add(name)
        self._part: PartWriter | None = None

    def key(self, path: str) -> str:
        """The name of an absolute path in the catalogue."""
        return kept.key(path, self.top)

    def recover(self) -> None:
        """Take over what a killed run left, and forget features that aren't there any more."""
        remove_leftovers(self.folder)
        there = set()
        folders = part_folders(self.folder)
        for path in folders:
            try:
                read_manifest(path, "features")
                there.add(path.name)
            except ArtifactError:
                continue
        contents = self.catalogue.contents
        self.catalogue.contents = {name: content for name, content in contents.items() if content.part in there}
        known = {content.part for content in self.catalogue.contents.values()}
        if len(folders) > len(known):
            from .parts import adopt

            self.catalogue.contents = adopt(self.folder, self.catalogue.settings, known) | self.catalogue.contents

    def compare(self) -> list[tuple[str, State]]:
        """The files that have to be looked into, by path; the catalogue learns which others have gone, or are back."""
        files, todo = self.catalogue.files, []
        live = {name for name, file in files.items() if file.id in self.catalogue.contents and not file.gone}
        for path, now in self.found.files.items():
            name = self.key(path)
            file = files.get(name)
            same = file is not None and (file.size, file.changed) == (now.size, now.changed)
            if file is not None and same and (file.reason or file.id in self.catalogue.contents):
                if file.gone:
                    file.gone = False
                    self._told["returned"].append(name)
                self.unchanged += 1
            else:
                todo.append((path, now))
        closed = self.found.closed
        if not self._forget_missing:
            if live and not todo and not any(self._is_there(name, closed) for name in live):
                self._refuse(live)
            self._absent = self._in_absent_folders(live - {self.key(path) for path in self.found.files})
        for path, reason in self.found.bad.items():
            # Without a state that could stay the same: it is tried again by every run.
            if self.key(path) not in self._absent:
                files[self.key(path)] = File(-1, -1, reason=_said(path, reason))
        there = {self.key(path) for path in (*self.found.files, *self.found.bad)}
        for name in sorted(files.keys() - there - self._absent.keys()):
            if any(kept.is_below(kept.path_of(name, self.top), folder) for folder in closed):
                continue
            if files[name].id is None:
                del files[name]
            elif not files[name].gone:
                files[name].gone = True
                self.gone.append(name)
        return todo

    def _is_there(self, name: str, closed: Sequence[str]) -> bool:
        path = kept.path_of(name, self.top)
        return path in self.found.files or any(kept.is_below(path, folder) for folder in closed)

    def _in_absent_folders(self, missing: Iterable[str]) -> dict[str, str]:
        """Which missing videos are in a folder that isn't there at all, or is empty as of a disk that isn't mounted;
        with the folder. It is the one that was indexed, or else the one that they are in."""
        bases = {split_pattern(kept.path_of(source, self.top))[0] for source in self.catalogue.sources}
        empty: dict[str, bool] = {}
        absent = {}
        for name in missing:
            path = kept.path_of(name, self.top)
            indexed = (base for base in bases if base != path and kept.is_below(path, base))
            folder = max(indexed, key=len, default=os.path.dirname(path))
            if folder not in empty:
                empty[folder] = not _holds_anything(folder)
            if empty[folder]:
                absent[name] = folder
        return absent

    def _refuse(self, live: set[str]) -> NoReturn:
        told = shlex.quote(str(self.folder))
        places = sorted({os.path.dirname(kept.path_of(name, self.top)) for name in live})
        more = f" and {len(places) - _SHOWN} other folders" if len(places) > _SHOWN else ""
        raise MissingVideos(
            f"{self.folder}: found none of its {len(live):,} videos; expected them in "
            f"{', '.join(places[:_SHOWN])}{more}. Nothing was changed. If their disk isn't mounted, mount it. If they "
            f"were moved, say where they are now: topa index --out {told} --root DIR. To take them all out of the "
            f"library: topa index --out {told} --forget-missing"
        )

    def encode(self, todo: Sequence[tuple[str, State]], show: bool) -> None:
        """Look into files, and encode those whose content has no features yet."""
        if not todo:
            return
        from ..features.clips import Clip

        encoding: dict[str, list[_ExaminedFile]] = {}
        with bar("index", len(todo), show=show) as line:
            counted = _IndexProgress(line)

            def clips() -> Iterator[Clip]:
                for looked in self._looked_into(todo):
                    if looked.id is None or looked.id in self.catalogue.contents:
                        self._learn(looked)
                        counted.file(looked.reason)
                    elif looked.id in encoding:
                        encoding[looked.id].append(looked)
                    else:
                        encoding[looked.id] = [looked]
                        yield Clip(looked.id, looked.path)

            wanted = clips()
            first = next(wanted, None)
            if first is None:
                return
            encoder = self.load()
            self._save()  # from here on it is a library, also after a kill
            part = self._part = self._begin(encoder)
            flushed, waiting = time.monotonic(), 0
            for clip, decoded in self.decoded(chain([first], wanted), encoder):
                reason = decoded if isinstance(decoded, str) else _changed(encoding[clip.id][0])
                if reason is None and not isinstance(decoded, str):
                    values, times = self.features(decoded, encoder)
                    part.add(clip.id, values, times, decoded.info.duration_s, decoded.truncated)
                    self.catalogue.contents[clip.id] = part.contents[clip.id]
                    counted.frames += len(values)
                    waiting += len(values)
                for looked in encoding.pop(clip.id):
                    self._learn(looked if reason is None else replace(looked, id=None, reason=reason))
                    counted.file(reason)
                if time.monotonic() - flushed > _FLUSH_SECONDS or waiting > _FLUSH_ROWS:
                    part.flush()
                    self._save()
                    if show:
                        counted.estimate(self.folder, len(todo), encoder.width)
                    flushed, waiting = time.monotonic(), 0

    def _save(self) -> None:
        """Write the catalogue for the next run, with what is bad, and without what is in no finished store."""
        unfinished = set() if self._part is None else set(self._part.contents)
        contents = {name: told for name, told in self.catalogue.contents.items() if name not in unfinished}
        files = {name: file for name, file in self.catalogue.files.items() if file.id not in unfinished}
        replace(self.catalogue, contents=contents, files=files).save(self.folder)

    def load(self) -> Encoder:
        """The encoder of the library. Raises ArtifactMismatch where its name now stands for another one."""
        settings = self.catalogue.settings
        encoder = self._towers.load(self._towers.resolve(settings.encoder))
        if encoder.identity != settings.identity:
            raise _other_encoder(self.folder, settings, encoder.identity)
        return encoder

    def decoded(self, clips: Iterable[Any], encoder: Encoder) -> Iterator[tuple[Any, SampledVideo | str]]:
        """Clips with their pictures, or why there are none. The pictures are at most twice as large as the encoder
        sees them, so that those of an hour fit into memory."""
        from ..features.decoding import decoders
        from ..features.video import Rate

        settings = self.catalogue.settings
        with decoders(self.workers) as pool:
            for clip, decoding in pool.ahead(clips, Rate(settings.rate, settings.cap), 2 * encoder.side):
                try:
                    yield clip, decoding.result()
                except InputError as error:
                    yield clip, str(error)

    def features(self, sampled: SampledVideo, encoder: Encoder) -> tuple[Any, Any]:
        """Rows, float32 [T, D], and times, float64 [T], of the frames that are kept: none twice."""
        import torch

        once = [n for n, time in enumerate(sampled.times) if not n or time > sampled.times[n - 1]]
        values = encoder.encode_images([sampled.frames[n] for n in once])
        times = torch.tensor([sampled.times[n] for n in once], dtype=torch.float64)
        if (apart := self.catalogue.settings.scenes) is not None:
            from ..features.keyframes import select_keyframes

            cuts = int(((values[1:] * values[:-1]).sum(dim=-1) < 1 - apart).sum())
            chosen = torch.tensor(select_keyframes(values, cuts + 1))
            values, times = values[chosen], times[chosen]
        return values, times

    def close(self) -> None:
        """Finish the store, then the catalogue, then the manifest."""
        if self._part is not None:
            self._part.finish()
        if not self.catalogue.contents:
            self.catalogue.save(self.folder)
        elif self.catalogue.save(self.folder) or not (self.folder / MANIFEST).is_file():
            some = next(iter(self.catalogue.contents.values()))
            width = read_manifest(self.folder / FEATURES / some.part, "features").width
            self.catalogue.finish(self.folder, width or 0)

    def result(self) -> IndexResult:
        """What there is now."""
        files, contents = self.catalogue.files, self.catalogue.contents
        here = {name: contents[file.id] for name, file in files.items() if file.id in contents and not file.gone}
        return IndexResult(
            self.folder,
            self.catalogue.settings.identity,
            videos=len(here),
            frames=sum(content.frames for content in here.values()),
            seconds=sum(content.duration for content in here.values()),
            bytes=sum(path.stat().st_size for path in (self.folder / FEATURES).glob("*/*")),
            gone=sorted(self.gone),
            unchanged=self.unchanged,
            bad={name: file.reason for name, file in sorted(files.items()) if file.reason and not file.gone},
            truncated=sorted(name for name, content in here.items() if content.truncated),
            new=sorted(self._told["new"]),
            changed=sorted(self._told["changed"]),
            moved=sorted(self._told["moved"]),
            returned=sorted(self._told["returned"]),
            copies=sorted(self._told["copies"]),
            absent=dict(sorted(Counter(self._absent.values()).items())),
        )

    def _expect(self, wanted: Wanted) -> None:
        """Refuse what would not fit the features that are there."""
        settings = self.catalogue.settings
        for option, told, asked in (
            ("--rate", settings.rate, wanted.rate),
            ("--cap", settings.cap, wanted.cap),
            ("--scenes", settings.scenes, wanted.scenes),
        ):
            if asked is not None and asked != told:
                raise ArtifactMismatch(
                    f"{self.folder}: was made with {option} {told}; found {asked}. Leave the option out, or index into "
                    "another folder: topa index VIDEOS --out ANOTHER"
                )
        if wanted.encoder not in (None, settings.encoder):
            name = str(wanted.encoder)
            if (identity := self._towers.identify(self._towers.resolve(name))) != settings.identity:
                raise _other_encoder(self.folder, settings, identity)
            self.catalogue.settings = replace(settings, encoder=_lasting(name))

    def _looked_into(self, todo: Iterable[tuple[str, State]]) -> Iterator[_ExaminedFile]:
        """Files in their order, with their content's id; they are read a few ahead of their use, in threads."""
        samples: dict[tuple[int, int, str], str] = {
            (file.size, file.changed, file.sample): file.id for file in self.catalogue.files.values() if file.id
        }
        waiting: deque[Future[_ExaminedFile]] = deque()
        with ThreadPoolExecutor(self.workers) as threads:
            for path, now in todo:
                waiting.append(threads.submit(_look, path, now, samples))
                if len(waiting) > 2 * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _learn(self, looked: _ExaminedFile) -> None:
        """Note what a file is, and how that came."""
        files, name = self.catalogue.files, self.key(looked.path)
        before = files.get(name)
        if before is not None and before.id:
            self._names[before.id].discard(name)
        if looked.id is not None:
            others = self._names.setdefault(looked.id, set())
            left = min((other for other in others if files[other].gone or other in self._absent), default=None)
            if before is not None and before.id == looked.id:
                self.unchanged += 1  # only its time is another one
            elif before is not None:
                self._told["changed"].append(name)
            elif left is not None:
                self._told["moved"].append(name)
                others.remove(left)
                del files[left]
                self._absent.pop(left, None)
                if left in self.gone:
                    self.gone.remove(left)
            else:
                self._told["copies" if others else "new"].append(name)
            others.add(name)
        reason = looked.reason and _said(looked.path, looked.reason)
        files[name] = File(looked.state.size, looked.state.changed, looked.sample, looked.id, reason)

    def _begin(self, encoder: Encoder) -> PartWriter:
        from .parts import PartWriter

        return PartWriter(self.folder, self.catalogue.settings, encoder.width)


class _IndexProgress:
    """What a run has done, for whoever waits for it."""

    def __init__(self, line: Bar) -> None:
        self._line, self._began, self._told = line, time.monotonic(), False
        self.frames = self._files = self._bad = 0

    def file(self, reason: str | None) -> None:
        """One more is done, or bad for a reason."""
        self._files += 1
        self._bad += reason is not None
        seconds = max(time.monotonic() - self._began, 1e-9)
        note = f"{self._files / seconds:,.1f} videos/s, {self.frames / seconds:,.0f} frames/s"
        self._line.advance(note=f"{note}, {self._bad:,} bad" if self._bad else note)

    def estimate(self, folder: Path, total: int, width: int) -> None:
        """Say once what a long run will take."""
        if self._told or not self._files:
            return
        self._told = True
        share = self._files / total
        console.print(
            f"index: {total:,} videos take about {(time.monotonic() - self._began) / share / 60:,.0f} minutes and "
            f"{self.frames / share * _row(width) / 1e9:,.2f} GB in {folder} "
            f"({shutil.disk_usage(folder).free / 1e9:,.1f} GB are free)",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )


def _holds_anything(path: str) -> bool:
    """Whether there is a file, or a folder with something in it; of a folder that can't be listed, nobody knows."""
    try:
        return any(os.scandir(path)) if os.path.isdir(path) else os.path.lexists(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _look(path: str, now: State, samples: dict[tuple[int, int, str], str]) -> _ExaminedFile:
    try:
        sampled = sample(path, now.size)
        name = samples.get((now.size, now.changed, sampled)) or whole(path)
    except OSError as error:
        reason = f"{path}: can't be read ({error.strerror}); expected a video file. Change its mode, or remove it."
        return _ExaminedFile(path, State(-1, -1), reason=reason)
    return _ExaminedFile(path, now, sampled, name)


def _said(path: str, reason: str) -> str:
    """A reason without the path, which may be another one when it is read."""
    return reason.removeprefix(f"{path}: ")


def _changed(looked: _ExaminedFile) -> str | None:
    """Why what was read of a file can't be trusted; None where it can."""
    try:
        if state(looked.path) == looked.state:
            return None
    except OSError:
        pass
    return (
        f"{looked.path}: was changed or removed while it was read; expected a file at rest. "
        "The next run tries it again."
    )


def _settings(wanted: Wanted, towers: Towers) -> IndexSettings:
    name = wanted.encoder or towers.default
    identity = towers.identify(towers.resolve(name))
    made = IndexSettings(_lasting(name), identity, scenes=wanted.scenes)
    return replace(made, rate=wanted.rate or made.rate, cap=wanted.cap or made.cap)


def _lasting(name: str) -> str:
    """The name of an encoder, from wherever it is read next time."""
    return os.path.abspath(name) if os.path.isdir(name) else name


def _check(wanted: Wanted) -> None:
    for option, value in (("--rate", wanted.rate), ("--cap", wanted.cap), ("--workers", wanted.workers)):
        if value is not None and not value > 0:
            raise UsageError(f"{option}: found {value}; expected more than 0. Leave it out for the default.")
    if wanted.scenes is not None and not 0 < wanted.scenes < 2:
        raise UsageError(f"--scenes: found {wanted.scenes}; expected a distance between 0 and 2, such as 0.2.")


def _nothing(folder: Path) -> NoReturn:
    raise UsageError(
        f"{folder}: found no library, and no video was named. Name videos: "
        f"{command_line('index', 'VIDEOS', '--out', folder)}"
    )


def _other_encoder(folder: Path, settings: IndexSettings, found: str) -> ArtifactMismatch:
    return ArtifactMismatch(
        f"{folder}: is of the encoder {settings.identity}; found {found}. Nothing was changed. Leave --encoder out to "
        f"go on with {settings.encoder}, or index into another folder: topa index VIDEOS --out ANOTHER"
    )


def _row(width: int) -> int:
    """Bytes of a frame on the disk: float16 values and a float64 time."""
    return 2 * width + 8
