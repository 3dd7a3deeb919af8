"""What keeps the house readable: one name for one class, no import cycles, short functions, small files."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

PACKAGE = Path(__file__).parents[2] / "src" / "topa"
LONGEST_FUNCTION = 60  # lines
MEDIAN_FILE = 120  # lines


def sources() -> Iterator[tuple[str, Path, ast.Module]]:
    """Module name, file and tree of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["topa", *path.relative_to(PACKAGE).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, path, ast.parse(path.read_text(encoding="utf-8"))


def class_names(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Modules in which each name of a class is bound; one that is private is no other name."""
    bound: dict[str, list[str]] = defaultdict(list)
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bound[node.name.lstrip("_")].append(module)
    return bound


def long_functions(trees: dict[str, ast.Module]) -> dict[str, int]:
    """Lines of each function that has more than it may."""
    return {
        f"{module}.{node.name}": length
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and (length := node.end_lineno - node.lineno + 1) > LONGEST_FUNCTION
    }


def imports(trees: dict[str, ast.Module], packages: set[str]) -> dict[str, set[str]]:
    """The modules that each module imports, inside functions as well, but not for type checkers alone."""
    edges: dict[str, set[str]] = {}
    for module, tree in trees.items():
        package = module.split(".") if module in packages else module.split(".")[:-1]
        skipped = {
            id(node)
            for test in ast.walk(tree)
            if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
            for part in test.body
            for node in ast.walk(part)
        }
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and id(node) not in skipped:
                base = package[: len(package) - node.level + 1] if node.level else []
                start = ".".join([*base, *([node.module] if node.module else [])])
                names |= {f"{start}.{one.name}" if f"{start}.{one.name}" in trees else start for one in node.names}
            elif isinstance(node, ast.Import) and id(node) not in skipped:
                names |= {one.name for one in node.names}
        edges[module] = names & trees.keys()
    return edges


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other, by their transitive imports."""
    reach = {module: set(targets) for module, targets in edges.items()}
    for through in reach:
        for targets in reach.values():
            if through in targets:
                targets |= reach[through]
    groups = {frozenset({m, *(o for o in reach[m] if m in reach[o])}) for m in reach if m in reach[m]}
    return sorted(sorted(group) for group in groups)


TREES = {module: tree for module, _, tree in sources()}
PACKAGES = {module for module, path, _ in sources() if path.name == "__init__.py"}


def test_one_name_is_one_class() -> None:
    assert {name: modules for name, modules in class_names(TREES).items() if len(modules) > 1} == {}


def test_no_module_reaches_itself_by_its_imports() -> None:
    assert cycles(imports(TREES, PACKAGES)) == []


def test_functions_are_read_at_one_look() -> None:
    assert long_functions(TREES) == {}


def test_files_are_small() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for _, path, _ in sources()]
    assert median(lengths) < MEDIAN_FILE


def test_what_breaks_a_rule_would_be_seen() -> None:
    trees = {
        "topa.a": ast.parse("from . import b\nclass One: ...\n"),
        "topa.b": ast.parse("def late():\n    from .c import x\n"),
        "topa.c": ast.parse(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .d import y\nimport topa.a\nclass One: ...\n"
        ),
        "topa.d": ast.parse("from .c import x\n" + "def long():\n" + "    pass\n" * 60),
    }
    assert {name for name, modules in class_names(trees).items() if len(modules) > 1} == {"One"}
    assert cycles(imports(trees, set())) == [["topa.a", "topa.b", "topa.c"]]
    assert long_functions(trees) == {"topa.d.long": 61}
