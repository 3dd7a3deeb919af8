"""Progress on stderr: a bar where a person watches, nothing where nobody does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

T = TypeVar("T")
console = Console(stderr=True)


_AVERAGED = 3600.0  # seconds of progress that the time left is told from; rich's 30 hold no two steps of a large model
_BESIDE = 90  # characters beside the bar that a note about training needs


class _Note(ProgressColumn):
    """The note as it is; where the terminal is narrow, its end goes before a number does."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class Bar:
    """One line of progress. `note` shows behind it: a loss, a rate, a count of failures."""

    def __init__(self, progress: Progress, total: int | None, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total, note="")

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Move on, and optionally change the note."""
        if note is None:
            self._progress.update(self._task, advance=steps)
        else:
            self._progress.update(self._task, advance=steps, note=note)


@contextmanager
def bar(label: str, total: int | None, *, show: bool = True) -> Iterator[Bar]:
    """A progress bar that is drawn only on a terminal: how much is done, the time it took, the time left, the note.

    The first advance tells no speed: it may be what an earlier sitting did.
    """
    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(max(8, min(40, console.width - _BESIDE))),
        MofNCompleteColumn(table_column=whole),
        TimeElapsedColumn(table_column=whole.copy()),
        TimeRemainingColumn(table_column=whole.copy()),
        _Note(table_column=Column()),
    )
    drawn = show and console.is_terminal and not console.quiet
    with Progress(
        *columns, console=console, transient=True, disable=not drawn, speed_estimate_period=_AVERAGED
    ) as progress:
        yield Bar(progress, total, label)


def track(items: Iterable[T], label: str, total: int | None, *, show: bool = True) -> Iterator[T]:
    """Iterate with a bar."""
    with bar(label, total, show=show) as line:
        for item in items:
            yield item
            line.advance()
