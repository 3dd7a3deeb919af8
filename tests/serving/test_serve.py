"""`topa serve` as a process: it says where it is, answers, finishes what runs at its end, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from topa.cli.serve import started
from topa.cli.use import _to_serve
from topa.core.command import typed
from topa.core.install import install_line
from topa.serving.serve import address, listen

ROOT = Path(__file__).parents[2]
QUESTION = "where is the toy at the end ?"


@contextmanager
def server(temporary: Path, *options: object, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on a free port, whose temporary files are below a folder of ours; and its address."""
    command = [sys.executable, "-m", "topa.cli", "serve", "--port", "0", *map(str, options)]
    temporary.mkdir(exist_ok=True)
    own = os.environ | {"TMPDIR": str(temporary)} | environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own) as process:
        try:
            yield process, next(line.split()[1] for line in process.stdout if line.startswith("page:"))
        finally:
            process.terminate()


def upload(base: str, video: Path) -> str:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\r\n\r\n' + video.read_bytes()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with urlopen(Request(f"{base}/v1/videos", body + b"\r\n--x--\r\n", headers)) as reply:
        return json.load(reply)["id"]


def chat(id: str, **more: object) -> bytes:
    parts = [{"type": "video_url", "video_url": {"url": id}}, {"type": "text", "text": QUESTION}]
    return json.dumps({"model": "micro", "messages": [{"role": "user", "content": parts}], **more}).encode()


def post(base: str, path: str, body: bytes) -> socket.socket:
    """A request that has been sent and not read."""
    host, port = base.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("which", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_what_runs_is_finished_and_nothing_is_left(micro_model, micro_video, tmp_path, which):
    with server(tmp_path / "temporary", "--model", micro_model, "--name", "micro") as (process, base):
        id = upload(base, micro_video)
        assert list((tmp_path / "temporary").rglob("vid_*"))
        body = chat(id, stream=True, max_tokens=400, temperature=2, seed=1)
        running = [post(base, "/v1/chat/completions", body) for _ in range(8)]
        begun = [connection.recv(1) for connection in running]  # each has its first byte: all are at work
        process.send_signal(which)
        told = [
            first + b"".join(iter(lambda c=c: c.recv(1 << 16), b"")) for first, c in zip(begun, running, strict=True)
        ]
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()
    assert all(b" 200 " in text and b"data: [DONE]" in text for text in told)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_it_answers_to_those_who_have_a_token(micro_model, tmp_path):
    (tmp_path / "tokens").write_text("first\nsecond\n")
    options = ("--model", micro_model, "--token-file", tmp_path / "tokens", "--log-requests")
    with server(tmp_path / "temporary", *options, TOPA_TOKENS="third") as (process, base):
        for token in ("first", "second", "third"):
            with urlopen(Request(f"{base}/v1/models", headers={"Authorization": f"Bearer {token}"})) as reply:
                assert json.load(reply)["data"][0]["id"] == micro_model.name
        with pytest.raises(OSError, match="401"):
            urlopen(f"{base}/v1/models")
        process.terminate()
        assert process.wait(60) == 0
        lines = [line for line in process.stderr.read().splitlines() if " GET /v1/models " in line]
    assert [line.split(" GET /v1/models ")[1].split()[0] for line in lines] == ["200"] * 3 + ["401"]


@pytest.mark.slow
def test_where_it_is_can_be_read_by_programs(micro_model):
    command = [sys.executable, "-m", "topa.cli", "serve", "--port", "0", "--model", str(micro_model), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        told = json.loads(process.stdout.readline())
        with urlopen(f"{told['page']}/readyz") as reply:
            assert json.load(reply) == {"status": "ok"}
        with urlopen(told["openapi"]) as reply:
            assert "/v1/chat/completions" in json.load(reply)["paths"]
        process.terminate()
    assert process.returncode == 0


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(topa, tmp_path):
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = topa("serve", "--port", port, "--model", tmp_path / "none")
    assert done.code == 2
    assert f"port {port}" in done.err
    assert "--port 0" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--allow-private"], "--allow-urls"),
        (["--token-file", "nowhere"], "can't be read"),
        (["--host", "no.such.host.invalid"], "can't listen"),
        (["--library", "."], "found a folder; expected"),
    ],
)
def test_wrong_options_are_refused(topa, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = topa("serve", *options)
    assert done.code == 2
    assert words in done.err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_is_served_and_the_second_time_at_once(tmp_path):
    command = [sys.executable, "-m", "topa.cli", "demo", "--quick", "--out", "demo", "--serve", "--port", "0"]
    own = os.environ | {"BROWSER": "true"}  # a program that does nothing, instead of a browser
    for turn in range(2):
        with subprocess.Popen(command, cwd=tmp_path, env=own, stdout=subprocess.PIPE, text=True) as process:
            told = []
            for line in process.stdout:
                told.append(line)
                if line.startswith("page:"):
                    break
            with urlopen(f"{told[-1].split()[1]}/v1/videos") as reply:
                assert len(json.load(reply)["data"]) == 12
            process.terminate()
        assert process.returncode == 0
        assert any(line.startswith("report:") for line in told) == (turn == 0)


def test_tokens_are_not_told(topa, tmp_path):
    (tmp_path / "tokens").write_text("with blanks\n")
    done = topa("serve", "--token-file", tmp_path / "tokens")
    assert done.code == 2
    assert "blanks" in done.err
    assert "with" not in done.err.split("tokens:")[1].replace("with blanks or", "")
    (tmp_path / "tokens").write_text("\n")
    assert "found no token" in topa("serve", "--token-file", tmp_path / "tokens").err


def test_a_package_that_is_missing_is_named(topa, monkeypatch):
    monkeypatch.setattr("topa.serving.serve.find_spec", lambda name: None)
    done = topa("serve")
    assert done.code == 2
    assert install_line("serve") in done.err


def test_it_is_named_before_the_demo_has_run(topa, monkeypatch, tmp_path):
    monkeypatch.setattr("topa.serving.serve.find_spec", lambda name: None)
    done = topa("demo", "--out", tmp_path / "demo", "--serve")
    assert done.code == 2
    assert install_line("serve") in done.err
    assert not (tmp_path / "demo").exists()


def test_the_demo_names_what_opens_it(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert _to_serve(Path("topa-demo"), []) == "make serve"
    assert _to_serve(Path("topa-demo"), ["--quick"]) == typed("demo", "--out", "topa-demo", "--quick", "--serve")
    monkeypatch.chdir(tmp_path)
    assert _to_serve(Path("a demo"), ["--seed", "1"]) == typed("demo", "--out", "a demo", "--seed", "1", "--serve")
    monkeypatch.setattr("topa.serving.serve.find_spec", lambda name: None)
    assert (
        _to_serve(Path("topa-demo"), [])
        == f"{install_line('serve')} && {typed('demo', '--out', 'topa-demo', '--serve')}"
    )


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="has a screen")
def test_without_a_screen_no_browser_is_started(monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)) or True)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    started("http://127.0.0.1:8000", show=True)
    assert not opened
    assert "go to http://127.0.0.1:8000" in capsys.readouterr().err
    monkeypatch.setenv("DISPLAY", ":0")
    started("http://127.0.0.1:8000", show=True)
    assert opened == ["http://127.0.0.1:8000"]
    assert not capsys.readouterr().err


def test_addresses_are_those_that_a_browser_takes():
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]")):
        with listen(host, 0) as listener:
            assert address(listener) == f"http://{shown}:{listener.getsockname()[1]}"
