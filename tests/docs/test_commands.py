"""Every command of topa that a message, a page or a document names is one: its verb and its options are there, and
where people are told to type it, nothing is missing."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from topa.cli import app

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "topa").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CHANGELOG.md"]
GROUP = typer.main.get_command(app)
FILLED = "1"  # in place of what an f-string puts there: a number is also a text and a path
BUILDERS = ("typed", "command_line")
UsageError = typer.BadParameter.__base__  # click's, wherever this typer has it from


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, parts put together; and the commands that it builds of words."""
    inside = {id(value) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else inner(v) for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILDERS:
            yield f"or {built(node)}"


def inner(value: ast.AST) -> str:
    """What stands for a value in an f-string."""
    call = next((n for n in ast.walk(value) if isinstance(n, ast.Call)), None)
    built_here = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in BUILDERS
    if not isinstance(call, ast.Call) or not built_here:
        return FILLED
    spliced = any(isinstance(word, ast.Starred) for word in call.args)
    return f"{built(call)} ..." if spliced else built(call)


def built(call: ast.Call) -> str:
    """The command of a call. What is spliced in (`*words`) is left out: options that may be missing."""
    words = [w.value if isinstance(w, ast.Constant) else FILLED for w in call.args if not isinstance(w, ast.Starred)]
    return shlex.join(["topa", *map(str, words)])


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """The commands in a text, and whether each is to be typed as it stands: behind a colon, or at a line's start."""
    verbs = "|".join(GROUP.commands)  # type: ignore[attr-defined]
    for found in re.finditer(rf"(?P<before>^ *|: +|\W)(?=topa (?:{verbs})\b)", text, re.MULTILINE):
        begins = found["before"].startswith(":") or found.start() == text.rfind("\n", 0, found.end()) + 1
        line = re.split(r"[\n`]", text[found.end() :])[0]
        if "..." not in line:  # a command that is cut short is one that is spoken of
            yield re.split(r"[.;,:)](?:\s|$)| #|\s\\$", line)[0], begins


def words_of(line: str) -> list[str]:
    try:
        return shlex.split(line)[1:]
    except ValueError:  # a quotation mark of the sentence around it
        return line.replace("'", "").replace('"', "").split()[1:]


def problem(line: str, *, whole: bool) -> str | None:
    """Why a command can't be typed."""
    words, place = words_of(line), GROUP
    while words and words[0] in getattr(place, "commands", {}):
        place = place.commands[words.pop(0)]  # type: ignore[attr-defined]
    if hasattr(place, "commands"):
        return f"{line}: no verb" if whole and words else None
    known = {name for option in place.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}
    if strange := [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]:
        return f"{line}: no option {strange[0]}"
    if not whole or {"--help", "-h"} & set(words):
        return None
    try:
        place.make_context("topa", words)
    except UsageError as error:
        return f"{line}: {error.format_message()}"
    return None


def test_commands_in_the_source() -> None:
    found = [
        (path.name, wrong)
        for path in SOURCES
        for text in texts(ast.parse(path.read_text()))
        for line, whole in commands(text)
        if (wrong := problem(line, whole=whole))
    ]
    assert found == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents(path: Path) -> None:
    text = path.read_text()
    blocks = "\n".join(re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL))
    assert [one for line, _ in commands(blocks) if (one := problem(line, whole=True))] == []
    assert [one for line, _ in commands(text) if (one := problem(line, whole=False))] == []


def test_what_is_wrong_is_found() -> None:
    lines = ["topa runs DIR --report", "topa memory make STORE --out DIR --rows 5", "topa index", "topa ask VIDEO"]
    assert all(problem(line, whole=True) for line in lines)
    assert problem("topa runs DIR --out DIR", whole=True) is None
    text = "x. Make it: topa index VIDEOS --out DIR. What topa index made, and `topa ask`."
    assert list(commands(text)) == [
        ("topa index VIDEOS --out DIR", True),
        ("topa index made", False),
        ("topa ask", False),
    ]
