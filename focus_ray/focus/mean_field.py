"""Mean-field inference of a binary field over pixels that agrees with the edges of the photograph.

The conditional random field of Krähenbühl and Koltun, *Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials*, NIPS 2011, with one appearance kernel over a window of neighbours instead of all pixels.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from focus_ray.settings import Settings


class MeanFieldSettings(Settings):
    """Strength and reach of the agreement between neighbouring pixels."""

    weight: float = Field(default=5.0, ge=0)  # of all neighbours together, in log odds
    reach: int = Field(default=6, ge=0, le=64)  # px: half of the window's side
    stride: int = Field(default=3, gt=0)  # px between the neighbours that count
    distance_px: float = Field(default=3.0, gt=0)  # standard deviation of the kernel
    colour: float = Field(default=0.1, gt=0)  # the same, of the difference of RGB in [0, 1]
    iterations: int = Field(default=4, gt=0, le=100)


def mean_field(
    log_odds: Float[Tensor, "B 1 H W"],
    images: Float[Tensor, "B 3 H W"],
    region: Float[Tensor, "B 1 H W"],
    settings: MeanFieldSettings,
) -> Float[Tensor, "B 1 H W"]:
    """Compute the probability of each pixel, given its own log odds and those of neighbours of a similar colour.

    Args:
        log_odds: of each pixel by itself.
        images: RGB in [0, 1].
        region: 1 at the pixels of the field; the others are no neighbours.
        settings: strength and reach.

    Returns:
        Probabilities in [0, 1].
    """
    pairs = [_Pair.create(images, region, dy, dx, settings) for dy, dx in _half_window(settings)]
    total = torch.zeros_like(log_odds)
    for pair in pairs:
        pair.spread(torch.ones_like(log_odds), total)
    share = settings.weight / total.clamp_min(1e-3)
    vote = torch.tanh(log_odds / 2)  # 2 p - 1
    for _ in range(settings.iterations):
        around = torch.zeros_like(log_odds)
        for pair in pairs:
            pair.spread(vote, around)
        vote = torch.tanh((log_odds + share * around) / 2)
    return (vote + 1) / 2


def _half_window(settings: MeanFieldSettings) -> list[tuple[int, int]]:
    """Return one offset of each pair of opposite ones."""
    steps = range(-settings.reach, settings.reach + 1, settings.stride)
    return [(dy, dx) for dy in steps for dx in steps if (dy, dx) > (0, 0)]


class _Pair:
    """The kernel between all pixels and their neighbours at one offset."""

    def __init__(self, kernel: Tensor, here: tuple[slice, slice], there: tuple[slice, slice]) -> None:
        self.kernel = kernel
        self.here = here
        self.there = there

    @classmethod
    def create(cls, images: Tensor, region: Tensor, dy: int, dx: int, settings: MeanFieldSettings) -> "_Pair":
        height, width = images.shape[-2:]
        here = (slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
        there = (slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx)))
        apart = (dy**2 + dx**2) / (2 * settings.distance_px**2)
        differing = (images[..., *here] - images[..., *there]).square().sum(1, keepdim=True)
        kernel = torch.exp(-differing / (2 * settings.colour**2) - apart)
        return cls(kernel * region[..., *here] * region[..., *there], here, there)

    def spread(self, values: Tensor, total: Tensor) -> None:
        """Add to `total` at each pixel the weighted value of its neighbours at the offset and opposite to it."""
        total[..., *self.here] += self.kernel * values[..., *self.there]
        total[..., *self.there] += self.kernel * values[..., *self.here]
