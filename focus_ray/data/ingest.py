"""Batches made by actors of Ray Data beside the training process: the same bits in the same order.

The plan is the dataset: its rows are the steps. Each of n actors has a dataset of its own, every n-th step, and the
batches are taken from them in turn: the sequence is the sampler's for any number of actors, after a restart, and when
an actor dies on the way. One dataset with n actors would do less. Its blocks hold many steps, and only one of them may
give batches at a time; and where one actor is late, the others would make their whole blocks ahead (Ray 2.60).
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
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

BatchFunction = Callable[[int], Batch]
"""The batch of a global step, a pure function of it."""

BatchFactory = Callable[[], BatchFunction]
"""Built once in each actor, where face models and pictures are loaded. It travels there, so it has to be small."""

RayRow = dict[str, np.ndarray]

_STEP, _IMAGES, _LANDMARKS, _MASKS = "step", "images", "landmarks", "masks"
_ERROR, _MESSAGE = "error", "message"
# An actor that dies makes its block of steps again: a thousandth of its part of the run, or this many steps. Each block
# costs memory from the start on and some milliseconds then, so that a long run cannot have one for each step.
_STEPS_PER_BLOCK, _BLOCKS = 32, 1000
_PREFETCH = 2  # steps whose batches are brought to the consumer's machine before they are asked for
_LEVELS = np.float32(255.0)


class StepStream:
    """The batches of the steps start..end-1 (at least one), made by `actors` actors of `cpus` CPUs each, in that order.

    The batches hold images and landmarks, and masks where their makers give some. Finished ones wait in Ray's object
    store, about `memory_mb` of them but at least some steps an actor; the actors then pause. Their CPUs have to be free
    beside those of the training process. Use it as a context manager: leaving it ends the actors.
    """

    def __init__(
        self,
        make: BatchFactory,
        start: int,
        end: int,
        *,
        actors: int = 1,
        cpus: float = 1.0,
        memory_mb: float = 64.0,
        start_timeout_s: int = 120,
    ):
        self._steps = range(start, end)
        self._taken = 0
        lanes = min(actors, end - start)
        self._lanes = [
            _rows(step_dataset(make, self._steps[lane::lanes], cpus, memory_mb / lanes, start_timeout_s))
            for lane in range(lanes)
        ]
        self._first: list[RayRow] = []

    def batch(self, step: int) -> Batch:
        """The batch of `step`, which has to be the one after the last. Waits until it is made.

        With the first one the actors start. Raises ConfigError where one of them finds no CPUs within `patience`
        seconds, and the errors of the package that their makers raise.
        """
        if step not in self._steps or step != self._steps[self._taken]:
            raise ValueError(f"step {step} was asked for after {self._taken} of the steps {self._steps}")
        if self._taken == 0:  # a lane begins with its first row: all at the same time
            with ThreadPoolExecutor(len(self._lanes)) as threads:
                self._first = list(threads.map(next, self._lanes))
        turn = self._taken % len(self._lanes)
        row = self._first[turn] if self._taken < len(self._lanes) else next(self._lanes[turn])
        if row[_STEP].item() != step:
            raise RuntimeError(f"Ray Data gave step {row[_STEP].item()} in place of step {step}")
        self._taken += 1
        return _unpack(row)

    def close(self) -> None:
        """End the actors. What they have made and nobody took is dropped."""
        for lane in self._lanes:
            lane.close()

    def __enter__(self) -> "StepStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def step_dataset(make: BatchFactory, steps: range, cpus: float, memory_mb: float, start_timeout_s: int) -> "Dataset":
    """A row for each step, in order, made by one actor: step, images [b,3,H,W], landmarks float32 [b,68,2] px, masks.

    Images are 8-bit where that gives every bit of the batch back, else float32. Reading the dataset raises Ray's
    GetTimeoutError where the actor does not start within `patience` seconds.
    """
    from pyarrow import table
    from ray.data import ActorPoolStrategy, ExecutionResources, from_arrow

    size = max(_STEPS_PER_BLOCK, len(steps) // _BLOCKS)
    blocks = [table({_STEP: np.array(steps[at : at + size])}) for at in range(0, len(steps), size)]
    # A second block in flight may be begun before the first, and is then made as a whole before anybody can take it.
    pool = ActorPoolStrategy(size=1, max_tasks_in_flight_per_actor=1)
    dataset = from_arrow(blocks).map_batches(
        _BatchActor, fn_constructor_args=(make,), batch_size=1, compute=pool, num_cpus=cpus
    )
    context = dataset.context
    context.target_max_block_size = 1  # each row leaves the actor when it is made
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=memory_mb * 1e6)
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = start_timeout_s
    return dataset


class _BatchActor:
    """What an actor holds: the batches of its source."""

    def __init__(self, make: BatchFactory):
        self._make = make
        self._batch_of: BatchFunction | None = None

    def __call__(self, rows: RayRow) -> RayRow:
        """The batch of a step, or the error of the package that stands in its way: Ray would bury it in its own."""
        try:
            if self._batch_of is None:
                self._batch_of = self._make()
            batch = self._batch_of(rows[_STEP].item())
        except FocusRayError as error:
            return rows | {_ERROR: np.array([type(error).__name__]), _MESSAGE: np.array([str(error)])}
        made = {_IMAGES: _pack(batch)[None], _LANDMARKS: batch.landmarks.numpy()[None]}
        masks = {} if batch.masks is None else {_MASKS: np.packbits(batch.masks.numpy() > 0, axis=-1)[None]}
        return rows | made | masks


def _rows(dataset: "Dataset") -> Generator[RayRow, None, None]:
    from ray.exceptions import GetTimeoutError

    rows: Any = iter(dataset.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=_PREFETCH))
    try:
        for row in rows:
            if _ERROR in row:
                raise getattr(errors, row[_ERROR].item())(row[_MESSAGE].item())
            yield row
    except GetTimeoutError:
        raise ConfigError(
            "Ray found no CPUs for the actors that make batches; give it more, stop what else runs there, or let the "
            "training process make its batches"
        ) from None
    finally:
        rows.close()


def _pack(batch: Batch) -> UInt8[np.ndarray, "B 3 H W"] | Float[np.ndarray, "B 3 H W"]:
    images = batch.images.numpy()
    levels = (images * _LEVELS).round().astype(np.uint8)
    return levels if np.array_equal(levels / _LEVELS, images) else images


def _unpack(row: RayRow) -> Batch:
    images, landmarks = row[_IMAGES][0], row[_LANDMARKS][0]
    bits = np.unpackbits(row[_MASKS][0], axis=-1, count=images.shape[-1]) if _MASKS in row else None
    return Batch(
        images=torch.from_numpy(images / _LEVELS if images.dtype == np.uint8 else images.copy()),
        landmarks=torch.from_numpy(landmarks.copy()),
        masks=None if bits is None else torch.from_numpy(bits).float(),
    )
