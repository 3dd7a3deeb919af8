"""What pip may choose: bounds of every dependency, and the pins that every environment of the Makefile is made with."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWN = canonicalize_name(PROJECT["name"])
DATED = {"xllamacpp", "packaging", "psutil"}  # versions without a promise, of which none has broken anything so far
EXTRA = "transformers[serving]"  # bounded as transformers itself


def direct() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    given = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return [Requirement(line) for line in given if line != EXTRA and canonicalize_name(Requirement(line).name) != OWN]


def pins(name: str) -> dict[str, list[Requirement]]:
    """The lines of a constraints file by package: more than one where Pythons or systems differ."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            found.setdefault(canonicalize_name(Requirement(line).name), []).append(Requirement(line))
    return found


def version_of(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", requirement
    return Version(specifier.version)


def test_every_dependency_has_bounds() -> None:
    for requirement in direct():
        operators = sorted(specifier.operator for specifier in requirement.specifier)
        assert operators in (["<", ">="], [">="] if requirement.name in DATED else []), str(requirement)


def test_a_dependency_is_bounded_once() -> None:
    known: dict[str, str] = {}
    for requirement in direct():
        assert known.setdefault(requirement.name, str(requirement.specifier)) == requirement.specifier


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-oldest.txt"])
def test_pins_lie_within_the_bounds(name: str) -> None:
    pinned = pins(name)
    for requirement in direct():
        for line in pinned[canonicalize_name(requirement.name)]:
            assert version_of(line) in requirement.specifier, f"{name}: {line}, but {requirement}: make constraints"


def test_the_oldest_are_the_lower_bounds() -> None:
    pinned = pins("constraints-oldest.txt")
    for requirement in direct():
        (lowest,) = (Version(s.version) for s in requirement.specifier if s.operator == ">=")
        oldest = min(version_of(line) for line in pinned[canonicalize_name(requirement.name)])
        # 2026.4 means the first release of that month.
        assert oldest == lowest or str(oldest).startswith(f"{lowest}."), f"{requirement}: {oldest} is tested"


def test_the_newest_torch_is_pinned_for_all() -> None:
    (torch,) = pins("constraints-torch.txt")["torch"]
    for name in ("constraints.txt", "constraints-lmms-eval.txt"):
        assert {version_of(line) for line in pins(name)["torch"]} == {version_of(torch)}


def needed(requirement: Requirement, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Everything that an installed package asks for, directly and indirectly, in this environment."""
    for extra in ("", *sorted(requirement.extras)):
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        yield name
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        for line in map(Requirement, lines):
            if line.marker is None or line.marker.evaluate({**default_environment(), "extra": extra}):
                yield from needed(line, seen)


def test_all_that_is_installed_is_pinned() -> None:
    """Direct and indirect: whoever installs next month gets what was tested."""
    oldest = Version(version("transformers")) in pins("constraints-oldest.txt")["transformers"][0].specifier
    pinned = set(pins("constraints-oldest.txt" if oldest else "constraints.txt"))
    missing = set(needed(Requirement(f"{OWN}[dev]"), set())) - pinned - {OWN}
    assert not missing, f"make constraints pins them: {sorted(missing)}"


def test_pythons_are_those_that_are_tested() -> None:
    """The classifiers, what the Makefile accepts and what CI runs are the same."""
    listed = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert listed == {"3.11", "3.12", "3.13"}
    assert PROJECT["requires-python"] == ">=3.11"
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in listed
    assert set(re.findall(r"python(3\.\d+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))) <= listed
