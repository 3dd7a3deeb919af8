"""The released algorithm's vectors, through the runner that anybody can give vectors of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from parity import run

OWN = Path(__file__).parents[1] / "data" / "parity"
FULL = Path(__file__).parents[3] / "shared" / "parity"
VECTORS = FULL if FULL.is_dir() else OWN
CASES = json.loads((VECTORS / "manifest.json").read_text())["cases"]
QUANTITIES = 17


@pytest.fixture(scope="module")
def lines() -> list[run.Line]:
    return list(run.run(VECTORS))


@pytest.mark.parametrize("case", CASES)
def test_everything_is_within_its_limit(lines: list[run.Line], case: str) -> None:
    own = [line for line in lines if line.case == case]
    assert len(own) == QUANTITIES
    assert [line for line in own if not line.error <= line.limit] == []


def test_a_wrong_number_fails_and_says_so(tmp_path: Path) -> None:
    """The runner as a program, on vectors in which one gate and one gradient were changed."""
    folder = shutil.copytree(OWN, tmp_path / "vectors")
    manifest = json.loads((folder / "manifest.json").read_text())
    name = "llama2_v1200"
    manifest["cases"] = {name: manifest["cases"][name]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = folder / manifest["cases"][name]["data"]
    path.chmod(0o644)
    data = load_file(path)
    data["grad.visual_proj.weight"][0, 0] += data["grad.visual_proj.weight"].abs().max() * 1e-3
    data["eval.open.memory.token_nll"] += 1e-3
    data["decode.memory.generated"] = torch.flip(data["decode.memory.generated"], (0,))
    save_file(data, path)
    done = subprocess.run(
        [sys.executable, run.__file__, str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == QUANTITIES
    assert set(told[0]) == {"case", "quantity", "error", "limit", "pass"}
    failed = {line["quantity"] for line in told if not line["pass"]}
    assert failed == {"train.gradients", "eval.open.memory.token_nll", "decode.memory.generated"}
