"""Help: all verbs under headings, nothing cut, an example everywhere; and what the shell completes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from topa.cli import app
from topa.cli.groups import GROUPS
from topa.cli.options import verbs_of

ROOT: Any = typer.main.get_command(app)
VERBS = {words: command for words, command in verbs_of(ROOT) if not command.hidden}
PAGES = [(), *VERBS, *[(name,) for name, command in ROOT.commands.items() if hasattr(command, "commands")]]


def test_every_verb_stands_under_one_heading():
    names = [name for verbs in GROUPS.values() for name in verbs]
    assert sorted(names) == sorted(name for name, command in ROOT.commands.items() if not command.hidden)
    assert [heading.lower() for heading in GROUPS][:6] == ["try it", "your videos", "train", "data", "measure", "serve"]


@pytest.mark.parametrize("columns", ["40", "60", "80", "200"])
def test_no_summary_is_cut(topa, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    for group, words in ((ROOT, ()), (ROOT.commands["import"], ("import",)), (ROOT.commands["memory"], ("memory",))):
        done = topa(*words, "--help")
        told = "".join(done.out.split())
        assert done.code == 0
        assert "\x1b" not in done.out
        for name, command in group.commands.items():
            if command.hidden:
                continue
            summary = " ".join(command.help.split()).split(". ")[0]
            assert "".join(f"{name} {summary}".split()) in told
        assert max(map(len, done.out.splitlines())) <= max(int(columns), 80)


def test_headings_come_in_order_and_verbs_below_them(topa):
    told = topa("--help").out
    places = [told.index(f"\n{heading}:\n") for heading in GROUPS]
    assert places == sorted(places)
    order = [told.index(f"\n  {name} ") for names in GROUPS.values() for name in names]
    assert order == sorted(order)


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_every_help_has_an_example(topa, words):
    done = topa(*words, "-h")
    assert done.code == 0
    command = " ".join(("topa", *words))
    told = " ".join(done.out.split())
    assert ("Start here: topa demo" if not words else f"Example: {command}") in told


def complete(tmp_path: Path, line: str) -> list[str]:
    """What bash completes a line to: a real one, with the script that topa gives it."""
    (tmp_path / "topa").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -X importtime -m topa.cli "$@" 2>"{tmp_path}/imports"\n'
    )
    (tmp_path / "topa").chmod(0o755)
    words = line.split(" ")
    script = (
        'eval "$(_TOPA_COMPLETE=source_bash topa)"; '
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; "
        '_topa_completion topa; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "torch" not in (tmp_path / "imports").read_text()
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("topa ca", {"caption", "card"}),
        ("topa memory ", {"build", "inspect"}),
        ("topa ask clip.mp4 --pro", {"--protocol"}),
        ("topa evaluate tv", {"tvqa"}),
        ("topa align --recipe llama2-1", {"llama2-13b"}),
    ],
)
def test_bash_completes(tmp_path, line, expected):
    assert set(complete(tmp_path, line)) == expected


@pytest.mark.parametrize(
    ("words", "option", "values"),
    [
        (("ask",), "protocol", ["logits", "selection"]),
        (("ask",), "frames_by", ["hierarchical", "question", "uniform"]),
        (("evaluate",), "protocol", ["logits", "selection", "similarity"]),
        (("generate",), "writer", ["batch", "local", "microworld", "openai"]),
        (("search",), "similarity", ["centred", "projected", "raw"]),
        (("export",), "format", ["jsonl", "parquet", "textvid"]),
        (("encode",), "fusion", ["caption", "mean"]),
        (("finetune",), "bridge", ["projected", "raw"]),
    ],
)
def test_closed_sets_are_completed(words, option, values):
    command: Any = VERBS[words]
    context = command.make_context(words[0], [], resilient_parsing=True)
    parameter = next(each for each in command.params if each.name == option)
    assert sorted(item.value for item in parameter.shell_complete(context, "")) == values
