"""Appearance that the fitted model cannot express: paint on the skin, and camera effects."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator
from pydantic import NonNegativeFloat, NonNegativeInt

from focus_ray.data.distribution_types import Fraction
from focus_ray.data.occluders import pixels
from focus_ray.data.occluders.drawing import Colour, random_colour
from focus_ray.focus.render.numba_jit import jit
from focus_ray.settings import Settings

Vertices = Float[np.ndarray, "V 3"]
Landmarks3D = Float[np.ndarray, "68 3"]

_DECAY = np.float32(-2.3)  # a soft spot has exp(-2.3) = 0.1 of its strength at its radius
_PER_MM = np.float32(1 / 80.0)  # a gradient reaches its full strength at half the width of a face
_ZERO, _ONE = np.float32(0), np.float32(1)


class AppearanceDistributions(Settings):
    """Distributions of appearance outside the fitted model.

    The values are upper limits; each image draws its own value below them, uniformly. They were chosen in trials at 64
    px, such that a perfect theta still leaves 16 of 255 levels of colour error.
    """

    grain: NonNegativeFloat = 0.03  # standard deviation of albedo noise from vertex to vertex
    patches: NonNegativeInt = 4  # coloured patches at most
    patch_mm: tuple[float, float] = (6.0, 22.0)  # radius
    patch_strength: tuple[float, float] = (0.1, 0.6)
    gradient: NonNegativeFloat = 0.15  # relative change of albedo over half a face, each channel
    makeup: Fraction = 0.25  # share of faces with painted lips, lids and cheeks
    stubble: Fraction = 0.2  # share of faces with a darker chin and jaw
    shine: NonNegativeFloat = 0.25  # brightness added on forehead, nose and cheeks
    blur: NonNegativeFloat = 0.013  # sigma, of the image size: 0.8 px at 64
    gamma: tuple[float, float] = (0.85, 1.2)
    sensor_noise: NonNegativeFloat = 0.025  # standard deviation


def paint(
    rng: Generator, albedo: Vertices, shape: Vertices, landmarks: Landmarks3D, distributions: AppearanceDistributions
) -> Float[np.ndarray, "V 3"]:
    """Paint an albedo with grain, gradient, patches, make-up, stubble and shine.

    Args:
        rng: random generator.
        albedo: RGB of each vertex, about [0, 1].
        shape: vertices in the model frame, mm.
        landmarks: landmarks in the model frame, mm.
        distributions: limits of the effects.

    Returns:
        The painted albedo, RGB, at least 0.
    """
    amount, grain = np.float32(rng.uniform(0, distributions.grain)), _grain(rng, albedo.shape)
    slopes = rng.uniform(-distributions.gradient, distributions.gradient, (2, 3)).astype(np.float32)
    colours = _add_grain_and_gradient(np.ascontiguousarray(albedo, np.float32), grain, amount, shape[:, :2] @ slopes)
    if rng.uniform() < distributions.makeup:
        colours = _makeup(rng, colours, shape, landmarks)
    if rng.uniform() < distributions.stubble:
        colours = _stubble(rng, colours, shape, landmarks)
    for _ in range(int(rng.integers(distributions.patches + 1)) if rng.uniform() < 0.7 else 0):
        centre = shape[int(rng.integers(len(shape)))]
        spot = _spot(shape, centre, rng.uniform(*distributions.patch_mm), hard=True)
        colours = _blend(colours, spot * rng.uniform(*distributions.patch_strength), _patch_colour(rng, colours))
    return _add_shine(rng, colours, shape, landmarks, distributions.shine)


def simulate_camera(
    rng: Generator, rgb: Float[np.ndarray, "H W 3"], distributions: AppearanceDistributions
) -> UInt8[np.ndarray, "H W 3"]:
    """Apply lens blur, gamma and sensor noise, and round to 8 bits as a camera does.

    Args:
        rng: random generator.
        rgb: picture, about [0, 1].
        distributions: limits of the effects.

    Returns:
        RGB, 0 to 255.
    """
    sigma = rng.uniform(0, distributions.blur) * len(rgb)
    picture = np.clip(cv2.GaussianBlur(rgb, (0, 0), sigma) if sigma > 0.25 else rgb, 0, 1)
    picture = cv2.pow(picture, rng.uniform(*distributions.gamma))
    amount = np.float32(rng.uniform(0, distributions.sensor_noise))
    return pixels.to_8_bits(picture, rng.standard_normal(rgb.shape, dtype=np.float32), amount)


def _grain(rng: Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "V C"]:
    """Noise of each vertex, coloured or the same for all channels."""
    channels = 3 if rng.uniform() < 0.5 else 1
    return rng.standard_normal((shape[0], channels), dtype=np.float32)


def _patch_colour(rng: Generator, colours: Vertices) -> Colour:
    """Any paint, or the skin's own mean made darker, lighter or redder."""
    if rng.uniform() < 0.35:
        return random_colour(rng)
    return np.clip(colours.mean(0) * rng.uniform(0.4, 1.4) * np.array([1.1, rng.uniform(0.7, 1.0), 0.9]), 0, 1)


def _makeup(rng: Generator, colours: Vertices, shape: Vertices, landmarks: Landmarks3D) -> Vertices:
    """Lipstick, eye shadow above each eye, rouge on each cheek."""
    lips, lids, rouge = (random_colour(rng) if rng.uniform() < 0.4 else _random_red(rng) for _ in range(3))
    strength = rng.uniform(0.2, 0.8, 3)
    mouth = landmarks[48:60].mean(0)
    half_width = 0.5 * float(np.linalg.norm(landmarks[54] - landmarks[48]))
    colours = _blend(colours, strength[0] * _spot(shape, mouth, half_width, squeeze=2.6, hard=True), lips)
    for side, brow, eye in ((-1, landmarks[17:22], landmarks[36:42]), (1, landmarks[22:27], landmarks[42:48])):
        lid = 0.55 * eye.mean(0) + 0.45 * brow.mean(0)
        cheek = eye.mean(0) + np.array([10.0 * side, -32.0, -6.0])
        colours = _blend(colours, strength[1] * _spot(shape, lid, 15.0, squeeze=1.8), lids)
        colours = _blend(colours, 0.6 * strength[2] * _spot(shape, cheek, 19.0), rouge)
    return colours


def _random_red(rng: Generator) -> Colour:
    return np.array([0.7, 0.15, 0.2]) * rng.uniform(0.6, 1.3)


def _stubble(rng: Generator, colours: Vertices, shape: Vertices, landmarks: Landmarks3D) -> Vertices:
    """Darker skin around mouth and jaw, less at the lips."""
    beard = _spot(shape, landmarks[8], rng.uniform(45.0, 65.0))
    lips = _spot(shape, landmarks[48:60].mean(0), 24.0, squeeze=2.6, hard=True)
    strength = rng.uniform(0.15, 0.7) * beard * (1 - 0.8 * lips) * rng.uniform(0.7, 1.0, len(shape))
    return _blend(colours, strength, np.array([0.12, 0.09, 0.08]) * rng.uniform(0.5, 2.0))


def _add_shine(rng: Generator, colours: Vertices, shape: Vertices, landmarks: Landmarks3D, limit: float) -> Vertices:
    """Highlights where skin is oily, of one strength over the face; at least 0."""
    strength, forehead = rng.uniform(0, limit), landmarks[19:25].mean(0) + np.array([0.0, 24.0, 0.0])
    highlights = []
    for centre, radius in ((landmarks[30], 7.0), (forehead, 22.0), (landmarks[29], 6.0)):
        highlights += [_spot(shape, centre, radius), np.float32(strength * rng.uniform(0, 1))]
    return _add_highlights(np.ascontiguousarray(colours, np.float32), *highlights)


def _spot(
    shape: Vertices, centre: Float[np.ndarray, " 3"], radius: float, squeeze: float = 1.0, hard: bool = False
) -> Float[np.ndarray, " V"]:
    """1 at a centre, falling to about 0.1 at a radius (mm): like a Gaussian, or flat with an edge where `hard`."""
    return _spot_weights(shape, centre.astype(np.float32), np.float32(1 / radius**2), np.float32(squeeze), hard)


def _blend(colours: Vertices, weight: Float[np.ndarray, " V"], colour: Colour) -> Vertices:
    arrays = (np.ascontiguousarray(array, np.float32) for array in (colours, weight, colour))
    return _mix(*arrays)


@jit
def _spot_weights(shape, centre, inverse_square, squeeze, hard):
    output = np.empty(shape.shape[0], np.float32)
    for vertex in range(shape.shape[0]):
        x, y, z = shape[vertex, 0] - centre[0], squeeze * (shape[vertex, 1] - centre[1]), shape[vertex, 2] - centre[2]
        squared = (x * x + y * y + z * z) * inverse_square
        output[vertex] = 1 / (1 + squared**4) if hard else np.exp(_DECAY * squared)
    return output


@jit
def _add_grain_and_gradient(albedo, grain, amount, rise):
    output = np.empty_like(albedo)
    for vertex in range(albedo.shape[0]):
        for c in range(3):
            noise = grain[vertex, c if grain.shape[1] == 3 else 0]
            output[vertex, c] = (albedo[vertex, c] + amount * noise) * (_ONE + rise[vertex, c] * _PER_MM)
    return output


@jit
def _add_highlights(colours, first, first_amount, second, second_amount, third, third_amount):
    output = np.empty_like(colours)
    for vertex in range(colours.shape[0]):
        for c in range(3):
            value = colours[vertex, c] + first_amount * first[vertex]
            value = value + second_amount * second[vertex]
            output[vertex, c] = max(value + third_amount * third[vertex], _ZERO)
    return output


@jit
def _mix(colours, weight, colour):
    output = np.empty_like(colours)
    for vertex in range(colours.shape[0]):
        for c in range(3):
            output[vertex, c] = colours[vertex, c] + weight[vertex] * (colour[c] - colours[vertex, c])
    return output
