"""Packed texts are a sequence of them, and names are found by what they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topa.core import string_table as texts
from topa.core.string_table import NameTable, StringTable

SOME = ["", "a", "zwölf\u2028\n", "球", "", "\udcff.mp4", "x" * 300]


def test_a_sequence_of_texts() -> None:
    packed = StringTable.of(SOME)
    assert list(packed) == SOME
    assert len(packed) == len(SOME)
    assert (packed[-1], packed[3], packed[1:4]) == (SOME[-1], SOME[3], SOME[1:4])
    assert list(StringTable.from_arrays(packed.arrays())) == SOME
    assert StringTable.of(packed) is packed
    assert list(StringTable.of([])) == []
    with pytest.raises(IndexError):
        packed[7]
    with pytest.raises(ValueError, match="don't fit"):
        StringTable(np.zeros(3, np.uint8), np.array([2]))


@given(st.lists(st.text(), unique=True, max_size=30), st.lists(st.text(), max_size=30))
def test_names_are_found(names: list[str], others: list[str]) -> None:
    packed = NameTable.from_arrays(NameTable.of(names).arrays())
    queries = [*reversed(names), *others]
    expected = [names.index(name) if name in names else -1 for name in queries]
    assert packed.find(queries).tolist() == expected
    assert [packed.number(name) for name in queries] == expected
    assert all((name in packed) == (name in names) for name in queries)
    assert packed.duplicate() is None
    assert 3 not in packed


def test_doubles_are_told() -> None:
    assert NameTable.of(["a", "b", "c", "b", "a", "c"]).duplicate() == (1, 3)


def test_names_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_hash", lambda name: len(name))
    packed = NameTable.of(["aa", "b", "bb", "cc", "c"])
    assert packed.find(["cc", "aa", "bb", "c", "b", "dd", "d", "ddd"]).tolist() == [3, 0, 2, 4, 1, -1, -1, -1]
    assert packed.duplicate() is None
