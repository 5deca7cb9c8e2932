"""Bases: named fields plus smooth Gaussian-process noise as columns, and their exact principal components.

A sample of the model is B w with w ~ N(0, I), where the columns of B are the named parameters' fields and the terms of
the noise's cosine expansion. The eigenvectors U of the Gram matrix B^T B give the modes B U: orthogonal, decaying,
and with the same distribution.
"""

from dataclasses import dataclass

import numpy as np

from focus_ray.errors import FaceModelError
from focus_ray.face_models.parametric.mesh import OUTLINE_BOTTOM, OUTLINE_HALF_WIDTH, OUTLINE_TOP
from focus_ray.face_models.parametric.surface import Array
from focus_ray.face_models.parametric.template import Template

_MARGIN = 12.0  # mm by which the cosines' box exceeds the chart: their slope is 0 at the box's sides
_SMALLEST_WEIGHT = 0.14


@dataclass(frozen=True)
class Noise:
    """A stationary Gaussian process on the chart with a squared-exponential kernel.

    Attributes:
        length_scale: of the kernel, mm.
        amplitude: standard deviation, in the unit of the field.
    """

    length_scale: float
    amplitude: float
    symmetric: float = 0.94
    """Share of the standard deviation that is mirror-symmetric."""


def noise_columns(noise: Noise, face: Template) -> tuple[Array, Array]:
    """Compute the terms of the process's cosine expansion at the vertices.

    Returns:
        Terms [V, K] of the symmetric and [V, K'] of the antisymmetric part, in the unit of the amplitude.
    """
    width, height = 2 * (OUTLINE_HALF_WIDTH + _MARGIN), OUTLINE_TOP - OUTLINE_BOTTOM + 2 * _MARGIN
    highest = np.sqrt(-4 * np.log(_SMALLEST_WEIGHT)) / noise.length_scale
    across = np.arange(int(highest * width / np.pi) + 1) * np.pi / width
    along = np.arange(int(highest * height / np.pi) + 1) * np.pi / height
    weight = np.exp(-(noise.length_scale**2) * (across[:, None] ** 2 + along**2) / 4)
    chosen_across, chosen_along = np.nonzero(weight >= _SMALLEST_WEIGHT)
    s, v = face.s + width / 2, face.v - OUTLINE_BOTTOM + _MARGIN
    terms = np.cos(s[:, None] * across[chosen_across]) * np.cos(v[:, None] * along[chosen_along])
    terms *= weight[chosen_across, chosen_along]
    even = chosen_across % 2 == 0
    asymmetric = np.sqrt(1 - noise.symmetric**2)
    return (
        _scale_to_amplitude(terms[:, even], noise.amplitude * noise.symmetric),
        _scale_to_amplitude(terms[:, ~even], noise.amplitude * asymmetric),
    )


def _scale_to_amplitude(terms: Array, amplitude: float) -> Array:
    """Scale the terms so that their sum has the standard deviation `amplitude` at the mean vertex."""
    if terms.shape[1] == 0 or amplitude == 0:
        return terms[:, :0]
    return terms * (amplitude / np.sqrt((terms**2).sum(axis=1).mean()))


def displacement_noise(noises: tuple[Noise, ...], face: Template, window: Array) -> list[Array]:
    """Return the fields of the noise on each axis.

    Sideways motion is symmetric when it is odd in x.

    Args:
        noises: processes with amplitudes in mm.
        face: template with the chart coordinates.
        window: [V] factor of the noise at each vertex.

    Returns:
        One field [V, 3] (mm) for each term and axis.
    """
    fields = []
    for noise in noises:
        even, odd = noise_columns(noise, face)
        share = np.sqrt(1 / noise.symmetric**2 - 1)
        for axis in range(3):
            if axis == 0:
                swapped = _scale_to_amplitude(odd, noise.amplitude * noise.symmetric)
                columns = [swapped, _scale_to_amplitude(even, noise.amplitude * noise.symmetric * share)]
            else:
                columns = [even, odd]
            for term in np.concatenate(columns, axis=1).T:
                field = np.zeros((len(term), 3))
                field[:, axis] = term * window
                fields.append(field)
    return fields


def remove_rigid_motion(fields: list[Array], vertices: Array) -> list[Array]:
    """Remove the six rigid motions, which the camera represents, from the fields.

    Args:
        fields: displacements [V, 3], mm.
        vertices: [V, 3] mean positions, mm.

    Returns:
        The fields without their rigid part, mm.
    """
    x, y, z = vertices.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    motions = [
        (one, zero, zero), (zero, one, zero), (zero, zero, one), (zero, -z, y), (z, zero, -x), (-y, x, zero),
    ]  # fmt: skip
    rigid = np.linalg.qr(np.stack([np.stack(motion, axis=1).ravel() for motion in motions], axis=1)).Q
    return [field - (rigid @ (rigid.T @ field.ravel())).reshape(field.shape) for field in fields]


def principal_modes(fields: list[Array], count: int, label: str) -> Array:
    """Compute the leading principal modes of the fields.

    Args:
        fields: [V, 3], each one standard deviation of an independent parameter.
        count: number of modes.
        label: name of the basis in the error message.

    Returns:
        Modes [count, V, 3], each times its standard deviation, the strongest first.

    Raises:
        FaceModelError: more modes are requested than there are fields.
    """
    if count > len(fields):
        raise FaceModelError(f"the parametric face has {len(fields)} {label} modes, not {count}; request fewer")
    columns = np.stack([field.ravel() for field in fields])
    _, directions = np.linalg.eigh(columns @ columns.T)
    modes = directions[:, ::-1][:, :count].T @ columns
    # The sign of an eigenvector is arbitrary; an asymmetric pattern fixes it for symmetric and antisymmetric modes.
    lopsided = np.sin(np.arange(modes.shape[1]))
    signs = np.where(modes @ lopsided < 0, -1.0, 1.0)
    return (signs[:, None] * modes).reshape(count, -1, 3)
