"""The package's name and version, in one place each; and what the wheel holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest

import topa
from topa.core.artifacts import own_version
from topa.core.install import DISTRIBUTION

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "topa"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "Dockerfile", ROOT / "Makefile"]
DOCUMENTS += [*(ROOT / "docs").rglob("*"), *(ROOT / "examples").rglob("*")]


def test_the_name_is_one_that_is_ours() -> None:
    assert PROJECT["name"] == DISTRIBUTION == "topa-video"
    assert PROJECT["scripts"] == {"topa": "topa.cli:main"}


def test_the_version_is_written_once() -> None:
    assert "version" not in PROJECT
    assert re.fullmatch(r"\d+\.\d+\.\d+", topa.__version__)
    assert own_version() == topa.__version__
    (cited,) = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == topa.__version__


def test_nobody_asks_for_a_distribution_that_is_not_ours() -> None:
    asked = re.compile(r"(version|distribution|metadata|files)\(['\"]topa['\"]|\btopa\[(?!-)\w")
    wrong = [str(path.relative_to(ROOT)) for path in SOURCE.rglob("*.py") if asked.search(path.read_text())]
    assert not wrong


def test_one_function_says_how_to_install() -> None:
    lines = [path for path in SOURCE.rglob("*.py") if "pip install" in path.read_text()]
    assert lines == []
    named = {name for path in SOURCE.rglob("*.py") for name in re.findall(r"install_line\((.*?)\)", path.read_text())}
    extras = {name.strip("'\"") for name in named if name[0] in "'\""}
    assert {"serve", "report", "quantised"} <= extras <= EXTRAS


def test_documents_install_what_is_ours() -> None:
    for path in DOCUMENTS:
        if path.suffix in ("", ".md", ".py") and path.is_file():
            text = path.read_text()
            assert not re.search(r"pip install\s+['\"]?topa(?!-video\b)", text), path
            for extra in re.findall(r"topa-video\[([\w,-]+)\]", text):
                assert set(extra.split(",")) <= EXTRAS, path


@pytest.mark.slow
def test_the_wheel_runs_where_nothing_else_is(tmp_path: Path) -> None:
    """Somebody's first command: the wheel into an empty environment, then the demo, in an empty folder."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pins = ["-c", str(ROOT / "constraints-torch.txt")]
    install = [str(scripts / "python"), "-m", "pip", "install", "--quiet", *pins, str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL", "TOPA"))
    }
    environment |= {"TOPA_CACHE": str(tmp_path / "cache")}
    command = [str(scripts / "topa"), "demo", "--quick"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "topa-demo" / "report.html").is_file()
    following = done.stdout.split("next:")[1].splitlines()[0].strip()
    shell = subprocess.run(["sh", "-c", following], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert shell.returncode == 0, shell.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    """The real one: pip fetches hatchling to build it."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"topa_video-{topa.__version__}.dist-info"
        metadata = BytesParser().parsebytes(archive.read(f"{about}/METADATA"))
        entries = archive.read(f"{about}/entry_points.txt").decode()
    assert (metadata["Name"], metadata["Version"]) == (DISTRIBUTION, topa.__version__)
    assert "topa = topa.cli:main" in entries
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src/topa"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    inside = {name for name in names if not name.startswith(f"{about}/")}
    assert inside == {name.removeprefix("src/") for name in listed}
    assert {Path(name).suffix for name in inside} >= {".safetensors", ".html", ".css", ".js", ".toml", ".typed"}
    about_it = {Path(name).name for name in names - inside}
    assert about_it == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}
