"""Artifacts: finished or refused, never half; and results that can't be written are told in time.

Tests may run as root, to whom nothing is forbidden: a path below a regular file stands for a folder without rights.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from topa.core.artifacts import (
    FORMAT,
    MANIFEST,
    RECORD,
    Manifest,
    finish,
    output_folder,
    read_manifest,
    write_atomically,
)
from topa.core.errors import ArtifactError, OutputError


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "data.bin").write_bytes(b"12345")
    finish(folder, Manifest(kind="features", encoder="clip", width=4, counts={"rows": 5}), ["data.bin"])
    return folder


def rewrite(folder: Path, **changes: object) -> None:
    body = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(body | changes))


def test_what_was_written_is_read(artifact: Path) -> None:
    manifest = read_manifest(artifact, "features", verify=True)
    assert (manifest.encoder, manifest.width, manifest.counts, manifest.format) == ("clip", 4, {"rows": 5}, FORMAT)
    assert manifest.files == {"data.bin": "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"}
    assert {"topa", "python"} <= set(manifest.versions)


def test_an_unfinished_folder_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="unfinished or not ours"):
        read_manifest(tmp_path, "features")
    with pytest.raises(ArtifactError, match="found nothing there; expected a finished 'features' artifact"):
        read_manifest(tmp_path / "absent", "features")


def test_another_kind(artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="holds 'features'; expected 'memory'"):
        read_manifest(artifact, "memory")


@pytest.mark.parametrize("fields", [{}, {"field_of_the_future": 1}])
def test_another_version_is_named_even_when_its_fields_are_unknown(artifact: Path, fields: dict[str, object]) -> None:
    rewrite(artifact, format=FORMAT + 1, **fields)
    with pytest.raises(ArtifactError, match=f"format version {FORMAT + 1}; this topa reads {FORMAT}"):
        read_manifest(artifact, "features")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"kind": 3}', '{"kind": "features", "extra": 1}', "\udcff"])
def test_what_is_no_manifest(artifact: Path, text: str) -> None:
    (artifact / MANIFEST).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ArtifactError, match=r"not a manifest of topa: .+\. Run"):
        read_manifest(artifact, "features")


def test_a_changed_file_is_seen_when_asked_for(artifact: Path) -> None:
    (artifact / "data.bin").write_bytes(b"12346")
    read_manifest(artifact, "features")
    with pytest.raises(ArtifactError, match=r"data\.bin: was changed after it was written"):
        read_manifest(artifact, "features", verify=True)


def test_a_missing_file_is_always_seen(artifact: Path) -> None:
    (artifact / "data.bin").unlink()
    with pytest.raises(ArtifactError, match=r"data\.bin: is missing"):
        read_manifest(artifact, "features")


def test_the_hash_is_of_what_matters(artifact: Path) -> None:
    manifest = read_manifest(artifact, "features")
    assert manifest.model_copy(update={"versions": {"python": "9.9"}}).hash == manifest.hash
    for change in ({"encoder": "other"}, {"files": {}}, {"parents": {"memory": "x"}}, {"config": {"seed": 1}}):
        assert manifest.model_copy(update=change).hash != manifest.hash


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.json: can't be written \(No space left on device\).*--out"):
        write_atomically(path, "new and longer")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert {p.name for p in tmp_path.iterdir()} == {"a.json", RECORD}
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_nothing_is_left_behind_by_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", "x")
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(OutputError, match=r"can't be written \(.+\).*--out"):
            output_folder(path)
    with pytest.raises(OutputError, match="--out"):
        write_atomically(tmp_path / "file" / "x", "text")
    with pytest.raises(OutputError, match="--out"):
        write_atomically(tmp_path / "absent" / "x", "text")


def test_a_folder_for_results_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())
    assert output_folder(folder) == folder
