"""`topa generate` on the command line."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from topa.tideos.asking import Asking
from topa.tideos.seeds import Seed

from .servers import faults, good, is_probe, send, serving


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"s{n}", "kind": "webvid", "text": f"clip {n}"}) + "\n" for n in range(5))
    )
    return path


def words(seeds: Path, url: str, out: Path) -> list[str]:
    return ["generate", "--yes", "--seeds", str(seeds), "--base-url", url, "--model", "m", "--out", str(out)]


def test_it_writes_and_says_what_it_did(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(good) as (url, _):
        done = topa(*words(seeds, url, out), "--price-in", 1, "--price-out", 2)
        assert done.code == 0, done.err
        assert "written: 5 of 5 (rejected 0, failed 0, left 0" in done.out
        assert "spent 0.0010, 750 tokens" in done.out
        told = json.loads(topa(*words(seeds, url, out), "--json").out)
    assert (told["accepted"], told["spent"]["tokens_in"], told["stopped"]) == (5, 500, None)
    assert len((out / "tideos.jsonl").read_text().splitlines()) == 5


def test_a_dry_run_sends_nothing(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    with serving(good) as (url, seen):
        done = topa(*words(seeds, url, tmp_path / "out"), "--dry-run", "--price-out", "1")
        told = json.loads(topa(*words(seeds, url, tmp_path / "out"), "--dry-run", "--json").out)
    assert seen.requests == []
    assert not (tmp_path / "out").exists()
    prompt = Asking().prompt(Seed(id="s0", kind="webvid", text="clip 0"))
    assert done.out == prompt + "\n"
    assert "5 seeds: about" in done.err
    assert "cost about 0.01" in done.err
    assert told["prompt"] == prompt
    assert told["estimate"]["tokens_out"] == 10_000


def test_without_resuming_what_is_there_is_left_alone(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(good) as (url, seen):
        assert topa(*words(seeds, url, out), "--no-resume", "--limit", 2).code == 0
        requests = len(seen.requests)
        before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
        done = topa(*words(seeds, url, out), "--no-resume")
        assert done.code == 2
        assert "found ledger.sqlite" in done.err
        assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
        assert len(seen.requests) == requests
        assert topa(*words(seeds, url, out), "--resume").code == 0
    assert len((out / "tideos.jsonl").read_text().splitlines()) == 5


def test_a_budget_without_room_is_told(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    with serving(good) as (url, seen):
        done = topa(*words(seeds, url, tmp_path / "out"), "--budget", 100)
    assert done.code == 0
    assert "one more reply might take" in done.err
    assert all(is_probe(request) for request in seen.requests)


def test_an_own_prompt_is_what_is_sent(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Mine: {seed}")
    with serving(good) as (url, seen):
        assert topa(*words(seeds, url, tmp_path / "out"), "--prompt", tmp_path / "p.txt").code == 0
    sent = {request["messages"][0]["content"] for request in seen.requests if not is_probe(request)}
    assert sent == {f"Mine: clip {n}" for n in range(5)}


def test_errors_are_one_paragraph_and_no_secret_is_anywhere(
    topa: Callable[..., Any], seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "very-secret-2")
    out = tmp_path / "out"

    def refuse(handler: Any, request: dict[str, Any]) -> None:
        send(handler, 401, handler.headers["authorization"].encode())

    with serving(refuse) as (url, _):
        done = topa(*words(seeds, url, out), "--key-env", "MY_KEY")
    assert done.code == 1
    assert done.err.startswith("topa: 127.0.0.1")
    with serving(good) as (url, _):
        assert topa(*words(seeds, url, out), "--key-env", "MY_KEY").code == 0
    assert "very-secret-2" not in done.out + done.err
    assert not [path for path in out.rglob("*") if path.is_file() and b"very-secret-2" in path.read_bytes()]


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(seeds: Path, tmp_path: Path) -> None:
    inside, release = threading.Event(), threading.Event()

    def slow(handler: Any, request: dict[str, Any]) -> None:
        if not is_probe(request):
            inside.set()
            release.wait(60)
        good(handler, request)

    with serving(slow) as (url, _):
        command = [sys.executable, "-m", "topa.cli", *words(seeds, url, tmp_path / "out"), "--concurrency", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        assert inside.wait(60)
        process.send_signal(signal.SIGINT)
        release.set()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "1 of 5 (" in out
    assert "run the same command again" in err


def test_a_terminal_shows_rate_cost_and_failures(seeds: Path, tmp_path: Path) -> None:
    mine, its = pty.openpty()
    read: list[bytes] = []

    def drain() -> None:
        while True:
            try:
                read.append(os.read(mine, 65536))
            except OSError:  # the other end is closed
                return

    with serving(faults([lambda handler, _: send(handler, 500, b"")])) as (url, _):
        command = [sys.executable, "-m", "topa.cli", *words(seeds, url, tmp_path / "out"), "--price-out", "1000"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=its, env=os.environ | {"TERM": "xterm", "COLUMNS": "200"}
        )
        os.close(its)
        reader = threading.Thread(target=drain)
        reader.start()
        assert process.wait(60) == 0
        reader.join(60)
    os.close(mine)
    shown = b"".join(read).decode()
    assert "/min, 0.25 of about 0.25, failures: transient 1" in shown
