"""Batches ahead of time: of each step the one that belongs to it, wherever it is made."""

import threading

import pytest
import torch

from focus_ray.data import ingest
from focus_ray.data.sample import Batch
from focus_ray.errors import DataError
from focus_ray.training.batch_source import BatchSource, PrefetchSource, RayDataSource


def batch_of(step: int) -> Batch:
    """A batch whose pictures are the number of its step."""
    return Batch(images=torch.full((2, 3, 4, 4), float(step)), landmarks=torch.zeros(2, 68, 2))


def test_each_step_gets_its_own_batch_and_its_place_in_the_global_one():
    with PrefetchSource(batch_of, end=6, first=3) as source:
        assert isinstance(source, BatchSource)
        for step in range(2, 6):
            targets = source.targets(step)
            assert float(targets.images[0, 0, 0, 0]) == step
            assert targets.first_index == 3


def test_a_few_are_made_ahead_each_once_and_none_beyond_the_end():
    made: list[int] = []

    def noting(step: int) -> Batch:
        made.append(step)
        return batch_of(step)

    with PrefetchSource(noting, end=6, prefetch=2) as source:
        source.targets(0)
        source.targets(1)
        source.targets(4)  # a step may be passed over
        source.targets(5)
    assert made == sorted(set(made))
    assert made[:4] == [0, 1, 2, 3]
    assert made[-1] == 5


def test_batches_are_made_while_the_step_before_trains():
    wanted = threading.Event()

    def noting(step: int) -> Batch:
        if step == 1:
            wanted.set()
        return batch_of(step)

    with PrefetchSource(noting, end=9) as source:
        source.targets(0)
        assert wanted.wait(30)


def test_a_batch_that_cannot_be_made_is_an_error_of_its_step():
    def broken(step: int) -> Batch:
        if step == 1:
            raise DataError("a.jpg is gone; put it back")
        return batch_of(step)

    with PrefetchSource(broken, end=9) as source:
        source.targets(0)
        with pytest.raises(DataError, match=r"a\.jpg is gone"):
            source.targets(1)


class Stream:
    """Stands in for the stream that Ray Data's actors fill."""

    made: list["Stream"]

    def __init__(self, make, first: int, end: int, *, actors: int):
        self.make, self.asked, self.closed = make, (first, end, actors), False
        self.made.append(self)

    def batch(self, step: int) -> Batch:
        return self.make()(step)

    def close(self) -> None:
        self.closed = True


def test_actors_begin_with_the_step_that_is_asked_for_first(monkeypatch):
    Stream.made = []
    monkeypatch.setattr(ingest, "StepStream", Stream)
    with RayDataSource(lambda: batch_of, end=9, first=2, actors=3) as source:
        assert isinstance(source, BatchSource)
        assert Stream.made == []
        for step in (5, 6):
            targets = source.targets(step)
            assert (float(targets.images[0, 0, 0, 0]), targets.first_index) == (step, 2)
    (stream,) = Stream.made
    assert stream.asked == (5, 9, 3)
    assert stream.closed
    with RayDataSource(lambda: batch_of, end=9, first=2, actors=3):
        pass  # a run that is complete asks for none
    assert len(Stream.made) == 1
