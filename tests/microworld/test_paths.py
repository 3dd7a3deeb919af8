"""Names of the shipped micro models."""

from __future__ import annotations

from pathlib import Path

import pytest

from topa.core.embedded import NAMES, resolve
from topa.core.errors import InputError, UsageError


def test_known_names_are_folders_of_the_package() -> None:
    for name in ("microworld/clip", "microworld/llm"):
        path = Path(resolve(name))
        assert path == NAMES[name]
        assert path.parts[-4:] == ("topa", "microworld", "weights", name.split("/")[1])


@pytest.mark.parametrize("name", ["openai/clip-vit-large-patch14", "microworld"])
def test_other_names_are_left_alone(name: str) -> None:
    assert resolve(name) == name


@pytest.mark.parametrize("name", ["./microworld/clip", "/models/llm", ""])
def test_a_path_that_leads_nowhere_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match="found no such folder"):
        resolve(name)


def test_an_unknown_micro_model_is_answered() -> None:
    with pytest.raises(UsageError, match=r"unknown micro model 'microworld/clipp'; did you mean 'microworld/clip'\?"):
        resolve("microworld/clipp")
