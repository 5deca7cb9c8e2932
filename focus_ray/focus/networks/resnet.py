"""ResNet-50 up to its pooled features, with the parameter names of torchvision, so that ImageNet weights load."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.networks.state_dict import load_pretrained

STEM_WIDTH = 64
EXPANSION = 4  # a block's output is this much wider than its 3x3 convolution
N_FEATURES = 2048


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions around a shortcut (He et al. 2016, with the stride in the 3x3)."""

    def __init__(self, n_in: int, width: int, stride: int):
        super().__init__()
        n_out = width * EXPANSION
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def stage(n_in: int, width: int, depth: int, stride: int) -> nn.Sequential:
    """Return `depth` blocks, the first with the stride."""
    rest = [Bottleneck(width * EXPANSION, width, 1) for _ in range(depth - 1)]
    return nn.Sequential(Bottleneck(n_in, width, stride), *rest)


class ResNet50(nn.Module):
    """The convolutional part of ResNet-50. Input RGB in [0, 1] (released code: no ImageNet mean and deviation)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, STEM_WIDTH, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = stage(STEM_WIDTH, 64, depth=3, stride=1)
        self.layer2 = stage(256, 128, depth=4, stride=2)
        self.layer3 = stage(512, 256, depth=6, stride=2)
        self.layer4 = stage(1024, 512, depth=3, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def shallow(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 256 h w"]:
        """Compute the feature map after layer1.

        Args:
            images: RGB in [0, 1].

        Returns:
            Feature maps at a quarter of the image size.
        """
        x = self.relu(self.bn1(self.conv1(channels_last(images))))
        return self.layer1(self.maxpool(x))

    def features(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 2048"]:
        """Compute the pooled features before the last layer.

        Args:
            images: RGB in [0, 1].

        Returns:
            Means over the locations of the last map.
        """
        x = self.layer4(self.layer3(self.layer2(self.shallow(images))))
        return x.mean(dim=(2, 3))

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Copy torchvision's ResNet-50 weights into the network.

        Args:
            state: torchvision's state dict; its classifier `fc` is not used, and a `head` of this network is not
                changed.

        Raises:
            CheckpointError: the state dict is of another network.
        """
        load_pretrained(self, state, "torchvision's ResNet-50", missing_prefixes=("head.",), ignored_prefix="fc.")
