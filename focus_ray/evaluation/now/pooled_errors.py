"""Errors of many pictures as one: all vertices of all scans pooled (method 8.6, step 4)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

CURVE_MM = np.linspace(0.0, 7.0, 141)
"""Where the cumulative curve is given: 0 to 7 mm, as the challenge's page draws it, each 0.05 mm."""


@dataclass(frozen=True)
class ErrorSummary:
    """The figures of the challenge, over vertices: in mm, and None where no picture was measured.

    curve: the share of vertices with an error up to each of CURVE_MM, in [0, 1].
    """

    pictures: int
    vertices: int
    median: float | None
    mean: float | None
    std: float | None
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class PooledErrors:
    """The distances [N] of each picture, in mm, by its name: a state that can be merged, in any order."""

    distances: Mapping[str, Float[np.ndarray, " N"]] = field(default_factory=dict)

    def merge(self, other: "PooledErrors") -> "PooledErrors":
        """Of the pictures of both; a picture of both counts once."""
        return PooledErrors({**self.distances, **other.distances})

    def select(self, names: Collection[str]) -> "PooledErrors":
        """Of those pictures that have these names."""
        return PooledErrors({name: found for name, found in self.distances.items() if name in names})

    def summary(self) -> ErrorSummary:
        """Median, mean, standard deviation and curve, exact: nothing is binned."""
        pictures = [self.distances[name] for name in sorted(self.distances)]
        pool = np.sort(np.concatenate(pictures)) if pictures else np.empty(0, dtype=np.float32)
        if not len(pool):
            return ErrorSummary(len(pictures), 0, None, None, None)
        exact = pool.astype(np.float64)
        curve = np.searchsorted(exact, CURVE_MM, side="right") / len(exact)
        return ErrorSummary(
            pictures=len(pictures),
            vertices=len(exact),
            median=float(np.median(exact)),
            mean=float(exact.mean()),
            std=float(exact.std()),
            curve=tuple(curve.tolist()),
        )
