"""`topa.toml` gives defaults for options; `topa config` shows which apply, and where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FILE = """# what I always type
[defaults]
device = "cpu"
seed = 5

[seeds]
kind = "text"
count = 2
seed = 7

[memory.build]
rows = 100000
near = 0.98

[ask]
model = "my-model"
frames-by = "question"
choice = ["red", "blue, too"]
subtitles = true
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "topa.toml").write_text(FILE)
    (tmp_path / "mine.txt").write_text("one\ntwo\nthree\nfour\n")
    return tmp_path


def options(done: Any) -> dict[tuple[str, str], tuple[Any, str]]:
    assert (done.code, done.err) == (0, "")
    return {(row["verb"], row["option"]): (row["value"], row["from"]) for row in json.loads(done.out)["options"]}


def written(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_the_file_gives_what_is_not_typed(topa, folder):
    done = topa("seeds", "mine.txt", "--out", "a.jsonl")
    assert (done.code, done.err) == (0, "")
    assert len(written(folder / "a.jsonl")) == 2
    assert topa("seeds", "mine.txt", "--out", "b.jsonl", "--count", 3).code == 0
    assert len(written(folder / "b.jsonl")) == 3


def test_typed_before_environment_before_file(topa, folder, monkeypatch):
    monkeypatch.setenv("TOPA_SEEDS_COUNT", "1")
    assert topa("seeds", "mine.txt", "--out", "a.jsonl").code == 0
    assert len(written(folder / "a.jsonl")) == 1
    assert topa("seeds", "mine.txt", "--out", "b.jsonl", "--count", 4).code == 0
    assert len(written(folder / "b.jsonl")) == 4


def test_a_required_option_may_stand_in_the_file(topa, folder):
    (folder / "topa.toml").write_text('[seeds]\nout = "c.jsonl"\nkind = "text"\n')
    assert topa("seeds", "mine.txt").code == 0
    assert len(written(folder / "c.jsonl")) == 4


def test_config_shows_what_applies_and_from_where(topa, folder, monkeypatch):
    monkeypatch.setenv("TOPA_ASK_TOP", "3")
    shown = options(topa("config", "--json"))
    assert shown["seeds", "seed"] == ("7", "topa.toml, line 9")  # its own table before that of all verbs
    assert shown["align", "device"] == ("cpu", "topa.toml, line 3")
    assert shown["memory build", "rows"] == ("100000", "topa.toml, line 12")
    assert shown["ask", "choice"] == (["red", "blue, too"], "topa.toml, line 18")
    assert shown["ask", "subtitles"] == (True, "topa.toml, line 19")
    assert shown["ask", "top"] == ("3", "environment, TOPA_ASK_TOP")
    assert ("ask", "protocol") not in shown
    assert ("generate", "model") not in shown
    told = topa("config").out
    assert f"file: {folder / 'topa.toml'}\n" in told
    assert "\n  --model            my-model                 topa.toml, line 16\n" in told
    assert told.count("--device") == 1  # once, not for each verb


def test_config_of_a_verb_shows_all_its_options(topa, folder):
    shown = options(topa("config", "memory", "build", "--json"))
    assert shown["memory build", "rows"] == ("100000", "topa.toml, line 12")
    assert shown["memory build", "out"] == (None, "must be given")
    assert shown["memory build", "json"] == (False, "built in")
    assert {verb for verb, _ in shown} == {"memory build"}
    done = topa("config", "memry")
    assert (done.code, done.out) == (2, "")
    assert "unknown verb 'memry'; did you mean 'memory'?" in done.err


def test_config_without_a_file_says_where_it_looked(topa, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = topa("config").out
    assert f"{tmp_path / 'topa.toml'} (not there; TOPA_CONFIG can name another)" in told
    assert "nothing but built-in defaults" in told


def test_the_value_of_a_secret_is_never_shown(topa, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOPA_SERVE_TOKEN_FILE", "/run/hidden")
    done = topa("config", "--json")
    assert options(done)["serve", "token-file"] == ("(not shown)", "environment, TOPA_SERVE_TOKEN_FILE")
    assert "hidden" not in done.out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[ask]\nmodel = \n", ("topa.toml: is no TOML", "line 2", "[ask]")),
        ("[askk]\nmodel = 'm'\n", ("topa.toml, line 1: unknown verb 'askk'; did you mean 'ask'?",)),
        ("\n[ask]\nmodels = 'm'\n", ("topa.toml, line 3: unknown option of ask 'models'; did you mean 'model'?",)),
        ("[memory.builds]\nrows = 1\n", ("line 1: unknown verb 'memory.builds'; did you mean 'memory.build'?",)),
        ("model = 'm'\n", ("topa.toml, line 1: unknown verb 'model'",)),
        ("ask = 3\n", ("topa.toml, line 1: found 3; expected a line [ask]",)),
        ("[defaults]\nout = 'x'\n", ("topa.toml, line 2: unknown option of all verbs 'out'", "[ask]")),
        ("[ask]\nsubtitles = 'yes'\n", ("topa.toml, line 2: --subtitles: found 'yes'; expected true or false",)),
        ("[ask]\nmodel = true\n", ("topa.toml, line 2: --model: found True; expected one text or number",)),
        ("[ask]\ntop = [1, 2]\n", ("topa.toml, line 2: --top: found [1, 2]; expected one text or number",)),
        ("[memory.build]\nrows = 'many'\n", ("topa.toml, line 2: --rows: ", "integer")),
        ("[memory.build]\nrows = 0\n", ("topa.toml, line 2: --rows: ",)),
        ("[align]\naccept-changes = true\n", ("line 2: --accept-changes takes effect only where it is typed",)),
        ("[generate]\nkey_env = 'OTHER'\n", ("topa.toml, line 2: --key-env takes effect only where it is typed",)),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_with_its_line(topa, folder, text, expected):
    (folder / "topa.toml").write_text(text)
    for words in (("seeds", "mine.txt", "--kind", "text", "--out", "a.jsonl"), ("config",)):
        done = topa(*words)
        assert (done.code, done.out) == (2, "")
        assert all(part in done.err for part in expected), done.err
        assert len(done.err.splitlines()) == 1
    assert not (folder / "a.jsonl").exists()
    assert topa("ask", "--help").code == topa("--help").code == 0


def test_an_error_says_which_options_nobody_typed(topa, folder):
    (folder / "clip.mp4").write_bytes(b"")
    done = topa("ask", "clip.mp4", "what ?", "--top", 3)
    assert done.code == 2
    assert done.err.splitlines()[1].startswith("note: topa.toml gives --model, --frames-by, --choice, --subtitles")


def test_another_file_and_its_paths(topa, folder, monkeypatch):
    (folder / "set").mkdir()
    (folder / "set" / "mine.toml").write_text(
        '[seeds]\nout = "d.jsonl"\nkind = "text"\n[ask]\nmodel = "m"\n[caption]\nmodel = "org/m"\n'
    )
    (folder / "set" / "m").mkdir()
    monkeypatch.setenv("TOPA_CONFIG", "set/mine.toml")
    assert topa("seeds", "mine.txt").code == 0
    assert (folder / "set" / "d.jsonl").is_file()
    shown = options(topa("config", "--json"))
    assert shown["ask", "model"][0] == str(Path("set/m"))
    assert shown["caption", "model"][0] == "org/m"
    monkeypatch.setenv("TOPA_CONFIG", "gone.toml")
    done = topa("seeds", "mine.txt", "--out", "a.jsonl")
    assert done.code == 2
    assert "gone.toml: can't be read (No such file or directory)" in done.err


def test_where_a_key_is_sent_is_told(topa, folder):
    (folder / "topa.toml").write_text('[generate]\nbase-url = "http://127.0.0.1:9/v1"\n')
    done = topa("generate", "--seeds", "gone.jsonl", "--model", "m", "--out", "o", "--dry-run")
    assert "topa.toml says where requests and the key go: --base-url" in done.err
