"""Work shared among threads: in order, as far ahead as there are cores, and over when one fails."""

from __future__ import annotations

import threading

import pytest

from evergreen.data import threads
from evergreen.data.threads import in_threads, made_ahead
from tests.support.waiting import wait_until


@pytest.fixture(params=[1, 2, 4])
def cores(request, monkeypatch) -> int:
    monkeypatch.setattr(threads, "cores", lambda: request.param)
    return request.param


def test_one_item_is_made_ahead():
    begun = []

    def made():
        for item in range(4):
            begun.append(item)
            yield item

    ahead = made_ahead(made())
    assert next(ahead) == 0
    assert next(ahead) == 1
    wait_until(lambda: begun == [0, 1, 2])
    assert list(ahead) == [2, 3]
    assert list(made_ahead([])) == []


def test_what_cannot_be_made_fails_whoever_waits_for_it():
    ahead = made_ahead(1 / (2 - item) for item in range(3))
    assert next(ahead) == 0.5
    assert next(ahead) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(ahead)


def test_results_come_in_order(cores):
    assert list(in_threads(lambda item: item * 2, range(50))) == [2 * item for item in range(50)]
    assert list(in_threads(str, [])) == []


def test_cores_work_at_once(cores):
    together = threading.Barrier(cores, timeout=30)
    list(in_threads(lambda _: together.wait(), range(2 * cores)))


def test_no_more_results_wait_than_there_are_cores(cores):
    begun = []
    for done, _ in enumerate(in_threads(begun.append, range(20)), start=1):
        assert len(begun) <= done + cores - 1


def test_a_failure_ends_it(cores):
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        raise ValueError(str(item))

    with pytest.raises(ValueError, match=r"^0$"):
        list(in_threads(fail, range(1_000)))
    assert len(begun) <= cores
