"""`topa generate` on the command line."""

from __future__ import annotations

import contextlib
import html
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from topa.core.artifacts import read_manifest
from topa.tideos.card import DataCard
from topa.tideos.drop_counts import DropCounts
from topa.tideos.jsonl import read_jsonl
from topa.tideos.seeds import Seed
from topa.tideos.textvid import read_textvid
from topa.tideos.writer_prompt import WriterPrompt

from .replies import from_row
from .servers import faults, good, is_probe, of_kinds, send, serving


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
    prompt = WriterPrompt().render(Seed(id="s0", kind="webvid", text="clip 0"))
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


# What is spent, and who has agreed to it.


def unlimited(words: list[str]) -> list[str]:
    return [word for word in words if word != "--yes"]


def test_without_a_budget_nobody_is_asked_where_nobody_sits(
    topa: Callable[..., Any], seeds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(good) as (url, seen):
        done = topa(*unlimited(words(seeds, url, out)))
        assert done.code == 2
        assert "found no --budget" in done.err
        assert "5 seeds: about" in done.err
        assert "--yes" in done.err
        assert (seen.requests, out.exists()) == ([], False)
        assert topa(*unlimited(words(seeds, url, out)), "--budget", 1_000_000, "--limit", 2).code == 0
        assert topa(*unlimited(words(seeds, url, out))).code == 2  # a budget is of one command
        assert topa(*unlimited(words(seeds, url, out)), "--budget", 1_000_000).code == 0
        done = topa(*unlimited(words(seeds, url, out)))  # nothing is left that could cost anything
        assert (done.code, "written: 5 of 5" in done.out) == (0, True)


def test_what_is_missing_is_said_before_anybody_is_asked(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    done = topa("generate", "--seeds", seeds, "--base-url", "http://127.0.0.1:9/v1", "--out", tmp_path / "out")
    assert (done.code, "needs --model" in done.err) == (2, True)


def test_an_estimate_rests_on_what_the_folder_took(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serving(good) as (url, _):
        assert topa(*words(seeds, url, out), "--limit", 2).code == 0
        told = json.loads(topa(*words(seeds, url, out), "--dry-run", "--json", "--concurrency", 1).out)
        done = topa(*words(seeds, url, out), "--dry-run", "--price-in", 10_000, "--price-out", 10_000)
    assert (told["seeds"], told["basis"]) == (3, 2)
    assert told["estimate"] == {"tokens_in": 300, "tokens_out": 150, "cost": 0}
    assert told["seconds"] == pytest.approx(3)
    seeds.write_text(seeds.read_text().replace("clip 1", "another clip 1"))  # its old result is none for this text
    assert json.loads(topa(*words(seeds, url, out), "--dry-run", "--json").out)["seeds"] == 4
    assert "3 seeds: about 300 tokens read, 150 written, cost about 4.50 (as 2 seeds of this folder took" in done.err


# Ctrl-C as at a terminal, whatever the tests were started by: nohup and scripts have it ignored.
AT_A_TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.login_tty(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize(
    ("keys", "code", "words_at_the_end"),
    [
        (b"y\n", 0, ""),
        (b"n\n", 1, "nothing was sent"),
        (b"\x04", 1, "nothing was sent"),  # the end of input
        (b"\x03", 130, "stopped"),  # Ctrl-C
    ],
)
def test_at_a_terminal_the_estimate_is_shown_and_asked_about(
    seeds: Path, tmp_path: Path, keys: bytes, code: int, words_at_the_end: str
) -> None:
    with serving(good) as (url, seen):
        command = [sys.executable, "-m", "topa.cli", *unlimited(words(seeds, url, tmp_path / "out"))]
        mine, its = pty.openpty()
        process = subprocess.Popen([sys.executable, "-c", AT_A_TERMINAL, str(its), *command], pass_fds=[its])
        os.close(its)
        shown = b""
        while b"[y/N]" not in shown:
            shown += os.read(mine, 65536)
        assert seen.requests == []
        os.write(mine, keys)
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(mine, 65536):
                shown += more
        process.wait(60)
        requests = len(seen.requests)
    os.close(mine)
    assert b"5 seeds: about" in shown
    assert process.returncode == code
    if code == 0:
        assert b"written: 5 of 5" in shown
    else:
        assert words_at_the_end in shown.decode()
        assert (requests, (tmp_path / "out").exists()) == (0, False)


# Replies that can't be used.


def test_a_run_that_pays_for_nothing_says_why_and_how_to_go_on(topa: Callable[..., Any], tmp_path: Path) -> None:
    many = tmp_path / "many seeds.jsonl"
    many.write_text("".join(json.dumps({"id": f"s{n}", "kind": "own", "text": f"hall {n}"}) + "\n" for n in range(40)))
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Write about safety: {seed}. Ask questions of the kinds hazard, ppe and rule.")
    with serving(of_kinds("ppe", "hazard", "rule")) as (url, seen):
        command = [*words(many, url, tmp_path / "out"), "--prompt", str(prompt), "--price-in", "1000"]
        done = topa(*command)
        assert done.code == 1
        assert "20 of the latest 20 replies can't be used" in done.err
        assert "20 x content: questions.kind: found 'hazard', 'ppe', 'rule'; expected descriptive" in done.err
        assert "For example seed s" in done.err
        assert "Paid for so far: 2.0000, 3,000 tokens" in done.err
        assert 'kinds = ["hazard", "rule"]' in done.err
        assert len([request for request in seen.requests if not is_probe(request)]) == 20
        again = shlex.split(done.err.splitlines()[-1])
        assert again == ["topa", *command, "--accept-rejections"]
        told = topa(*command, "--json")
        assert (told.code, json.loads(told.out)["rejections"]["replies"]) == (1, 20)
        done = topa(*again[1:])  # all the way, for nothing
        assert (done.code, "no Tideo came of 40 seeds: 40 x content: questions.kind" in done.err) == (1, True)


def test_a_run_of_a_few_that_comes_to_nothing_fails(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    with serving(of_kinds("hazard", "hazard", "ppe")) as (url, _):
        done = topa(*words(seeds, url, tmp_path / "out"), "--limit", 3)
    assert done.code == 1
    assert "no Tideo came of 3 seeds: 3 x content" in done.err


def test_a_prompt_that_shows_an_unknown_kind_is_refused_before_a_call(
    topa: Callable[..., Any], seeds: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text('Write about {seed}.\nQuestions: [{"kind": "hazard"}]')
    with serving(good) as (url, seen):
        done = topa(*words(seeds, url, tmp_path / "out"), "--prompt", tmp_path / "p.txt")
    assert (done.code, seen.requests) == (2, [])
    assert "p.txt:2: found a question of the kind 'hazard'" in done.err
    assert not (tmp_path / "out").exists()


# Kinds of one's own, from the prompt to whatever reads the set.


def example_of_the_tutorial() -> str:
    page = Path(__file__).parents[2] / "docs" / "tutorials" / "write-tideos.md"
    match = re.search(r"```text\n(\+\+\+\n.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


def test_the_example_of_the_tutorial_survives_every_form(topa: Callable[..., Any], seeds: Path, tmp_path: Path) -> None:
    prompt, out = tmp_path / "factory.txt", tmp_path / "out"
    prompt.write_text(example_of_the_tutorial())
    asking = WriterPrompt.from_file(prompt)
    kinds, options = asking.form.names, asking.form.options
    assert "hazard" in kinds
    with serving(of_kinds(*kinds, options=options)) as (url, seen):
        done = topa(*words(seeds, url, out), "--prompt", prompt)
        assert done.code == 0, done.err
        request = next(request for request in seen.requests if not is_probe(request))
        assert "+++" not in request["messages"][0]["content"]
        schema = request["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["questions"]["items"]["properties"]["kind"]["enum"] == list(kinds)
        prompt.write_text(example_of_the_tutorial().replace("ppe", "gear"))
        done = topa(*words(seeds, url, out), "--prompt", prompt)
        assert (done.code, "kinds was" in done.err) == (2, True)
        prompt.write_text(example_of_the_tutorial())
        for n in range(2):
            assert topa(*words(seeds, url, tmp_path / "parts"), "--prompt", prompt, "--shard", f"{n}/2").code == 0
    assert read_manifest(out, "tideos").config["kinds"] == list(kinds)
    assert topa("merge", tmp_path / "parts").code == 0
    written = [(out / "tideos.jsonl").read_text(), (tmp_path / "parts" / "tideos.jsonl").read_text()]
    assert written[0] == written[1]
    for folder in (out, tmp_path / "parts"):
        card = DataCard.model_validate_json((folder / "card.json").read_text())
        assert card.kinds == dict.fromkeys(kinds, 5)
        assert card.kind_descriptions == dict(asking.form.kinds)
        for name, about in asking.form.kinds:
            assert f"<b>{name}</b> {html.escape(about)}" in (folder / "card.html").read_text()
            assert f"**{name}**: {about}" in (folder / "card.md").read_text()
    tideos = list(read_jsonl(out / "tideos.jsonl"))
    assert {question.kind for tideo in tideos for question in tideo.questions} == set(kinds)
    for form, name in (("parquet", "set.parquet"), ("textvid", "textvid.json"), ("jsonl", "set.jsonl")):
        assert topa("export", out / "tideos.jsonl", "--format", form, "--out", tmp_path / name).code == 0
    rows = pyarrow.parquet.read_table(tmp_path / "set.parquet").to_pylist()
    assert [from_row(row) for row in rows] == tideos
    assert list(read_jsonl(tmp_path / "set.jsonl")) == tideos
    textvid = list(read_textvid(tmp_path / "textvid.json", DropCounts()))
    assert [tideo.questions for tideo in textvid] == [tideo.questions for tideo in tideos]
    assert topa("clean", out / "tideos.jsonl", "--out", tmp_path / "clean").code == 0
    assert json.loads((tmp_path / "clean" / "card.json").read_text())["kinds"] == dict.fromkeys(kinds, 5)
