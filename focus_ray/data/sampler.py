"""Sample indices of a step: one shuffled pass after another, a pure function of seed and step."""

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4)
def shuffle_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the order of pass `epoch`, a permutation of 0..size-1."""
    return np.random.default_rng(np.random.SeedSequence((seed, epoch))).permutation(size)


def batch_indices(seed: int, step: int, batch_size: int, size: int) -> list[int]:
    """Return the sample indices of global step `step`.

    Batches continue over the end of a pass, so every batch is full.
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [int(shuffle_order(seed, position // size, size)[position % size]) for position in positions]


def epoch_of(step: int, batch_size: int, size: int) -> int:
    """Return the pass in which step `step` begins."""
    return step * batch_size // size
