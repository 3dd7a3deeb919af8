"""Checkpoints: two are kept, none is ever half there, a damaged one is left aside aloud."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from topa.core.errors import OutputError
from topa.training import checkpoint


def setup(seed: int = 0, steps: int = 2) -> tuple[dict[str, nn.Parameter], torch.optim.Optimizer]:
    generator = torch.Generator().manual_seed(seed)
    parameters = {name: nn.Parameter(torch.randn(3, 2, generator=generator)) for name in ("a.weight", "b")}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    for _ in range(steps):
        for p in parameters.values():
            p.grad = torch.randn(3, 2, generator=generator)
        optimizer.step()
    return parameters, optimizer


def steps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_everything_comes_back_to_the_bit(tmp_path):
    parameters, optimizer = setup()
    checkpoint.save(tmp_path, 2, parameters, optimizer, {"seconds": 0.1, "loss": 1 / 3})
    fresh, other = setup(seed=1, steps=0)
    about = checkpoint.load(tmp_path, fresh, other)
    assert about == {"step": 2, "seconds": 0.1, "loss": 1 / 3}
    for name, p in parameters.items():
        assert torch.equal(fresh[name], p)
        kept, found = optimizer.state[p], other.state[fresh[name]]
        assert set(kept) == set(found) == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(torch.as_tensor(kept[key]), found[key]) for key in kept)
    for p in (*parameters.values(), *fresh.values()):
        p.grad = torch.ones_like(p)
    optimizer.step()
    other.step()
    assert all(torch.equal(fresh[name], p) for name, p in parameters.items())


def test_the_last_two_are_kept(tmp_path):
    for step in (1, 9, 10, 100):
        checkpoint.save(tmp_path, step, *setup(), {})
    assert steps(tmp_path) == ["step-00000010", "step-00000100"]


def test_the_newest_is_loaded(tmp_path):
    for step in (9, 10):
        checkpoint.save(tmp_path, step, *setup(seed=step), {})
    parameters, optimizer = setup(steps=0)
    assert checkpoint.load(tmp_path, parameters, optimizer) == {"step": 10}
    assert torch.equal(parameters["b"], setup(seed=10)[0]["b"])


def test_nothing_there_is_nothing(tmp_path):
    assert checkpoint.load(tmp_path / "none", *setup()) is None


def test_an_unfinished_one_is_no_checkpoint(tmp_path):
    checkpoint.save(tmp_path, 1, *setup(), {})
    (tmp_path / "step-00000001").rename(tmp_path / ".unfinished")
    assert checkpoint.load(tmp_path, *setup()) is None
    checkpoint.save(tmp_path, 2, *setup(), {})  # and is in nobody's way
    assert steps(tmp_path) == ["step-00000002"]


@pytest.mark.parametrize("damage", ["flip", "cut", "about", "manifest", "no manifest", "no tensors"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path, capsys, damage):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, *setup(seed=step), {})
    newest = tmp_path / "step-00000002"
    tensors = newest / "state.safetensors"
    data = bytearray(tensors.read_bytes())
    if damage == "flip":
        data[-5] ^= 1
        tensors.write_bytes(data)
    elif damage == "cut":
        tensors.write_bytes(data[:-9])
    elif damage == "about":
        (newest / "about.json").write_text('{"step": 3}')
    elif damage == "manifest":
        (newest / "manifest.json").write_text("{")
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    else:
        tensors.unlink()
    parameters, optimizer = setup(steps=0)
    assert checkpoint.load(tmp_path, parameters, optimizer) == {"step": 1}
    assert torch.equal(parameters["b"], setup(seed=1)[0]["b"])
    said = capsys.readouterr()
    assert "checkpoint left aside" in said.err
    assert "step-00000002" in said.err.replace("\n", "")
    assert not said.out


@pytest.mark.parametrize("fails", [(os, "fsync"), (os, "replace"), (Path, "rename")])
def test_a_failed_save_keeps_the_older_ones(tmp_path, monkeypatch, fails):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, *setup(seed=step), {})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*fails, full)
    with pytest.raises(
        OutputError, match=r"can't write a checkpoint .No space left.*earlier ones are kept.*run the same"
    ):
        checkpoint.save(tmp_path, 3, *setup(), {})
    monkeypatch.undo()
    assert checkpoint.load(tmp_path, *setup(steps=0)) == {"step": 2}
    assert {"step-00000001", "step-00000002"} <= set(steps(tmp_path)) <= {".unfinished", *steps(tmp_path)}
    assert "step-00000003" not in steps(tmp_path)


def test_when_the_disk_is_full_the_older_checkpoint_stays(tmp_path):
    """A real limit of the system: no file of this process may grow beyond it."""
    for step in (1, 2):
        checkpoint.save(tmp_path, step, *setup(seed=step), {})
    large = {"a.weight": nn.Parameter(torch.ones(100, 100))}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
    try:
        with pytest.raises(OutputError, match=r"can't write a checkpoint .File too large.*earlier ones are kept"):
            checkpoint.save(tmp_path, 3, large, torch.optim.AdamW(large.values()), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.load(tmp_path, *setup(steps=0)) == {"step": 2}
    checkpoint.save(tmp_path, 3, large, torch.optim.AdamW(large.values()), {})
    assert "step-00000003" in steps(tmp_path)


def test_a_folder_that_cannot_be_written_is_answered(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't write a checkpoint"):
        checkpoint.save(tmp_path / "file" / "below", 1, *setup(), {})
