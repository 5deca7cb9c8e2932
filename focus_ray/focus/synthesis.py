"""Renders of the face model with known parameters: supervision without annotation for the encoder's warm-up."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from focus_ray.face_models.named_expressions import NamedExpressions
from focus_ray.focus.parameters import Parameters, ParameterScales, join_theta, split_theta
from focus_ray.focus.render.renderer import Renderer
from focus_ray.numerics.float32 import full_precision_matmul
from focus_ray.settings import Settings


class SamplingDistributions(Settings):
    """Distributions of random theta; by definition every coefficient of the model is N(0, 1), in sigmas.

    Pose and light spreads were chosen to cover an aligned crop of a face that looks roughly at the camera. `focus-ray
    prior laws` fits them to a model's predictions on real images.
    """

    identity: float = Field(default=1.0, ge=0)
    expression: float = Field(default=0.8, ge=0)
    albedo: float = Field(default=1.0, ge=0)
    pitch: float = Field(default=0.17, ge=0)  # rad
    yaw: float = Field(default=0.35, ge=0)  # rad
    roll: float = Field(default=0.1, ge=0)  # rad
    rotation_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # rad: pitch, yaw, roll
    translation_xy: float = Field(default=4.0, ge=0)  # mm
    translation_z: float = Field(default=30.0, ge=0)  # mm
    translation_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)  # mm
    ambient: float = 2.5  # mean of band 0, each channel
    ambient_spread: float = Field(default=0.35, ge=0)
    colour_spread: float = Field(default=0.12, ge=0)  # of the light, between channels
    from_above: float = 0.35  # mean of the y band
    frontal: float = -0.8  # mean of the z band: towards the camera
    sideways: float = 0.0  # mean of the x band
    second_band: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)  # means of bands 4 to 8
    directional_spread: float = Field(default=0.45, ge=0)
    second_band_spread: float = Field(default=0.12, ge=0)
    # Share of the faces whose expression is drawn from the face model's named shapes, which reach wide-open mouths and
    # closed eyes; a model without named shapes has none.
    named_share: float = Field(default=0.0, ge=0, le=1)


NAMED_CHANCES = {"jawOpen": 0.5, "eyeBlink": 0.35, "mouthSmile": 0.3}
"""Chance of a named shape to be part of a drawn expression."""
_OTHER_CHANCE = 0.12
_SYMMETRY = 0.8  # chance that a right shape has the weight of its left one
_NAMED_NOISE = 0.3  # of the modes, on top of the named shapes, in sigmas


class RenderedBatch(NamedTuple):
    """A batch of synthetic targets and their parameters."""

    images: Tensor  # [B, 3, H, W] in [0, 1]
    theta: Tensor  # [B, 257]


def derive_seed(*seeds: int) -> int:
    """Derive one seed from `seeds`; it depends on nothing else."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> np.uint64(1))


def make_generator(*seeds: int) -> torch.Generator:
    """Create a torch generator seeded from `seeds`; it depends on nothing else."""
    return torch.Generator().manual_seed(derive_seed(*seeds))


def sample_theta(
    distributions: SamplingDistributions, count: int, rng: torch.Generator, named: NamedExpressions | None = None
) -> Float[Tensor, "B 257"]:
    """Draw random faces, poses and lights.

    Args:
        distributions: of all parts of theta.
        count: number of faces.
        rng: source of randomness.
        named: named shapes of the face model; None: it has none.

    Returns:
        theta, in the units of `focus.parameters`.
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    rotation = normal(count, 3) * torch.tensor(
        [distributions.pitch, distributions.yaw, distributions.roll]
    ) + torch.tensor(distributions.rotation_mean)
    spread = torch.tensor([distributions.translation_xy, distributions.translation_xy, distributions.translation_z])
    translation = normal(count, 3) * spread + torch.tensor(distributions.translation_mean)
    parameters = Parameters(
        identity=distributions.identity * normal(count, 80),
        expression=distributions.expression * normal(count, 64),
        albedo=distributions.albedo * normal(count, 80),
        light=sample_light(distributions, count, rng),
        rotation=rotation,
        translation=translation,
    )
    if named is not None and distributions.named_share > 0:
        shaped = sample_named_expressions(named, count, rng) + _NAMED_NOISE * normal(count, 64)
        chosen = torch.rand(count, 1, generator=rng) < distributions.named_share
        parameters = parameters._replace(expression=torch.where(chosen, shaped, parameters.expression))
    return join_theta(parameters)


def sample_named_expressions(named: NamedExpressions, count: int, rng: torch.Generator) -> Float[Tensor, "B E"]:
    """Draw expressions as sums of named shapes with weights in [0, 1], most of them symmetrical.

    Args:
        named: named shapes; those of the two sides of the face end in Left and Right, or in _L and _R.
        count: number of expressions.
        rng: source of randomness.

    Returns:
        Expression coefficients, in sigmas.
    """
    sides = [split_side(name) for name in named.names]
    chances = torch.tensor([NAMED_CHANCES.get(base, _OTHER_CHANCE) for base, _ in sides])
    weights = torch.rand(count, len(sides), generator=rng)
    weights = weights * (torch.rand(count, len(sides), generator=rng) < chances)
    symmetrical = torch.rand(count, len(sides), generator=rng) < _SYMMETRY
    for column, (base, side) in enumerate(sides):
        if side == "right" and (base, "left") in sides:
            left = weights[:, sides.index((base, "left"))]
            weights[:, column] = torch.where(symmetrical[:, column], left, weights[:, column])
    return (weights[:, :, None] * named.coefficients).sum(dim=1)


def split_side(name: str) -> tuple[str, str]:
    """Split the name of a shape into its base and its side: eyeBlink_L gives ("eyeBlink", "left")."""
    for ending, side in (("_L", "left"), ("Left", "left"), ("_R", "right"), ("Right", "right")):
        if name.endswith(ending):
            return name.removesuffix(ending), side
    return name, ""


def sample_light(distributions: SamplingDistributions, count: int, rng: torch.Generator) -> Float[Tensor, "B 27"]:
    """Draw nine spherical-harmonics coefficients per channel: a shared light, tinted per channel.

    Args:
        distributions: of the light.
        count: number of lights.
        rng: source of randomness.

    Returns:
        R9|G9|B9.
    """
    mean = torch.tensor(
        [
            distributions.ambient,
            distributions.from_above,
            distributions.frontal,
            distributions.sideways,
            *distributions.second_band,
        ]
    )
    spread = torch.tensor(
        [distributions.ambient_spread, *[distributions.directional_spread] * 3, *[distributions.second_band_spread] * 5]
    )
    white = mean + spread * torch.randn(count, 1, 9, generator=rng)
    tint = 1 + distributions.colour_spread * torch.randn(count, 3, 1, generator=rng)
    return (white * tint).flatten(1)


def sample_background(count: int, size: int, rng: torch.Generator, subset: range) -> Float[Tensor, "b 3 H W"]:
    """Draw backgrounds of colour noise over three scales, with random amplitudes for each image.

    Args:
        count: number of images that random numbers are drawn for.
        size: height and width, px.
        rng: source of randomness.
        subset: images of `count` to return.

    Returns:
        RGB in [0, 1].
    """
    rows = slice(subset.start, subset.stop)
    background = torch.rand(count, 3, 1, 1, generator=rng)[rows].expand(len(subset), 3, size, size)
    for cells in (3, 8, size // 2):
        noise = torch.rand(count, 3, cells, cells, generator=rng)[rows] - 0.5
        amplitude = torch.rand(count, 1, 1, 1, generator=rng)[rows]
        background = background + amplitude * functional.interpolate(
            noise, size=(size, size), mode="bilinear", align_corners=False
        )
    return background.clamp(0, 1)


@torch.no_grad()
def render_random(
    renderer: Renderer,
    distributions: SamplingDistributions,
    count: int,
    rng: torch.Generator,
    noise: float = 0.02,
    subset: range | None = None,
) -> RenderedBatch:
    """Render random faces over random backgrounds, with sensor noise.

    Args:
        renderer: renderer of the face model.
        distributions: of theta.
        count: number of images that random numbers are drawn for, so an image does not depend on `subset`.
        rng: source of randomness.
        noise: standard deviation of the sensor noise; colours are in [0, 1].
        subset: images of `count` to render; None: all.

    Returns:
        Images and theta of the subset.
    """
    subset = range(count) if subset is None else subset
    rows = slice(subset.start, subset.stop)
    theta = sample_theta(distributions, count, rng, renderer.model.expressions)[rows].to(renderer.model.mean)
    rendering = renderer(theta)
    size = rendering.image.shape[-1]
    background = sample_background(count, size, rng, subset).to(theta)
    images = torch.where(rendering.mask > 0, rendering.image, background)
    images = images + noise * torch.randn(count, *images.shape[1:], generator=rng)[rows].to(theta)
    return RenderedBatch(images.clamp(0, 1), theta)


class ParameterWeights(Settings):
    """Weights of the warm-up's loss; each term is near one where its error begins to matter."""

    vertices: float = 1 / 25  # per mm^2: an error of 5 mm gives a term of 1
    albedo: float = 1 / 0.05**2
    camera: float = 3.0
    light: float = 10.0
    theta: float = 0.02


def parameter_loss(
    renderer: Renderer,
    scales: ParameterScales,
    predicted: Float[Tensor, "B 257"],
    true: Float[Tensor, "B 257"],
    weights: ParameterWeights,
) -> dict[str, Tensor]:
    """Compute squared errors of a predicted theta against the known one, by their effect on the face.

    Args:
        renderer: its face model converts coefficients to vertices and albedo.
        scales: units of the camera term.
        predicted: theta of the encoder.
        true: theta of the renders.
        weights: weights of the terms.

    Returns:
        Weighted terms: vertices (mm^2), albedo, camera (in units of the head's scales), light, theta.
    """
    model = renderer.model
    ours, theirs = split_theta(predicted), split_theta(true)
    _, scale = scales.vectors()
    in_units = (predicted - true) / scale.to(predicted)
    vertex_error = full_precision_matmul(ours.alpha - theirs.alpha, model.shape_basis.flatten(1))
    albedo_error = full_precision_matmul(ours.albedo - theirs.albedo, model.albedo_basis.flatten(1))
    coefficients = torch.cat([ours.alpha - theirs.alpha, ours.albedo - theirs.albedo], dim=1)
    return {
        "vertices": weights.vertices * 3 * vertex_error.square().mean(),
        "albedo": weights.albedo * albedo_error.square().mean(),
        "camera": weights.camera * in_units[:, -6:].square().mean(),
        "light": weights.light * (ours.light - theirs.light).square().mean(),
        "theta": weights.theta * coefficients.square().mean(),
    }
