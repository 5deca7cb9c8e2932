"""The upload queue: the newest first, a few at a time, the newest and the best are kept, and nobody is forgotten."""

import threading
from typing import Any

import pytest
import torch

from focus_ray.training.upload_queue import UploadQueue, tensor_bytes


def tree() -> dict[str, Any]:
    """A state of 100 bytes."""
    return {"a": [torch.zeros(20), (torch.zeros(20, dtype=torch.uint8),)], "step": 3}


class Store:
    """Writes nothing before it is open, and remembers what it was given."""

    def __init__(self):
        self.open = threading.Event()
        self.begun = threading.Event()
        self.written: list[tuple[int, bool]] = []

    def write(self, step, tree, best):
        self.begun.set()
        assert self.open.wait(60)
        if tree.get("bad"):
            raise ValueError("a mistake of the program")
        self.written.append((step, best))


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def notes():
    return []


@pytest.fixture
def uploads(store, notes):
    uploads = UploadQueue(store.write, 300, notes.append)  # three of these wait
    uploads.add(0, tree(), best=False)
    assert store.begun.wait(60)  # the first is being written: the others wait
    yield uploads
    store.open.set()
    uploads.wait()


def after(store, uploads):
    store.open.set()
    uploads.wait()
    return store.written


def test_the_newest_is_written_first(store, uploads, notes):
    for step in (1, 2, 3):
        uploads.add(step, tree(), best=False)
    assert after(store, uploads) == [(step, False) for step in (0, 3, 2, 1)]
    assert notes == []


def test_the_oldest_that_waits_gives_way(store, uploads, notes):
    futures = [uploads.add(step, tree(), best=False) for step in range(1, 6)]
    assert futures[0].done()
    assert futures[1].done()
    assert not futures[2].done()
    assert after(store, uploads) == [(0, False), (5, False), (4, False), (3, False)]
    assert [future.result() for future in futures] == [None] * 5
    assert notes == [
        f"checkpoint of step {old} is dropped for that of step {old + 3}: the store is slow" for old in (1, 2)
    ]


def test_a_best_one_gives_way_to_a_better_one_and_to_others_last(store, uploads):
    uploads.add(1, tree(), best=True)
    uploads.add(2, tree(), best=False)
    uploads.add(3, tree(), best=True)  # the one of step 1 is not the best any more
    for step in (4, 5, 6):
        uploads.add(step, tree(), best=False)
    assert after(store, uploads) == [(0, False), (6, False), (5, False), (3, True)]


def test_what_writing_raises_is_raised_where_it_is_asked_for(store, uploads):
    bad = uploads.add(1, tree() | {"bad": True}, best=False)
    good = uploads.add(2, tree(), best=False)
    assert after(store, uploads) == [(0, False), (2, False)]
    with pytest.raises(ValueError, match="a mistake of the program"):
        bad.result(60)
    assert good.result(60) is None


def test_one_that_is_too_large_alone_is_written_all_the_same(store, uploads):
    uploads.add(1, tree(), best=False)
    uploads.add(2, {"a": torch.zeros(1000)}, best=False)
    assert after(store, uploads) == [(0, False), (2, False)]


def test_the_size_of_a_state_is_that_of_its_tensors():
    assert tensor_bytes(tree()) == 100
    assert tensor_bytes({"text": "text", "none": None, "half": torch.zeros(3, dtype=torch.float16)}) == 6
