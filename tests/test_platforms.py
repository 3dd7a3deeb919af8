"""What only Unix has is hidden, and topa works; and no file of ours leans on it unguarded, on the encoding of the
console, or on that of the system.

Real processes, videos and requests. What can't be hidden here: paths with backslashes, files that can't be replaced
while they are open, the locks of Windows themselves.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import topa as package

SOURCE = Path(package.__file__).parent
HIDDEN = Path(__file__).parent / "elsewhere"

VERBS = """
import json, os, signal, sys, threading
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from urllib.request import Request, urlopen

import topa  # noqa: F401 - as it is imported first
from topa import cli
from topa.serving import serve as hosting

assert os.environ["TOPA_TEST_HIDDEN"] == "1" and sys.modules["resource"] is None
video, model, out = sys.argv[1:]


def run(*words):
    sys.argv = ["topa", *words]
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            cli.main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
    return printed.getvalue()


done = {}
done["ask"] = json.loads(run("ask", video, "where is the toy at the end ?", "--model", model, "--json"))
done["index"] = json.loads(run("index", video, "--out", out, "--encoder", "microworld/clip", "--json"))
done["again"] = json.loads(run("index", "--out", out, "--json"))
done["search"] = json.loads(run("search", out, "a red ball", "--json"))


def request(base):
    try:
        body = b'--x\\r\\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\\r\\n\\r\\n'
        body += Path(video).read_bytes() + b"\\r\\n--x--\\r\\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        with urlopen(Request(base + "/v1/videos", body, headers)) as reply:
            name = json.load(reply)["id"]
        parts = [{"type": "video_url", "video_url": {"url": name}}, {"type": "text", "text": "where is the toy ?"}]
        body = {"model": "micro", "messages": [{"role": "user", "content": parts}]}
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(base + "/v1/chat/completions", json.dumps(body).encode(), headers)) as reply:
            done["serve"] = json.load(reply)
    finally:
        signal.raise_signal(signal.SIGINT)


hosting.serve(
    Path(model), Path(out), hosting.ServerSettings(port=0, name="micro"),
    started=lambda base: threading.Thread(target=request, args=[base]).start(),
)
print(json.dumps(done))
"""


def elsewhere(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python without what only Unix has."""
    path = os.pathsep.join([str(HIDDEN), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )


def test_verbs_work_without_what_only_unix_has(micro_video: Path, micro_model: Path, tmp_path: Path) -> None:
    """Locks are those of filelock, decoders run in processes of their own, the server answers over HTTP."""
    done = elsewhere("-X", "warn_default_encoding", "-c", VERBS, micro_video, micro_model, tmp_path / "lib")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["ask"]["text"]
    assert (len(told["index"]["new"]), told["again"]["unchanged"], told["again"]["videos"]) == (1, 1, 1)
    assert told["search"]
    assert told["serve"]["choices"][0]["message"]["content"]
    warned = [line for line in done.stderr.splitlines() if "EncodingWarning" in line and str(SOURCE) in line]
    assert not warned
    assert "is bound by the clock alone, not in its memory, its time on the processor" in done.stderr


def test_what_is_hidden_is_hidden() -> None:
    """The tests above would be red if topa leaned on it."""
    script = "import os, signal, topa.core.locks as l; print(hasattr(l.os, 'O_NOFOLLOW'), hasattr(os, 'O_NOFOLLOW'))"
    assert elsewhere("-c", script).stdout == "False True\n"


def test_help_says_all_to_a_console_of_few_letters() -> None:
    for verb in ([], ["ask"], ["index"], ["serve"], ["demo"]):
        done = elsewhere("-X", "utf8=0", "-m", "topa.cli", *verb, "--help", PYTHONIOENCODING="cp1252", LC_ALL="C")
        assert (done.returncode, done.stderr) == (0, ""), verb


SAYS = """
import sys
import typer
from topa.cli import app, main

@app.command()
def say() -> None:
    typer.echo("a ball \\u2192 the \\u043c\\u044f\\u0447 of \\udcff.mp4 \\xd7 2")

sys.argv = ["topa", "say"]
main()
"""


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("cp1252", rb"a ball \u2192 the \u043c\u044f\u0447 of \udcff.mp4 " + b"\xd7 2"),
        ("utf-8", "a ball → the мяч of \\udcff.mp4 × 2".encode()),
    ],
)
def test_any_letter_can_be_printed(encoding: str, printed: bytes) -> None:
    """Those that the console lacks are escaped."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", SAYS],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, b"", printed)


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


UNIX = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "uvloop", "curses", "readline"}
ATTRIBUTES = {
    "os": {"fork", "getuid", "geteuid", "killpg", "setsid", "sched_getaffinity", "sysconf", "uname", "mkfifo", "chown"}
    | {"O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "statvfs", "getloadavg", "nice", "wait", "getpgid"},
    "signal": {"SIGKILL", "SIGXCPU", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "alarm"},
    "loop": {"add_signal_handler", "remove_signal_handler"},
}


def test_nothing_of_unix_is_imported_or_named_unguarded() -> None:
    """Allowed are imports in a `try`, `optional_module`, and `getattr` with a default."""
    faults = []
    for name, tree in trees():
        tried = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in tried:
                absolute = isinstance(node, ast.Import) or not node.level
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                faults += [f"{name}:{node.lineno}: import {one}" for one in names if absolute and one in UNIX]
            owner = node.value.id if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ""
            if isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES.get(owner, ()):
                faults.append(f"{name}:{node.lineno}: {owner}.{node.attr}")
            if isinstance(node, ast.keyword) and node.arg in {"preexec_fn", "pass_fds"}:
                faults.append(f"{name}:{node.value.lineno}: {node.arg}")
    assert not faults


def test_texts_are_read_and_written_as_utf8() -> None:
    """The default is another one on Windows; so are ends of lines."""
    faults = []
    for name, tree in trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            method = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            keywords = {keyword.arg for keyword in call.keywords}
            if method == "read_text" and not ({"encoding"} & keywords or call.args):
                faults.append(f"{name}:{call.lineno}: read_text without an encoding")
            if method == "write_text" and not {"encoding", "newline"} <= keywords:
                faults.append(f"{name}:{call.lineno}: write_text without an encoding or newline")
            opening = method in {"open", "fdopen", "TextIOWrapper", "NamedTemporaryFile"}
            if opening and "encoding" not in keywords and opens_text(call, method):
                faults.append(f"{name}:{call.lineno}: {method} without an encoding")
    assert not faults


OTHER_OPENS = {"av", "Image", "os", "FeatureStore", "MemoryBank", "TideoFile", "Library", "webbrowser", "libraries"}


def opens_text(call: ast.Call, method: str) -> bool:
    """Whether a call opens a text file, as far as its words say."""
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    if method == "open" and isinstance(owner, ast.Name) and owner.id in OTHER_OPENS:
        return False
    modes = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    modes += [word.value.value for word in call.keywords if word.arg == "mode" and isinstance(word.value, ast.Constant)]
    if method == "NamedTemporaryFile":
        return any("b" not in str(mode) for mode in modes)
    return not any("b" in str(mode) for mode in modes)


@pytest.mark.parametrize("code", ["path.read_text()", "path.write_text(x)", "path.open()", "open(path, 'w')"])
def test_the_guard_of_encodings_sees(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module.py").write_text(code)
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    with pytest.raises(AssertionError):
        test_texts_are_read_and_written_as_utf8()


@pytest.mark.parametrize("code", ["import fcntl", "from resource import getrlimit", "os.fork()", "signal.SIGKILL"])
def test_the_guard_of_unix_sees(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module.py").write_text(code)
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    with pytest.raises(AssertionError):
        test_nothing_of_unix_is_imported_or_named_unguarded()
