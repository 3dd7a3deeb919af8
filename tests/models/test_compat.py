"""One module knows what transformers doesn't promise."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers

from topa.models import compat

from . import tiny

SOURCE = Path(compat.__file__).parents[1]
# Documented, and stable since version 4: progress bars are switched off by it.
PUBLIC = {"transformers", "transformers.utils"}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)


def test_no_other_module_imports_what_is_inside_transformers() -> None:
    for path in SOURCE.rglob("*.py"):
        inside = {module for module, _ in imports(path) if module.partition(".")[0] == "transformers"} - PUBLIC
        assert not inside or path == Path(compat.__file__), f"{path}: {inside}"


@pytest.mark.parametrize(
    "private", ["past_key_values", "_can_set_attn_implementation", "_attn_implementation", "gradient_checkpointing",
                "get_seq_length", "AttentionInterface"]
)  # fmt: skip
def test_no_other_module_names_what_moves_between_releases(private: str) -> None:
    users = {path for path in SOURCE.rglob("*.py") if re.search(rf"\b{private}\b", path.read_text(encoding="utf-8"))}
    assert users == {Path(compat.__file__)}


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_cache_is_passed_by_the_name_that_the_model_takes(family: str) -> None:
    """A wrong name is a warning in some releases, and the cache silently ignored in others."""
    llm = tiny.llm(family)
    cache = compat.DynamicCache()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        llm(torch.tensor([[1, 2, 3]]), use_cache=True, **compat.cache_argument(llm, cache))
        assert {layer.get_seq_length() for layer in compat.cached_layers(cache)} == {3}
        llm(torch.tensor([[4]]), use_cache=True, **compat.cache_argument(llm, cache))
    assert {layer.get_seq_length() for layer in compat.cached_layers(cache)} == {4}


def test_a_class_that_hides_its_arguments_gets_the_name_that_all_releases_take() -> None:
    class Hidden(transformers.LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)

    assert list(compat.cache_argument(Hidden(tiny.llm().config), None)) == ["past_key_values"]


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_a_cache_that_is_passed_is_found_by_either_name(name: str) -> None:
    cache = compat.DynamicCache()
    assert compat.passed_cache({"use_cache": True, name: cache}) is cache
    assert compat.passed_cache({"use_cache": True, name: None}) is None


def test_a_copy_grows_alone() -> None:
    llm = tiny.llm()
    cache = compat.DynamicCache()
    with torch.no_grad():
        llm(torch.tensor([[1, 2]]), use_cache=True, **compat.cache_argument(llm, cache))
        copied = compat.copy_cache(cache)
        llm(torch.tensor([[3]]), use_cache=True, **compat.cache_argument(llm, copied))
    assert [layer.get_seq_length() for layer in compat.cached_layers(cache)] == [2] * 3
    assert [layer.get_seq_length() for layer in compat.cached_layers(copied)] == [3] * 3


def test_layers_that_are_computed_again_are_known() -> None:
    llm = tiny.llm()
    assert len(compat.decoder_layers(llm)) == 3
    assert not compat.recomputes_layers(llm)
    compat.checkpoint_layers(llm)
    assert compat.recomputes_layers(llm)
