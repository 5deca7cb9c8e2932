"""The encoder of section 3.1, image -> theta, as a ResNet and as a small network for small images on a CPU."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from focus_ray.errors import ConfigError
from focus_ray.focus.networks import resnet
from focus_ray.focus.networks.head import ParameterHead
from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.parameters import ParameterScales
from focus_ray.numerics.batch_invariant import RowwiseLinear

# The small encoder: widths of its stages in units of `width`, and the side of the grid that its dense layer reads.
STAGES = (1, 2, 4, 6)
GRID = 4
SMALL_FEATURES = 256
SMALL_STRIDE = 16
SMALLEST_IMAGE = 32


class ResNetEncoder(resnet.ResNet):
    """A ResNet and a zero-initialised linear layer to the 257 parameters."""

    def __init__(self, scales: ParameterScales | None = None):
        super().__init__()
        self.head = ParameterHead(self.n_features, scales or ParameterScales())

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 257"]:
        """Predict theta of each image.

        Args:
            images: RGB in [0, 1], size a multiple of 32 px.

        Returns:
            theta, units of `focus.parameters`.
        """
        return self.head(self.features(images))


class ResNet50Encoder(ResNetEncoder, resnet.ResNet50):
    """The paper's encoder."""


class ResNet18Encoder(ResNetEncoder, resnet.ResNet18):
    """A smaller encoder: half the parameters and less time for a step."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


class SmallEncoder(nn.Module):
    """A thin residual network for images of 48 to 128 px: stem and four stages, 0.68 M parameters at width 16.

    The dense layer reads the last map position by position on a 4 x 4 grid, not its average, because pose and landmarks
    depend on positions. At 64 px the map has that size; at other sizes it is pooled to it.
    """

    def __init__(self, image_size: int = 64, width: int = 16, scales: ParameterScales | None = None):
        """Build the network.

        Args:
            image_size: px.
            width: channels of the stem and the first stage.
            scales: of the parameter head; None: defaults.

        Raises:
            ConfigError: the image size is not a multiple of 16 px, or below 32 px.
        """
        super().__init__()
        if image_size < SMALLEST_IMAGE or image_size % SMALL_STRIDE:
            raise ConfigError(
                f"the small encoder takes images of {SMALLEST_IMAGE}, 48, 64, ... px, not {image_size}; "
                f"choose a multiple of {SMALL_STRIDE}"
            )
        widths = [factor * width for factor in STAGES]
        # With fewer than 8 channels in channels-last order, the backward of a strided 1 x 1 convolution writes outside
        # its memory (torch 2.13's oneDNN on CPUs with AVX2 and without AVX-512).
        self.use_channels_last = width % 8 == 0
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, padding=2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.res1 = ResidualBlock(width, widths[0], 1)
        self.res2 = ResidualBlock(widths[0], widths[1], 2)
        self.res3 = ResidualBlock(widths[1], widths[2], 2)
        self.res4 = ResidualBlock(widths[2], widths[3], 2)
        self.pool = nn.AdaptiveAvgPool2d(GRID)
        self.dense = RowwiseLinear(widths[3] * GRID**2, SMALL_FEATURES)
        self.head = ParameterHead(SMALL_FEATURES, scales or ParameterScales())

    def shallow(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Compute the feature map after the first stage.

        Args:
            images: RGB in [0, 1].

        Returns:
            Feature maps at half the image size.
        """
        return self.res1(self.stem(channels_last(images) if self.use_channels_last else images))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256"]:
        """Compute the features before the last layer.

        Args:
            images: RGB in [0, 1].

        Returns:
            Non-negative features.
        """
        x = self.res4(self.res3(self.res2(self.shallow(images))))
        if x.shape[-2:] != (GRID, GRID):
            x = self.pool(x)
        return functional.relu(self.dense(x.flatten(1)))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 257"]:
        """Predict theta of each image.

        Args:
            images: RGB in [0, 1].

        Returns:
            theta, units of `focus.parameters`.
        """
        return self.head(self.features(images))
