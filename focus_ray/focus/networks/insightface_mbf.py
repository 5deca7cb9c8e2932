"""The MobileFaceNet of insightface with 512 outputs, with the parameter names of arcface_torch (w600k_mbf)."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.errors import CheckpointError
from focus_ray.focus.networks.alignment import ArcFaceNetwork
from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.networks.state_dict import count_blocks, load_pretrained, strip_prefix

EMBEDDING_SIZE = 512
UNIT_WIDTH = 64
LAST_WIDTH = 512
LAST_GRID = 7
MAX_SCALE = 8  # larger files than the published ones (2 and 4) are refused before the network is built
MAX_BLOCKS = 64
STAGE_LAYERS = (3, 5, 7)  # numbers of the layers with the residual blocks at strides 4, 8 and 16


class Layers(nn.Module):
    """Modules one after the other, under the name `layers`; with a shortcut around them if it is asked for."""

    def __init__(self, *modules: nn.Module, has_shortcut: bool = False):
        super().__init__()
        self.layers = nn.Sequential(*modules)
        self.has_shortcut = has_shortcut

    def forward(self, x: Float[Tensor, "B C *S"]) -> Float[Tensor, "B D ..."]:
        return x + self.layers(x) if self.has_shortcut else self.layers(x)


def conv_norm_prelu(n_in: int, n_out: int, size: int, stride: int = 1, groups: int = 1) -> Layers:
    """Return a convolution with norm and PReLU."""
    convolution = nn.Conv2d(n_in, n_out, size, stride, size // 2, groups=groups, bias=False)
    return Layers(convolution, nn.BatchNorm2d(n_out), nn.PReLU(n_out))


def depthwise(n_in: int, n_out: int, inner: int, stride: int, *, has_shortcut: bool = False) -> Layers:
    """Return expansion, depthwise convolution with the stride, linear projection."""
    projection = Layers(nn.Conv2d(inner, n_out, 1, bias=False), nn.BatchNorm2d(n_out))
    blocks = (conv_norm_prelu(n_in, inner, 1), conv_norm_prelu(inner, inner, 3, stride, inner), projection)
    return Layers(*blocks, has_shortcut=has_shortcut)


def residuals(width: int, count: int, inner: int) -> Layers:
    """Return blocks with shortcut."""
    return Layers(*(depthwise(width, width, inner, 1, has_shortcut=True) for _ in range(count)))


class InsightMobileFaceNet(ArcFaceNetwork):
    """Aligned faces [B, 3, 112, 112], RGB in [-1, 1], to embeddings [B, 512] (not normalised).

    Args:
        blocks: residual blocks of the four stages; 1 in the first means a depthwise convolution.
        scale: width in units of 64 channels.
    """

    def __init__(self, blocks: tuple[int, ...] = (1, 4, 6, 2), scale: int = 2):
        super().__init__()
        self.blocks, self.scale = blocks, scale
        width = UNIT_WIDTH * scale
        first = (
            conv_norm_prelu(width, width, 3, groups=UNIT_WIDTH) if blocks[0] == 1 else residuals(width, blocks[0], 128)
        )
        self.layers = nn.ModuleList(
            [
                conv_norm_prelu(3, width, 3, 2),
                first,
                depthwise(width, width, 128, 2),
                residuals(width, blocks[1], 128),
                depthwise(width, 2 * width, 256, 2),
                residuals(2 * width, blocks[2], 256),
                depthwise(2 * width, 2 * width, 512, 2),
                residuals(2 * width, blocks[3], 256),
            ]
        )
        self.conv_sep = conv_norm_prelu(2 * width, LAST_WIDTH, 1)
        pool = nn.Conv2d(LAST_WIDTH, LAST_WIDTH, LAST_GRID, groups=LAST_WIDTH, bias=False)
        self.features = Layers(
            Layers(pool, nn.BatchNorm2d(LAST_WIDTH)),
            nn.Flatten(),
            nn.Linear(LAST_WIDTH, EMBEDDING_SIZE, bias=False),
            nn.BatchNorm1d(EMBEDDING_SIZE),
        )

    @property
    def architecture(self) -> str:
        """Name of the network with its blocks and width."""
        return f"insightface_mbf-{'-'.join(map(str, self.blocks))}x{self.scale}"

    def shallow(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B C 56 56"]:
        """Compute the feature map of the first stage.

        Args:
            crops: aligned faces, RGB in [-1, 1].

        Returns:
            Feature maps.
        """
        return self.layers[1](self.layers[0](channels_last(crops)))

    def forward(self, crops: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 512"]:
        x = self.shallow(crops)
        for layer in self.layers[2:]:
            x = layer(x)
        return self.features(self.conv_sep(x))


def build_insightface_mbf(state: Mapping[str, Tensor]) -> InsightMobileFaceNet:
    """Build the network of a state dict, with random weights.

    Args:
        state: state dict with the names of arcface_torch.

    Raises:
        CheckpointError: it is not of a network of this family.
    """
    stem = state.get("layers.0.layers.0.weight")
    later = tuple(count_blocks(state, f"layers.{number}.layers.") for number in STAGE_LAYERS)
    is_single = "layers.1.layers.0.weight" in state
    blocks = (1 if is_single else count_blocks(state, "layers.1.layers."), *later)
    scale = 0 if stem is None or stem.dim() != 4 else len(stem) // UNIT_WIDTH
    if not 1 <= scale <= MAX_SCALE or not all(1 <= count <= MAX_BLOCKS for count in blocks):
        raise CheckpointError(
            "these are not the weights of insightface's MobileFaceNet: a stem of 64 channels or a small multiple and "
            f"residual blocks in layers 1, 3, 5 and 7 are expected, found {'-'.join(map(str, blocks))} blocks and "
            f"{'no stem' if stem is None else f'a stem of shape {tuple(stem.shape)}'}; give another file"
        )
    return InsightMobileFaceNet(blocks, scale)


def load_insightface_mbf(state: Mapping[str, Tensor]) -> InsightMobileFaceNet:
    """Load the recogniser; its weights tell blocks and width.

    Args:
        state: state dict of the file.

    Returns:
        The network, frozen, in eval mode.

    Raises:
        CheckpointError: the state dict is of another network.
    """
    state = strip_prefix(state, "layers.0.layers.0.weight")
    network = build_insightface_mbf(state)
    load_pretrained(network, state, "insightface's MobileFaceNet")
    return network.eval().requires_grad_(False)
