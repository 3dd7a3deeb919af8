"""The ledger: what is recorded stays, a call has one owner at a time, and errors say what to do."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from topa.core.errors import ArtifactError, ArtifactMismatch, OutputError
from topa.tideos.ledger import Ledger, Reply, Usage, call_key

CONFIGURATION = {"model": "m", "prompt": "p"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def opened(path: Path) -> Ledger:
    return Ledger(path, CONFIGURATION)


HOLDER = """
import sys
from pathlib import Path
from topa.tideos.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), {"model": "m", "prompt": "p"})
print(ledger.claim("a"), flush=True)
ledger.attempt("a")
if len(sys.argv) > 2:
    ledger.record("a", sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


def holder(path: Path, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "()\n"
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_the_key_depends_on_each_part() -> None:
    keys = {
        call_key("p", "m", {"t": 1}, "s"),
        call_key("q", "m", {"t": 1}, "s"),
        call_key("p", "n", {"t": 1}, "s"),
        call_key("p", "m", {"t": 2}, "s"),
        call_key("p", "m", {"t": 1}, "r"),
    }
    assert len(keys) == 5
    assert call_key("p", "m", {"a": 1, "b": 2}, "s") == call_key("p", "m", {"b": 2, "a": 1}, "s")


def test_a_call_goes_its_way_and_is_counted_once(path: Path) -> None:
    with opened(path) as ledger:
        ledger.plan([("a", "seed a"), ("b", "seed b")])
        ledger.plan([("a", "seed a")])
        assert ledger.states() == {"a": "planned", "b": "planned"}
        assert ledger.claim("a") == ()
        ledger.attempt("a")
        assert ledger.states()["a"] == "in flight"
        reply = ledger.record("a", "{}")
        assert ledger.states()["a"] == "replied"
        ledger.count(reply, Usage(3, 4, 0.5))
        ledger.count(reply, Usage(3, 4, 0.5))
        ledger.settle("a", "accepted", result="tideo")
    with opened(path) as ledger:
        assert ledger.states() == {"a": "accepted", "b": "planned"}
        assert ledger.spent() == Usage(3, 4, 0.5)
        assert ledger.spent().tokens == 7
        assert ledger.result("a") == "tideo"
        assert ledger.replies("a") == (Reply(reply.id, "{}", counted=True),)
        assert ledger.claim("a") is None
        with pytest.raises(KeyError):
            ledger.claim("c")


def test_failures_are_counted_by_class_and_can_be_claimed_again(path: Path) -> None:
    with opened(path) as ledger:
        ledger.plan([("a", "1"), ("b", "2"), ("c", "3")])
        for key, state, error in (("a", "failed", "transient"), ("b", "rejected", "content"), ("c", "failed", "x")):
            ledger.claim(key)
            ledger.settle(key, state, error=error)  # type: ignore[arg-type]
        assert ledger.errors() == {"transient": 1, "content": 1, "x": 1}
        assert ledger.claim("a") == ()
        assert ledger.claim("b") is None


def test_a_living_process_keeps_its_call_and_a_dead_one_loses_it(path: Path) -> None:
    with opened(path) as ledger:
        ledger.plan([("a", "1")])
        process = holder(path)
        assert ledger.claim("a") is None
        kill(process)
        assert ledger.claim("a") == ()


def test_a_reply_of_a_killed_process_is_there(path: Path) -> None:
    with opened(path) as ledger:
        ledger.plan([("a", "1")])
        kill(holder(path, "the reply"))
        replies = ledger.claim("a")
        assert replies is not None
        assert [(reply.raw, reply.counted) for reply in replies] == [("the reply", False)]
        assert ledger.states()["a"] == "replied"


def test_two_ledgers_of_one_process_dont_share_a_call(path: Path) -> None:
    with opened(path) as one, opened(path) as two:
        one.plan([("a", "1")])
        assert one.claim("a") == ()
        assert two.claim("a") is None
        one.close()
        assert two.states() == {"a": "planned"}
        assert two.claim("a") == ()


def test_files_of_dead_owners_go_and_of_living_ones_stay(path: Path) -> None:
    owners = path.with_name(path.name + ".owners")
    with opened(path) as ledger:
        ledger.plan([("a", "1")])
        kill(holder(path))
        assert len(list(owners.iterdir())) == 2
        with opened(path):
            assert len(list(owners.iterdir())) == 2  # its own and the first one's
        assert len(list(owners.iterdir())) == 1
    assert not list(owners.iterdir())


def test_another_configuration_is_refused_and_nothing_changes(path: Path) -> None:
    with opened(path) as ledger:
        ledger.plan([("a", "1")])
    with pytest.raises(ArtifactMismatch, match=r"model was 'm' and is 'n'.*--out"):
        Ledger(path, {"model": "n", "prompt": "p"})
    with opened(path) as ledger:
        assert ledger.states() == {"a": "planned"}


def test_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but a text" * 100)
    with pytest.raises(ArtifactError, match="not a ledger of topa"):
        opened(path)


def test_another_format_is_refused(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '2' WHERE name = 'format'")
    with pytest.raises(ArtifactError, match="format 2; this topa reads 1"):
        opened(path)


def test_the_first_note_stays(path: Path) -> None:
    with opened(path) as one, opened(path) as two:
        assert two.noted("mode") is None
        assert one.note("mode", "json") == "json"
        assert two.note("mode", "text") == "json"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't be written"):
        opened(tmp_path / "no" / "ledger.sqlite")


FILLER = """
import resource, sys
from pathlib import Path
from topa.core.errors import OutputError
from topa.tideos.ledger import Ledger
path = Path(sys.argv[1])
ledger = Ledger(path, {"model": "m", "prompt": "p"})
ledger.plan([("a", "1")])
ledger.claim("a")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
kept = 0
try:
    while kept < 1000:
        ledger.record("a", f"{kept:04}" + "x" * 10_000)
        kept += 1
except OutputError as error:
    print(kept, error)
"""


def test_no_room_is_one_clear_error_and_what_was_recorded_stays(path: Path) -> None:
    """A limit on the size of files makes writes fail as a full disk does."""
    done = subprocess.run([sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept, _, message = done.stdout.partition(" ")
    assert "Free some space" in message
    assert 0 < int(kept) < 1000
    with opened(path) as ledger:
        assert [reply.raw[:4] for reply in ledger.replies("a")] == [f"{n:04}" for n in range(int(kept))]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 400_000


def test_the_space_that_was_kept_aside_is_given_up_when_there_is_no_other(path: Path) -> None:
    reserve = path.with_name(path.name + ".reserve")
    with opened(path) as ledger:
        ledger.plan([("a", "1")])
        ledger.claim("a")
        assert reserve.stat().st_size == 4 * 2**20
        pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
        ledger._database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OutputError, match="Free some space"):
            ledger.record("a", "x" * 100_000)
        assert not reserve.exists()
    with opened(path) as ledger:
        assert reserve.exists()
        assert ledger.claim("a") == ()
