"""Pooled errors of many pictures: all vertices of all scans together (method 8.6, step 4)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

CURVE_MM = np.linspace(0.0, 7.0, 141)
"""Errors at which the cumulative curve is sampled: 0 to 7 mm, as on the challenge's page, in steps of 0.05 mm."""


@dataclass(frozen=True)
class ErrorSummary:
    """Figures of the challenge over vertices.

    Attributes:
        pictures: number of pictures.
        vertices: number of vertices.
        median: mm; None if no vertex was measured.
        mean: mm; None if no vertex was measured.
        std: mm; None if no vertex was measured.
        curve: share of vertices with an error up to each of CURVE_MM, in [0, 1].
    """

    pictures: int
    vertices: int
    median: float | None
    mean: float | None
    std: float | None
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class PooledErrors:
    """Distances by picture, a state that can be merged in any order.

    Attributes:
        distances: distances by name of the picture, mm.
    """

    distances: Mapping[str, Float[np.ndarray, " N"]] = field(default_factory=dict)

    def merge(self, other: "PooledErrors") -> "PooledErrors":
        """Return the distances of the pictures of both; a picture of both counts once."""
        return PooledErrors({**self.distances, **other.distances})

    def select(self, names: Collection[str]) -> "PooledErrors":
        """Return the distances of the pictures with these names."""
        return PooledErrors({name: found for name, found in self.distances.items() if name in names})

    def summary(self) -> ErrorSummary:
        """Compute median, mean, standard deviation and curve exactly, without bins."""
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
