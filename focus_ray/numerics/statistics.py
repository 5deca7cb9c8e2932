"""Mean and variance of samples seen in pieces, merged in a fixed tree: the same bits for every split of the work."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

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
    def from_samples(cls, samples: Float[Tensor, " N *shape"]) -> "Moments":
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


@runtime_checkable
class Mergeable(Protocol):
    """A state that is worked out in pieces."""

    def merge(self, other: Any, /) -> Any:
        """The state of both pieces, of one type; `other` stands behind this one."""
        ...


State = TypeVar("State", bound=Mergeable)


class MergeTree(Generic[State]):
    """Pieces, merged two neighbours at a time, then two neighbours of those, and so on.

    The tree follows from the order and number of the pieces alone, and holds no more than log2 of them at a time. Where
    each piece is the tree of the same power of two of smaller ones, in order, the result has the bits of one tree over
    all of those: parts of the tree can be worked out anywhere.
    """

    def __init__(self) -> None:
        self._subtrees: list[tuple[int, State]] = []  # complete subtrees by height, the highest first

    def add(self, piece: State) -> None:
        """One more piece, behind the others."""
        height = 0
        while self._subtrees and self._subtrees[-1][0] == height:
            piece = self._subtrees.pop()[1].merge(piece)
            height += 1
        self._subtrees.append((height, piece))

    def total(self) -> State:
        """All pieces so far, merged; more may follow. Raises ValueError where there is none."""
        if not self._subtrees:
            raise ValueError("there is nothing to merge")
        states = [state for _, state in self._subtrees]
        total = states.pop()
        while states:
            total = states.pop().merge(total)
        return total


def merge_tree(pieces: Iterable[State]) -> State:
    """The `MergeTree` of all pieces. Raises ValueError where there is none."""
    tree: MergeTree[State] = MergeTree()
    for piece in pieces:
        tree.add(piece)
    return tree.total()
