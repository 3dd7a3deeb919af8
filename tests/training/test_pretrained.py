"""The model that is there without having been asked for, and where it is kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from topa.core.artifacts import own_version
from topa.core.embedded import fingerprint
from topa.core.errors import OutputError
from topa.training import pretrained as pipeline
from topa.training.config import AlignConfig, read_recipe
from topa.training.pretrained import cache_folder, default_model, load


def config() -> AlignConfig:
    return read_recipe("microworld", ["microworld_tideos=60", "epochs=1", "validation=10"])


def never(*_, **__):
    raise AssertionError("this was done before")


def test_the_default_model_is_made_once(tmp_path, monkeypatch, capfd, micro_video):
    monkeypatch.setenv("TOPA_CACHE", str(tmp_path / "cache"))
    asked = []
    monkeypatch.setattr(pipeline, "read_recipe", lambda name: (asked.append(name), config())[1])
    monkeypatch.setattr(pipeline, "seconds_per_pass", lambda: 60.0)
    folder = default_model(show=False)
    said = capfd.readouterr().err
    assert asked == ["microworld"]
    assert folder == tmp_path / "cache" / f"microworld-{own_version()}-{fingerprint()}"
    assert "first use: aligning the micro model, about 3 hours" in said  # 183 passes, at the measured pace
    assert str(folder) in said.replace("\n", "")
    monkeypatch.setattr(pipeline, "align", never)
    assert load(show=False).caption(micro_video).text
    assert default_model(show=False) == folder
    assert "first use" not in capfd.readouterr().err


def test_a_first_use_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPA_CACHE", str(tmp_path))
    monkeypatch.setattr(pipeline, "read_recipe", lambda _: config())
    folder = default_model(show=False)
    expected = (folder / "adapter.safetensors").read_bytes()
    (folder / "config.json").unlink()
    (folder / "adapter.safetensors").unlink()
    assert default_model(show=False) == folder
    assert (folder / "adapter.safetensors").read_bytes() == expected


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.delenv("TOPA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "topa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "topa"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TOPA_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"can't be written .*TOPA_CACHE"):
        default_model(show=False)


def test_two_first_uses_at_once_make_it_once(tmp_path, monkeypatch):
    """The second one waits, and takes what the first one made."""
    monkeypatch.setenv("TOPA_CACHE", str(tmp_path))
    both = threading.Barrier(2, timeout=0.5)
    made = []

    def align(recipe: object, folder: Path, watch: object) -> None:
        made.append(folder)
        with suppress(threading.BrokenBarrierError):
            both.wait()  # without the lock, both would meet here
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr("topa.training.pretrained.align", align)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda _: default_model(show=False), range(2)))
    assert found[0] == found[1] == made[0]
    assert len(made) == 1
