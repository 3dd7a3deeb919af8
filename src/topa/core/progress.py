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
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
console = Console(stderr=True)


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
    """A progress bar that is drawn only on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as progress:
        yield Bar(progress, total, label)


def track(items: Iterable[T], label: str, total: int | None, *, show: bool = True) -> Iterator[T]:
    """Iterate with a bar."""
    with bar(label, total, show=show) as line:
        for item in items:
            yield item
            line.advance()
