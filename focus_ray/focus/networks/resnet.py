"""ResNet-18 and ResNet-50 up to their pooled features, with the parameter names of torchvision and timm."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.networks.state_dict import load_pretrained, strip_prefix

STEM_WIDTH = 64
LAST_WIDTH = 512  # of the 3x3 convolutions of the last stage


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, the first with the stride, around a shortcut (He et al. 2016)."""

    expansion = 1  # the block's output is this much wider than its 3x3 convolution

    def __init__(self, n_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(n_in, width, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions around a shortcut (He et al. 2016, with the stride in the 3x3)."""

    expansion = 4

    def __init__(self, n_in: int, width: int, stride: int):
        super().__init__()
        n_out = width * self.expansion
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(n_in, n_out, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def projection(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    """Return the shortcut of a block that changes size or width; None for others, whose shortcut is the input."""
    if stride == 1 and n_in == n_out:
        return None
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))


class ResNet(nn.Module):
    """The convolutional part of a ResNet. Input RGB in [0, 1] (released code: no ImageNet mean and deviation)."""

    name: str
    block: type[BasicBlock] | type[Bottleneck]
    depths: Sequence[int]

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM_WIDTH, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        first, second, third, fourth = self.depths
        self.layer1 = self._stage(STEM_WIDTH, 64, first, stride=1)
        self.layer2 = self._stage(64 * self.block.expansion, 128, second, stride=2)
        self.layer3 = self._stage(128 * self.block.expansion, 256, third, stride=2)
        self.layer4 = self._stage(256 * self.block.expansion, LAST_WIDTH, fourth, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def n_features(self) -> int:
        """Number of pooled features."""
        return LAST_WIDTH * self.block.expansion

    def _stage(self, n_in: int, width: int, depth: int, stride: int) -> nn.Sequential:
        """`depth` blocks, the first with the stride."""
        rest = [self.block(width * self.block.expansion, width, 1) for _ in range(depth - 1)]
        return nn.Sequential(self.block(n_in, width, stride), *rest)

    def shallow(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Compute the feature map after layer1.

        Args:
            images: RGB in [0, 1].

        Returns:
            Feature maps at a quarter of the image size.
        """
        x = self.relu(self.bn1(self.conv1(channels_last(images))))
        return self.layer1(self.maxpool(x))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Compute the pooled features before the last layer.

        Args:
            images: RGB in [0, 1].

        Returns:
            Means over the locations of the last map.
        """
        x = self.layer4(self.layer3(self.layer2(self.shallow(images))))
        return x.mean(dim=(2, 3))

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Copy published weights of ImageNet into the network.

        Args:
            state: state dict of torchvision or timm, which use the same names; a prefix of all names is removed. Its
                classifier `fc` is not used, and a `head` of this network is not changed.

        Raises:
            CheckpointError: the state dict is of another network.
        """
        state = strip_prefix(state, "layer1.0.conv1.weight")
        label = f"{self.name} of torchvision or timm"
        load_pretrained(self, state, label, missing_prefixes=("head.",), ignored_prefix="fc.")


class ResNet18(ResNet):
    """ResNet-18: 512 features, shallow map of 64 channels."""

    name = "ResNet-18"
    block = BasicBlock
    depths = (2, 2, 2, 2)


class ResNet50(ResNet):
    """ResNet-50: 2048 features, shallow map of 256 channels."""

    name = "ResNet-50"
    block = Bottleneck
    depths = (3, 4, 6, 3)
