"""Progress bars on stderr, drawn only on a terminal."""

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


_SPEED_WINDOW = 3600.0  # seconds; rich's default of 30 holds less than two steps of a large model
_TEXT_WIDTH = 90  # characters beside the bar that a note about training needs


class _NoteColumn(ProgressColumn):
    """The note, cut off at its end on a narrow terminal, so that the numbers stay whole."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class Bar:
    """One progress bar, with a note after it: a loss, a rate, a count of failures."""

    def __init__(self, progress: Progress, total: int | None, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total, note="")

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Advance by `steps`, and optionally replace the note."""
        if note is None:
            self._progress.update(self._task, advance=steps)
        else:
            self._progress.update(self._task, advance=steps, note=note)


@contextmanager
def bar(label: str, total: int | None, *, show: bool = True) -> Iterator[Bar]:
    """Show a progress bar on a terminal: done and total, time elapsed, time remaining, note.

    The first advance doesn't count towards the speed, since it may be the work of an earlier run.
    """
    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(max(8, min(40, console.width - _TEXT_WIDTH))),
        MofNCompleteColumn(table_column=whole),
        TimeElapsedColumn(table_column=whole.copy()),
        TimeRemainingColumn(table_column=whole.copy()),
        _NoteColumn(table_column=Column()),
    )
    visible = show and console.is_terminal and not console.quiet
    with Progress(
        *columns, console=console, transient=True, disable=not visible, speed_estimate_period=_SPEED_WINDOW
    ) as progress:
        yield Bar(progress, total, label)


def track(items: Iterable[T], label: str, total: int | None, *, show: bool = True) -> Iterator[T]:
    """Iterate over `items` with a progress bar."""
    with bar(label, total, show=show) as line:
        for item in items:
            yield item
            line.advance()
