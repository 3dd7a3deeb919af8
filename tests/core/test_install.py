"""What is printed for a missing package can be typed where it is read, and installs into the Python that printed it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from topa.core import install

ROOT = Path(__file__).parents[2]
SAY = "from topa.core.install import install_line; print(install_line('serve'))"


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a pip of its own, beside nothing else."""
    folder = tmp_path_factory.mktemp("environment") / ".venv"
    venv.create(folder, symlinks=True)
    pip = folder / "bin" / "pip"
    pip.write_text("#!/bin/sh\nexit 0\n")
    pip.chmod(0o755)
    (folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "pip.py").touch()
    return folder / "bin" / "python"


def run_install_line(python: Path, folder: Path, source: Path, path: str = os.defpath) -> list[str]:
    environment = {"PATH": path, "PYTHONPATH": str(source)}
    process = subprocess.run([str(python), "-c", SAY], cwd=folder, env=environment, capture_output=True, text=True)
    assert not process.stderr
    return shlex.split(process.stdout)


def tree(folder: Path, *, wheel: bool) -> Path:
    """Copy the little that prints the line: as a checkout, or as a wheel lies in an environment."""
    source = folder / ("site-packages" if wheel else "src")
    (source / "topa" / "core").mkdir(parents=True)
    for name in ("__init__.py", "core/__init__.py", "core/install.py"):
        (source / "topa" / name).write_bytes((ROOT / "src" / "topa" / name).read_bytes())
    if not wheel:
        (folder / "pyproject.toml").touch()
        (folder / "constraints.txt").touch()
    return source


def test_a_checkout_is_installed_again_as_one(interpreter: Path) -> None:
    folder = interpreter.parents[2]
    source = tree(folder, wheel=False)
    words = [".venv/bin/python", "-m", "pip", "install", "-c", "constraints.txt", "-e", ".[serve]"]
    assert run_install_line(interpreter, folder, source) == words
    on_path = run_install_line(interpreter, folder, source, f"{interpreter.parent}:{os.defpath}")
    assert on_path == ["pip", "install", *words[4:]]


def test_from_another_folder_the_paths_are_whole(interpreter: Path, tmp_path: Path) -> None:
    source = tree(tmp_path / "check out", wheel=False)
    checkout = tmp_path / "check out"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run_install_line(interpreter, elsewhere, source) == [
        *(str(interpreter), "-m", "pip", "install"),
        *("-c", str(checkout / "constraints.txt"), "-e", f"{checkout}[serve]"),
    ]


def test_a_wheel_is_named_by_its_distribution(interpreter: Path, tmp_path: Path) -> None:
    source = tree(tmp_path, wheel=True)
    words = run_install_line(interpreter, tmp_path, source)
    assert words == [str(interpreter), "-m", "pip", "install", "topa-video[serve]"]


def test_somebody_elses_pip_on_the_path_is_not_taken(interpreter: Path, tmp_path: Path) -> None:
    other = tmp_path / "bin"
    other.mkdir()
    (other / "pip").write_text("#!/bin/sh\n")
    (other / "pip").chmod(0o755)
    source = tree(tmp_path, wheel=True)
    assert run_install_line(interpreter, tmp_path, source, f"{other}:{os.defpath}")[0] == str(interpreter)


def test_an_environment_without_pip_is_one_of_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", os.defpath)
    words = shlex.split(install.install_line("serve"))
    assert words[:4] == ["uv", "pip", "install", "--python"]
    assert Path(words[4]).resolve() == Path(sys.executable).resolve()
