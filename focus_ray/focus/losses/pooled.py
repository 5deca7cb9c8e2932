"""A loss that is a ratio of two sums, kept apart so that a distributed run can add up both before it divides."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Pooled(NamedTuple):
    """Numerator and denominator of a mean over the pixels of a whole batch.

    The mean over the batches of several workers is the ratio of the sums, not the mean of the ratios: all-reduce both
    numbers, then call ``ratio``.
    """

    numerator: Float[Tensor, ""]
    denominator: Float[Tensor, ""]

    def ratio(self) -> Float[Tensor, ""]:
        """The mean. Less than one pixel counts as one, so an empty mask gives 0 and finite gradients."""
        return self.numerator / self.denominator.clamp_min(1.0)
