"""The segmentation network of section 3.1: a UNet that compares the rendering with the target, pixel by pixel."""

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.errors import ConfigError
from focus_ray.focus.networks.memory_format import channels_last

Norm = Literal["batch", "group"]

N_INPUTS = 6  # rendering RGB, target RGB
CHANNELS_PER_GROUP = 8
# Released code: dropout follows the blocks of the two deepest levels.
DROPOUT_LEVELS = 2


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Return BatchNorm, or GroupNorm over about eight channels.

    GroupNorm is the same in training and evaluation and does not depend on the batch.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    at_most = max(1, channels // CHANNELS_PER_GROUP)
    return nn.GroupNorm(next(groups for groups in range(at_most, 0, -1) if channels % groups == 0), channels)


def conv_layers(n_in: int, n_out: int, norm: Norm) -> list[nn.Module]:
    """Return a 3x3 convolution, its normalisation and a ReLU."""
    return [nn.Conv2d(n_in, n_out, 3, padding=1), norm_layer(norm, n_out), nn.ReLU(inplace=True)]


def conv_block(n_in: int, n_out: int, norm: Norm, dropout: float = 0.0) -> nn.Sequential:
    """Return two convolutions with normalisation and ReLU, followed by dropout unless its rate is 0."""
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*conv_layers(n_in, n_out, norm), *conv_layers(n_out, n_out, norm), *drop)


class UNet(nn.Module):
    """The network S(I_R, I_T): a soft mask, 1 = visible face, 0 = outlier.

    Defaults are the released code's network: 34,528,769 parameters.

    Args:
        width: channels of the first level, doubled at each of the `levels` - 1 halvings.
        levels: number of resolutions.
        dropout: rate after the blocks of the two deepest levels.
        slope: the mask is sigmoid(slope * logit).
        norm: normalisation after each convolution.
    """

    def __init__(
        self, width: int = 64, levels: int = 5, dropout: float = 0.5, slope: float = 5.0, norm: Norm = "batch"
    ):
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        drops = [dropout if level >= levels - DROPOUT_LEVELS else 0.0 for level in range(levels)]
        self.slope = slope
        self.stride = 2 ** (levels - 1)
        self.down = nn.ModuleList(
            conv_block(n_in, n_out, norm, drop)
            for n_in, n_out, drop in zip([N_INPUTS, *widths], widths, drops, strict=False)
        )
        pairs = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2), *conv_layers(deep, shallow, norm)) for shallow, deep in pairs
        )
        self.join = nn.ModuleList(conv_block(2 * shallow, shallow, norm) for shallow, _ in pairs)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, rendered: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Compute the logits of the mask, slope included.

        Args:
            rendered: rendering I_R, RGB, not clamped.
            target: target I_T, RGB in [0, 1].

        Returns:
            Logits; positive = face.

        Raises:
            ConfigError: height or width is not a multiple of 2^(levels - 1).
        """
        height, width = rendered.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ConfigError(
                f"the UNet cannot take {height} x {width} px; choose a size divisible by {self.stride}, its stride"
            )
        x = channels_last(torch.cat((rendered, target), dim=1))
        skips = []
        for level, down in enumerate(self.down):
            x = down(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat((skips.pop(), up(x)), dim=1))
        return self.slope * self.last(x)

    @staticmethod
    def logits_to_mask(logits: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Convert logits to the soft mask.

        Args:
            logits: output of `forward`, slope included.

        Returns:
            Mask in [0, 1], 1 = face, float32; the caller multiplies it by the rendered region.
        """
        return logits.float().sigmoid()

    def mask(self, rendered: Float[Tensor, "B 3 H W"], target: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
        """Compute the soft mask of a rendering and a target.

        Args:
            rendered: rendering I_R, RGB, not clamped.
            target: target I_T, RGB in [0, 1].

        Returns:
            Mask in [0, 1], 1 = face, not restricted to the rendered region.

        Raises:
            ConfigError: height or width is not a multiple of 2^(levels - 1).
        """
        return self.logits_to_mask(self(rendered, target))
