"""Mean and spread of samples that are seen in pieces, merged in a fixed tree: the same bits, whoever saw what."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared deviations of samples of one shape: a state that can be merged.

    Chan, Golub, LeVeque 1979: the deviations are about each part's own mean, so that nothing cancels.
    """

    count: int
    mean: Float64[Tensor, "*shape"]
    deviations: Float64[Tensor, "*shape"]

    @classmethod
    def empty(cls, *shape: int) -> "Moments":
        """Of no samples: merged with any other, it changes nothing."""
        return cls(0, torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def of(cls, samples: Float[Tensor, " N *shape"]) -> "Moments":
        """Of N samples at least one, in double precision. Samples that are all equal have exactly that mean."""
        if len(samples) == 0:
            raise ValueError("there is no sample")
        samples = samples.double()
        from_first = samples - samples[0]
        shift = from_first.mean(0)
        return cls(len(samples), samples[0] + shift, (from_first - shift).square().sum(0))

    def merge(self, other: "Moments") -> "Moments":
        """Of the samples of both. Commutes and associates but for rounding: keep to one order where bits count."""
        if 0 in (self.count, other.count):
            return self if other.count == 0 else other
        count = self.count + other.count
        apart = other.mean - self.mean
        between = apart.square() * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), self.deviations + other.deviations + between)

    @property
    def variance(self) -> Float64[Tensor, "*shape"]:
        """Unbiased variance of a sample; NaN of fewer than two."""
        return self.deviations / (self.count - 1) if self.count > 1 else torch.full_like(self.mean, torch.nan)

    @property
    def standard_error(self) -> Float64[Tensor, "*shape"]:
        """Standard deviation of the mean; NaN of fewer than two samples."""
        return (self.variance / max(self.count, 1)).sqrt()


def merge_tree(parts: Iterable[Moments]) -> Moments:
    """All parts, merged two neighbours at a time, then two neighbours of those, and so on.

    The tree follows from the order and number of the parts alone, and holds no more than log2 of them at a time. Where
    each part is the tree of the same power of two of smaller ones, in order, the result has the bits of one tree over
    all of those: pieces of the tree can be worked out anywhere. Raises ValueError where there is no part.
    """
    waiting: list[tuple[int, Moments]] = []  # complete subtrees by height, the highest first
    for part in parts:
        height = 0
        while waiting and waiting[-1][0] == height:
            part = waiting.pop()[1].merge(part)
            height += 1
        waiting.append((height, part))
    if not waiting:
        raise ValueError("there is nothing to merge")
    total = waiting.pop()[1]
    while waiting:
        total = waiting.pop()[1].merge(total)
    return total
