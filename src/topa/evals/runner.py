"""An evaluation while it runs: blocks of records, one after the other, each answered and written before the next.

    predictions.jsonl            a line per record, streamed block by block; in the published order once all are there
    baselines/VIEW.jsonl         the same under another view (see `evals.ablations`)

Which records share a block depends on the records alone, and what a block's predictions are on the block alone. So a
run that is killed goes on with the blocks that aren't whole and ends with the same bytes, and so do several processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..core.artifacts import atomic_file, open_to_append, output_folder, remove
from ..core.errors import ArtifactError
from ..core.formatting import percent
from ..core.prefetch import Prefetcher
from ..core.processes import Processes
from ..core.progress import bar, console
from .answering import RecordAnswerer, spans
from .example import Example
from .predictions import NAME, Prediction
from .report import MODEL
from .watching import MISSING, Watching

RECORDS, CLIPS = 128, 32
"""Of a block at most."""
_LONG = 60.0  # seconds from which it is worth while to say how long a run will take


@dataclass(frozen=True, slots=True)
class Answered:
    """What a run did. asked: records answered now, under any view, by this process; before: those that were there.
    seconds: of this sitting; waited: of them, for features."""

    asked: int
    before: int
    seconds: float
    waited: float


def place(out: Path, view: str) -> Path:
    """The file of a view's predictions."""
    return out / NAME if view == MODEL else out / "baselines" / f"{view}.jsonl"


def answer_all(
    examples: Sequence[Example],
    watching: Watching,
    answerer: RecordAnswerer,
    views: Sequence[str],
    out: Path,
    processes: Processes,
    *,
    show: bool = True,
    wrote: Callable[[int], None] = lambda block: None,
) -> Answered:
    """Answer every record under every view into `out`; what is whole there is kept. Each process takes its share.

    wrote: called with the number of a block when it is on the disk. Raises ArtifactError for predictions of other
    records, and what reading features raises.
    """
    clips = [watching.clip(example) for example in examples]
    by_clip: dict[str, list[int]] = {}
    for number, clip in enumerate(clips):
        by_clip.setdefault(clip, []).append(number)
    blocks = spans(by_clip, RECORDS, CLIPS)
    todo = _unanswered(examples, blocks, views, out, processes)
    mine = todo[processes.rank :: processes.of]
    firsts = [[examples[by_clip[clip][0]] for clip in dict.fromkeys(clips[n] for n in blocks[b])] for b, _ in mine]
    files = {view: _own(place(out, view), processes.rank) for view in views}
    total = sum(len(blocks[number]) * len(missing) for number, missing in mine)
    before = len(examples) * len(views) - sum(len(blocks[number]) * len(missing) for number, missing in todo)
    progress, waited = _Progress(total), 0.0
    with (
        closing(Prefetcher(watching.watch(firsts), depth=2)) as features,
        bar("answering", total + before, show=show) as line,
    ):
        line.advance(before)
        for (number, missing), watched in zip(mine, features, strict=True):
            waited += features.wait_seconds
            records = [examples[n] for n in blocks[number]]
            made = answerer.answer(records, [clips[n] for n in blocks[number]], watched, missing)
            for view, predictions in made.items():
                _append(files[view], predictions)
            wrote(number)
            line.advance(len(records) * len(missing), progress.after(made))
            if show and (minutes := progress.long_estimate()) is not None:
                console.print(f"about {minutes:,.0f} minutes are left")
    processes.wait()
    if processes.first:
        for view in views:
            _join(place(out, view), examples, processes.of)
    processes.wait()
    return Answered(progress.answered, before, progress.seconds, waited)


def _unanswered(
    examples: Sequence[Example], blocks: Sequence[Sequence[int]], views: Sequence[str], out: Path, processes: Processes
) -> list[tuple[int, list[str]]]:
    """The blocks that aren't whole yet, by number, with the views that they lack."""
    for view in views:
        output_folder(place(out, view).parent)
    known = {example.id for example in examples}
    if processes.first:
        for view in views:
            _tidy(place(out, view), blocks, examples, known)
    processes.wait()
    done = {view: _found(place(out, view), known).keys() for view in views}
    return [
        (number, missing)
        for number, block in enumerate(blocks)
        if (missing := [view for view in views if any(examples[n].id not in done[view] for n in block)])
    ]


class _Progress:
    """Answers so far, of this process. total: those that it is to give."""

    def __init__(self, total: int) -> None:
        self.answered = 0
        self._total = total
        self._began = time.monotonic()
        self._right, self._graded, self._blocks = 0.0, 0, 0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def after(self, made: Mapping[str, Sequence[Prediction]]) -> str:
        """Count the predictions of a block, by view; return the note beside the bar."""
        self._blocks += 1
        self.answered += sum(map(len, made.values()))
        credit = [p.correct for p in made.get(MODEL, ()) if p.correct is not None]
        self._right, self._graded = self._right + sum(credit), self._graded + len(credit)
        right = f", right {percent(self._right / self._graded)}" if self._graded else ""
        return f"{self.answered / self.seconds:,.0f} answers/s{right}"

    def long_estimate(self) -> float | None:
        """Minutes that are left, after the first block of a long run."""
        if self._blocks != 1 or self.answered >= self._total:
            return None
        whole = self.seconds * self._total / self.answered
        return (whole - self.seconds) / 60 if whole > _LONG else None


def read_predictions(path: Path) -> Iterator[Prediction]:
    """The predictions of a file, in its order; a last line that was cut off is left out.

    Raises ArtifactError where a line is no prediction.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Prediction.model_validate_json(line)
            except ValidationError as error:
                raise ArtifactError(
                    f"{path}:{number}: found no prediction ({error.errors()[0]['msg']}); expected a line of topa "
                    "evaluate. Remove the file, or name another folder with --out."
                ) from error


def _own(path: Path, rank: int) -> Path:
    """Where a process writes: the first one into the file itself."""
    return path if rank == 0 else path.with_name(f"{path.name}.{rank}")


def _parts(path: Path) -> list[Path]:
    """The file and those of other processes, now or in an earlier sitting."""
    others = [part for part in path.parent.glob(f"{path.name}.*") if part.suffix[1:].isdecimal()]
    return [path, *sorted(others)]


def _found(path: Path, known: set[str]) -> dict[str, Prediction]:
    found = {prediction.id: prediction for part in _parts(path) for prediction in read_predictions(part)}
    if strangers := found.keys() - known:
        raise ArtifactError(
            f"{path}: found predictions of records that aren't asked for ({min(strangers)!r}); expected those of this "
            "benchmark. Name another folder with --out."
        )
    return found


def _tidy(path: Path, blocks: Iterable[Sequence[int]], examples: Sequence[Example], known: set[str]) -> None:
    """Keep the predictions of whole blocks, in one file; a block is asked again when a missing video of it has come."""
    parts, found = _parts(path), _found(path, known)
    kept: dict[str, Prediction] = {}
    for block in blocks:
        own = [found.get(examples[n].id) for n in block]
        if all(own) and not any(_came(p, examples[n]) for p, n in zip(own, block, strict=True)):
            kept |= {p.id: p for p in own if p is not None}
    if path.is_file() or kept:
        _write(path, kept.values())
    for part in parts[1:]:
        remove(part)


def _came(prediction: Prediction | None, example: Example) -> bool:
    missed = prediction is not None and (prediction.error or "").startswith(MISSING)
    return missed and example.path.exists()


def _join(path: Path, examples: Sequence[Example], processes: int) -> None:
    """Make one file of all, in the order of the records."""
    found: Mapping[str, Prediction] = {p.id: p for part in _parts(path) for p in read_predictions(part)}
    _write(path, [found[example.id] for example in examples])
    for part in _parts(path)[1:]:
        remove(part)


def _append(path: Path, predictions: Iterable[Prediction]) -> None:
    with open_to_append(path) as file:
        file.write(b"".join(map(_line, predictions)))


def _write(path: Path, predictions: Iterable[Prediction]) -> None:
    with atomic_file(path, "lines") as file:
        for prediction in predictions:
            file.write(_line(prediction))


def _line(prediction: Prediction) -> bytes:
    return prediction.model_dump_json().encode() + b"\n"
