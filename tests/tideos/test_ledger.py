"""The ledger: what is recorded stays, a call has one owner at a time, and errors say what to do."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from topa.core.errors import ArtifactError, ArtifactMismatch, InputError, OutputError
from topa.tideos import ledger as module
from topa.tideos.ledger import Ledger, WriterCall, WriterReply, call_key
from topa.tideos.seeds import Seed
from topa.tideos.writers import TokenUsage

CONFIGURATION = {"model": "m", "prompt": "p"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def opened(path: Path) -> Ledger:
    return Ledger(path, CONFIGURATION)


def seed(name: str) -> Seed:
    return Seed(id=f"seed {name}", kind="own", text=f"about {name}")


def plan(ledger: Ledger, names: str) -> int:
    return ledger.plan((name, place, seed(name)) for place, name in enumerate(names))


def claimed(ledger: Ledger, limit: int = 9) -> str:
    return "".join(call.key for call in ledger.claim(limit))


HOLDER = """
import sys
from pathlib import Path
from topa.tideos.ledger import Ledger
from topa.tideos.seeds import Seed
ledger = Ledger(Path(sys.argv[1]), {"model": "m", "prompt": "p"})
ledger.plan([("a", 0, Seed(id="seed a", kind="own", text="about a"))])
print([call.key for call in ledger.claim(1)], flush=True)
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
    assert process.stdout.readline() == "['a']\n"
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
        assert plan(ledger, "ab") == 2
        assert ledger.counts() == {"planned": 2}
        assert ledger.claim(1) == [WriterCall("a", seed("a"), ())]
        ledger.attempt("a")
        assert ledger.counts() == {"in flight": 1, "planned": 1}
        reply = ledger.record("a", "{}")
        assert ledger.counts() == {"planned": 1, "replied": 1}
        ledger.count(reply, TokenUsage(3, 4, 0.5))
        ledger.count(reply, TokenUsage(3, 4, 0.5))
        ledger.settle("a", "accepted", result="tideo")
    with opened(path) as ledger:
        plan(ledger, "ab")
        assert ledger.counts() == {"accepted": 1, "planned": 1}
        assert ledger.total_usage() == TokenUsage(3, 4, 0.5)
        assert ledger.total_usage().tokens == 7
        assert list(ledger.results()) == [(0, "tideo")]
        assert ledger.replies("a") == (WriterReply(reply.id, "{}", is_counted=True),)
        assert claimed(ledger) == "b"


def test_calls_are_claimed_in_their_order_and_once(path: Path) -> None:
    with opened(path) as ledger:
        plan(ledger, "dbca")
        assert [claimed(ledger, 2), claimed(ledger, 1), claimed(ledger, 2), claimed(ledger, 2)] == ["db", "c", "a", ""]


def test_a_run_is_about_its_own_calls(path: Path) -> None:
    with opened(path) as ledger:
        plan(ledger, "abc")
        for name in "abc":
            ledger.settle(name, "accepted", result=f"tideo {name}")
        plan(ledger, "cxb")
        assert ledger.counts() == {"accepted": 2, "planned": 1}
        assert list(ledger.results()) == [(0, "tideo c"), (2, "tideo b")]
        assert claimed(ledger) == "x"
        plan(ledger, "abc")
        assert [result for _, result in ledger.results()] == ["tideo a", "tideo b", "tideo c"]


def test_two_seeds_of_one_id_are_refused_and_the_earlier_plan_stays(path: Path) -> None:
    with opened(path) as ledger:
        plan(ledger, "a")
        with pytest.raises(InputError, match="seed number 2: the id 'seed x' was there before"):
            ledger.plan([("x", 0, seed("x")), ("y", 1, seed("x"))])
        assert ledger.counts() == {"planned": 1}


def test_failures_are_counted_by_class_and_can_be_claimed_again(path: Path) -> None:
    with opened(path) as ledger:
        plan(ledger, "abc")
        assert claimed(ledger) == "abc"
        for key, state, error in (("a", "failed", "transient"), ("b", "rejected", "content"), ("c", "failed", "x")):
            ledger.settle(key, state, error=error)  # type: ignore[arg-type]
        assert ledger.errors() == {"transient": 1, "content": 1, "x": 1}
        assert claimed(ledger) == ""
        plan(ledger, "abc")
        assert claimed(ledger) == "ac"


def test_a_living_process_keeps_its_call_and_a_dead_one_loses_it(path: Path) -> None:
    with opened(path) as ledger:
        process = holder(path)
        plan(ledger, "a")
        assert ledger.count_elsewhere() == 1
        assert claimed(ledger) == ""
        kill(process)
        plan(ledger, "a")
        assert ledger.count_elsewhere() == 0
        assert claimed(ledger) == "a"


def test_a_reply_of_a_killed_process_is_there(path: Path) -> None:
    with opened(path) as ledger:
        kill(holder(path, "the reply"))
        plan(ledger, "a")
        (call,) = ledger.claim(1)
        assert [(reply.raw, reply.is_counted) for reply in call.replies] == [("the reply", False)]
        assert ledger.counts() == {"replied": 1}


def test_two_ledgers_of_one_process_dont_share_a_call(path: Path) -> None:
    with opened(path) as one, opened(path) as two:
        plan(one, "a")
        plan(two, "a")
        assert claimed(one) == "a"
        assert claimed(two) == ""
        one.close()
        assert two.counts() == {"planned": 1}
        plan(two, "a")
        assert claimed(two) == "a"


def test_operations_together_are_done_all_or_none(path: Path) -> None:
    with opened(path) as ledger:
        plan(ledger, "ab")
        reply, _ = ledger.commit_all([lambda: ledger.record("a", "1"), lambda: ledger.attempt("b")])
        assert ledger.replies("a") == (reply,)

        def broken() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            ledger.commit_all([lambda: ledger.record("b", "2"), broken])
        assert ledger.replies("b") == ()


def test_files_of_dead_owners_go_and_of_living_ones_stay(path: Path) -> None:
    owners = path.with_name(path.name + ".owners")
    with opened(path):
        kill(holder(path))
        assert len(list(owners.iterdir())) == 2
        with opened(path):
            assert len(list(owners.iterdir())) == 2  # its own and the first one's
        assert len(list(owners.iterdir())) == 1
    assert not list(owners.iterdir())


def test_what_is_no_owners_file_stays(path: Path) -> None:
    """Something of the user's beside the owners' files, a pipe that nobody reads, and a link under an owner's name."""
    owners = path.with_name(path.name + ".owners")
    owners.mkdir()
    treasure = path.with_name("treasure")
    treasure.write_text("mine")
    (owners / "notes.txt").write_text("mine, too")
    (owners / "0123456789abcdef0123456789abcdef").symlink_to(treasure)
    (owners / ("f" * 32)).mkdir()
    os.mkfifo(owners / "pipe")
    before = sorted(owners.iterdir())
    with opened(path) as ledger:
        assert len(list(owners.iterdir())) == len(before) + 1
        with pytest.raises(OutputError, match="found a link; expected a lock file"):
            ledger.alive("0123456789abcdef0123456789abcdef")
    assert sorted(owners.iterdir()) == before
    assert treasure.read_text() == "mine"


def test_processes_that_look_for_an_owner_do_so_one_after_the_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look takes the dead owner's lock for a moment: a second look must not see that, and take it for the owner's."""
    with opened(path) as ledger, opened(path) as other:
        other.database.execute("PRAGMA busy_timeout = 0")
        original, looks = module.is_held, []

        def look(owner: Path) -> bool:
            with pytest.raises(OutputError, match="database is locked"):
                other.alive(owner.name)
            looks.append(owner.name)
            return original(owner)

        monkeypatch.setattr(module, "is_held", look)
        assert not ledger.alive("0" * 32)
        assert looks == ["0" * 32]
        monkeypatch.undo()
        assert ledger.alive(other.owner)


def test_another_configuration_is_refused_and_nothing_changes(path: Path) -> None:
    with opened(path) as ledger:
        plan(ledger, "a")
    with pytest.raises(ArtifactMismatch, match=r"model was 'm' and is 'n'.*--out"):
        Ledger(path, {"model": "n", "prompt": "p"})
    with opened(path) as ledger:
        plan(ledger, "a")
        assert ledger.counts() == {"planned": 1}


def test_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, but a text" * 100)
    with pytest.raises(OutputError, match=r"found a file that isn't topa's.*Move it away"):
        opened(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_damaged_ledger_is_refused(path: Path) -> None:
    opened(path).close()
    path.write_bytes(path.read_bytes()[:16] + b"damage" * 1000)
    with pytest.raises(ArtifactError, match="not a ledger of topa"):
        opened(path)


def test_another_format_is_refused(path: Path) -> None:
    opened(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = '1' WHERE name = 'format'")
    with pytest.raises(ArtifactError, match="format 1; this topa reads 3"):
        opened(path)


def test_the_first_note_stays(path: Path) -> None:
    with opened(path) as one, opened(path) as two:
        assert two.read_note("mode") is None
        assert one.write_note("mode", "json") == "json"
        assert two.write_note("mode", "text") == "json"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="can't be written"):
        opened(tmp_path / "no" / "ledger.sqlite")


FILLER = """
import resource, sys
from pathlib import Path
from topa.core.errors import OutputError
from topa.tideos.ledger import Ledger
from topa.tideos.seeds import Seed
path = Path(sys.argv[1])
ledger = Ledger(path, {"model": "m", "prompt": "p"})
ledger.plan([("a", 0, Seed(id="s", kind="own", text="t"))])
ledger.claim(1)
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
    process = subprocess.run([sys.executable, "-c", FILLER, str(path)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    number, _, message = process.stdout.partition(" ")
    assert "Free some space" in message
    assert 0 < int(number) < 1000
    with opened(path) as ledger:
        assert [reply.raw[:4] for reply in ledger.replies("a")] == [f"{n:04}" for n in range(int(number))]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 400_000


def test_the_space_that_was_kept_aside_is_given_up_when_there_is_no_other(path: Path) -> None:
    reserve = path.with_name(path.name + ".reserve")
    with opened(path) as ledger:
        plan(ledger, "a")
        ledger.claim(1)
        assert reserve.stat().st_size == 4 * 2**20
        pages = ledger.database.execute("PRAGMA page_count").fetchone()[0]
        ledger.database.execute(f"PRAGMA max_page_count = {pages}")
        assert ledger.full is None
        with pytest.raises(OutputError, match="Free some space"):
            ledger.commit_all([lambda: ledger.record("a", "x" * 100_000)])
        assert not reserve.exists()
        assert ledger.full is not None
    with opened(path) as ledger:
        assert reserve.exists()
        plan(ledger, "a")
        assert claimed(ledger) == "a"
