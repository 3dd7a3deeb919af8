"""What isn't ours stays, whatever it is called and whenever we were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import save

from topa.core.artifacts import (
    MANIFEST,
    RECORD,
    Manifest,
    atomic_file,
    claim,
    claim_database,
    expect_all_ours,
    expect_ours,
    finish,
    link_file,
    open_to_append,
    output_folder,
    remove,
    remove_folder,
    remove_unfinished,
    write_atomically,
)
from topa.core.errors import OutputError
from topa.core.locks import LOCK, exclusive
from topa.core.record import RecordedFile, record_of

FOREIGN = r"found a file that isn't topa's; expected nothing there.*Nothing was changed. Move it away, or name another"
CHANGED_FILE = r"found a file that was changed since topa wrote it.*Move it away"


def test_what_we_wrote_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for text in ("one", "two", "three"):
        write_atomically(path, text)
        assert path.read_text() == text
    remove(path)
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(OutputError, match=FOREIGN):
        write_atomically(path, "three")


def test_what_somebody_else_wrote_is_not(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("mine")
    for change in (
        lambda: write_atomically(path, "ours"),
        lambda: remove(path),
        lambda: claim(path, "lines"),
        lambda: open_to_append(path),
        lambda: output_folder(tmp_path, "report.json"),
        lambda: output_folder(tmp_path, "rep*.json"),
        lambda: link_file(path, path),
    ):
        with pytest.raises(OutputError, match=FOREIGN):
            change()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.json", "mine")]


def test_the_same_bytes_may_be_there(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text("same")
    write_atomically(path, "same")
    write_atomically(path, "other")  # ours by now
    assert path.read_text() == "other"


def test_what_a_user_has_edited_stays(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    write_atomically(path, "a card")
    path.write_text("a card, and my own words")
    with pytest.raises(OutputError, match=CHANGED_FILE):
        write_atomically(path, "another card")
    write_atomically(path, path.read_text())
    times = path.stat()
    path.write_text("b card, and my own words")  # of the same length
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    with pytest.raises(OutputError, match=CHANGED_FILE):
        remove(path)


def test_a_copy_of_what_we_wrote_is_known_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "ours")
    path.unlink()
    path.write_text("ours")  # another inode, another time
    expect_ours(path)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
def test_what_is_no_file_is_never_ours(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "a.json", tmp_path / "target"
    write_atomically(path, "ours")
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    if kind == "link":
        target.write_text("ours")
    for change in (lambda: write_atomically(path, "ours"), lambda: claim(path, "lines"), lambda: remove(path)):
        with pytest.raises(OutputError, match=r"found (a link|a folder|no ordinary file); expected"):
            change()
    assert target.exists() == (kind == "link")


@pytest.mark.parametrize("foreign", [b"", b"somebody else's\n", b'{"topa": "x"}\n'])
def test_a_record_that_is_somebody_elses(tmp_path: Path, foreign: bytes) -> None:
    (tmp_path / RECORD).write_bytes(foreign)
    if not foreign:
        write_atomically(tmp_path / "a", "x")
        return
    for change in (lambda: write_atomically(tmp_path / "a", "x"), lambda: output_folder(tmp_path)):
        with pytest.raises(OutputError, match=r"\.topa-files: found something that topa didn't write.*Move it away"):
            change()
    assert (tmp_path / RECORD).read_bytes() == foreign


def test_a_record_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    (tmp_path / RECORD).symlink_to("mine")
    with pytest.raises(OutputError, match="didn't write"):
        write_atomically(tmp_path / "a", "x")
    assert (tmp_path / "mine").read_text() == ""


def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "x")
    with (tmp_path / RECORD).open("ab") as file:
        file.write(b'{"name": "b", "sha2')
    write_atomically(tmp_path / "c", "y")
    write_atomically(tmp_path / "c", "z")
    lines = (tmp_path / RECORD).read_bytes().splitlines()
    names = [json.loads(line)["name"] for line in lines[1:] if line.endswith(b"}")]
    assert {"a", "c"} <= set(names)


def test_files_of_a_kind_are_known_by_how_they_begin(tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    with open_to_append(log) as file:
        file.write(b'{"step": 1}\n')
    with open_to_append(log) as file:
        file.write(b'{"step": 2}\n')
    log.write_text("my shopping list")
    with pytest.raises(OutputError, match=CHANGED_FILE):
        open_to_append(log)
    arrays = tmp_path / "a.safetensors"
    for number in range(2):
        write_atomically(arrays, save({}) + bytes(number), "arrays")
    arrays.write_text("my own weights")
    with pytest.raises(OutputError, match=CHANGED_FILE):
        write_atomically(arrays, save({}), "arrays")


def test_a_database_is_claimed_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite-wal").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.sqlite-wal: found a file that isn't topa's"):
        claim_database(tmp_path / "a.sqlite")


def test_folders_are_removed_file_by_file(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "videos")
    write_atomically(output_folder(folder / "below") / "b.mp4", "ours")
    write_atomically(folder / "a.mp4", "ours")
    with exclusive(folder):
        pass
    (folder / "holiday.mp4").write_text("mine")
    with pytest.raises(OutputError, match=r"holiday\.mp4"):
        expect_all_ours(folder)
    remove_folder(folder)
    assert {path.name for path in folder.iterdir()} == {"holiday.mp4", RECORD}
    (folder / "holiday.mp4").unlink()
    expect_all_ours(folder)
    remove_folder(folder)
    assert not folder.exists()
    output_folder(folder)
    (folder / LOCK).write_text("mine")
    with pytest.raises(OutputError, match=FOREIGN):
        expect_all_ours(folder)
    (folder / LOCK).unlink()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to("elsewhere")
    with pytest.raises(OutputError, match="found a link"):
        expect_all_ours(folder)
    remove_folder(folder)
    assert folder.is_symlink()


def test_only_our_own_unfinished_files_are_cleared_away(tmp_path: Path) -> None:
    """Killed while it writes, before its file is renamed: the next run removes what is left, and nothing else."""
    code = (
        "import sys, os, signal; from pathlib import Path; from topa.core.artifacts import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "a.json"])
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / ".a.json.12345678").write_text("mine")
    assert len(list(tmp_path.iterdir())) == 3
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {RECORD, ".a.json.12345678"}


@pytest.mark.parametrize("name", ["../mine", "{outside}", "..", ".", "", 3])
def test_a_strangers_record_reaches_no_file_outside_its_folder(tmp_path: Path, name: object) -> None:
    folder, mine = tmp_path / "downloaded", tmp_path / "mine"
    mine.write_text("mine")
    write_atomically(output_folder(folder) / "a.txt", "a")
    target = str(mine) if name == "{outside}" else name
    with (folder / RECORD).open("a") as file:
        file.write(json.dumps({"name": target, "kind": "unfinished"}) + "\n")
    remove_unfinished(folder)
    assert mine.read_text() == "mine"
    assert target not in record_of(folder).names("unfinished")


@pytest.mark.parametrize("line", ['{"name": "a.txt", "kind": "new"}', '{"name": "a.txt", "kind": []}', "[]", "3"])
def test_a_line_of_another_form_says_nothing(tmp_path: Path, line: str) -> None:
    write_atomically(tmp_path / "b.txt", "b")
    (tmp_path / "a.txt").write_text("mine")
    with (tmp_path / RECORD).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(OutputError, match=FOREIGN):
        expect_ours(tmp_path / "a.txt")
    write_atomically(tmp_path / "b.txt", "again")


def test_killed_between_the_record_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record names what is not there yet, and still what is: both are ours."""
    path = tmp_path / "a.json"
    write_atomically(path, "one")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "two")
    monkeypatch.undo()
    write_atomically(path, "three")
    assert path.read_text() == "three"


def test_processes_share_a_record(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from topa.core.artifacts import write_atomically\n"
        "for n in range(40): write_atomically(Path(sys.argv[1]) / f'{sys.argv[2]}-{n}', str(n))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name]) for name in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
    for path in tmp_path.glob("[!.]*"):
        expect_ours(path)
    assert len(list(tmp_path.glob("[!.]*"))) == 120


def test_a_failed_write_leaves_no_record_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), atomic_file(tmp_path / "a"):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


def without_record(folder: Path) -> None:
    for path in folder.rglob(RECORD):
        path.unlink()


def test_a_folder_without_a_record_is_known_by_its_manifest(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        write_atomically(tmp_path / name, name)
    finish(tmp_path, Manifest(kind="features"), ["a.bin", "b.bin"])
    without_record(tmp_path)
    (tmp_path / "b.bin").write_text("mine")
    (tmp_path / "c.bin").write_text("mine")
    write_atomically(tmp_path / "a.bin", "again")
    remove(tmp_path / MANIFEST)
    for name, match in (("b.bin", CHANGED_FILE), ("c.bin", FOREIGN)):
        with pytest.raises(OutputError, match=match):
            write_atomically(tmp_path / name, "again")


@pytest.mark.parametrize(
    ("mark", "body", "ours", "mine"),
    [
        ("run.json", {"kind": "align", "settings": {}, "steps": 3}, ["metrics.jsonl", "result.json"], ["README.md"]),
        ("run.json", {"format": 1, "config": {}, "paths": []}, ["failed.json", "features-00001.safetensors"], ["x"]),
        ("demo.json", {"config": {}, "scale": {}}, ["report.html", "videos/micro-1-000001.mp4"], ["videos/me.mp4"]),
        (
            "stories.jsonl",
            {"id": "a", "video": "a", "scenes": [], "changes": [], "events": [], "description": "d"},
            ["questions.jsonl", "videos/micro-1-000001.mp4"],
            ["videos/me.mp4"],
        ),
        # Questions of a user's own have this form (evals.datasets.own); it says nothing about who wrote them.
        ("questions.jsonl", {"id": 1, "video": "v", "question": "q"}, [], ["questions.jsonl", "videos/micro-1-1.mp4"]),
        ("run.json", {"name": "somebody else's"}, [], ["metrics.jsonl", "run.json"]),
        ("manifest.json", {"name": "an app", "files": {"a": "b"}}, [], ["manifest.json", "a"]),
    ],
)
def test_a_folder_without_a_record_is_known_by_its_settings(tmp_path, mark, body, ours, mine) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / mark).write_text(json.dumps(body))
    for name in {*ours, *mine} - {mark}:
        (tmp_path / name).write_text("x")
    for name in ours:
        if not name.endswith((".jsonl", ".safetensors")):
            expect_ours(tmp_path / name)
    for name in mine:
        with pytest.raises(OutputError, match=FOREIGN):
            expect_ours(tmp_path / name)
    if ours:
        write_atomically(tmp_path / mark, "{}")  # from here on there is a record
        (tmp_path / "metrics.csv").write_text("mine")
        with pytest.raises(OutputError, match=FOREIGN):
            expect_ours(tmp_path / "metrics.csv")
        assert record_of(tmp_path).versions(ours[0]) != ()


def test_a_name_is_forgotten_when_its_file_is_removed(tmp_path: Path) -> None:
    claim(tmp_path / "a.jsonl", "lines")
    assert record_of(tmp_path).versions("a.jsonl") == (RecordedFile("lines"),)
    remove(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"mine": 1}')
    with pytest.raises(OutputError, match=FOREIGN):
        expect_ours(tmp_path / "a.jsonl")
