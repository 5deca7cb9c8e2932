"""The trunk of MediaPipe's face mesh (Kartynnik et al., 2019) in PyTorch: features of a network that locates landmarks.

Its embedding is the mean of the deepest map, which tells pose and expression better than identity.
"""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from focus_ray.focus.networks.alignment import align_faces
from focus_ray.focus.networks.memory_format import channels_last
from focus_ray.focus.networks.state_dict import load_pretrained

CROP_SIZE = 192  # px
# Where the five points of a face lie in the detector's view: mean over faces of photographs, symmetric.
TEMPLATE = ((71.1, 73.0), (119.9, 73.0), (95.5, 98.8), (72.2, 120.9), (118.8, 120.9))
STEM_WIDTH = 16
WIDTHS = (16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128, 128, 128)
STRIDED = (2, 5, 8, 11, 14)  # numbers of the blocks with stride 2
N_SHALLOW = 2  # blocks before the shallow map


class FaceMeshBlock(nn.Module):
    """Depthwise 3x3 with the stride, pointwise convolution, around a pooled shortcut that is padded with zeros."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.stride, self.extra = stride, n_out - n_in
        self.depthwise = nn.Conv2d(n_in, n_in, 3, stride, 1 if stride == 1 else 0, groups=n_in)
        self.pointwise = nn.Conv2d(n_in, n_out, 1)
        self.prelu = nn.PReLU(n_out)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        shortcut = functional.max_pool2d(x, 2) if self.stride == 2 else x
        if self.extra:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        seen = functional.pad(x, (0, 1, 0, 1)) if self.stride == 2 else x  # TensorFlow's SAME for even sizes
        return self.prelu(self.pointwise(self.depthwise(seen)) + shortcut)


class FaceMeshNetwork(nn.Module):
    """Aligned faces [B, 3, 192, 192], RGB in [0, 1], to the mean of the deepest map [B, 128]."""

    architecture = "face_mesh"

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_WIDTH, 3, 2)
        self.prelu = nn.PReLU(STEM_WIDTH)
        ins = (STEM_WIDTH, *WIDTHS)
        self.blocks = nn.Sequential(
            *(FaceMeshBlock(ins[i], width, 2 if i in STRIDED else 1) for i, width in enumerate(WIDTHS))
        )

    def crops(self, images: Float[Tensor, "B 3 H W"], points: Float[Tensor, "B 5 2"]) -> Float[Tensor, "B 3 192 192"]:
        """Align faces as the detector's views are.

        Args:
            images: RGB in [0, 1].
            points: the five points of each face, px.

        Returns:
            Aligned faces in [0, 1].
        """
        return align_faces(images, points, CROP_SIZE, TEMPLATE)

    def shallow(self, crops: Float[Tensor, "B 3 192 192"]) -> Float[Tensor, "B 16 96 96"]:
        """Compute the feature map of the first stage.

        Args:
            crops: aligned faces, RGB in [0, 1].

        Returns:
            Feature maps.
        """
        x = self.prelu(self.stem(functional.pad(channels_last(crops), (0, 1, 0, 1))))
        return self.blocks[:N_SHALLOW](x)

    def forward(self, crops: Float[Tensor, "B 3 192 192"]) -> Float[Tensor, "B 128"]:
        return self.blocks[N_SHALLOW:](self.shallow(crops)).mean(dim=(2, 3))


def load_face_mesh(state: Mapping[str, Tensor]) -> FaceMeshNetwork:
    """Load the trunk.

    Args:
        state: state dict with the names of this class.

    Returns:
        The network, frozen, in eval mode.

    Raises:
        CheckpointError: the state dict is of another network.
    """
    network = FaceMeshNetwork()
    load_pretrained(network, state, "the face mesh")
    return network.eval().requires_grad_(False)
