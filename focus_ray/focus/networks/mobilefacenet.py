"""MobileFaceNet with 128 outputs (Chen et al., 2018), a small face recogniser that learned with ImageNet's colours."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus.networks.alignment import ARCFACE_SIZE, align_faces
from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.networks.state_dict import load_pretrained, strip_prefix

EMBEDDING_SIZE = 128
STEM_WIDTH = 64
LAST_WIDTH = 512
LAST_GRID = 7
# Expansion, width, blocks, stride of the first block.
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def convolution(n_in: int, n_out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size of the map at stride 1."""
    return nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups, bias=False)


def conv_norm_relu6(n_in: int, n_out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution with norm and ReLU6."""
    return nn.Sequential(convolution(n_in, n_out, size, stride, groups), nn.BatchNorm2d(n_out), nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution with the stride, linear projection, around a shortcut where sizes allow it."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int):
        super().__init__()
        inner = n_in * expansion
        self.has_shortcut = stride == 1 and n_in == n_out
        self.conv = nn.Sequential(
            conv_norm_relu6(n_in, inner, 1),
            conv_norm_relu6(inner, inner, 3, stride, inner),
            convolution(inner, n_out, 1),
            nn.BatchNorm2d(n_out),
        )

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class DepthwiseSeparable(nn.Module):
    """Depthwise 3x3 and pointwise convolution."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise, self.bn1 = convolution(width, width, 3, groups=width), nn.BatchNorm2d(width)
        self.pointwise, self.bn2 = convolution(width, width, 1), nn.BatchNorm2d(width)
        self.relu = nn.ReLU()

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        x = self.relu(self.bn1(self.depthwise(x)))
        return self.relu(self.bn2(self.pointwise(x)))


class GlobalDepthwise(nn.Module):
    """A depthwise convolution as large as the map."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(LAST_WIDTH, LAST_WIDTH, LAST_GRID, groups=LAST_WIDTH, bias=False)
        self.bn = nn.BatchNorm2d(LAST_WIDTH)

    def forward(self, x: Float[Tensor, "B 512 7 7"]) -> Float[Tensor, "B 512 1 1"]:
        return self.bn(self.depthwise(x))


class MobileFaceNet(nn.Module):
    """Aligned faces [B, 3, 112, 112], RGB with ImageNet's mean and deviation, to embeddings [B, 128]."""

    architecture = "mobilefacenet"

    def __init__(self):
        super().__init__()
        self.conv1 = conv_norm_relu6(3, STEM_WIDTH, 3, 2)
        self.dw_conv = DepthwiseSeparable(STEM_WIDTH)
        blocks, n_in = [], STEM_WIDTH
        for expansion, width, count, stride in STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(n_in, width, stride if index == 0 else 1, expansion))
                n_in = width
        self.features = nn.Sequential(*blocks)
        self.conv2 = conv_norm_relu6(n_in, LAST_WIDTH, 1)
        self.gdconv = GlobalDepthwise()
        self.conv3 = nn.Conv2d(LAST_WIDTH, EMBEDDING_SIZE, 1)
        self.bn = nn.BatchNorm2d(EMBEDDING_SIZE)

    def crops(self, images: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B 3 112 112"]:
        """Align faces and normalise their colours.

        Args:
            images: RGB in [0, 1].
            points: the five points of each face, px.

        Returns:
            Aligned faces with ImageNet's mean and deviation.
        """
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        return (align_faces(images, points, ARCFACE_SIZE) - mean) / deviation

    def shallow(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 64 56 56"]:
        """Compute the feature map before the inverted residuals.

        Args:
            crops: result of `crops`.

        Returns:
            Feature maps.
        """
        return self.dw_conv(self.conv1(channels_last(crops)))

    def forward(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 128"]:
        x = self.gdconv(self.conv2(self.features(self.shallow(crops))))
        return self.bn(self.conv3(x)).flatten(1)


def load_mobilefacenet(state: Mapping[str, Tensor]) -> MobileFaceNet:
    """Load the recogniser.

    Args:
        state: state dict of the published file.

    Returns:
        The network, frozen, in eval mode.

    Raises:
        CheckpointError: the state dict is of another network.
    """
    network = MobileFaceNet()
    load_pretrained(network, strip_prefix(state, "conv1.0.weight"), "MobileFaceNet with 128 outputs")
    return network.eval().requires_grad_(False)
