"""Batches made ahead: in order, with their errors, and no thread is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from topa.core.prefetch import Prefetcher


def threads() -> int:
    return threading.active_count()


def test_everything_comes_in_order():
    assert list(Prefetcher(iter(range(100)))) == list(range(100))
    assert list(Prefetcher(iter([]))) == []


def test_an_error_comes_where_it_belongs():
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    prefetcher = iter(Prefetcher(items()))
    assert [next(prefetcher), next(prefetcher)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(prefetcher)


def test_none_is_an_item():
    assert list(Prefetcher(iter([None, 0, None]))) == [None, 0, None]


def test_items_are_made_while_others_are_used():
    event = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        event.set()
        yield 2

    prefetcher = Prefetcher(items())
    first = next(iter(prefetcher))
    assert first == 1
    assert event.wait(10)  # nobody has asked for the second one
    prefetcher.close()


def test_only_some_are_made_ahead():
    computed = []

    def items() -> Iterator[int]:
        for number in range(1000):
            computed.append(number)
            yield number

    prefetcher = Prefetcher(items())
    next(iter(prefetcher))
    prefetcher.close()
    assert len(computed) < 50


def test_closing_ends_the_thread():
    before = threads()
    prefetcher = Prefetcher(iter(range(10**9)))
    next(iter(prefetcher))
    prefetcher.close()
    prefetcher.close()
    assert threads() == before


def test_waiting_is_measured():
    gate = threading.Event()

    def items() -> Iterator[int]:
        gate.wait(10)
        yield 1

    prefetcher = Prefetcher(items())
    timer = threading.Timer(0.2, gate.set)
    timer.start()
    list(prefetcher)
    timer.join()
    assert 0.0 <= prefetcher.wait_seconds < 5
    prefetcher = Prefetcher(items())
    for _ in prefetcher:
        assert prefetcher.wait_seconds < 0.1
