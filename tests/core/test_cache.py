"""The cache evicts what was used longest ago, by number or by size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topa.core.cache import LruCache


def test_the_least_recently_used_goes_first() -> None:
    cache: LruCache[str, int] = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)
    assert cache.get("b") is None


def test_by_size_too_large_a_value_stays_out() -> None:
    cache: LruCache[str, str] = LruCache(5, len)
    cache.put("a", "xx")
    cache.put("b", "yyy")
    cache.put("a", "z")  # replaced: its old size no longer counts
    cache.put("c", "w")
    assert [key for key in "abc" if key in cache] == ["a", "b", "c"]
    cache.put("d", "123456")
    assert "d" not in cache
    assert len(cache) == 3


def test_a_value_is_made_once_while_it_is_cached() -> None:
    cache: LruCache[int, list[int]] = LruCache(1)
    first = cache.get_or_make(1, lambda: [1])
    assert cache.get_or_make(1, lambda: [0]) is first
    cache.discard(1)
    assert cache.get_or_make(1, lambda: [0]) == [0]


@given(st.lists(st.integers(0, 5)), st.integers(1, 4))
def test_it_holds_the_last_distinct_keys(keys: list[int], capacity: int) -> None:
    cache: LruCache[int, int] = LruCache(capacity)
    for key in keys:
        assert cache.get_or_make(key, lambda key=key: key) == key
    recent = list(dict.fromkeys(reversed(keys)))[:capacity]
    assert {key for key in range(6) if key in cache} == set(recent)
