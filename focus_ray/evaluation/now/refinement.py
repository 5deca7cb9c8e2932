"""Refines an alignment: least squares of the distances from scan to surface (method 8.6, step 3)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from focus_ray.evaluation.now.similarity import Similarity
from focus_ray.evaluation.now.surface import Surface

# Coarse stage: number of points, and step size (mm) that ends it. The fine stage uses all points.
_COARSE_POINTS, _COARSE_TOLERANCE = 10_000, 1e-3
_FINE_TOLERANCE = 2e-4
_MAX_STEPS = 200
# Least Levenberg damping, relative to the normal matrix's mean eigenvalue, and the factor by which it changes.
_MIN_DAMPING, _DAMPING_FACTOR = 1e-8, 10.0
# Below this distance (mm) the direction to the surface is rounding error: the triangle's normal is used.
_CONTACT_DISTANCE = 1e-7
_CELLS = 1024  # along each axis of the grid that orders the points


def refine_alignment(points: Float[np.ndarray, "N 3"], surface: Surface, with_scale: bool = True) -> Similarity:
    """Find the similarity of the surface that minimises the points' squared distances to it.

    Levenberg-Marquardt from the identity finds the minimum in whose basin the surface lies now. The gradient is exact:
    the minimum depends neither on the order of points nor on the start within the basin.

    Args:
        points: points of the scan, mm.
        surface: surface after the coarse alignment, mm.
        with_scale: whether the scale is free; otherwise it is 1.

    Returns:
        Similarity that maps the surface to the points.
    """
    ordered = points[morton_order(points)]
    centre = ordered.mean(axis=0)
    ordered = ordered - centre
    pose = _Pose(1.0, np.eye(3), np.zeros(3))
    few = ordered[:: -(-len(ordered) // _COARSE_POINTS)]
    if len(few) < len(ordered):
        pose = _levenberg_marquardt(_SurfaceResiduals(few, surface, centre), pose, with_scale, _COARSE_TOLERANCE)
    pose = _levenberg_marquardt(_SurfaceResiduals(ordered, surface, centre), pose, with_scale, _FINE_TOLERANCE)
    return Similarity(pose.scale, pose.rotation, pose.translation + centre - pose.scale * pose.rotation @ centre)


@dataclass(frozen=True, eq=False)
class _Pose:
    """u -> scale rotation u + translation, relative to the points' centre."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def apply_step(self, step: Float[np.ndarray, "7"]) -> "_Pose":
        """Return the pose after a step: log scale, rotation vector, translation."""
        turn = Rotation.from_rotvec(step[1:4]).as_matrix() @ self.rotation
        return _Pose(float(self.scale * np.exp(step[0])), turn, self.translation + step[4:])


class _SurfaceResiduals:
    """Distances of fixed points to the surface in any pose; points and poses are relative to `centre`."""

    def __init__(self, points: Float[np.ndarray, "N 3"], surface: Surface, centre: Float[np.ndarray, "3"]) -> None:
        self.points, self.surface, self.centre = points, surface, centre
        self.triangles: np.ndarray | None = None  # nearest triangles at the last pose
        # Log scale and angles in mm of motion at the face's border, which is comparable with translations.
        reach = float(np.linalg.norm(points, axis=1).max()) or 1.0
        self.unit = np.array([1 / reach] * 4 + [1.0] * 3)

    def evaluate(self, pose: _Pose) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N 7"]]:
        """Compute the distances r and their derivatives.

        With u the nearest point of the moved surface, turned and scaled, and n = (p - u - translation) / r:
        dr = -(n . u, u x n, n). Sliding of the nearest point on the surface does not change r to first order.

        Args:
            pose: pose of the surface.

        Returns:
            (r in mm; derivatives by log scale, rotation vector and translation, each in mm of motion).
        """
        # Move the points into the frame of the surface.
        at_rest = (self.points - pose.translation) @ pose.rotation / pose.scale + self.centre
        nearest, self.triangles = self.surface.nearest(at_rest, self.triangles)
        u = pose.scale * (nearest - self.centre) @ pose.rotation.T
        offset = self.points - pose.translation - u
        r = np.linalg.norm(offset, axis=1)
        touching = r < _CONTACT_DISTANCE
        n = offset / np.where(touching, 1.0, r)[:, None]
        n[touching] = self.surface.normals(self.triangles[touching]) @ pose.rotation.T
        return r, -self.unit * np.column_stack([np.einsum("ni,ni->n", n, u), np.cross(u, n), n])

    def move(self, pose: _Pose, motion: Float[np.ndarray, "7"]) -> _Pose:
        """Return the pose after a motion.

        Args:
            pose: pose before it.
            motion: log scale, rotation vector and translation, each in mm of motion.

        Returns:
            Pose after it.
        """
        return pose.apply_step(self.unit * motion)


def _levenberg_marquardt(distances: _SurfaceResiduals, pose: _Pose, with_scale: bool, tolerance: float) -> _Pose:
    """Find the pose of least squares; stop when a step moves the surface by less than `tolerance` (mm)."""
    free = np.arange(7) >= (0 if with_scale else 1)
    r, jacobian = distances.evaluate(pose)
    damping = _MIN_DAMPING
    for _ in range(_MAX_STEPS):
        rows = jacobian[:, free]
        normal = rows.T @ rows
        normal += damping * np.trace(normal) / len(normal) * np.eye(len(normal))
        motion = np.zeros(7)
        motion[free] = -np.linalg.solve(normal, rows.T @ r)
        moved = distances.move(pose, motion)
        next_r, next_jacobian = distances.evaluate(moved)
        if next_r @ next_r <= r @ r:
            pose, r, jacobian = moved, next_r, next_jacobian
            damping = max(damping / _DAMPING_FACTOR, _MIN_DAMPING)
        else:
            damping *= _DAMPING_FACTOR
        if np.abs(motion).sum() < tolerance:
            break
    return pose


def morton_order(points: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, " N"]:
    """Order points along Morton's curve, so that neighbours in space are mostly neighbours in the order.

    Args:
        points: points in any order and unit.

    Returns:
        Indices of the points; the ordered points do not depend on the given order.
    """
    least = points.min(axis=0)
    cells = ((points - least) / (np.ptp(points, axis=0).max() or 1.0) * (_CELLS - 1)).astype(np.int64)
    bits = cells[:, :, None] >> np.arange(_CELLS.bit_length() - 1) & 1  # [N, 3, bits]
    places = 3 * np.arange(bits.shape[2]) + np.arange(3)[:, None]
    return np.lexsort((*points.T, (bits << places).sum(axis=(1, 2))))
