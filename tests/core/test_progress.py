"""Progress is for people: a terminal gets a line, a pipe gets nothing."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from topa.core import progress


def drawn(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, show: bool = True) -> tuple[str, list[int]]:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=out, force_terminal=terminal, width=100))
    seen = list(progress.track(range(3), "counting sheep", 3, show=show))
    with progress.bar("counting sheep", 2, show=show) as line:
        line.advance(note="loss 0.25")
        line.advance()
    return out.getvalue(), seen


def test_nothing_is_drawn_when_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, terminal=False) == ("", [0, 1, 2])
    assert drawn(monkeypatch, terminal=True, show=False) == ("", [0, 1, 2])


def test_a_terminal_gets_a_line_with_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    text, seen = drawn(monkeypatch, terminal=True)
    assert seen == [0, 1, 2]
    assert "counting sheep" in text
    assert "loss 0.25" in text


def test_progress_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert progress.console.stderr
    list(progress.track(range(2), "counting", 2))
    assert capfd.readouterr() == ("", "")
