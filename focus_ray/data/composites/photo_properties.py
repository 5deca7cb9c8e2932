"""Properties of a photograph that a pasted occluder takes on: blur, noise, light, and colour or none."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from focus_ray.data.composites.face_region import face_region
from focus_ray.data.occluders.drawing import Colour, Image, Mask

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_REBLUR = 1.0  # px, sigma
_GRADIENT_VARIANCE = 1 / 3  # px^2, blur of a central difference itself
_EDGES = 0.03  # share of the pixels that count as edges
_SHARP = 0.25  # quantile of the blur over the edges: the sharp ones show the blur of the camera
_BLUR_LIMITS = (0.5, 4.0)  # px
_NOISE_NORM = 6.0  # Euclidean norm of the mask below
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)  # Immerkaer 1996
_MAD = 0.6745  # median absolute value of a standard Gaussian
_NOISE_BLOCK = 12  # px; the noise is that of the smoother ones of such blocks, where little texture is
_SMOOTH = 0.3  # quantile of the blocks
_MAX_NOISE = 0.08
_HIGHLIGHT = 0.99  # quantile of the face's luminance: skin, teeth and eyes in full light
_WHITE = 0.92  # luminance of that quantile in a face in full light
_BRIGHTNESS_LIMITS = (0.4, 1.1)
_WHITE_SHARE = 0.02  # share of the pixels, the brightest, whose colour is taken for that of the light
_TINT_STRENGTH = 0.5  # exponent of that colour: the brightest things need not be white
_TINT_LIMIT = 0.15
_DARK = 0.15  # sum of the channels below which a pixel has no reliable hue
_GREY = 0.008  # largest spread of the chromaticities of a picture in one hue
_FIT_ROUNDS, _FIT_KEPT = 3, 0.7  # fits of the light's slope; share of the pixels kept, the best and brightest
_MAX_SLOPE = 0.35  # largest change of log luminance from the middle of the face


@dataclass(frozen=True)
class PhotoProperties:
    """Properties of a photograph near its face.

    Attributes:
        blur: sigma, px.
        noise: standard deviation of the luminance, of 1.
        light: factor of each channel: brightness and tint.
        single_hue: whether the photograph is black and white or toned.
        centre: middle of the face, px.
        slope: change of log luminance per px to the right and down.
        skin: mean RGB of the face in white light, in [0, 1].
    """

    blur: float
    noise: float
    light: Colour
    single_hue: bool
    centre: Float[np.ndarray, " 2"]
    slope: Float[np.ndarray, " 2"]
    skin: Colour

    def light_occluder(self, rgb: Image) -> Image:
        """Apply the photograph's light and hue to an occluder.

        Args:
            rgb: occluder in white light, in px of the photograph.

        Returns:
            The occluder as the photograph shows it, in [0, 1].
        """
        if self.single_hue:
            rgb = np.repeat((rgb @ _LUMINANCE)[..., None], 3, axis=2)
        height, width = rgb.shape[:2]
        x = (np.arange(width, dtype=np.float32) - np.float32(self.centre[0])) * np.float32(self.slope[0])
        y = (np.arange(height, dtype=np.float32) - np.float32(self.centre[1])) * np.float32(self.slope[1])
        shading = np.exp(np.clip(x + y[:, None], -_MAX_SLOPE, _MAX_SLOPE))
        return np.clip(rgb * shading[..., None] * self.light.astype(np.float32), 0, 1)


def estimate_properties(image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"]) -> PhotoProperties:
    """Estimate the properties of a photograph near its face.

    Args:
        image: RGB.
        landmarks: px of the photograph, iBUG order.

    Returns:
        The properties.
    """
    rgb = image.astype(np.float32) / np.float32(255)
    luminance = rgb @ _LUMINANCE
    face = face_region(landmarks, *luminance.shape)
    if not face.any():
        face = np.ones_like(face)
    surroundings = cv2.dilate(face.astype(np.uint8), np.ones((5, 5), np.uint8), iterations=3) > 0
    single_hue, tint = _estimate_hue(rgb)
    light = tint * np.clip(np.quantile(luminance[face], _HIGHLIGHT) / _WHITE, *_BRIGHTNESS_LIMITS)
    centre = landmarks.mean(axis=0)
    return PhotoProperties(
        blur=estimate_blur(luminance, surroundings),
        noise=estimate_noise(luminance, face),
        light=light,
        single_hue=single_hue,
        centre=centre,
        slope=_estimate_slope(luminance, face, centre),
        skin=np.clip(rgb[face].mean(axis=0) / light, 0, 1).astype(np.float64),
    )


def estimate_blur(luminance: Mask, area: Bool[np.ndarray, "H W"]) -> float:
    """Estimate the blur of a photograph from its sharp edges.

    The photograph is blurred once more; the ratio of an edge's gradients before and after gives the edge's own blur
    (Zhuo and Sim 2011).

    Args:
        luminance: in [0, 1].
        area: where edges are looked for.

    Returns:
        Sigma of a Gaussian, px, within the limits of this module.
    """
    before = _gradient(luminance)
    after = _gradient(cv2.GaussianBlur(luminance, (0, 0), _REBLUR))
    is_peak = before >= cv2.dilate(before, np.ones((3, 3), np.uint8))
    edges = area & is_peak & (before > np.quantile(before[area], 1 - _EDGES))
    ratio = before[edges] / np.maximum(after[edges], 1e-6)
    ratio = ratio[ratio > 1.01]
    if not len(ratio):
        return _BLUR_LIMITS[0]
    variance = float(np.quantile(_REBLUR**2 / (ratio**2 - 1), _SHARP)) - _GRADIENT_VARIANCE
    return float(np.clip(np.sqrt(max(variance, 0.0)), *_BLUR_LIMITS))


def estimate_noise(luminance: Mask, area: Bool[np.ndarray, "H W"]) -> float:
    """Estimate the noise of a photograph (Immerkaer 1996) in the smoother blocks of an area.

    Args:
        luminance: in [0, 1].
        area: where the noise is measured.

    Returns:
        Standard deviation, of 1.
    """
    response = np.abs(cv2.filter2D(luminance, cv2.CV_32F, _NOISE_MASK))
    rows, columns = np.nonzero(area)
    blocks = (rows // _NOISE_BLOCK) * (area.shape[1] // _NOISE_BLOCK + 1) + columns // _NOISE_BLOCK
    values = response[rows, columns][np.argsort(blocks, kind="stable")]
    medians = [np.median(one) for one in np.split(values, np.cumsum(np.bincount(blocks))[:-1]) if len(one)]
    return float(min(np.quantile(medians, _SMOOTH) / (_MAD * _NOISE_NORM), _MAX_NOISE))


def _gradient(luminance: Mask) -> Mask:
    kernel = np.array([[-0.5, 0.0, 0.5]], dtype=np.float32)
    return np.hypot(cv2.filter2D(luminance, cv2.CV_32F, kernel), cv2.filter2D(luminance, cv2.CV_32F, kernel.T))


def _estimate_hue(rgb: Image) -> tuple[bool, Colour]:
    """Whether the picture has one hue only, and the tint of its light: that of its brightest pixels."""
    bright = rgb[rgb.sum(axis=2) > _DARK]
    if not len(bright):
        return False, np.ones(3)
    shares = bright / bright.sum(axis=1, keepdims=True)
    if float(shares.std(axis=0).max()) < _GREY:
        mean = bright.mean(axis=0).astype(np.float64)
        return True, mean / (mean @ _LUMINANCE)
    luminance = bright @ _LUMINANCE
    white = bright[luminance >= np.quantile(luminance, 1 - _WHITE_SHARE)].mean(axis=0).astype(np.float64)
    tint = (white / (white @ _LUMINANCE)) ** _TINT_STRENGTH
    return False, np.clip(tint, 1 - _TINT_LIMIT, 1 + _TINT_LIMIT)


def _estimate_slope(
    luminance: Mask, face: Bool[np.ndarray, "H W"], centre: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, " 2"]:
    """Slope of log luminance over the skin; eyes, brows and mouth, which are darker, are left out."""
    rows, columns = np.nonzero(face)
    values = np.log(np.maximum(luminance[rows, columns], 0.02))
    terms = np.column_stack([columns - centre[0], rows - centre[1], np.ones(len(rows))])
    kept = np.ones(len(rows), dtype=bool)
    fit = np.zeros(3)
    for _ in range(_FIT_ROUNDS):
        fit = np.linalg.lstsq(terms[kept], values[kept], rcond=None)[0]
        residual = values - terms @ fit
        kept = residual >= np.quantile(residual, 1 - _FIT_KEPT)
    return fit[:2]
