"""The frozen network F of the perceptual losses (Eq. 2, 4, 6): a face recogniser, or features of the encoder itself.

Gradients flow to the images and never to the network.
"""

import copy
from typing import Protocol, TypeVar, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from focus_ray.face_models.landmarks import five_points
from focus_ray.focus.networks.alignment import align_faces
from focus_ray.focus.networks.encoder import ResNet50Encoder, SmallEncoder
from focus_ray.focus.networks.iresnet import CROP_SIZE, IResNet50
from focus_ray.numerics.float32 import promote_to_float32

Module = TypeVar("Module", bound=nn.Module)  # typing.Self, in a form that the shape checker of the tests knows


@runtime_checkable
class PerceptualNetwork(Protocol):
    """What the losses ask of F."""

    def embedding(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B D"]:
        """One vector of length 1 for each face. Images RGB in [0, 1], landmarks in px of these images."""
        ...

    def shallow(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B C h w"]:
        """An early feature map of each face, to be compared location by location."""
        ...


class FrozenModule(nn.Module):
    """A module whose networks never train: parameters without gradient, eval mode whatever is asked."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.eval().requires_grad_(False)

    def train(self: Module, mode: bool = True) -> Module:
        return super().train(False)

    def requires_grad_(self: Module, requires_grad: bool = True) -> Module:
        return super().requires_grad_(False)


class ArcFacePerceptual(FrozenModule):
    """A recogniser that sees the aligned face, as the paper's F.

    The landmarks align the face: detected ones for anything made of the target, predicted ones for a rendering.
    """

    network: IResNet50

    def __init__(self, network: IResNet50):
        super().__init__(network)

    def embedding(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B 512"]:
        return functional.normalize(promote_to_float32(self.network(self._crop(images, landmarks))))

    def shallow(
        self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]
    ) -> Float[Tensor, "B 64 56 56"]:
        return self.network.shallow(self._crop(images, landmarks))

    def _crop(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """Aligned faces in the recogniser's range [-1, 1]."""
        return 2 * align_faces(images, five_points(landmarks), CROP_SIZE) - 1


class EncoderPerceptual(FrozenModule):
    """A frozen copy of an encoder without its head; it sees the picture as it is and does not use the landmarks.

    It costs no training of its own. Of the small encoder, the early map tells outliers from face no better than that of
    a random network: areas under the ROC 0.77 and 0.79 on one-pass fits, 0.85 for the colour residual, as
    benchmarks/perceptual.py measured them for the shipped model. A recogniser is the better F where there is one.
    """

    network: SmallEncoder | ResNet50Encoder

    def __init__(self, encoder: SmallEncoder | ResNet50Encoder):
        trunk = copy.deepcopy(encoder)
        trunk.head = nn.Identity()  # type: ignore[assignment]
        super().__init__(trunk)

    def embedding(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B D"]:
        return functional.normalize(promote_to_float32(self.network.features(images)))

    def shallow(self, images: Float[Tensor, "B 3 H W"], landmarks: Float[Tensor, "B 68 2"]) -> Float[Tensor, "B C h w"]:
        return self.network.shallow(images)
