"""Order of the records of a pass: shards in a random order, and records shuffled within windows of some shards.

Only the shards of a window, and the next one, need to be on the local disk. The order is a function of seed and pass:
it depends neither on the place of the shards, nor on caches, nor on the number of workers.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

WINDOW = 16
"""Shards of a window. In a set of no more shards every order of the records is possible."""


class PassOrder(NamedTuple):
    """The order of a pass.

    Attributes:
        records: numbers of the records in their order.
        windows: shards of each window.
        ends: number of records up to the end of each window.
    """

    records: Int64[np.ndarray, " N"]
    windows: list[list[int]]
    ends: list[int]


@lru_cache(maxsize=4)
def pass_order(seed: int, epoch: int, lengths: tuple[int, ...], window: int = WINDOW) -> PassOrder:
    """Return the order of a pass.

    Args:
        seed: seed of the run.
        epoch: number of the pass.
        lengths: number of records of each shard; records are numbered by shard.
        window: shards of a window.
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, epoch)))
    starts = np.cumsum([0, *lengths]).tolist()
    shards = rng.permutation(len(lengths)).tolist()
    windows = [shards[first : first + window] for first in range(0, len(shards), window)]
    parts = [
        rng.permutation(np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in members]))
        for members in windows
    ]
    return PassOrder(np.concatenate(parts), windows, np.cumsum([len(part) for part in parts]).tolist())


def step_records(seed: int, step: int, batch_size: int, lengths: Sequence[int], window: int = WINDOW) -> list[int]:
    """Return the records of a global step; batches continue over the end of a pass.

    Args:
        seed: seed of the run.
        step: global step.
        batch_size: records of a global batch.
        lengths: number of records of each shard, at least one record in all.
        window: shards of a window.
    """
    sizes, total = tuple(lengths), sum(lengths)
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [int(pass_order(seed, at // total, sizes, window).records[at % total]) for at in positions]


def needed_shards(seed: int, step: int, batch_size: int, lengths: Sequence[int], window: int = WINDOW) -> list[int]:
    """Return the shards that a step and those after it read: its window, then the next one.

    Args:
        seed: seed of the run.
        step: global step.
        batch_size: records of a global batch.
        lengths: number of records of each shard.
        window: shards of a window.
    """
    sizes, total = tuple(lengths), sum(lengths)
    epoch, place = divmod(step * batch_size, total)
    order = pass_order(seed, epoch, sizes, window)
    current = int(np.searchsorted(order.ends, place, side="right"))
    following = order.windows[current + 1 :] or pass_order(seed, epoch + 1, sizes, window).windows
    return [*order.windows[current], *(shard for shard in following[0] if shard not in order.windows[current])]
