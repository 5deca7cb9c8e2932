"""Batches made by actors of Ray Data beside the training process: the same bits in the same order.

The plan is the dataset: its rows are the steps. Each of n actors makes every n-th step, so that the sequence is the one
of the sampler for any number of actors, after a restart, and when an actor dies on the way.
"""

from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from focus_ray import errors
from focus_ray.data.sample import Batch
from focus_ray.errors import ConfigError, FocusRayError

if TYPE_CHECKING:
    from ray.data import Dataset
    from ray.util.placement_group import PlacementGroup

BatchOf = Callable[[int], Batch]
"""The batch of a global step, a pure function of it."""

BatchMaker = Callable[[], BatchOf]
"""Built once in each actor, where face models and pictures are loaded. It travels there, so it has to be small."""

Row = dict[str, np.ndarray]

_STEP, _IMAGES, _LANDMARKS = "step", "images", "landmarks"
_ERROR, _MESSAGE = "error", "message"
# An actor that dies makes at most this many steps again. Ray Data keeps a record of each block of steps from the start
# on, so that a block of one step would cost seconds and much memory in a long run.
_STEPS_A_BLOCK = 32
_FETCHED_AHEAD = 2  # steps whose batches are brought to the consumer's machine before they are asked for
_LEVELS = np.float32(255.0)


class StepStream:
    """The batches of the steps start..end-1 (at least one), made by `actors` actors of `cpus` CPUs each, in that order.

    The batches hold images and landmarks only. Finished ones wait in Ray's object store, about `memory_mb` of them but
    at least some steps an actor; the actors then pause. Their CPUs have to be free beside those of the training
    process, and are waited for up to `patience` seconds. Use it as a context manager: leaving it ends the actors.

    Raises ConfigError where Ray has no such CPUs.
    """

    def __init__(
        self,
        make: BatchMaker,
        start: int,
        end: int,
        *,
        actors: int = 1,
        cpus: float = 1.0,
        memory_mb: float = 64.0,
        patience: float = 120.0,
    ):
        self._next = start
        self._end = end
        self._place = _reserved(min(actors, end - start), cpus, patience)
        dataset = step_dataset(make, start, end, actors=actors, cpus=cpus, memory_mb=memory_mb, place=self._place)
        self._rows = _rows(dataset)

    def batch(self, step: int) -> Batch:
        """The batch of `step`, which has to be the one after the last. Waits until it is made.

        Raises the errors of the package that its maker raises.
        """
        if step != self._next or step >= self._end:
            raise ValueError(f"step {step} was asked for where step {self._next} of {self._end} comes next")
        row = next(self._rows)
        if row[_STEP].item() != step:
            raise RuntimeError(f"Ray Data gave step {row[_STEP].item()} in place of step {step}")
        self._next += 1
        return _unpacked(row)

    def close(self) -> None:
        """End the actors. What they have made and nobody took is dropped."""
        from ray.util import remove_placement_group

        self._rows.close()
        remove_placement_group(self._place)

    def __enter__(self) -> "StepStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def step_dataset(
    make: BatchMaker,
    start: int,
    end: int,
    *,
    actors: int = 1,
    cpus: float = 1.0,
    memory_mb: float = 64.0,
    place: "PlacementGroup | None" = None,
) -> "Dataset":
    """A row for each of the steps start..end-1, in that order: step, images [b,3,H,W], landmarks float32 [b,68,2] px.

    Images are 8-bit where that gives every bit of the batch back, else float32. Actor i makes the steps start + i,
    start + i + actors and so on; all are in the placement group `place` where that is given.
    """
    from ray.data import ActorPoolStrategy, ExecutionResources
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    lanes = [
        _steps(np.arange(start + number, end, actors)).map_batches(
            _Maker,
            fn_constructor_args=(make,),
            batch_size=1,
            compute=ActorPoolStrategy(size=1),
            num_cpus=cpus,
        )
        for number in range(min(actors, end - start))
    ]
    # With the order preserved, Ray Data takes a block of each input in turn; a block is one step.
    dataset = lanes[0].union(*lanes[1:]) if lanes[1:] else lanes[0]
    context = dataset.context
    context.target_max_block_size = 1
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=memory_mb * 1e6)
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    if place is not None:
        context.scheduling_strategy = PlacementGroupSchedulingStrategy(place)
    return dataset


class _Maker:
    """What an actor holds: the batches of its source."""

    def __init__(self, make: BatchMaker):
        self._make = make
        self._batch_of: BatchOf | None = None

    def __call__(self, rows: Row) -> Row:
        """The batch of a step, or the error of the package that stands in its way: Ray would bury it in its own."""
        try:
            if self._batch_of is None:
                self._batch_of = self._make()
            batch = self._batch_of(rows[_STEP].item())
        except FocusRayError as error:
            return rows | {_ERROR: np.array([type(error).__name__]), _MESSAGE: np.array([str(error)])}
        return rows | {_IMAGES: _packed(batch)[None], _LANDMARKS: batch.landmarks.numpy()[None]}


def _steps(steps: np.ndarray) -> "Dataset":
    import pyarrow
    from ray.data import from_arrow

    blocks = [steps[at : at + _STEPS_A_BLOCK] for at in range(0, len(steps), _STEPS_A_BLOCK)]
    return from_arrow([pyarrow.table({_STEP: block}) for block in blocks])


def _rows(dataset: "Dataset") -> Generator[Row, None, None]:
    rows: Any = iter(dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=_FETCHED_AHEAD))
    try:
        for row in rows:
            if _ERROR in row:
                raise getattr(errors, row[_ERROR].item())(row[_MESSAGE].item())
            yield row
    finally:
        rows.close()


def _reserved(actors: int, cpus: float, patience: float) -> "PlacementGroup":
    """The CPUs of the actors, taken before the first of them starts: with too few, Ray Data would wait for ever."""
    from ray.util import placement_group, remove_placement_group

    place = placement_group([{"CPU": cpus}] * actors)
    if not place.wait(patience):
        remove_placement_group(place)
        raise ConfigError(
            f"{actors} actors of {cpus:g} CPUs that make batches found no place within {patience:g} s; "
            "give Ray more CPUs, or let the training process make its batches"
        )
    return place


def _packed(batch: Batch) -> UInt8[np.ndarray, "B 3 H W"] | Float[np.ndarray, "B 3 H W"]:
    images = batch.images.numpy()
    levels = (images * _LEVELS).round().astype(np.uint8)
    return levels if np.array_equal(levels / _LEVELS, images) else images


def _unpacked(row: Row) -> Batch:
    images, landmarks = row[_IMAGES][0], row[_LANDMARKS][0]
    return Batch(
        images=torch.from_numpy(images / _LEVELS if images.dtype == np.uint8 else images.copy()),
        landmarks=torch.from_numpy(landmarks.copy()),
    )
