"""A mean over a whole batch as a ratio of two sums, to be added over the parts of the batch before the division."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class PooledRatio(NamedTuple):
    """Numerator and denominator of a mean over the pixels, or the images, of a whole batch.

    The mean over the parts of a batch is the ratio of the sums, not the mean of the ratios: `ReplicaGroup.all_reduce`
    adds both numbers over the workers of a distributed run, then `ratio` divides.
    """

    numerator: Float[Tensor, ""]
    denominator: Float[Tensor, ""]

    def ratio(self) -> Float[Tensor, ""]:
        """Return the mean.

        Returns:
            Numerator over denominator. A denominator below one counts as one, so that an empty mask gives 0 and finite
            gradients.
        """
        return self.numerator / self.denominator.clamp_min(1.0)


def pooled_mean(mean: Float[Tensor, ""], count: int) -> PooledRatio:
    """Convert a mean over images to a ratio of sums.

    Args:
        mean: mean over the images.
        count: number of images.

    Returns:
        The ratio (mean * count) / count.
    """
    return PooledRatio(mean * count, mean.new_tensor(float(count)))
