"""Real processes: two do what one does, and a run that is killed goes on to the bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from topa.core.processes import Processes
from topa.training.gradients import Gradients
from topa.training.metrics import METRICS, read_metrics

SETTINGS = ("microworld_tideos=60", "batch_size=5", "epochs=3", "validation=6", "checkpoint_minutes=0")
STEPS = 36


def start(out: Path, processes: int, *settings: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "topa.cli", "align", "--recipe", "microworld", "--out", str(out)]
    for setting in (*SETTINGS, *settings):
        command += ["--set", setting]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "--processes", str(processes)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(out: Path, processes: int, *settings: str) -> str:
    process = start(out, processes, *settings)
    told, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert told.count("aligned:") == 1
    return said


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(out / METRICS) if "loss" in row]


def kill_after(out: Path, processes: int, step: int) -> bool:
    """Kill the whole run, all processes at once, when the checkpoint of a step is there. False: it ended before."""
    process = start(out, processes)
    wanted = f"step-{step:08d}"
    deadline = time.monotonic() + 150
    while not any(path.name >= wanted for path in out.glob("checkpoints/step-*")):
        assert time.monotonic() < deadline
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            break
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid)
        for one in (*family.children(recursive=True), family):  # torchrun's children are no group with it
            one.kill()
    said = process.communicate()[1]
    if process.returncode != -signal.SIGKILL:
        assert process.returncode == 0, said
    return process.returncode == -signal.SIGKILL


def weights(out: Path) -> bytes:
    return (out / "adapter.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_two_processes_do_what_one_does_and_go_on_to_the_bit(tmp_path):
    one, two, killed = tmp_path / "one", tmp_path / "two", tmp_path / "killed"
    finish(one, 1)
    finish(two, 2)
    assert len(losses(one)) == len(losses(two)) == STEPS
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert load_file(two / "adapter.safetensors").keys() == load_file(one / "adapter.safetensors").keys()
    assert json.loads((two / "run.json").read_text())["processes"] == 2
    assert kill_after(killed, 2, 7)
    assert not (killed / "adapter.safetensors").exists()
    assert "resuming at step" in finish(killed, 2)
    assert weights(killed) == weights(two)
    assert losses(killed) == losses(two)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_killed_again_and_again_goes_on_to_the_bit(tmp_path, processes):
    """The closing note's numbers: `make slow ARGS='-k again_and_again -s'`."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(whole, processes)
    rng, kills, step = random.Random(processes), 0, 0
    while step < STEPS - 4:
        step += rng.randint(2, 8)
        kills += kill_after(killed, processes, step)
    finish(killed, processes)
    assert kills >= 4
    assert weights(killed) == weights(whole)
    assert losses(killed) == losses(whole)
    for name in ("memory.safetensors", "best/adapter.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    print(f"\n{processes} processes: {kills} kills, {STEPS} steps, final weights equal to the bit")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_language_model_spread_over_processes_gives_the_same(tmp_path):
    one, spread = tmp_path / "one", tmp_path / "spread"
    settings = ("epochs=1", "validation_captions=4")
    finish(one, 1, *settings)
    finish(spread, 2, *settings, "sharded=true", "checkpointing=true")
    assert losses(spread) == pytest.approx(losses(one), abs=1e-5)
    told = [[row["held_out"] for row in read_metrics(out / METRICS) if "held_out" in row] for out in (one, spread)]
    assert told[0][-1].pop("loss") == pytest.approx(told[1][-1].pop("loss"), abs=1e-4)
    assert told[0] == told[1]


def test_gradients_lie_in_one_tensor():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    expected = torch.autograd.grad(layers(inputs).square().sum(), list(layers.parameters()))
    gradients = Gradients(layers.parameters(), more=2)
    for _ in range(2):
        gradients.clear()
        assert not gradients.beside.any()
        layers(inputs).square().sum().backward()
        gradients.beside[0] += 3
        gradients.add_up(Processes())
        assert torch.equal(gradients.values, torch.cat([g.flatten() for g in expected]))
        assert gradients.beside.tolist() == [3, 0]
    norm = torch.linalg.vector_norm(gradients.values).item()
    assert gradients.clip(0.0) == pytest.approx(norm)
    assert torch.equal(layers[0].weight.grad, expected[0])
    assert gradients.clip(norm / 4) == pytest.approx(norm)
    torch.testing.assert_close(layers[2].weight.grad, expected[2] / 4)
    assert gradients.clip(norm) == pytest.approx(norm / 4)
    torch.testing.assert_close(layers[2].weight.grad, expected[2] / 4)
