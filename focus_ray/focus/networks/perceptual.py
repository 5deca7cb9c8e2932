"""The frozen network F of the perceptual losses (Eq. 2, 4, 6): a face recogniser, or features of the encoder itself.

Gradients reach the images, never the network.
"""

import copy
from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from focus_ray.face_models.landmarks import five_points
from focus_ray.focus.networks.encoder import ResNetEncoder, SmallEncoder
from focus_ray.focus.networks.recogniser import LOADERS, Recogniser, RecogniserKind
from focus_ray.numerics.float32 import promote_to_float32

Module = TypeVar("Module", bound=nn.Module)  # typing.Self, which the shape checker of the tests does not support


@runtime_checkable
class PerceptualNetwork(Protocol):
    """Interface of F for the losses."""

    def embedding(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B D"]:
        """Compute one embedding of length 1 for each face.

        Args:
            images: RGB in [0, 1].
            landmarks: (u, v) in px of these images.

        Returns:
            Unit vectors.
        """
        ...

    def shallow(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B C h w"]:
        """Compute an early feature map of each face, which the losses compare location by location.

        Args:
            images: RGB in [0, 1].
            landmarks: (u, v) in px of these images.

        Returns:
            Feature maps.
        """
        ...


class FrozenModule(nn.Module):
    """A module whose network never trains: parameters without gradient, always in eval mode."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.eval().requires_grad_(False)

    def train(self: Module, mode: bool = True) -> Module:
        return super().train(False)

    def requires_grad_(self: Module, requires_grad: bool = True) -> Module:
        return super().requires_grad_(False)


class ArcFacePerceptual(FrozenModule):
    """A recogniser of aligned faces, as the paper's F, or the landmark network.

    The landmarks align the face: detected ones for images made of the target, predicted ones for a rendering.
    """

    network: Recogniser

    def __init__(self, network: Recogniser):
        super().__init__(network)

    def embedding(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B D"]:
        return functional.normalize(promote_to_float32(self.network(self._crop(images, landmarks))))

    def shallow(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B C h w"]:
        return self.network.shallow(self._crop(images, landmarks))

    def _crop(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Aligned faces in the recogniser's range."""
        return self.network.crops(images, five_points(landmarks))


class EncoderPerceptual(FrozenModule):
    """A frozen copy of an encoder without its head; it takes unaligned images and ignores the landmarks.

    It needs no training of its own. With the small encoder, the early map separates outliers from face no better than
    that of a random network: areas under the ROC curve 0.77 and 0.79 on one-pass fits, 0.85 for the colour residual
    (benchmarks/perceptual.py, shipped model). A recogniser is the better F if one is available.
    """

    network: SmallEncoder | ResNetEncoder

    def __init__(self, encoder: SmallEncoder | ResNetEncoder):
        trunk = copy.deepcopy(encoder)
        trunk.head = nn.Identity()  # type: ignore[assignment]
        super().__init__(trunk)

    def embedding(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B D"]:
        return functional.normalize(promote_to_float32(self.network.features(images)))

    def shallow(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B C h w"]:
        return self.network.shallow(images)


def rebuild_recogniser(kind: RecogniserKind, state: Mapping[str, Tensor]) -> ArcFacePerceptual:
    """Build the recogniser of a model folder or checkpoint; its weights tell depth and width.

    Args:
        kind: of the model's settings.
        state: state dict of an `ArcFacePerceptual`.

    Raises:
        CheckpointError: the state dict is of another network.
    """
    return ArcFacePerceptual(LOADERS[kind]({key.removeprefix("network."): value for key, value in state.items()}))
