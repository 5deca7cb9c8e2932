"""Mean and variance of samples in pieces, merged in a fixed tree: the same bits for every split of the work."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Number, mean and sum of squared deviations of samples of one shape; mergeable.

    Deviations are about each part's own mean, so that no digits cancel (Chan, Golub, LeVeque 1979).
    """

    count: int
    mean: Float64[Tensor, "*shape"]
    deviations: Float64[Tensor, "*shape"]

    @classmethod
    def empty(cls, *shape: int) -> "Moments":
        """Return the moments of no samples: merging them changes nothing."""
        return cls(0, torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def from_samples(cls, samples: Float[Tensor, " N *shape"]) -> "Moments":
        """Compute the moments of samples.

        Args:
            samples: N of them, at least one.

        Returns:
            Moments in double precision. If all samples are equal, the mean is exactly their value.

        Raises:
            ValueError: there is no sample.
        """
        if len(samples) == 0:
            raise ValueError("there is no sample")
        samples = samples.double()
        from_first = samples - samples[0]
        shift = from_first.mean(0)
        return cls(len(samples), samples[0] + shift, (from_first - shift).square().sum(0))

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of the samples of both.

        It commutes and associates except for rounding: keep to one order where bits count.
        """
        if 0 in (self.count, other.count):
            return self if other.count == 0 else other
        count = self.count + other.count
        apart = other.mean - self.mean
        between = apart.square() * (self.count * other.count / count)
        return Moments(count, self.mean + apart * (other.count / count), self.deviations + other.deviations + between)

    @property
    def variance(self) -> Float64[Tensor, "*shape"]:
        """Unbiased variance of a sample; NaN for fewer than two samples."""
        return self.deviations / (self.count - 1) if self.count > 1 else torch.full_like(self.mean, torch.nan)

    @property
    def standard_error(self) -> Float64[Tensor, "*shape"]:
        """Standard deviation of the mean; NaN for fewer than two samples."""
        return (self.variance / max(self.count, 1)).sqrt()


@runtime_checkable
class Mergeable(Protocol):
    """A state that can be computed in pieces."""

    def merge(self, other: Any, /) -> Any:
        """Return the state of both pieces, of one type; `other` comes after this one."""
        ...


State = TypeVar("State", bound=Mergeable)


class MergeTree(Generic[State]):
    """Merges pieces two neighbours at a time, then two neighbours of the results, and so on.

    The tree depends on the order and number of the pieces alone, and keeps at most log2 of that number of states in
    memory. If each piece is itself the tree of the same power of two of smaller pieces, in order, the result has the
    bits of one tree over all of those: parts of the tree can be computed anywhere.
    """

    def __init__(self) -> None:
        self._subtrees: list[tuple[int, State]] = []  # complete subtrees by height, the highest first

    def add(self, piece: State) -> None:
        """Append one piece."""
        height = 0
        while self._subtrees and self._subtrees[-1][0] == height:
            piece = self._subtrees.pop()[1].merge(piece)
            height += 1
        self._subtrees.append((height, piece))

    def total(self) -> State:
        """Merge all pieces so far; more pieces may be added afterwards.

        Raises:
            ValueError: there is no piece.
        """
        if not self._subtrees:
            raise ValueError("there is nothing to merge")
        states = [state for _, state in self._subtrees]
        total = states.pop()
        while states:
            total = states.pop().merge(total)
        return total


def merge_tree(pieces: Iterable[State]) -> State:
    """Merge all pieces in a `MergeTree`.

    Raises:
        ValueError: there is no piece.
    """
    tree: MergeTree[State] = MergeTree()
    for piece in pieces:
        tree.add(piece)
    return tree.total()
