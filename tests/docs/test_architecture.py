"""The rooms of src/topa import what docs/architecture.md allows, and the command line starts without torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "topa"

STAGES = {"core", "tideos", "features", "memory", "models", "prompts"}
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "tideos": {"core"},
    "features": {"core", "tideos"},
    "memory": {"core", "features", "tideos"},
    "models": {"core"},
    "prompts": {"core", "tideos"},
    "microworld": {"core", "tideos", "prompts.templates"},
    "inference": STAGES,
    "training": STAGES | {"inference", "microworld", "evals.questions"},
    "library": STAGES | {"inference", "training.pretrained"},
    "evals": STAGES | {"inference", "training", "microworld"},
    "integrations": STAGES | {"inference", "evals", "library", "training.pretrained"},
    "serving": STAGES | {"inference", "evals", "library", "training.pretrained"},
    "runs": {"core", "training.metrics", "training.trackers"},
    "cli": STAGES | {"demo", "evals", "inference", "library", "microworld", "runs", "serving", "training"},
}
"""Room -> rooms or single modules that it may import. `demo.py` may import everything."""
HEAVY = {"torch", "transformers", "av", "matplotlib", "openai"}


def imports(source: str, module: str, *, package: bool = False) -> Iterator[tuple[str, int]]:
    """Modules of topa that a module's source imports, wherever it does so, and the line.

    Strings such as "topa.features.clip:Clip", the lazy imports of a registry, count as well.
    """
    here = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found = [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = [node.value.replace(":", ".")] if re.fullmatch(r"topa(\.\w+)+:\w+", node.value) else []
        else:
            continue
        yield from ((name, node.lineno) for name in found if name.split(".")[0] == "topa")


def allowed(room: str, name: str, table: dict[str, set[str]]) -> bool:
    """Whether a room may import a name such as topa.core.errors.TopaError."""
    inside = name.removeprefix("topa").removeprefix(".")
    if inside == "__version__":
        return True
    return any(inside == target or inside.startswith(f"{target}.") for target in {room, *table[room]})


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if len(path.relative_to(PACKAGE).parts) > 1)


def breaches(path: Path, table: dict[str, set[str]]) -> list[str]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    package = parts[-1] == "__init__"
    module = ".".join(["topa", *(parts[:-1] if package else parts)])
    found = imports(path.read_text(), module, package=package)
    return [f"{path.relative_to(ROOT)}:{line} {name}" for name, line in found if not allowed(parts[0], name, table)]


def test_rooms_import_what_they_may() -> None:
    found = [breach for path in modules() for breach in breaches(path, ALLOWED)]
    assert not found, "not allowed by docs/architecture.md:\n" + "\n".join(found)


def test_every_room_has_a_rule() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0] for path in modules()}
    assert rooms <= set(ALLOWED), "add the new room to the table here and in docs/architecture.md"


def test_the_document_says_the_same() -> None:
    told = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        if row := re.fullmatch(r"\| `(\w+)/` \|.*\|([^|]*)\|", line):
            told[row[1]] = set(re.findall(r"`([\w.]+)`", row[2]))
    assert told == ALLOWED


DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()


def definitions() -> set[str]:
    """Dotted names, with a dot before them, of all modules, classes, functions and values of the package."""
    names = set()

    def walk(body: list[ast.stmt], start: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(f"{start}.{node.name}")
                walk(node.body, f"{start}.{node.name}")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(f"{start}.{target.id}" for target in targets if isinstance(target, ast.Name))

    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        start = ".".join(["", "topa", *(parts[:-1] if parts[-1] == "__init__" else parts)])
        names.add(start)
        walk(ast.parse(path.read_text()).body, start)
    return names


def unknown_names(text: str) -> list[str]:
    """Files, modules and names in backticks that the package doesn't have. Other files (JSON, weights) are not looked
    up, and words without a dot only where they are written like a class."""
    known, wrong = definitions(), []
    fences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for word in dict.fromkeys(re.findall(r"`([\w./]+)`", fences)):
        if word.endswith(".py") or re.fullmatch(r"\w+(/\w+)+/", word):
            found = (PACKAGE / word).exists() or (ROOT / word).exists() or any(PACKAGE.rglob(word))
        elif re.fullmatch(r"[A-Za-z_]+(\.[A-Za-z_]+)+", word) or re.fullmatch(r"([A-Z][a-z]+)+", word):
            if Path(word).suffix in FILES:
                continue
            found = any(name.endswith(f".{word}") for name in known)
        else:
            continue
        if not found:
            wrong.append(word)
    return wrong


FILES = {
    ".html",
    ".json",
    ".jsonl",
    ".md",
    ".npy",
    ".pkl",
    ".png",
    ".pth",
    ".safetensors",
    ".sqlite",
    ".toml",
    ".index",
}


def section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_what_the_document_names_is_there() -> None:
    assert unknown_names(DOCUMENT) == []


@pytest.mark.parametrize("title", ["Seams", "Where later work docks"])
def test_rows_of_the_tables_name_something_of_ours(title: str) -> None:
    rows = [line.split("|")[1:-1] for line in section(title).splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if not set("".join(row)) <= set("-: ")]
    assert len(rows) > 5
    for row in rows:
        assert any(re.search(r"`[\w./]+`", cell) for cell in row), row


def test_a_name_that_is_not_there_would_be_seen() -> None:
    text = "`serving/none.py` `core/` `core/none/` `features.decoding.Guard` `features.guard.Guard` `Nobody` `a.json`"
    assert unknown_names(text) == ["serving/none.py", "core/none/", "features.decoding.Guard", "Nobody"]


def test_a_forbidden_import_would_be_seen() -> None:
    source = (
        "import os\nimport topa.training\nfrom ..inference import engine\nfrom .. import memory\n"
        "from . import world\nfrom ..prompts import prompt\nfrom ..prompts.templates import TOPA\n"
        "def later():\n    from ..models.adapter import GatedPrompts\n"
        "WRITERS = {'openai': 'topa.evals.mvbench:MVBench'}\n"
    )
    found = {name for name, _ in imports(source, "topa.microworld.here") if not allowed("microworld", name, ALLOWED)}
    assert found == {
        "topa.training",
        "topa.inference.engine",
        "topa.memory",
        "topa.prompts.prompt",
        "topa.models.adapter.GatedPrompts",
        "topa.evals.mvbench.MVBench",
    }
    inside = imports("from . import prompt\nfrom .templates import TOPA\n", "topa.prompts", package=True)
    assert [name for name, _ in inside] == ["topa.prompts.prompt", "topa.prompts.templates.TOPA"]


@pytest.mark.parametrize("command", [["-c", "import topa, topa.cli"], ["-m", "topa.cli", "--help"]])
def test_the_command_line_starts_light(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "topa" in loaded
    assert not loaded & HEAVY
