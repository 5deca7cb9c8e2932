"""Similarity transforms, and Procrustes alignment of landmarks (method 8.6, step 2)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import orthogonal_procrustes

from focus_ray.errors import LandmarkError


@dataclass(frozen=True, eq=False)
class Similarity:
    """Map x -> scale rotation x + translation; the rotation is orthogonal, a reflection if its determinant is -1."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def __call__(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Transform points.

        Args:
            points: points in the unit of the source.

        Returns:
            Points in the unit of the target.
        """
        return self.scale * points @ self.rotation.T + self.translation

    def compose(self, first: "Similarity") -> "Similarity":
        """Return the map x -> self(first(x))."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )

    @property
    def inverse(self) -> "Similarity":
        """Inverse map."""
        back = self.rotation.T / self.scale
        return Similarity(1 / self.scale, self.rotation.T, -back @ self.translation)

    @property
    def is_reflection(self) -> bool:
        """Whether the map exchanges right and left."""
        return bool(np.linalg.det(self.rotation) < 0)


def procrustes(
    points: Float[np.ndarray, "N 3"], targets: Float[np.ndarray, "N 3"], with_scale: bool = True
) -> Similarity:
    """Compute the similarity that minimises the squared distances from points to targets.

    The result is a reflection where that fits better, as in the public evaluation.

    Args:
        points: points to transform.
        targets: their targets, in the same order.
        with_scale: whether the scale is free; otherwise it is 1.

    Returns:
        Similarity that maps the points to the targets.

    Raises:
        LandmarkError: all points, or all targets, are one point.
    """
    centre, target_centre = points.mean(axis=0), targets.mean(axis=0)
    centred, target_centred = points - centre, targets - target_centre
    spread = np.square(centred).sum()
    if not spread > 0 or not np.square(target_centred).sum() > 0:
        raise LandmarkError("all landmarks lie at one point; give the seven landmarks of the face")
    turned, gain = orthogonal_procrustes(centred, target_centred)  # acts on rows: centred @ turned
    scale = float(gain / spread) if with_scale else 1.0
    return Similarity(scale, turned.T, target_centre - scale * centre @ turned)
