"""What the README tells people to type works as it stands there, in the shell of somebody who has just come."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from . import shells

ROOT = Path(__file__).parents[2]
TESTED = {"ARGS": "tests/core/test_registry.py"}
README = (ROOT / "README.md").read_text()
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text()


def commands() -> list[str]:
    return [line for _, block in shells.blocks(README, "bash") for line in block.splitlines() if line.strip()]


def test_the_first_two_commands_are_targets_of_the_makefile() -> None:
    make = [c for c in commands() if c.startswith("make ")]
    assert make == commands()[:3] == ["make demo", "make test", "make serve"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {c.split()[1] for c in make} | set(re.findall(r"`make ([a-z-]+)`", README)) <= set(targets)
    assert all(c.split()[0] in ("make", ".venv/bin/topa") for c in commands())


def test_it_is_a_page_that_is_read_to_its_end() -> None:
    assert len(README.splitlines()) <= 150
    assert len(README.split()) < 1000


def test_its_picture_moves() -> None:
    (name,) = re.findall(r"!\[[^]]*\]\((.*?)\)", README)
    assert (ROOT / name).stat().st_size < 1_500_000
    with Image.open(ROOT / name) as picture:
        assert picture.n_frames > 10


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table of a page, without the lines between head and body."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    return [
        [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.splitlines() if set(line) - set("|-: ")]
        for table in found
    ]


def test_its_one_table_has_the_figures_of_the_benchmarks() -> None:
    """Each row is the column `all` of the condition that is described there in the same words."""
    (results,) = tables(README)
    conditions, figures, *_ = tables(BENCHMARKS)
    described = {description: name for name, description in conditions}
    overall = {row[0]: row[1] for row in figures}
    assert [figure for _, figure in results[1:]] == [overall[described[words]] for words, _ in results[1:]]


def test_the_tree_is_that_of_the_package() -> None:
    package = ROOT / "src" / "topa"
    ((_, tree),) = shells.blocks(README, "text")
    entries = [line.split()[0] for line in tree.splitlines()[1:]]
    assert all(len(line.split()) > 1 for line in tree.splitlines()[1:])
    rooms = {f"{init.parent.name}/" for init in package.glob("*/__init__.py")}
    assert sorted(entries) == sorted(rooms | {"demo.py"})


@pytest.mark.parametrize(
    ("part", "script", "kept"),
    [
        ("speed", "run.py", "results.json"),
        ("training", "training.py", "training.json"),
        ("writing", "writing.py", "writing.json"),
        ("scoring", "scoring.py", "scoring.json"),
        ("captioning", "captioning.py", "captioning.json"),
        ("serving", "serving.py", "serving.json"),
    ],
)
def test_the_tables_are_those_of_the_kept_figures(part: str, script: str, kept: str) -> None:
    folder = ROOT / "perf"
    done = subprocess.run(
        [sys.executable, str(folder / script), "--table", str(folder / kept)],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = BENCHMARKS.split(f"<!-- {part} -->")[1].split(f"<!-- /{part} -->")[0]
    assert shown.strip() == done.stdout.strip()


def test_the_kept_figures_are_of_all_parts() -> None:
    names = {row["name"] for row in json.loads((ROOT / "perf" / "results.json").read_text())["rows"]}
    assert {"options", "generation", "projection"} < names
    sizes = {row["tideos"] for row in json.loads((ROOT / "perf" / "writing.json").read_text())}
    assert {1_000, 10_000, 100_000} <= sizes


@pytest.fixture
def newcomer(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A copy of the checkout with its environment installed, and the variables of a shell that knows nothing of it.

    The environment is two scripts that start this Python on the copy's source; the demo is the quick one, and of the
    tests one file is run.
    """
    checkout = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    environment = shells.environment_in(checkout, checkout / "src", quick=True)
    for stamp in (".python", ".base", ".serve", ".dev"):
        (checkout / ".venv" / stamp).touch()
    return checkout, environment | TESTED


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_commands_run(newcomer: tuple[Path, dict[str, str]]) -> None:
    """As they stand there, except that the newcomer's videos are toys, and an encoder that knows them is at hand."""
    checkout, environment = newcomer
    for language, block in shells.blocks(README, "bash", "python"):
        if language == "python":
            assert shells.run_python(block, checkout, environment).strip()
            continue
        if "~/Videos" in block:
            shutil.copytree(checkout / "topa-demo" / "videos", Path(environment["HOME"]) / "Videos")
            block = block.replace("openai/clip-vit-base-patch32", "microworld/clip")
        out = shells.typed(block, checkout, environment)
        assert out.strip(), block
        if "make demo" in block:
            assert out.rstrip().endswith("--quick --serve")
