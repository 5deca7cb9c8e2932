"""A mean over a whole batch as a ratio of two sums, kept apart so that parts of the batch can be added before it."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class PooledRatio(NamedTuple):
    """Numerator and denominator of a mean over the pixels, or the images, of a whole batch.

    The mean over the parts of a batch is the ratio of the sums, not the mean of the ratios: `ReplicaGroup.pool` adds up
    both numbers over the workers of a distributed run, then `ratio` divides.
    """

    numerator: Float[Tensor, ""]
    denominator: Float[Tensor, ""]

    def ratio(self) -> Float[Tensor, ""]:
        """The mean. Less than one pixel counts as one, so an empty mask gives 0 and finite gradients."""
        return self.numerator / self.denominator.clamp_min(1.0)


def pooled_mean(mean: Float[Tensor, ""], count: int) -> PooledRatio:
    """A mean over `count` images as a ratio of sums."""
    return PooledRatio(mean * count, mean.new_tensor(float(count)))
