"""Registries: lazy, and helpful to whoever mistypes."""

from __future__ import annotations

import sys

import pytest

from topa.core.errors import UsageError
from topa.core.registry import Registry, unknown


def test_names_are_imported_when_asked_for() -> None:
    registry = Registry("thing", {"fraction": "fractions:Fraction", "absent": "no_such_module:Thing"})
    assert set(registry) == {"fraction", "absent"}
    assert "fraction" in registry
    assert "nothing" not in registry
    assert "no_such_module" not in sys.modules
    assert registry.load("fraction").__name__ == "Fraction"
    with pytest.raises(ModuleNotFoundError):
        registry.load("absent")


def test_an_unknown_name_is_answered() -> None:
    registry = Registry("benchmark", {"mvbench": "a:b", "egoschema": "a:c"})
    with pytest.raises(UsageError) as caught:
        registry.load("egoshema")
    assert str(caught.value) == ("unknown benchmark 'egoshema'; did you mean 'egoschema'? Known: egoschema, mvbench.")
    assert str(unknown("benchmark", "zzz", ["b", "a"])) == "unknown benchmark 'zzz'. Known: a, b."
