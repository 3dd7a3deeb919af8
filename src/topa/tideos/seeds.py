"""Seeds: short texts from which a writer makes Tideos, sampled from files of any size.

The sample is decided by a hash of each text and the random seed. So its texts are distinct, however often each occurs;
it is independent of the order of lines and sources; and memory is bounded by the sample's size, not by the files.
Without a size, all distinct texts are kept in memory.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..core.artifacts import atomic_file, output_folder
from ..core.errors import InputError, OutputError, UsageError, first_problem
from ..core.progress import bar
from ..core.registry import unknown
from .sources import KINDS, OWN, Kind, reader
from .streams import Stream
from .tideo import Text

_NAME = re.compile(r"\w*")
_REPORT = 4096  # texts between two updates of the bar


class Seed(BaseModel):
    """One seed.

    kind: for seeds made by `sample`, the public data set, or "own" for other files. id: for seeds made by `sample`, the
    kind and 16 hex digits of a hash of the text. Other seeds may have any id and kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    kind: Text
    text: Text

    @classmethod
    def make(cls, source: Kind, text: str) -> Seed:
        """Make the seed of a text from a source of this kind."""
        kind = "own" if source in OWN else source
        return cls(id=f"{kind}-{_hash(text, size=8):016x}", kind=kind, text=text)


@dataclass(frozen=True, slots=True)
class SeedSource:
    """A file of texts. weight: above 0; the source's share of the sample is its weight over the sum of weights."""

    kind: Kind
    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, spec: str, default: str | None = None) -> SeedSource:
        """Parse `kind=path` or `kind=path:weight`; with a `default` kind also `path` or `path:weight`.

        A path that ends in a colon and a number needs an explicit weight; one that begins with a word and "=" needs a
        kind or "./" in front. Raises UsageError for anything else.
        """
        name, equals, rest = spec.partition("=")
        if not equals or not _NAME.fullmatch(name):
            if default is None:
                raise UsageError(
                    f"source {spec!r}: found no kind; expected kind=path or kind=path:weight, e.g. "
                    "webvid=train.csv:2, or --kind for all paths without one, e.g. --kind webvid train.csv"
                )
            name, rest = default, spec
        if not rest:
            raise UsageError(f"source {spec!r}: found no path; expected kind=path, e.g. webvid=train.csv")
        kind = next((choice for choice in KINDS if choice == name), None)
        if kind is None:
            raise unknown("kind of source", name, KINDS)
        path, colon, tail = rest.rpartition(":")
        try:
            weight = float(tail) if colon else 1.0
        except ValueError:
            if Path(path).is_file() and not Path(rest).exists():
                raise UsageError(f"source {spec!r}: found the weight {tail!r}; expected a number above 0") from None
            path, weight = rest, 1.0
        if not (weight > 0 and math.isfinite(weight)):
            raise UsageError(f"source {spec!r}: found the weight {tail}; expected a number above 0")
        return cls(kind, Path(path if colon else rest), weight)

    def __str__(self) -> str:
        return f"{self.kind}={self.path}"


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """The counts of one source.

    read: texts. empty: entries without a text. duplicates: dropped repetitions, in this or another source, of its
    sampled texts. written: seeds in the sample.
    """

    source: str
    read: int
    empty: int
    duplicates: int
    written: int


class _Sampler:
    """The `size` distinct texts with the smallest keys, and how often each occurs; all texts without a size."""

    def __init__(self, size: int | None, seed: int) -> None:
        self._size = size
        self._salt = str(seed).encode()[:64]
        self._heap: list[tuple[int, str]] = []  # (-key, text): the largest key first
        self._times: dict[str, int] = {}
        self.read = 0
        self.empty = 0

    def add(self, text: str) -> None:
        text = " ".join(text.encode(errors="replace").decode().split())
        if not text:
            self.empty += 1
            return
        self.read += 1
        if text in self._times:
            self._times[text] += 1
            return
        key = _hash(text, salt=self._salt)
        if self._size is None or len(self._heap) < self._size:
            heapq.heappush(self._heap, (-key, text))
        elif key < -self._heap[0][0]:
            _, dropped = heapq.heapreplace(self._heap, (-key, text))
            del self._times[dropped]
        else:
            return
        self._times[text] = 1

    def sample(self) -> list[tuple[int, str, int]]:
        """Return (key, text, number of occurrences), smallest key first."""
        return [(-key, text, self._times[text]) for key, text in sorted(self._heap, reverse=True)]


def sample(
    sources: Sequence[SeedSource],
    count: int | None = None,
    *,
    seed: int = 0,
    column: str | None = None,
    field: str | None = None,
    show: bool = True,
) -> tuple[list[Seed], list[SourceCounts]]:
    """Sample `count` (1 or more) seeds with distinct texts from the sources, by their weights.

    Without a count, return the seeds of all distinct texts; then all weights must be 1. A text in several sources
    counts for the first of them, by kind and path. The seeds are ordered by key, that is, shuffled. column, field: of
    the text in csv and jsonl files; by default "text".

    Raises UsageError for an invalid request, InputError for an invalid file or a source with too few texts for its
    share.
    """
    if count is not None and count < 1:
        raise UsageError(f"count: found {count}; expected 1 or more.")
    if not sources:
        raise UsageError("sources: found none; expected one or more, e.g. text=titles.txt")
    for source in sources:
        if count is None and source.weight != 1:
            raise UsageError(
                f"source {source}: found the weight {source.weight:g} and no count; expected a number that weights are "
                "shares of. Give --count, or leave the weight out."
            )
    ordered = sorted(sources, key=lambda source: (source.kind, str(source.path), source.weight))
    for one, other in itertools.pairwise(ordered):
        if str(one) == str(other):
            raise UsageError(f"source {one}: found twice; expected each file once. Give it once, with a weight.")
    for option, name, kind in (("--column", column, "csv"), ("--field", field, "jsonl")):
        if name is not None and not any(source.kind == kind for source in sources):
            raise UsageError(f"{option} {name}: found no source of the kind {kind} that it is for. Leave it out.")
    readers = [reader(source.kind, source.path, column=column, field=field) for source in ordered]
    for source in ordered:
        Stream(source.path).close()  # check all files before reading the first one, which may take long
    samplers = []
    for source, texts in zip(ordered, readers, strict=True):
        # Sample the full count: other sources may have all but its share of the same texts.
        sampler = _Sampler(count, seed)
        with Stream(source.path) as stream, bar(source.path.name, stream.size, show=show) as line:
            reported = 0
            for text in texts(stream):
                sampler.add(text)
                if sampler.read % _REPORT == 0:
                    line.advance(stream.position - reported, f"{sampler.read:,} texts")
                    reported = stream.position
        if not sampler.read:
            raise InputError(f"{source}: found no text in it; expected one or more. Give another file.")
        samplers.append(sampler)
    return _mix(ordered, samplers, count)


def write_seeds(path: Path, seeds: Iterable[Seed]) -> None:
    """Write seeds as JSON Lines, atomically. Raises OutputError."""
    with atomic_file(path) as file:
        for seed in seeds:
            file.write(seed.model_dump_json().encode() + b"\n")


def check_output(path: Path, sources: Iterable[SeedSource]) -> None:
    """Check, before the sources are read, that the seeds can be written, and not over a source.

    Raises OutputError or UsageError.
    """
    if path.is_dir():
        raise OutputError(f"{path}: found a folder; expected the name of a file. Name a file in it with --out.")
    output_folder(path.parent)
    for source in sources:
        if path.exists() and source.path.exists() and path.samefile(source.path):
            raise UsageError(f"{path}: is a source, and would be written over. Name another file with --out.")


def _mix(
    sources: Sequence[SeedSource], samplers: Sequence[_Sampler], count: int | None
) -> tuple[list[Seed], list[SourceCounts]]:
    # Without a count, the share of every source is all of its texts.
    shares: Sequence[int | None] = [None] * len(sources)
    if count is not None:
        shares = _shares([source.weight for source in sources], count)
    hashes: set[int] = set()
    selection: list[tuple[int, Seed]] = []
    tallies = []
    short: list[tuple[int, str, int]] = []
    for source, sampler, share in zip(sources, samplers, shares, strict=True):
        number = duplicates = 0
        for key, text, times in sampler.sample():
            if number == share:
                break
            duplicates += times - 1
            if (own := _hash(text, size=8)) in hashes:
                duplicates += 1
                continue
            hashes.add(own)
            selection.append((key, Seed.make(source.kind, text)))
            number += 1
        if share is not None and number < share:
            enough = math.floor(number * math.fsum(other.weight for other in sources) / source.weight)
            short.append((enough, f"{source}: found {number:,}", share))
        tallies.append(SourceCounts(str(source), sampler.read, sampler.empty, duplicates, number))
    if short:
        enough, problem, share = min(short)
        raise InputError(
            f"{problem} different texts that no source before it gave; expected {share:,}, its share of {count:,} "
            "seeds. " + (f"Ask for --count {enough} or fewer, or lower its weight." if enough else "Leave it out.")
        )
    return [seed for _, seed in sorted(selection, key=lambda pair: pair[0])], tallies


def _shares(weights: Sequence[float], count: int) -> list[int]:
    """Divide `count` by weights into integers, by the largest remainder method."""
    total = math.fsum(weights)
    exact = [count * (weight / total) for weight in weights]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: count - sum(shares)]:
        shares[i] += 1
    return shares


def _hash(text: str, *, size: int = 16, salt: bytes = b"") -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size, key=salt).digest())


def read_seeds(path: Path) -> Iterator[Seed]:
    """Yield the seeds of a JSON Lines file of objects with id, kind and text, one in memory at a time.

    Raises InputError, with the line number, if the file is unreadable, empty or malformed. Repeated ids aren't
    detected, since that would need all of them in memory.
    """
    seed = None
    for number, line in _lines(path):
        try:
            seed = Seed.model_validate_json(line)
        except ValidationError as error:
            raise InputError(
                f"{path}:{number}: {first_problem(error)}. Expected an object with the texts id, kind and text. "
                "Correct the line."
            ) from error
        yield seed
    if seed is None:
        raise InputError(f"{path}: found no seed; expected at least one line with id, kind and text.")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the non-blank lines with their numbers."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: can't be read ({error}). Expected JSON Lines of seeds. Give such a file with --seeds."
        ) from error
