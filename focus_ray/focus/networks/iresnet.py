"""IResNet-18 to -100, the face recogniser of the perceptual losses, with the parameter names of arcface_torch."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.alignment import ArcFaceNetwork
from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.networks.state_dict import count_blocks, load_pretrained, strip_prefix

EMBEDDING_SIZE = 512
STEM_WIDTH = 64
LAST_WIDTH = 512
LAST_GRID = 7  # ARCFACE_SIZE after four strides of 2
DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Blocks of the four stages."""


class IResNetBlock(nn.Module):
    """Norm, convolution, norm, PReLU, convolution with the stride, norm, around a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.prelu = nn.PReLU(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + shortcut


def stage(n_in: int, width: int, depth: int) -> nn.Sequential:
    """Return `depth` blocks, the first with stride 2."""
    return nn.Sequential(IResNetBlock(n_in, width, 2), *(IResNetBlock(width, width, 1) for _ in range(depth - 1)))


class IResNet(ArcFaceNetwork):
    """Aligned faces [B, 3, 112, 112], RGB in [-1, 1], to embeddings [B, 512] (not normalised).

    Args:
        depth: 18, 34, 50 or 100.
    """

    def __init__(self, depth: int = 50):
        super().__init__()
        self.depth = depth
        self.conv1 = nn.Conv2d(3, STEM_WIDTH, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_WIDTH)
        self.prelu = nn.PReLU(STEM_WIDTH)
        first, second, third, fourth = DEPTHS[depth]
        self.layer1 = stage(STEM_WIDTH, 64, first)
        self.layer2 = stage(64, 128, second)
        self.layer3 = stage(128, 256, third)
        self.layer4 = stage(256, LAST_WIDTH, fourth)
        self.bn2 = nn.BatchNorm2d(LAST_WIDTH)
        self.fc = nn.Linear(LAST_WIDTH * LAST_GRID**2, EMBEDDING_SIZE)
        self.features = nn.BatchNorm1d(EMBEDDING_SIZE)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def architecture(self) -> str:
        """Name of the network with its depth."""
        return f"iresnet{self.depth}"

    def shallow(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 64 56 56"]:
        """Compute the feature map after layer1.

        Args:
            crops: aligned faces, RGB in [-1, 1].

        Returns:
            Feature maps.
        """
        return self.layer1(self.prelu(self.bn1(self.conv1(channels_last(crops)))))

    def forward(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 512"]:
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.shallow(crops)))))
        return self.features(self.fc(x.flatten(1)))


def build_iresnet(state: Mapping[str, Tensor]) -> IResNet:
    """Build the network of a state dict, with random weights.

    Args:
        state: state dict with the names of arcface_torch.

    Raises:
        CheckpointError: the numbers of its blocks are those of no network of this family.
    """
    blocks = tuple(count_blocks(state, f"layer{number}.") for number in range(1, 5))
    for depth, expected in DEPTHS.items():
        if blocks == expected:
            return IResNet(depth)
    known = ", ".join(f"r{depth} {'-'.join(map(str, expected))}" for depth, expected in DEPTHS.items())
    raise CheckpointError(
        f"these are not the weights of arcface_torch's IResNet: the file has {'-'.join(map(str, blocks))} blocks in "
        f"layer1 to layer4, known are {known}; give another file"
    )


def load_arcface(state: Mapping[str, Tensor]) -> IResNet:
    """Load the recogniser with the weights of an arcface_torch `backbone.pth`; they tell its depth.

    Args:
        state: state dict of the file.

    Returns:
        The network, frozen, in eval mode.

    Raises:
        CheckpointError: the state dict is of another network.
    """
    state = strip_prefix(state, "conv1.weight")
    network = build_iresnet(state)
    load_pretrained(network, state, f"arcface_torch's IResNet-{network.depth}")
    return network.eval().requires_grad_(False)
