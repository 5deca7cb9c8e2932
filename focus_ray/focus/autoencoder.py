"""The pipeline of Fig. 2a: face autoencoder R, and segmenter S, which finds the pixels that R cannot explain."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.networks.encoder import ResNetEncoder, SmallEncoder
from focus_ray.focus.networks.perceptual import ArcFacePerceptual, EncoderPerceptual
from focus_ray.focus.networks.segmenter import UNet
from focus_ray.focus.parameters import ParameterScales
from focus_ray.focus.render.renderer import Renderer, Rendering

Encoder = SmallEncoder | ResNetEncoder


class AutoencoderOutput(NamedTuple):
    """Output of one forward pass of R."""

    theta: Tensor  # [B, 257]
    rendering: Rendering


class FaceAutoencoder(nn.Module):
    """R = renderer after encoder: image [B, 3, H, W] -> theta [B, 257] -> rendered face (section 3.1)."""

    def __init__(self, encoder: Encoder, renderer: Renderer):
        super().__init__()
        self.encoder = encoder
        self.renderer = renderer

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> AutoencoderOutput:
        theta = self.encoder(images)
        return AutoencoderOutput(theta, self.renderer(theta))


class Focus(nn.Module):
    """The whole pipeline: autoencoder R, segmenter S and the frozen perceptual network F of the losses.

    Args:
        autoencoder: R, encoder and renderer.
        segmenter: S.
        scales: of the encoder's head, theta = offset + scale * head.
        perceptual: F; None before the warm-up has created it.
    """

    def __init__(
        self,
        autoencoder: FaceAutoencoder,
        segmenter: UNet,
        scales: ParameterScales,
        perceptual: ArcFacePerceptual | EncoderPerceptual | None = None,
    ):
        super().__init__()
        self.autoencoder = autoencoder
        self.segmenter = segmenter
        self.scales = scales
        self.perceptual = perceptual

    @property
    def encoder(self) -> Encoder:
        return self.autoencoder.encoder

    @property
    def renderer(self) -> Renderer:
        return self.autoencoder.renderer

    @property
    def face_model(self) -> MorphableModel:
        return self.autoencoder.renderer.model

    def mask(self, images: Float[Tensor, "B 3 H W"], rendering: Rendering) -> Float[Tensor, "B 1 H W"]:
        """Compute M = S(I_T, I_R) inside the rendered region, 0 outside.

        Args:
            images: targets I_T, RGB in [0, 1].
            rendering: of the same images.

        Returns:
            Soft masks, 1 = face.
        """
        return rendering.mask * self.segmenter.mask(rendering.image, images)
