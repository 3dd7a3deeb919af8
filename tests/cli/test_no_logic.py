"""`topa.cli` decides nothing: it makes commands of the configs of verbs, calls their functions, prints their results.

Branches are counted, and no option is declared twice.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest
import typer

import topa.cli
from topa.cli import app
from topa.cli.options import options_of, verbs_of
from topa.cli.verbs import VERBS, Verb
from topa.core.errors import UsageError
from topa.core.verbs import VerbConfig, argument, option
from topa.core.verbs import options_of as fields_of

CLI = Path(topa.cli.__file__).parent
MAX_IN_A_FUNCTION = 4
MAX_IN_ALL = 66
MAX_LINES = 600


def branches(tree: ast.AST) -> int:
    """Ways that code may go: conditions, loops, handlers, `and`, `or`, and filters of comprehensions."""
    one = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.ExceptHandler, ast.match_case)
    count = 0
    for node in ast.walk(tree):
        count += isinstance(node, one)
        count += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
        count += len(node.ifs) if isinstance(node, ast.comprehension) else 0
    return count


def functions() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.name}: {node.name}", node


def test_no_function_of_the_command_line_branches_much() -> None:
    assert {name: n for name, tree in functions() if (n := branches(tree)) > MAX_IN_A_FUNCTION} == {}


def test_the_command_line_stays_small() -> None:
    sources = [path.read_text() for path in CLI.glob("*.py")]
    assert sum(branches(ast.parse(source)) for source in sources) <= MAX_IN_ALL
    assert sum(len(source.splitlines()) for source in sources) <= MAX_LINES


def test_what_branches_is_counted() -> None:
    source = """
def f(x):
    if x and x > 1 or not x:
        return [y for y in x if y if y > 2]
    for y in x:
        try:
            pass
        except ValueError:
            pass
    return 1 if x else 2
"""
    assert branches(ast.parse(source)) == 1 + 2 + 2 + 1 + 2 + 1


def test_no_option_is_declared_in_the_command_line_and_in_a_config() -> None:
    """Each stands in a config, but for those that say how a verb is called, which no config has."""
    declared = set()
    for path in CLI.glob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) in ("typer.Option", "typer.Argument", "Switch"):
                words = [word.value for word in call.args if isinstance(word, ast.Constant)]
                declared |= {str(word).lstrip("-").replace("_", "-") for word in words[:1]}
    fields = {field.flag.lstrip("-") for verb in VERBS for field in fields_of(verb.config)}
    assert declared == {"json", "list", "dry-run"} - fields


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.words)
def test_a_verb_is_a_function_of_its_config(verb: Verb) -> None:
    """The function takes the config and, besides, only what has a default or is shown; so do those of its switches."""
    for run in (verb.run, *(switch.run for switch in verb.switches)):
        parameters = list(inspect.signature(resolve_name(run)).parameters.values())
        if parameters:
            assert verb.config.__name__ in str(parameters[0].annotation)
        needed = [each.name for each in parameters[1:] if each.default is each.empty]
        assert needed == (["show"] if verb.shows else [])


def test_every_command_is_made_of_a_config() -> None:
    commands = dict(verbs_of(typer.main.get_command(app)))
    assert {" ".join(words) for words in commands} == {verb.words for verb in VERBS} | {"config"}
    for verb in VERBS:
        flags = [f.flag.split("/")[0].lstrip("-") for f in fields_of(verb.config) if not f.is_argument]
        switches = [switch.name.replace("_", "-") for switch in verb.switches]
        assert list(options_of(commands[tuple(verb.words.split())])) == [*flags, *switches, "json"]


class _Config(VerbConfig):
    """Do something.

    Example:  topa something FILE --rows 3
    """

    file: Path = argument("A file.")
    rows: int = option("How many.")
    names: tuple[str, ...] = option("Names.", default=())


def test_a_config_says_what_is_missing() -> None:
    given = {"file": Path("f"), "rows": 3, "names": None}
    assert _Config.of("something", given) == _Config(file=Path("f"), rows=3)
    with pytest.raises(UsageError, match="something: found no --rows; expected: topa something FILE --rows ROWS"):
        _Config.of("something", given | {"rows": None})
