"""Shells in which the commands of documents are typed: of somebody who has just come."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page in these languages, in order: language and content."""
    return re.findall(rf"```({'|'.join(languages)})\n(.*?)```", text, flags=re.DOTALL)


def environment_in(folder: Path, source: Path, *, quick: bool = False) -> dict[str, str]:
    """Make an environment in FOLDER/.venv, whose `topa` and `python` run this Python on `source`.

    quick: `topa demo` is the quick one. Returns the variables of a shell that knows nothing of it.
    """
    binaries, home = folder / ".venv" / "bin", folder.parent / "home"
    binaries.mkdir(parents=True)
    home.mkdir()
    python = f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} "$@"\n'
    topa = '[ "$1" = demo ] && set -- "$@" --quick\n' if quick else ""
    topa = f'#!/bin/sh\n{topa}PYTHONPATH={source} exec {sys.executable} -m topa.cli "$@"\n'
    for name, script in (("python", python), ("topa", topa)):
        (binaries / name).write_text(script)
        (binaries / name).chmod(0o755)
    (binaries / "activate").write_text(f"PATH={binaries}:$PATH\n")
    return {"PATH": os.defpath, "HOME": str(home), "HF_HUB_OFFLINE": "1", "PORT": "0", "BROWSER": "true"}


def typed(block: str, folder: Path, environment: dict[str, str]) -> str:
    """What a block prints in a shell of its own. One that serves is visited and then stopped."""
    block = re.sub(r"(topa serve .*)", r"\1 --port 0", block)
    with subprocess.Popen(
        ["bash", "-e", "-c", block], cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as shell:  # fmt: skip
        if "serve" not in block:
            out, err = shell.communicate()
            assert shell.returncode == 0, (block, out, err)
            return out
        shown = []
        try:
            for line in shell.stdout:
                shown.append(line)
                if line.startswith("page:"):
                    with urlopen(f"{line.split()[1]}/v1/videos") as reply:
                        assert json.load(reply)["data"], "the library's videos are listed"
                    break
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
        assert any(line.startswith("page:") for line in shown), (block, shown, shell.stderr.read())
        return "".join(shown)


def run_python(code: str, folder: Path, environment: dict[str, str]) -> str:
    """What Python prints when it is given a block of code."""
    done = subprocess.run(
        [".venv/bin/python", "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (code, done.stderr)
    return done.stdout
