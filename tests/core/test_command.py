"""Commands that people are told to type can be typed in the shell that reads them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from topa.core.command import command, command_line, in_this_shell, program, typed

SCRIPT = Path(sysconfig.get_path("scripts"), "topa")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A shell that finds nothing, in a folder of its own."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def installation(folder: Path) -> Path:
    """An environment in a folder, with its script."""
    script = folder / ".venv" / "bin" / "topa"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return script


def test_the_name_where_the_shell_finds_this_installation(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert program() == str(SCRIPT)
    monkeypatch.setenv("PATH", os.pathsep.join(["/nowhere", str(SCRIPT.parent)]))
    assert program() == "topa"


def test_a_link_to_this_installation_is_its_name(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "bin").mkdir()
    (bare / "bin" / "topa").symlink_to(SCRIPT)
    monkeypatch.setenv("PATH", str(bare / "bin"))
    assert program() == "topa"


def test_a_stranger_of_the_same_name_is_not_this_one(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installation(bare).parent))
    assert program() == str(SCRIPT)


@pytest.mark.parametrize(("below", "expected"), [(".", ".venv/bin/topa"), (".venv/bin", "./topa"), ("..", None)])
def test_a_path_from_the_working_folder(bare: Path, monkeypatch: pytest.MonkeyPatch, below: str, expected: str | None):
    folder = bare / "my checkout"
    script = installation(folder)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(script.parent))
    (bare / "elsewhere").mkdir()
    monkeypatch.chdir(folder / below if expected else bare / "elsewhere")
    assert program() == (expected or shlex.quote(str(script)))


def test_python_where_there_is_no_script(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(bare / "bin"))
    monkeypatch.setattr(sys, "argv", ["elsewhere.py"])
    assert program() == f"{sys.executable} -m topa.cli"
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert program() == "python -m topa.cli"


def test_words_survive_the_shell(bare: Path) -> None:
    words = ["ask", bare / "my clip's (1).mp4", 'what "is" it ?', "--choice", "$HOME", "--choice", "a;b"]
    script = bare / "topa"
    script.write_text(f'#!/bin/sh\n{shlex.quote(sys.executable)} -c "import sys; print(sys.argv[1:])" "$@"\n')
    script.chmod(0o755)
    line = typed(*words).replace(program(), "./topa", 1)
    process = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == repr([str(word) for word in words])


def test_only_commands_of_a_text_begin_with_the_program(bare: Path) -> None:
    text = "what topa wrote. The topa that wrote it: topa index VIDEOS --out 'a b'\ntopa demo"
    assert in_this_shell(text) == text.replace(": topa", f": {SCRIPT}").replace("\ntopa", f"\n{SCRIPT}")
    assert in_this_shell(command_line("index", "--out", "a b")) == f"{SCRIPT} index --out 'a b'"


@pytest.mark.parametrize("started", ["/x/.venv/bin/topa", "topa", "C/topa.exe", "/x/topa/cli/__main__.py"])
def test_what_was_typed_is_the_same_on_every_machine(started: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [started, "demo", "--out", "a b"])
    assert command() == "topa demo --out 'a b'"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert command() is None
