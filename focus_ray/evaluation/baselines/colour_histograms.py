"""Segmentation of each picture by itself, after Egger et al. (IJCV 2018): EM over labels, colours and fit.

Each pixel of the rendered region is face, with the rendered colour plus noise, or something else, with a colour from a
histogram of this picture alone. Labels, noise and histogram are estimated alternately, with a preference for equal
labels of neighbours. In between, the fit is refined under the labels, and the labels are estimated under the new fit.

Differs from Egger et al., who segment by Chan-Vese with a third class for beards, sample the fit (MCMC), and start
with a robust estimate of the light; here the fit is the refinement that all methods share.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from focus_ray.focus.render.renderer import Rendering
from focus_ray.settings import Settings


class ColourHistogramSegmenter(Settings):
    """Mask rule by EM over labels and colours, for each picture independently."""

    rounds: int = 8  # EM iterations; the labels have converged by then
    bins: int = 8  # histogram bins of each channel
    smoothing: float = 1.0  # pixels added to each bin, so that no colour has probability 0
    min_noise: float = 0.03  # least standard deviation of a channel; with less, small misfits become outliers
    agreement: float = 2.0  # weight of the neighbours' mean label, in nats
    start: float = 1.5  # largest residual of the pixels initially labelled face, in medians

    def __call__(self, images: Float[Tensor, "B 3 H W"], rendering: Rendering) -> Float[Tensor, "B 1 H W"]:
        """Compute the probability of face for each pixel.

        Args:
            images: crops, RGB in [0, 1].
            rendering: renderings of their fits.

        Returns:
            Probability inside the rendered region, 0 outside.
        """
        with torch.no_grad():
            return torch.cat([self._segment_one(*one) for one in _split_batch(images, rendering)])

    def _segment_one(
        self, image: Float[Tensor, "1 3 H W"], rendered: Float[Tensor, "1 3 H W"], region: Float[Tensor, "1 1 H W"]
    ) -> Float[Tensor, "1 1 H W"]:
        inside = region > 0
        if not bool(inside.any()):
            return torch.zeros_like(region)
        squared = (image - rendered).square().sum(1, keepdim=True)
        bins = self._bins(image)
        face = (squared <= self.start**2 * squared[inside].median()).to(image) * region
        for _ in range(self.rounds):
            odds = self._log_face(squared, face) - self._log_rest(bins, face)
            agreeing = F.avg_pool2d(2 * face - region, 3, stride=1, padding=1, count_include_pad=True)
            face = torch.sigmoid(odds + self.agreement * agreeing) * region
        return face

    def _log_face(self, squared: Float[Tensor, "1 1 H W"], face: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
        """Log density of face colours: Gaussian about the rendering, with the noise of the current face."""
        variance = ((face * squared).sum() / (3 * face.sum()).clamp_min(1.0)).clamp_min(self.min_noise**2)
        return -squared / (2 * variance) - 1.5 * torch.log(2 * torch.pi * variance)

    def _log_rest(self, bins: Float[Tensor, "1 1 H W"], face: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
        """Log density of other colours: histogram over the picture outside the current face."""
        outside = (1 - face).flatten()
        counts = torch.zeros(self.bins**3, dtype=face.dtype, device=face.device)
        counts.index_add_(0, bins.flatten().long(), outside)
        density = (counts + self.smoothing) / (counts + self.smoothing).sum() * self.bins**3  # over the unit cube
        return density.log()[bins.long()]

    def _bins(self, image: Float[Tensor, "1 3 H W"]) -> Float[Tensor, "1 1 H W"]:
        levels = (image * self.bins).floor().clamp(0, self.bins - 1)
        return ((levels[:, 0] * self.bins + levels[:, 1]) * self.bins + levels[:, 2])[:, None]


def _split_batch(images: Tensor, rendering: Rendering) -> list[tuple[Tensor, Tensor, Tensor]]:
    rows = range(len(images))
    return [(images[i : i + 1], rendering.image[i : i + 1], rendering.mask[i : i + 1]) for i in rows]
