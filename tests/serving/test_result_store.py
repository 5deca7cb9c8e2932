"""Results are there for their owner, for their time, and never more than memory is meant for them."""

import re
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from focus_ray.serving.problems import Problem
from focus_ray.serving.result_store import InMemoryResultStore


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> InMemoryResultStore:
    return InMemoryResultStore(100, 60.0, clock)


def test_a_result_is_had_by_its_name(kept: InMemoryResultStore):
    name = kept.put(b"mesh", "model/obj", "one")
    assert kept.get(name, "one") == (b"mesh", "model/obj")
    assert kept.get(name, "one") == (b"mesh", "model/obj")
    assert kept.get("nothing", "one") is None


def test_names_cannot_be_guessed():
    kept = InMemoryResultStore(1000, 60.0)
    names = {kept.put(b"", "a/b", None) for _ in range(1000)}
    assert len(names) == len(kept) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", name) for name in names)


@pytest.mark.parametrize("owner", ["one", None])
@pytest.mark.parametrize("other", ["two", None, "One", ""])
def test_another_client_has_nothing_of_it(kept: InMemoryResultStore, owner: str | None, other: str | None):
    name = kept.put(b"face", "image/png", owner)
    expected = (b"face", "image/png") if other == owner else None
    assert kept.get(name, other) == expected
    assert kept.get(name, owner) == (b"face", "image/png")


def test_after_its_time_a_result_is_gone_from_memory(kept: InMemoryResultStore, clock: Clock):
    early = kept.put(b"early", "a/b", None)
    clock.now += 59.0
    late = kept.put(b"late", "a/b", None)
    assert kept.get(early, None) is not None
    clock.now += 1.0
    assert kept.get(early, None) is None
    assert len(kept) == 1
    assert kept.get(late, None) is not None
    clock.now += 60.0
    kept.put(b"x", "a/b", None)
    assert len(kept) == 1


def test_the_oldest_give_way(kept: InMemoryResultStore):
    names = [kept.put(bytes(30), "a/b", None) for _ in range(4)]
    assert [kept.get(name, None) is not None for name in names] == [False, True, True, True]
    kept.put(bytes(100), "a/b", None)
    assert [kept.get(name, None) for name in names] == [None] * 4


def test_what_is_larger_than_all_of_it_is_refused_and_nothing_gives_way(kept: InMemoryResultStore):
    name = kept.put(b"small", "a/b", None)
    with pytest.raises(Problem, match="larger than the store of links; use delivery=inline"):
        kept.put(bytes(101), "a/b", None)
    assert kept.get(name, None) is not None
    with pytest.raises(Problem):
        InMemoryResultStore(0, 60.0).put(b"x", "a/b", None)


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 30)), max_size=30))
def test_the_newest_that_fit_are_kept(puts: list[tuple[int, float]]):
    clock = Clock()
    kept = InMemoryResultStore(100, 60.0, clock)
    made = []
    for size, pause in puts:
        clock.now += pause
        made.append((kept.put(bytes(size), "a/b", None), size, clock.now + 60.0))
    room, expected = 100, set()
    for name, size, until in reversed(made):
        room -= size
        if room < 0:
            break
        expected |= {name} if until > clock.now else set()
    assert {name for name, *_ in made if kept.get(name, None) is not None} == expected


def test_many_at_once_leave_no_more_than_is_allowed():
    kept = InMemoryResultStore(1000, 60.0)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: [kept.put(bytes(7), "a/b", None) for _ in range(300)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert len(kept) == 1000 // 7
    assert kept._results.currsize == 7 * len(kept)
