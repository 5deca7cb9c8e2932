"""Statistics over pictures, and their bootstrap intervals: whole groups of pictures are drawn with replacement."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

Weights = Float[np.ndarray, "R N"]
Statistic = Callable[[Weights], Float[np.ndarray, " R"]]
"""Computes a statistic for each row of weights of the N pictures; NaN where it is not defined."""

_MIN_GROUPS = 2


class Interval(NamedTuple):
    """A statistic and the limits of its interval; None: not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class GroupBootstrap:
    """Draws groups once, for all statistics."""

    def __init__(self, groups: Sequence[str], resamples: int = 1000, seed: int = 0, level: float = 0.95) -> None:
        """Draw the groups.

        Args:
            groups: group of each picture, at least one.
            resamples: number R of drawings.
            seed: seed of the drawings.
            level: share of the drawings inside an interval.
        """
        number = {name: place for place, name in enumerate(sorted(set(groups)))}
        self._members = np.array([number[name] for name in groups])
        drawn = np.random.default_rng(seed).multinomial(len(number), [1 / len(number)] * len(number), resamples)
        self._weights = drawn[:, self._members].astype(np.float64)
        self._quantiles = ((1 - level) / 2, (1 + level) / 2)

    def interval(self, statistic: Statistic, among: Bool[np.ndarray, " N"]) -> Interval:
        """Compute a statistic and its percentile interval.

        Args:
            statistic: maps weights of the pictures to values.
            among: the pictures that count; the others have weight 0.

        Returns:
            The value, with limits if the pictures that count are of at least two groups.
        """
        value = float(statistic(among[None].astype(np.float64))[0])
        if not np.isfinite(value):
            return Interval(None)
        values = statistic(self._weights * among)
        values = values[np.isfinite(values)]
        if len(np.unique(self._members[among])) < _MIN_GROUPS or not len(values):
            return Interval(value)
        low, high = np.quantile(values, self._quantiles)
        return Interval(value, float(low), float(high))

    def difference(
        self, statistic: Statistic, first: Bool[np.ndarray, " N"], second: Bool[np.ndarray, " N"]
    ) -> Interval:
        """Compute the difference of a statistic between two parts of the pictures and its percentile interval.

        Args:
            statistic: maps weights of the pictures to values.
            first: pictures of the one part.
            second: pictures of the other part.

        Returns:
            The first value minus the second, with limits if each part is of at least two groups.
        """
        found = self.interval(lambda weights: statistic(weights * first) - statistic(weights * second), first | second)
        groups = min(len(np.unique(self._members[part])) for part in (first, second))
        return found if groups >= _MIN_GROUPS else Interval(found.value)


def weighted_ratio(numerator: Float[np.ndarray, " N"], denominator: Float[np.ndarray, " N"]) -> Statistic:
    """Return the statistic of a ratio of sums over the pictures.

    Args:
        numerator: summand of each picture.
        denominator: summand of each picture, not negative.
    """
    return partial(_ratio_of_sums, numerator, denominator)


def weighted_mean(values: Float[np.ndarray, " N"]) -> Statistic:
    """Return the statistic of the mean over the pictures.

    Args:
        values: value of each picture; NaN is left out.
    """
    known = np.isfinite(values)
    return weighted_ratio(np.where(known, values, 0.0), known.astype(np.float64))


def weighted_auc(scores: Float[np.ndarray, " N"], positive: Bool[np.ndarray, " N"]) -> Statistic:
    """Return the statistic of the area under the ROC curve: how often a positive picture has the higher score.

    Args:
        scores: score of each picture; equal scores count half.
        positive: class of each picture.
    """
    difference = scores[positive][:, None] - scores[~positive]
    above = (difference > 0) + 0.5 * (difference == 0)
    return partial(_share_above, above, positive)


def _ratio_of_sums(
    numerator: Float[np.ndarray, " N"], denominator: Float[np.ndarray, " N"], weights: Weights
) -> Float[np.ndarray, " R"]:
    return _divide(weights @ numerator, weights @ denominator)


def _share_above(
    above: Float[np.ndarray, "P Q"], positive: Bool[np.ndarray, " N"], weights: Weights
) -> Float[np.ndarray, " R"]:
    """Weighted mean of `above` over the pairs of a positive and another picture."""
    ones, zeros = weights[:, positive], weights[:, ~positive]
    return _divide((ones @ above * zeros).sum(axis=1), ones.sum(axis=1) * zeros.sum(axis=1))


def _divide(numerator: Float[np.ndarray, " R"], denominator: Float[np.ndarray, " R"]) -> Float[np.ndarray, " R"]:
    """Divide; NaN where the denominator is not positive."""
    return np.divide(numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0)
