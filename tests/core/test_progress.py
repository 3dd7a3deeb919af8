"""Progress is for people: a terminal gets a line, a pipe gets nothing."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from topa.core import progress


def draw(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, show: bool = True) -> tuple[str, list[int]]:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=terminal, width=100))
    items = list(progress.track(range(3), "counting sheep", 3, show=show))
    with progress.bar("counting sheep", 2, show=show) as line:
        line.advance(note="loss 0.25")
        line.advance()
    return out.getvalue(), items


def test_nothing_is_drawn_when_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert draw(monkeypatch, terminal=False) == ("", [0, 1, 2])
    assert draw(monkeypatch, terminal=True, show=False) == ("", [0, 1, 2])


def test_a_terminal_gets_a_line_with_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    text, items = draw(monkeypatch, terminal=True)
    assert items == [0, 1, 2]
    assert "counting sheep" in text
    assert "loss 0.25" in text


def test_progress_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert progress.console.stderr
    list(progress.track(range(2), "counting", 2))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_time_left_is_told_also_of_long_steps_and_in_narrow_terminals(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Steps of 45 seconds, in a run that goes on at step 300: what was done before tells no speed."""
    out, now = io.StringIO(), [1000.0]
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(console, "get_time", lambda: now[0])
    monkeypatch.setattr(progress, "console", console)
    note = "loss 0.363, gradient norm 0.160, 4,480 tokens/s"
    with progress.bar("aligning", 700) as line:
        line.advance(300)
        for _ in range(5):
            now[0] += 45
            line.advance(note=note)
        line._progress.refresh()
    last_line = [part for part in re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", out.getvalue()) if part.strip()][-1]
    assert len(last_line) <= width
    assert "aligning" in last_line
    assert "305/700 0:03:45 4:56:15 loss 0.363" in last_line
    assert (note in last_line) == (width >= 100)


def test_a_note_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=True, width=100))
    with progress.bar("counting", 2) as line:
        line.advance(note="samples [3, 5] and [bold]")
    assert "samples [3, 5] and [bold]" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
