"""Batches: full whenever enough wait, each answer to who asked, and nobody waits for ever."""

import asyncio
import threading
from string import ascii_lowercase

import numpy as np

from focus_ray.data.detectors.detection import Detection
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.serving.batch_queue import BatchQueue
from focus_ray.serving.fitting import FitRequest, FitResult

NAMES = ["first", "one", "two", "gone", "stays", *map(str, range(10)), *ascii_lowercase]


def sought(name: str, faces: int = 1) -> FitRequest:
    """A picture that can be told from others by its size."""
    face = Detection((0.0, 0.0, 1.0, 1.0))
    return FitRequest(
        FaceLocations(np.zeros((1, NAMES.index(name) + 1, 3), np.uint8), faces * [face], "picture"), refine=False
    )


def name_of(one: FitRequest) -> str:
    return NAMES[one.located.image.shape[1] - 1]


class Model:
    """Says whom it was asked for, once the test lets it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None

    def fit(self, batch: list[FitRequest]) -> list[FitResult]:
        self.batches.append([name_of(one) for one in batch])
        self.free.wait(10)
        if self.error is not None:
            raise self.error
        return [FitResult(error=f"answer to {name_of(one)}") for one in batch]


async def busy(model: Model, batches: BatchQueue) -> "asyncio.Task[FitResult]":
    """The model at work on one picture, until it is let free."""
    model.free.clear()
    first = asyncio.create_task(batches.fit(sought("first")))
    while not model.batches:
        await asyncio.sleep(0.001)
    return first


def test_while_the_model_is_busy_batches_fill():
    model = Model()

    async def ask() -> list[FitResult]:
        batches = BatchQueue(model.fit, 4, 0.0)
        first = await busy(model, batches)
        others = [asyncio.create_task(batches.fit(sought(str(number)))) for number in range(9)]
        await asyncio.sleep(0.01)
        model.free.set()
        return await asyncio.gather(first, *others)

    answers = [found.error for found in asyncio.run(ask())]
    assert model.batches == [["first"], ["0", "1", "2", "3"], ["4", "5", "6", "7"], ["8"]]
    assert answers == ["answer to first", *(f"answer to {number}" for number in range(9))]


def test_faces_are_counted_and_the_order_kept():
    model = Model()

    async def ask() -> None:
        batches = BatchQueue(model.fit, 4, 0.0)
        first = await busy(model, batches)
        asked = [sought("a", 3), sought("b", 2), sought("c", 1), sought("d", 6), sought("e", 1)]
        others = [asyncio.create_task(batches.fit(one)) for one in asked]
        await asyncio.sleep(0.01)
        model.free.set()
        await asyncio.gather(first, *others)

    asyncio.run(ask())
    assert model.batches == [["first"], ["a"], ["b", "c"], ["d"], ["e"]]


def test_an_idle_model_waits_a_moment_for_company_but_not_once_it_is_full():
    model = Model()

    async def ask() -> None:
        batches = BatchQueue(model.fit, 2, 30.0)
        one = asyncio.create_task(batches.fit(sought("one")))
        await asyncio.sleep(0.05)
        assert model.batches == []
        await asyncio.wait_for(asyncio.gather(one, batches.fit(sought("two"))), 10)

    asyncio.run(ask())
    assert model.batches == [["one", "two"]]


def test_alone_it_does_not_wait_for_ever():
    model = Model()

    async def ask() -> FitResult:
        return await asyncio.wait_for(BatchQueue(model.fit, 8, 0.05).fit(sought("one")), 10)

    assert asyncio.run(ask()).error == "answer to one"


def test_who_went_away_is_not_fitted():
    model = Model()

    async def ask() -> None:
        batches = BatchQueue(model.fit, 4, 0.0)
        first = await busy(model, batches)
        gone, stays = (asyncio.create_task(batches.fit(sought(name))) for name in ("gone", "stays"))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        model.free.set()
        await asyncio.gather(first, stays)
        first.cancel()

    asyncio.run(ask())
    assert model.batches == [["first"], ["stays"]]


def test_a_cancelled_request_does_not_close_a_batch():
    model = Model()

    async def ask() -> None:
        batches = BatchQueue(model.fit, 2, 0.5)
        first = await busy(model, batches)
        gone, stays = (asyncio.create_task(batches.fit(sought(name))) for name in ("gone", "stays"))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        model.free.set()
        await first
        await asyncio.sleep(0.05)  # within the time that a batch of one waits for more
        await asyncio.gather(stays, batches.fit(sought("one")))

    asyncio.run(ask())
    assert model.batches == [["first"], ["stays", "one"]]


def test_an_error_goes_to_those_of_its_batch_and_the_work_goes_on():
    model = Model()

    async def ask() -> FitResult:
        batches = BatchQueue(model.fit, 4, 0.01)
        model.error = RuntimeError("broken")
        failed = await asyncio.gather(*(batches.fit(sought(name)) for name in "ab"), return_exceptions=True)
        assert [str(error) for error in failed] == ["broken", "broken"]
        model.error = None
        return await asyncio.wait_for(batches.fit(sought("c")), 10)

    assert asyncio.run(ask()).error == "answer to c"
